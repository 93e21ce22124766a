"""Training of the bundled base: control first, prompts split between style blocks and the rest.

What was learnt before this loop was written (docs/hoop-mini.md has the figures): a small base does not put style into
the four style blocks by itself, it must be made to by handing style words to those blocks only; text alone is out of
reach on a CPU, but painting a given design in a given texture is learnt in minutes, so most samples carry control.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.atelier.corpus import Pool
from worker.atelier.drafts import SEWN, WEARERS, WORDINGS, partner
from worker.atelier.loop import Averaged, autocast, log_line, save_atomically, save_state, warmup_decay
from worker.atelier.network import INFO, Network, build_scheduler
from worker.atelier.optimiser import TwoOptimisers
from worker.atelier.parallel import Together
from worker.atelier.text import PROMPT_TOKENS
from worker.engine.control import Residuals, add_residuals
from worker.engine.prompts import embed_tokens
from worker.engine.routing import attention_blocks

PEAK_RATE = 3e-3
READING_EAGERNESS = 3.0
"""Cross-attention and the reader learn at this multiple of the rate: what a prompt says is the faintest signal."""
TEXT_EAGERNESS = 0.3
"""The text encoders know their words already; their embeddings stay as they were distilled."""
VIEW_SHARES = (0.12, 0.08, 0.4, 0.4)
READ_SHARE = 0.75
"""Share of the embroideries that are given tokens of a reference in the same style."""
WORDS_ALONE = 0.1
"""Share of the samples without any control, unless said otherwise: what they teach takes a GPU."""
ONE_BRANCH = 0.1
"""Shares of the samples with the tile alone, and with the edges alone."""
STITCHING = (40, 640)
"""Timesteps at which stitches are decided: before, control says all there is; after, hardly anything is left open."""
STITCHING_SHARE = 0.5
"""Share of the samples drawn from those timesteps alone; the others come from all."""


class SplitPrompt:
    """Cross-attention that reads some of the tokens it is given: content ones, or style ones or a reference's.

    The training's way of routing: one fixed graph that a compiler takes, equal to `PromptRouting` for the same tokens.
    """

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __call__(  # noqa: D102 - diffusers calls it
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,  # noqa: ARG002 - diffusers' signature
    ) -> Tensor:
        if encoder_hidden_states is None:
            raise ValueError("cross-attention only")
        tokens = encoder_hidden_states[:, self.start : self.stop]
        mask = None if attention_mask is None else attention_mask[:, None, :, self.start : self.stop]

        def heads(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], attn.heads, -1).transpose(1, 2)

        query, key, value = heads(attn.to_q(hidden_states)), heads(attn.to_k(tokens)), heads(attn.to_v(tokens))
        out = functional.scaled_dot_product_attention(query, key, value, None if mask is None else mask.to(query.dtype))
        mixed: Tensor = attn.to_out[0](out.transpose(1, 2).flatten(-2))
        return mixed


def split_prompts(unet: nn.Module, reference_tokens: int) -> None:
    """Makes the style blocks read tokens [L, 2L + R) and all others [0, L)."""
    for name, block in attention_blocks(unet).items():
        styled = name in INFO.style_blocks
        span = (PROMPT_TOKENS, 2 * PROMPT_TOKENS + reference_tokens) if styled else (0, PROMPT_TOKENS)
        for layer in block.transformer_blocks:  # type: ignore[union-attr]
            layer.attn2.processor = SplitPrompt(*span)


@dataclass(frozen=True)
class Batch:
    """Samples of one step, on the device. B samples, `window` output pixels a side.

    Attributes:
        latents: Clean ones, float32 [B, C, s, s].
        tile: [B, 3, window, window] in [0, 1].
        edge: [B, 1, window, window].
        content: Token numbers [B, L] of what all blocks read.
        style: Token numbers [B, L] of what the style blocks read.
        time_ids: float32 [B, 6].
        reference: Latents of another picture in the same style, float32 [B, C, s', s'].
        read: Whether the reference is shown, [B].
        tile_kept, edge_kept: Whether each control branch is, [B].
        whole: Whether the samples are whole pictures.
    """

    latents: Tensor
    tile: Tensor
    edge: Tensor
    content: Tensor
    style: Tensor
    time_ids: Tensor
    reference: Tensor
    read: Tensor
    tile_kept: Tensor
    edge_kept: Tensor
    whole: bool


def _window(source: Tensor, leading: tuple[Tensor, ...], top: Tensor, left: Tensor, side: int) -> Tensor:
    """Square windows [B, C, side, side] of `source[leading]` at (top, left), each sample's own."""
    steps = torch.arange(side, device=source.device)
    rows, columns = (top[:, None] + steps)[:, None, :, None], (left[:, None] + steps)[:, None, None, :]
    channels = torch.arange(source.shape[-3], device=source.device).view(1, -1, 1, 1)
    return source[(*(index.view(-1, 1, 1, 1) for index in leading), channels, rows, columns)]


def draw_batch(pool: Pool, count: int, window: int, words_alone: float = WORDS_ALONE) -> Batch:
    """`count` samples of `window` px: whole pictures or crops, with prompts, control and a reference."""
    device, factor = pool.device, pool.size // pool.latents.shape[-1]
    known = pool.ready

    def chance(share: float) -> Tensor:
        return torch.rand(count, device=device) < share

    def corner(side: int) -> tuple[Tensor, Tensor]:
        # Corners on every level of the UNet's grid.
        places = (pool.size - side) // (4 * factor) + 1
        top, left = torch.randint(0, places, (2, count), device=device) * 4
        return top, left

    design = torch.randint(0, known, (count,), device=device)
    shares = torch.tensor(VIEW_SHARES, device=device)
    view = torch.multinomial(shares, count, replacement=True)
    sewn = view >= SEWN[0]
    top, left = corner(window)
    side = window // factor
    latents = _window(pool.latents, (design, view), top, left, side).float()
    tile = _window(pool.tile, (design,), top * factor, left * factor, window).float() / 255
    edge = _window(pool.edge[:, None], (design,), top * factor, left * factor, window).float()
    read = sewn & chance(READ_SHARE)
    wording = torch.randint(0, WORDINGS, (count,), device=device)
    # A reference says how it is sewn; the words beside it say no more than that it is.
    wording = torch.where(read, wording % (WORDINGS // 2), wording)
    tokens = pool.tokens[design, view, wording].long()

    other = partner(design, view, torch.randint(1, WEARERS, (count,), device=device))
    other = torch.where((other < known) & sewn, other, design)
    half = pool.size // 2
    # From about the middle, where the motif is.
    places = (pool.size // 8 + torch.randint(0, pool.size // 4 + 1, (2, count), device=device)) // factor
    reference = _window(pool.latents, (other, view), places[0], places[1], half // factor).float()

    full = torch.full_like(top, pool.size)
    ids = [full, full, top * factor, left * factor, full * 0 + window, full * 0 + window]
    fate = torch.rand(count, device=device)
    tile_alone = (fate >= words_alone) & (fate < words_alone + ONE_BRANCH)
    edge_alone = (fate >= words_alone + ONE_BRANCH) & (fate < words_alone + 2 * ONE_BRANCH)
    both = fate >= words_alone + 2 * ONE_BRANCH
    return Batch(
        latents,
        tile,
        edge,
        tokens[:, 0],
        tokens[:, 1],
        torch.stack(ids, 1).float(),
        reference,
        read,
        tile_alone | both,
        edge_alone | both,
        window == pool.size,
    )


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        share: Of the time.
        windows: Side of the samples in pixels to the share of the steps that look at them so.
        batch: Samples of a whole picture in a step; smaller windows come in larger batches.
    """

    share: float
    windows: dict[int, float]
    batch: int


class Trainer:
    """The whole state of a base training; `run` goes on with it for some minutes.

    A training is resumed from `state.pt` in its work folder, and started from the weights in `folder` when there is no
    state but there are weights.

    Args:
        folder: The base's folder; its `vae/` must be trained.
        work: Where the training's state is kept.
        text: Folder of the distilled text encoders, for a new base.
        device: Where it trains.
        compiled: Compile the UNet: minutes, then about twice as fast on a GPU. Needs a C++ compiler on a CPU.
    """

    def __init__(self, folder: Path, work: Path, text: Path, device: str = "cpu", *, compiled: bool = False) -> None:
        self.together = Together()
        device = self.together.device(device)
        self.folder, self.work, self.device = folder, work, device
        work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        self.network = Network.load(folder) if (folder / "unet").exists() else Network.new(text)
        for module in self.network.modules():
            module.to(device)
            module.train()
        for module in (self.network.unet, self.network.tile, self.network.edge, self.network.reader):
            module.to(memory_format=torch.channels_last)
        split_prompts(self.network.unet, self.network.reader.tokens)
        self.compiled: Any = torch.compile(self.network.unet, dynamic=False) if compiled else None
        named = [(n, p) for n, p in self.network.named_parameters() if not _frozen(n)]
        self.parameters = [p for _, p in named]
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not _frozen(name))
        self.optimiser = TwoOptimisers(named, _eagerness, PEAK_RATE, fused=device.startswith("cuda"))
        self.average = Averaged(self.parameters, 0.9985)
        self.step = self.seen = 0
        state = work / "state.pt"
        if state.exists():
            self._restore(torch.load(state, map_location=device, weights_only=True))
        self.together.share([*self.parameters, *self.average.values])
        alphas = build_scheduler().alphas_cumprod.to(device)
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def _restore(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, targets in (("live", self.parameters), ("average", self.average.values)):
                for target, value in zip(targets, state[name], strict=True):
                    target.copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seen, self.average.steps = state["counts"]

    def save(self) -> None:
        """Averaged weights to the base's folder, everything else to the work folder; of several processes the first."""
        if self.together.is_first:
            self._write()
        self.together.wait()

    def _write(self) -> None:
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

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the velocity over a batch, each sample at its own timestep."""
        count, clean, network = len(batch.latents), batch.latents, self.network
        eps = torch.randn_like(clean)
        t = torch.randint(0, 1000, (count,), device=self.device)
        chosen = torch.rand(count, device=self.device) < STITCHING_SHARE
        t = torch.where(chosen, torch.randint(*STITCHING, (count,), device=self.device), t)
        a, s = self.signal[t][:, None, None, None], self.noise[t][:, None, None, None]
        with autocast(self.device):
            ids = torch.cat([batch.content, batch.style])
            prompts = embed_tokens(network.text, [ids, ids])
            content, style = prompts.hidden.chunk(2)
            reference = network.reader(batch.reference)
            # Style blocks read either words or a reference: among two dozen words its few tokens would hardly be heard.
            read = batch.read[:, None].float()
            spans = ((torch.ones_like(read), PROMPT_TOKENS), (1 - read, PROMPT_TOKENS), (read, reference.shape[1]))
            shown = torch.cat([given.expand(-1, length) for given, length in spans], 1)
            residuals = self._control(batch)
            # Crops come in another shape, which is compiled anew: a CPU trains long enough for that to pay.
            pays = batch.whole or self.device == "cpu"
            unet = self.compiled if pays and self.compiled is not None else network.unet
            velocity = unet(
                (a * clean + s * eps).contiguous(memory_format=torch.channels_last),
                t,
                encoder_hidden_states=torch.cat([content, style, reference.to(content.dtype)], 1),
                encoder_attention_mask=shown,
                added_cond_kwargs={"text_embeds": prompts.pooled[:count], "time_ids": batch.time_ids},
                down_block_additional_residuals=residuals.down,
                mid_block_additional_residual=residuals.mid,
                return_dict=False,
            )[0]
        error: Tensor = velocity.float() - (a * eps - s * clean)
        return error.square().mean()

    def _control(self, batch: Batch) -> Residuals:
        parts = []
        for branch, conditioning, kept in (
            (self.network.tile, batch.tile, batch.tile_kept),
            (self.network.edge, batch.edge, batch.edge_kept),
        ):
            down, mid = branch(conditioning)
            gate = kept[:, None, None, None].to(mid.dtype)
            parts.append((Residuals(tuple(x * gate for x in down), mid * gate), 1.0))
        total = add_residuals(parts)
        if total is None:
            raise ValueError("a base is trained with both control branches")
        return total

    def run(
        self,
        pool: Pool,
        minutes: float,
        phases: list[Phase],
        *,
        words_alone: float = WORDS_ALONE,
        decay_from: float = 0.6,
        peak: float = PEAK_RATE,
        save_every: float = 5.0,
        report: Callable[[str], None] = print,
    ) -> None:
        """Trains for `minutes`.

        Args:
            pool: Rendered designs with latents; may grow meanwhile.
            minutes: Wall-clock time; the rate falls over the last part of it.
            phases: What is looked at when.
            words_alone: Share of the samples that are drawn without control.
            decay_from: Share of the time after which the rate falls.
            peak: Highest rate.
            save_every: Minutes between checkpoints.
            report: Takes a line of log now and then.

        Raises:
            RuntimeError: the pool's worker failed.
        """
        torch.manual_seed(self.step + 1_000_003 * self.together.rank)
        begin, saved = time.monotonic(), 0.0
        first, start = self.step, self.seen
        losses: list[Tensor] = []
        ends = torch.tensor([phase.share for phase in phases]).cumsum(0)
        while (done := self.together.agree((time.monotonic() - begin) / (60 * minutes), self.device)) < 1:
            if pool.failure:
                raise RuntimeError("the corpus could not be rendered") from pool.failure
            warmup = 20 if first else 100
            self.optimiser.set_rate(peak * warmup_decay(self.step - first, done, warmup, decay_from))
            phase = phases[min(int((ends <= done * float(ends[-1])).sum()), len(phases) - 1)]
            window = list(phase.windows)[int(torch.multinomial(torch.tensor(list(phase.windows.values())), 1))]
            count = max(4, phase.batch * pool.size**2 // window**2)
            loss = self.loss(draw_batch(pool, count, window, words_alone))
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.together.average_gradients(self.parameters)
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimiser.step()
            self.average.update()
            self.step, self.seen = self.step + 1, self.seen + count * self.together.count
            losses.append(loss.detach())
            if self.step % 50 == 0:
                mean = float(torch.stack(losses).mean())
                losses.clear()
                if not math.isfinite(mean):
                    raise RuntimeError(f"the training diverged at step {self.step}")
                if self.together.is_first:
                    report(log_line("base", self.step, done, begin, self.seen - start, loss=mean))
            if done - saved > save_every / minutes:
                self.save()
                saved = done
        self.save()


def _frozen(name: str) -> bool:
    return name.startswith("text") and "embeddings" in name


def _eagerness(name: str) -> float:
    if name.startswith("text"):
        return TEXT_EAGERNESS
    return READING_EAGERNESS if "attn2" in name or name.startswith("reader") else 1.0
