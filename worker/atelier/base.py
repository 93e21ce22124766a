"""Training of the bundled base: control first, prompts split between style blocks and the rest.

What was learnt before this loop was written (docs/hoop-mini.md has the figures): a small base does not put style into
the four style blocks by itself, it must be made to by handing style words to those blocks only; text alone is out of
reach on a CPU, but painting a given design in a given texture is learnt in minutes, so most samples carry control.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from worker.atelier.autoencoder import encode_corpus
from worker.atelier.corpus import Pairs, load_corpus, shards
from worker.atelier.loop import Averaged, autocast, log_line, save_atomically, save_state, warmup_decay
from worker.atelier.network import INFO, Network, build_scheduler, build_tokenizer
from worker.engine.bases import Prompts, embed_prompts
from worker.engine.control import Residuals, add_residuals
from worker.engine.control_maps import edge_map, tile_map
from worker.engine.routing import PromptRouting

FAMILY_WORDS = {
    "fill": ("fill stitch", "tatami"),
    "satin": ("satin stitch", "satin"),
    "longshort": ("long and short stitch", "thread painting"),
    "contour": ("contour fill", "echo fill"),
    "run": ("running stitch", "outline stitch"),
    "chain": ("chain stitch", "chain"),
    "cross": ("cross stitch", "counted cross"),
    "chenille": ("chenille", "towel stitch"),
    "sequin": ("sequin", "sequins"),
    "knot": ("french knot", "knots"),
    "bead": ("bead", "beads"),
}
PEAK_RATE = 1e-3
EMBROIDERY_SHARE = 0.65
READING_EAGERNESS = 3.0
"""Text encoders and cross-attention learn at this multiple of the rate: what a prompt says is the faintest signal, and
at the common rate style words still moved nothing after 8 thousand samples."""
GENERIC_SHARE = 0.5
"""Share of the embroideries that carry the general word, [emb], instead of a family's: it must cover them all."""


def style_prompt(content: str, family: str, descriptors: list[str], rng: np.random.Generator) -> str:
    """`content` "in ... style": the general embroidery word, or the family and some of its descriptors."""
    if rng.random() < GENERIC_SHARE:
        return f"{content} in {INFO.style_word} style"
    kept = [word for word in descriptors if rng.random() < 0.5]
    return f"{content} in {' '.join([*kept, str(rng.choice(FAMILY_WORDS[family]))])} style"


@dataclass
class Material:
    """The corpus at one size, with the latents of both sides."""

    pairs: Pairs
    designs: Tensor
    embroideries: Tensor

    @classmethod
    def make(cls, corpus: Path, size: int, vae: AutoencoderTiny, device: str) -> Material:
        """Reads the shards of one size and encodes them; latents are kept beside the shards for the next time."""
        mark = hashlib.sha256(vae.encoder.layers[-1].weight.detach().cpu().numpy().tobytes()).hexdigest()[:12]
        sides: tuple[list[Tensor], list[Tensor]] = ([], [])
        for path in shards(corpus, size):
            kept = path.with_name(f"latents-{path.stem}-{mark}.pt")
            if not kept.exists():
                with np.load(path) as shard:
                    encoded = [encode_corpus(vae, shard[name], device) for name in ("designs", "embroideries")]
                save_atomically(encoded, kept)
            for side, latents in zip(sides, torch.load(kept, weights_only=True), strict=True):
                side.append(latents)
        return cls(load_corpus(corpus, size), torch.cat(sides[0]), torch.cat(sides[1]))


@dataclass
class Batch:
    """Samples of one step: clean latents, both control maps, what all blocks read and what the style blocks read."""

    latents: Tensor
    tile: Tensor
    edge: Tensor
    content: list[str]
    style: list[str]
    time_ids: Tensor


def draw_batch(material: Material, count: int, window: int, rng: np.random.Generator) -> Batch:
    """`count` samples of `window` px, whole pictures or crops, embroidery or flat design, with their prompts."""
    size = material.pairs.designs.shape[1]
    latents, tiles, edges, content, style, ids = [], [], [], [], [], []
    for i in rng.integers(0, len(material.pairs.captions), count):
        top, left = (8 * int(v) for v in rng.integers(0, (size - window) // 8 + 1, 2))
        words, family, descriptors = material.pairs.captions[i]
        sewn = rng.random() < EMBROIDERY_SHARE
        source = material.embroideries if sewn else material.designs
        y, x, side = top // 4, left // 4, window // 4
        latents.append(source[i, :, y : y + side, x : x + side].float())
        design = np.ascontiguousarray(material.pairs.designs[i, top : top + window, left : left + window])
        tiles.append(tile_map(design, kernel=INFO.tile_kernel_at(window)))
        edges.append(edge_map(design, *INFO.edge_thresholds))
        prompt = "" if rng.random() < 0.1 else ("a " if rng.random() < 0.7 else "") + words
        content.append(prompt)
        style.append(style_prompt(prompt, family, descriptors, rng).strip() if sewn else prompt)
        ids.append([size, size, top, left, window, window])
    return Batch(
        torch.stack(latents),
        torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float(),
        torch.from_numpy(np.stack(edges))[:, None].float(),
        content,
        style,
        torch.tensor(ids, dtype=torch.float32),
    )


class Trainer:
    """The whole state of a base training; `run` goes on with it for some minutes.

    A training is resumed from `state.pt` in its work folder, and started from the weights in `folder` when there is no
    state but there are weights.
    """

    def __init__(self, folder: Path, work: Path, corpus: Path, device: str = "cpu") -> None:
        self.folder, self.work, self.device = folder, work, device
        work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        if (folder / "unet").exists():
            self.network = Network.load(folder)
        else:
            pairs = load_corpus(corpus, 256)
            words = [" ".join(option) for option in FAMILY_WORDS.values()]
            captions = [f"a {c[0]} in {' '.join(c[2])} {INFO.style_word} style" for c in pairs.captions]
            self.network = Network.new(build_tokenizer(captions + words * 50))
        for module in self.network.modules():
            module.to(device)
            module.train()
        self.network.unet.to(memory_format=torch.channels_last)
        self.routing = PromptRouting(self.network.unet, INFO.style_blocks)
        self.parameters = self.network.parameters()
        reading = [p for n, p in self.network.named_parameters() if "attn2" in n or n.startswith("text")]
        known = {id(p) for p in reading}
        groups = [
            {"params": [p for p in self.parameters if id(p) not in known], "eagerness": 1.0},
            {"params": reading, "eagerness": READING_EAGERNESS},
        ]
        self.optimiser = torch.optim.AdamW(groups, PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
        self.average = Averaged(self.parameters, 0.9985)
        self.step = self.seen = 0
        state = work / "state.pt"
        if state.exists():
            self._restore(torch.load(state, map_location=device, weights_only=True))
        alphas = build_scheduler().alphas_cumprod.to(device)
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def _restore(self, state: dict[str, object]) -> None:
        with torch.no_grad():
            for name, targets in (("live", self.parameters), ("average", self.average.values)):
                for target, value in zip(targets, state[name], strict=True):  # type: ignore[call-overload]
                    target.copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])  # type: ignore[arg-type]
        self.step, self.seen, self.average.steps = state["counts"]  # type: ignore[misc]

    def save(self) -> None:
        """Averaged weights to the base's folder, everything else to the work folder."""
        save_state(self.folder, self.average, lambda: self.network.save(self.folder, self.folder / "vae"))
        save_atomically(
            {
                "live": [p.detach() for p in self.parameters],
                "average": self.average.values,
                "optimiser": self.optimiser.state_dict(),
                "counts": [self.step, self.seen, self.average.steps],
            },
            self.work / "state.pt",
        )

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Mean squared error of the velocity over a batch, each sample at its own timestep."""
        count, device = len(batch.latents), self.device
        clean = batch.latents.to(device)
        eps = torch.randn_like(clean)
        t = torch.randint(0, 1000, (count,), device=device)
        a, s = self.signal[t][:, None, None, None], self.noise[t][:, None, None, None]
        network = self.network
        with autocast(device):
            unique = list(dict.fromkeys(batch.content + batch.style))
            embedded = embed_prompts((network.tokenizer, network.tokenizer), network.text, unique)
            content = [unique.index(p) for p in batch.content]
            style = [unique.index(p) for p in batch.style]
            prompts = Prompts(embedded.hidden[content], embedded.pooled[content])
            residuals = self._control(batch, rng)
            with self.routing.style_prompt(embedded.hidden[style]):
                velocity = network.unet(
                    (a * clean + s * eps).contiguous(memory_format=torch.channels_last),
                    t,
                    encoder_hidden_states=prompts.hidden,
                    added_cond_kwargs={"text_embeds": prompts.pooled, "time_ids": batch.time_ids.to(device)},
                    down_block_additional_residuals=residuals.down,
                    mid_block_additional_residual=residuals.mid,
                    return_dict=False,
                )[0]
        error: Tensor = velocity.float() - (a * eps - s * clean)
        return error.square().mean()

    def _control(self, batch: Batch, rng: np.random.Generator) -> Residuals:
        """Both branches, each left out for some samples so that either works alone, and text too."""
        fate = rng.random(len(batch.latents))
        keep = {"tile": (fate > 0.14) & (fate < 0.88), "edge": (fate > 0.26) | (fate < 0.12)}
        parts = []
        for branch, conditioning, name in (
            (self.network.tile, batch.tile, "tile"),
            (self.network.edge, batch.edge, "edge"),
        ):
            down, mid = branch(conditioning.to(self.device))
            kept = torch.from_numpy(keep[name].astype(np.float32)).to(self.device)[:, None, None, None]
            gate = lambda x, kept=kept: x * kept  # noqa: E731
            parts.append((Residuals(tuple(down), mid).each(gate), 1.0))
        total = add_residuals(parts)
        if total is None:
            raise ValueError("a base is trained with both control branches")
        return total

    def run(
        self,
        materials: list[tuple[float, Material, int]],
        minutes: float,
        batch_size: int,
        *,
        decay_from: float = 0.6,
        peak: float = PEAK_RATE,
        report: Callable[[str], None] = print,
    ) -> None:
        """Trains for `minutes`.

        Args:
            materials: (share of the batches, corpus, window in pixels) of each kind of sample.
            minutes: wall-clock time; the rate falls over the last part of it.
            batch_size: samples of 128 px in a batch; a batch of larger windows holds proportionally fewer.
            decay_from: share of the time after which the rate falls.
            peak: highest rate.
            report: takes a line of log now and then.
        """
        rng = np.random.default_rng([self.step, 17])
        torch.manual_seed(self.step)
        shares = np.array([share for share, _, _ in materials])
        begin = saved = time.monotonic()
        smooth, first, start = math.nan, self.step, self.seen
        while (done := (time.monotonic() - begin) / (60 * minutes)) < 1:
            for group in self.optimiser.param_groups:
                course = warmup_decay(self.step - first, done, warmup=60, decay_from=decay_from)
                group["lr"] = peak * group["eagerness"] * course
            _, material, window = materials[int(rng.choice(len(materials), p=shares / shares.sum()))]
            count = max(4, batch_size * 128**2 // window**2)
            loss = self.loss(draw_batch(material, count, window, rng), rng)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimiser.step()
            self.average.update()
            self.step, self.seen = self.step + 1, self.seen + count
            smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
            if self.step % 20 == 0:
                report(log_line("base", self.step, done, begin, self.seen - start, loss=smooth))
            if time.monotonic() - saved > 300:
                self.save()
                saved = time.monotonic()
        self.save()
