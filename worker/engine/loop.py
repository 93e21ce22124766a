"""The training loop: both stages, resumable at any checkpoint.

Every random draw follows from the seed and the step, so a training that was killed and resumed gives, on a CPU, bit for
bit what an unbroken one gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from worker.engine.adapter import TrainingLora, applied
from worker.engine.bases import Base, image_to_tensor
from worker.engine.checkpoint import CheckpointStore, Snapshot
from worker.engine.colour import Bool
from worker.engine.complement import GeneratedPair, complementary_pairs
from worker.engine.config import RenderConfig, TrainConfig, render_config
from worker.engine.control import LiveControl
from worker.engine.drawing import lay, sew
from worker.engine.drawings import Colour
from worker.engine.heap import kept_heap
from worker.engine.pairs import Pair, build_pair
from worker.engine.prepare import prepare_reference
from worker.engine.progress import Progress, StageClock
from worker.engine.quilt import Swatch
from worker.engine.sampling import control_of
from worker.engine.seeds import generator
from worker.engine.stage_one import TrainingPair, Updates, Wording, draw_batch, modulation_steps, motif_windows
from worker.engine.stage_two import contrastive_step
from worker.engine.training_unet import TrainingUNet

CHECKPOINT = "training.safetensors"
"""Name of the blob in the checkpoint store."""

PREVIEW_STEPS = 6


@dataclass(frozen=True)
class Material:
    """A pair with everything that training computes of it once.

    ``caption`` is c_des, ``digest`` tells one pair from another.
    """

    pair: Pair
    caption: str
    training: TrainingPair
    digest: str

    @classmethod
    def make(cls, base: Base, pair: Pair, words: str, config: TrainConfig) -> Material:
        """``words`` is what the pair shows; empty when nobody said."""
        caption = content_prompt(words)
        digest = hashlib.sha256(pair.embroidery.tobytes() + pair.design.tobytes() + caption.encode()).hexdigest()
        mask = np.asarray(pair.mask, dtype=bool)
        return cls(pair, caption, training_pair(base, pair.embroidery, pair.design, caption, config, mask), digest)


def content_prompt(words: str) -> str:
    """c_des of the paper, "a <words>"; a motif nobody described is "a design"."""
    words = " ".join(words.split()).strip(" .")
    if not words:
        return "a design"
    return words if words.lower().startswith(("a ", "an ", "the ")) else f"a {words}"


def training_pair(
    base: Base,
    embroidery: Image.Image,
    design: Image.Image,
    caption: str,
    config: TrainConfig,
    mask: Bool | None = None,
) -> TrainingPair:
    """Latents, control and prompts of a pair of RGB pictures of the base's size."""
    latents = base.encode_images(image_to_tensor([embroidery, design]))
    cells = latents.shape[-1]
    side = min(cells, (config.crop or cells * base.downscale) // base.downscale)
    return TrainingPair(
        design=latents[1:],
        embroidery=latents[:1],
        residuals=control_of(base, [design], config.control_tile, config.control_edge),
        named=Wording.of(base, caption),
        unnamed=Wording.of(base, ""),
        windows=motif_windows(mask, cells, side, base.size_multiple // base.downscale),
        side=side,
    )


@dataclass
class Training:
    """Both stages as one loop over steps, resumable at any checkpoint."""

    base: Base
    lora: TrainingLora
    config: TrainConfig
    material: Material
    ground: Colour
    progress: Progress
    checkpoints: CheckpointStore
    clock: StageClock
    swatch: Swatch | None
    also: Sequence[Material] = ()
    step: int = 0
    losses: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in Updates.KINDS})
    generated: list[GeneratedPair] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.updates = Updates(self.lora, self.config)
        checkpointing = self.config.checkpointing or "checkpointing" in self.base.savings
        self.unet = TrainingUNet(self.base, self.lora, checkpointing=checkpointing)
        identity = (self.config.as_json(), self.base.info.name, self.base.info.version)
        digests = [material.digest for material in (self.material, *self.also)]
        self.fingerprint = hashlib.sha256(json.dumps([*identity, *digests, self.lora.style]).encode()).hexdigest()

    def run(self) -> None:
        """Runs what is left of both stages."""
        config = self.config
        self._resume()
        laid = self.swatch is not None and self._render().lay_stitches
        if config.preview_every and self.step == 0 and (laid or config.warm_start):
            # Something to see seconds after the photo.
            self._preview()
        with self.clock.stage("stage_one"), kept_heap():
            self._steps("stage_one", config.stage_one_steps)
        if config.total_steps <= config.stage_one_steps:
            return
        with self.clock.stage("complement"):
            self._complement()
        with self.clock.stage("stage_two"), kept_heap():
            others = [
                training_pair(self.base, item.embroidery, item.design, item.caption, config) for item in self.generated
            ]
            self._steps("stage_two", config.total_steps, others)
        self.unet.clear()

    def _steps(self, stage: str, until: int, others: Sequence[TrainingPair] = ()) -> None:
        """Steps of one stage, each on one of the references; with ``others``, one of them joins it."""
        config, begin = self.config, 0 if stage == "stage_one" else self.config.stage_one_steps
        while self.step < until:
            self.progress.update(stage, self.step - begin, until - begin)
            source = generator(config.seed, "step", self.step)
            references = [self.material, *self.also]
            turn = int(torch.randint(len(references), (1,), generator=source)) if self.also else 0
            chosen = [(references[turn].training, 1.0)]
            if others:
                pick = int(torch.randint(len(others), (1,), generator=source))
                chosen.append((others[pick], config.generated_weight))
            batch = draw_batch(self.base, chosen, config, source)
            self.updates.set_rate(config.rate_at(self.step))
            losses = modulation_steps(self.unet, self.updates, batch)
            if others:
                losses |= contrastive_step(self.unet, self.lora, self.updates, batch, config.contrastive_weight)
            for kind, loss in losses.items():
                self.losses[kind].append(loss)
            self.step += 1
            if self.step == until or (config.checkpoint_every and self.step % config.checkpoint_every == 0):
                self._save()
            if config.preview_every and self.step % config.preview_every == 0 and self.step < until:
                self._preview()
        self.progress.update(stage, until - begin, until - begin)

    def _complement(self) -> None:
        """Makes the complementary pairs, unless a checkpoint brought them."""
        if self.generated:
            return
        pair = self.material.training

        def build_design(embroidery: Image.Image) -> Image.Image:
            # a crop or another balance of colours would part the design from its embroidery
            prepared = prepare_reference(embroidery, self.base.info.resolution, crop="whole", balance=False)
            return build_pair(prepared, "flatten", seed=self.config.seed).design

        self.generated = complementary_pairs(
            self.base,
            (pair.embroidery, pair.design),
            self.material.caption,
            self.config.complement,
            ground=self.ground,
            seed=self.config.seed,
            build_design=build_design,
            swatch=self.swatch,
            on_step=lambda step, total: self.progress.update("complement", step, total),
        )
        self._save()

    def _render(self) -> RenderConfig:
        return render_config(self.config.sample_render, small=self.base.info.split_prompts, steps=PREVIEW_STEPS)

    def _preview(self) -> None:
        """The pair's own design, drawn with theta_e as it is now."""
        config = self._render()
        with self.lora.off(), applied(self.base.unet, self.lora.style_adapter({})):
            design, seed = self.material.pair.design, self.config.seed
            laid = lay(config, self.swatch, [design], [seed], [self.material.pair.mask])
            picture = sew(self.base, [design], [seed], config, self.material.caption, laid=laid)[0]
        # What only the preview needed gives its memory back to the training.
        control = self.material.training.residuals
        self.base.bring_controls(control.nets if isinstance(control, LiveControl) else ())
        self.progress.preview(picture)

    def curves(self, points: int = 60) -> dict[str, list[float]]:
        """Losses by kind, each averaged to at most ``points`` values."""
        return {
            kind: [round(float(part.mean()), 5) for part in np.array_split(values, min(points, len(values)))]
            for kind, values in self.losses.items()
            if values
        }

    def _save(self) -> None:
        tensors = {f"lora/{name}": value for name, value in self.lora.state().items()}
        tensors |= {f"optimiser/{name}": value for name, value in self.updates.state().items()}
        tensors |= {f"losses/{kind}": torch.tensor(values, dtype=torch.float64) for kind, values in self.losses.items()}
        for index, item in enumerate(self.generated):
            for part in ("embroidery", "design"):
                tensors[f"generated/{index}/{part}"] = torch.from_numpy(np.array(getattr(item, part)))
        values = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            "captions": [item.caption for item in self.generated],
            "seconds": self.clock.seconds(),
        }
        self.checkpoints.save(CHECKPOINT, Snapshot(tensors, values).to_bytes())

    def _resume(self) -> None:
        """Goes on from a checkpoint of this very training; any other, or a damaged one, is ignored."""
        data = self.checkpoints.load(CHECKPOINT)
        if data is None:
            return
        try:
            snapshot = Snapshot.from_bytes(data)
        except ValueError:
            return
        if snapshot.values.get("fingerprint") != self.fingerprint:
            return

        def under(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in snapshot.tensors.items() if k.startswith(prefix)}

        self.lora.load(under("lora/"))
        self.updates.load(under("optimiser/"))
        self.losses = {kind: values.tolist() for kind, values in under("losses/").items()}
        pictures = {name: Image.fromarray(array.numpy()) for name, array in under("generated/").items()}
        self.generated = [
            GeneratedPair(caption, pictures[f"{index}/embroidery"], pictures[f"{index}/design"])
            for index, caption in enumerate(snapshot.values["captions"])
        ]
        training = ("stage_one", "complement", "stage_two")  # the other stages are done anew
        self.clock.earlier = {name: snapshot.values["seconds"].get(name, 0.0) for name in training}
        self.step = int(snapshot.values["step"])
