"""From one photo to a style: prepare, pair, stage one, complementary pairs, stage two, samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageStat
from torch import Tensor

from worker.engine.adapter import TOKENS, Adapter, style_on, training_lora
from worker.engine.bases import Base, image_to_tensor
from worker.engine.blocks import BlockSimilarity, block_similarity
from worker.engine.checkpoint import CheckpointStore, MemoryStore
from worker.engine.colour import rgb_to_lab
from worker.engine.config import TrainConfig, render_config
from worker.engine.drawing import lay, sew
from worker.engine.drawings import Colour, draw_designs
from worker.engine.few_steps import DRAFT, DraftCheck, check_draft
from worker.engine.loop import Material, Training
from worker.engine.metrics import (
    high_frequency_difference,
    histogram_distance,
    log_gabor_distance,
    log_gabor_statistics,
)
from worker.engine.pairs import DesignModel, Pair, build_pair
from worker.engine.prepare import PreparedReference, prepare_reference
from worker.engine.progress import NullProgress, Progress, StageClock
from worker.engine.quilt import Swatch
from worker.engine.render_work import BATCH
from worker.engine.routing import attention_blocks
from worker.engine.version import STYLE_FORMAT, hoop_version

_LINE = 3.0
"""Pixels of blur under which threads' light and shade, and outlines a thread off, are even; a lost line stays."""
_OTHER = 30.0
"""Lab units from which a colour is another one, and no shade."""
_TOLERATED = 0.01
"""Share of the motif that a design drawn from the photo may have in other colours beyond what the artwork has."""


@dataclass(frozen=True)
class PairInput:
    """What a style is learnt from.

    Attributes:
        reference: photo of the embroidery.
        artwork: the design it was sewn from, for the builder ``artwork``.
        builder: pair builder.
        caption: what it shows, such as "red fox"; may be empty.
        pair: a pair that was built and accepted before; then the builder is not asked again.
        more: further photos of the same style, whose designs are drawn from them.
    """

    reference: Image.Image
    artwork: Image.Image | None = None
    builder: str = "flatten"
    caption: str = ""
    pair: Pair | None = None
    more: tuple[Image.Image, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A design of our own in the new style."""

    words: str
    design: Image.Image
    picture: Image.Image


@dataclass(frozen=True)
class TrainedStyle:
    """The result of a training.

    Attributes:
        adapter: the safetensors file.
        manifest: also in the file's metadata: base, style blocks, rank, seed, config, caption, Hoop's version.
        pair: E and D as they were learnt from.
        report: losses, seconds by stage, block similarity, the pair's report, warnings, metrics; JSON values.
        samples: for staff to judge by.
    """

    adapter: bytes
    manifest: dict[str, Any]
    pair: Pair
    report: dict[str, Any]
    samples: list[Sample]


def train_style(
    base: Base,
    source: PairInput,
    config: TrainConfig,
    progress: Progress | None = None,
    checkpoints: CheckpointStore | None = None,
    design_model: DesignModel | None = None,
) -> TrainedStyle:
    """Learns one style. The base's weights are afterwards what they were before, whatever happens.

    Args:
        base: the base model.
        source: photo and what is known about it.
        config: every number; see :func:`worker.engine.config.train_config`.
        progress: told about every step; may stop the training.
        checkpoints: where the state is kept; a state of the same training found there is gone on with. The caller
            clears it once the result is safe.
        design_model: draws the design for the builder ``diffusion``; asked before anything is put on the base.

    Raises:
        Canceled: the caller's progress asked to stop.
        ValueError: the photo or the artwork cannot be used; the message says why.
    """
    base.swap.release()
    progress, checkpoints, clock = progress or NullProgress(), checkpoints or MemoryStore(), StageClock()
    size = base.info.resolution
    with clock.stage("prepare"):
        progress.update("prepare", 0, 1)
        prepared = prepare_reference(source.reference, size)
        progress.update("prepare", 1, 1)
    with clock.stage("pair"):
        progress.update("pair", 0, 1)
        pair = source.pair or build_pair(
            prepared,
            source.builder,
            source.artwork,
            config.seed,
            design_model,
            caption=source.caption,
            on_step=partial(progress.update, "pair"),
        )
        further, pairs = _further(source.more, size, config.seed)
        progress.update("pair", 1, 1)
    swatch = swatch_of(pair, prepared)
    tokens = base.read_reference(base.encode_images(image_to_tensor([pair.embroidery]))) if config.warm_start else None
    with base.reference_tokens(tokens):
        material = Material.make(base, pair, source.caption, config)
        also = [Material.make(base, one, "", config) for one in pairs]
    with clock.stage("blocks"):
        similarity, style_blocks = _style_blocks(base, material, config)
    manifest = {
        "format": STYLE_FORMAT,
        "hoop_version": hoop_version(),
        "base": {"name": base.info.name, "version": base.info.version},
        "style_blocks": list(style_blocks),
        "rank": config.rank,
        "caption": source.caption,
        "style_word": base.info.style_word,
        "pair_builder": pair.builder,
        "ground_rgb": [round(value, 4) for value in prepared.ground_rgb],
        "motif_px": round(prepared.motif_px, 1),
        "photos": 1 + len(source.more),
        "seed": config.seed,
        "config": config.as_json(),
        "similarity": None if similarity is None else similarity.as_json(),
    }
    if tokens is not None:
        manifest[TOKENS] = _rounded(tokens)
    with (
        base.style_blocks(style_blocks),
        base.reference_tokens(tokens),
        training_lora(base.unet, style_blocks, config.rank, config.seed) as lora,
    ):
        ground = _rgb8(prepared.ground_rgb)
        training = Training(base, lora, config, material, ground, progress, checkpoints, clock, swatch, also)
        training.run()
        adapter = lora.style_adapter(manifest, swatch)
    if config.block_choice == "soft" and similarity is not None:
        adapter = _softened(adapter, similarity)
    with clock.stage("samples"):
        samples, metrics, draft = _samples(base, adapter, pair, prepared, config, progress)
    if draft is not None:
        adapter = replace(adapter, manifest=adapter.manifest | {DRAFT: draft.as_json()})
    report = {
        "losses": training.curves(),
        "seconds": clock.seconds(),
        "similarity": manifest["similarity"],
        "style_blocks": list(style_blocks),
        "pair": pair.report,
        "complementary": [item.caption for item in training.generated],
        "warnings": [
            *(warning.as_dict() for warning in prepared.warnings),
            *(
                replace(warning, message=f"Photo {number}: {warning.message}").as_dict()
                for number, one in enumerate(further, 2)
                for warning in one.warnings
            ),
        ],
        "metrics": metrics,
        **({} if draft is None else {DRAFT: draft.as_json()}),
    }
    return TrainedStyle(adapter.to_bytes(), adapter.manifest, pair, report, samples)


def style_at_a_glance(base: Base, pair: Pair, *, read: bool = False) -> Adapter:
    """A style without training, to be rendered with and not kept: the sample's stitches, to be laid on designs.

    Args:
        base: the base model.
        pair: of the base's size.
        read: style blocks also read what the base's reader sees in the embroidery.

    Raises:
        ValueError: this base has no reader, and one was asked for.
    """
    manifest: dict[str, Any] = {"style_blocks": list(base.info.style_blocks)}
    if read:
        manifest[TOKENS] = _rounded(base.read_reference(base.encode_images(image_to_tensor([pair.embroidery]))))
    return Adapter({}, manifest, swatch_of(pair))


def _further(photos: Sequence[Image.Image], size: int, seed: int) -> tuple[list[PreparedReference], list[Pair]]:
    """Further photos prepared, and their designs drawn from them; what is wrong with one names it."""
    prepared, pairs = [], []
    for number, photo in enumerate(photos, 2):
        try:
            prepared.append(prepare_reference(photo, size))
            pairs.append(build_pair(prepared[-1], "flatten", seed=seed))
        except ValueError as error:
            raise ValueError(f"Photo {number}: {error}") from error
    return prepared, pairs


def swatch_of(pair: Pair, prepared: PreparedReference | None = None) -> Swatch | None:
    """What is kept to lay stitches from; none of a photo in which no motif was found."""
    if not pair.mask.any():
        return None
    told = _as_sewn(pair)
    fine = None if prepared is None else prepared.fine
    if fine is not None and prepared is not None:
        # A pair that was accepted before may show another part of the photo.
        off = ImageStat.Stat(ImageChops.difference(pair.embroidery, prepared.embroidery)).mean
        fine = fine if max(off) < 2 else None
    return Swatch(pair.embroidery, told.design, told.mask, fine)


def _as_sewn(pair: Pair) -> Pair:
    """The pair with the design that says best where the stitches lie.

    Thread pulls cloth and reaches over outlines, so an artwork is seldom where it was sewn; a design drawn from the
    photo is, unless it lost something. Stitches laid by it keep a new design's outlines better (docs/benchmark.md).
    """
    if pair.builder == "flatten":
        return pair
    prepared = prepare_reference(pair.embroidery, max(pair.embroidery.size), crop="whole", balance=False)
    drawn = build_pair(prepared, "flatten")
    if drawn.design.size != pair.design.size or not drawn.mask.any():
        return pair

    motif = np.asarray(pair.mask) | np.asarray(drawn.mask)

    def lost(one: Pair) -> float:
        sewn, flat = (rgb_to_lab(x.filter(ImageFilter.GaussianBlur(_LINE))) for x in (pair.embroidery, one.design))
        return float((np.linalg.norm(sewn - flat, axis=-1) > _OTHER)[motif].mean())

    return drawn if lost(drawn) <= lost(pair) + _TOLERATED else pair


def _rounded(tokens: Tensor) -> list[list[float]]:
    values: list[list[float]] = [[round(value, 4) for value in token] for token in tokens[0].tolist()]
    return values


def _style_blocks(
    base: Base, material: Material, config: TrainConfig
) -> tuple[BlockSimilarity | None, tuple[str, ...]]:
    """The similarity map, if wanted, and the choice."""
    similarity = None
    if config.analysis_steps:
        pair = material.training
        similarity = block_similarity(base, pair.embroidery, pair.design, pair.named.content, config.analysis_steps)
    if config.block_choice == "base":
        return similarity, base.info.style_blocks
    known, named = tuple(attention_blocks(base.unet)), tuple(config.block_choice.split(","))
    if config.block_choice == "all" or set(named) <= set(known):
        return similarity, known if config.block_choice == "all" else named
    if similarity is None:
        raise ValueError("choosing style blocks by similarity needs analysis_steps")
    return similarity, known if config.block_choice == "soft" else similarity.choose(config.block_choice)


def _softened(adapter: Adapter, similarity: BlockSimilarity) -> Adapter:
    """Every block's part of the LoRA by its weight, which the manifest then holds."""
    weights = {f"unet.{block}.": weight for block, weight in similarity.weights().items()}

    def weight_of(name: str) -> float:
        return next(weight for prefix, weight in weights.items() if name.startswith(prefix))

    tensors = {name: t * weight_of(name) if ".lora_B." in name else t for name, t in adapter.tensors.items()}
    kept = {block: round(weight, 4) for block, weight in similarity.weights().items()}
    return replace(adapter, tensors=tensors, manifest=adapter.manifest | {"block_weights": kept})


def _samples(
    base: Base, adapter: Adapter, pair: Pair, prepared: PreparedReference, config: TrainConfig, progress: Progress
) -> tuple[list[Sample], dict[str, float], DraftCheck | None]:
    """Own designs in the new style, how near the pair's own design comes to the reference, and how its draft fares."""
    size, render = base.info.resolution, render_config(config.sample_render, small=base.info.split_prompts)
    drawn = draw_designs(config.sample_designs, size, _rgb8(prepared.ground_rgb), config.seed + 1)
    designs = [pair.design, *(item.picture for item in drawn)]
    masks = [pair.mask, *(None for _ in drawn)]
    pictures: list[Image.Image] = []
    with style_on(base, adapter):
        for begin in range(0, len(designs), BATCH):
            progress.update("samples", begin, len(designs))
            part = designs[begin : begin + BATCH]
            seeds = range(config.seed + begin, config.seed + begin + len(part))
            laid = lay(render, adapter.swatch, part, seeds, masks[begin : begin + BATCH])
            pictures += sew(base, part, seeds, render, laid=laid)
    progress.update("samples", len(designs), len(designs))
    samples = [Sample(item.words, item.picture, picture) for item, picture in zip(drawn, pictures[1:], strict=True)]
    mask = np.asarray(pair.mask, dtype=bool)
    draft = check_draft(base, adapter, pair.design, mask, pictures[0], render, config.seed)
    return samples, _measured(pictures[0], pair), draft


def _rgb8(colour: Sequence[float]) -> Colour:
    """A colour in 0..1 as Pillow wants it."""
    red, green, blue = (round(255 * value) for value in colour)
    return red, green, blue


def _measured(picture: Image.Image, pair: Pair) -> dict[str, float]:
    """How near the pair's own design, drawn in the style, comes to the reference; the bare design for comparison."""
    mask = np.asarray(pair.mask, dtype=bool)
    texture = log_gabor_statistics(pair.embroidery, mask)
    return {
        "log_gabor_distance": log_gabor_distance(log_gabor_statistics(picture, mask), texture),
        "log_gabor_distance_of_design": log_gabor_distance(log_gabor_statistics(pair.design, mask), texture),
        "high_frequency_difference": high_frequency_difference(picture, pair.embroidery, mask, mask),
        "high_frequency_difference_of_design": high_frequency_difference(pair.design, pair.embroidery, mask, mask),
        "histogram_distance_to_design": histogram_distance(picture, pair.design, mask, mask),
    }
