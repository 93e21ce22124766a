"""Rendering: a design or a brief becomes an embroidery in a learnt style (section 5 of arXiv 2509.18948).

From a design: SDEdit (Meng et al. 2022, arXiv 2108.01073) under tile and edge control, then the colour fix. From a
brief: from noise, with guidance. Either way only theta_e, the style blocks' part of the LoRA, is on the UNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worker.engine.adapter import Adapter, style_on
from worker.engine.bases import Base, image_to_tensor, tensor_to_image
from worker.engine.briefs import draw_brief, known_things
from worker.engine.colour import Bool, lab_colour_fix, to_float
from worker.engine.config import RenderConfig, render_config
from worker.engine.cutout import lift_motif
from worker.engine.design import DEFAULT_GROUND
from worker.engine.ground import find_ground
from worker.engine.notices import Notice
from worker.engine.place import place_patch
from worker.engine.prepare import PreparedDesign, prepare_design
from worker.engine.progress import NullProgress, Progress
from worker.engine.sampling import conditions, control_of, denoise
from worker.engine.seeds import generator, normal, variation_seed

BATCH = 4
"""Variations drawn at once: beyond this a CPU gains nothing and memory grows."""


@dataclass(frozen=True)
class GarmentPlacement:
    """Where on which garment, as :func:`worker.engine.place.place_patch` takes it."""

    garment: Image.Image
    placement: object
    width_mm: float | None = None


@dataclass(frozen=True)
class RenderRequest:
    """What to render.

    Attributes:
        design: a picture, RGB or RGBA; or
        brief: a few words, such as "a red fox".
        config: every number; see :func:`worker.engine.config.render_config`.
        variations: pictures wanted; the i-th has the seed ``seed + i`` and is what that seed alone gives.
        garment: where to show the result, if anywhere.
    """

    design: Image.Image | None = None
    brief: str | None = None
    config: RenderConfig = field(default_factory=RenderConfig)
    variations: int = 1
    seed: int = 0
    garment: GarmentPlacement | None = None

    def __post_init__(self) -> None:
        if (self.design is None) == (not (self.brief or "").strip()):
            raise ValueError("a render needs either a design or a brief")
        if self.variations < 1:
            raise ValueError("a render needs at least one variation")


@dataclass(frozen=True)
class RenderedImage:
    """One variation.

    Attributes:
        patch: the embroidery on its cloth, RGB.
        cutout: the embroidery alone, RGBA.
        garment: the garment with it, if one was given.
        design: the prepared design that was drawn, if one was given.
        warnings: what will not sew well.
    """

    index: int
    seed: int
    patch: Image.Image
    cutout: Image.Image
    garment: Image.Image | None = None
    design: Image.Image | None = None
    warnings: tuple[Notice, ...] = ()


def sew(
    base: Base,
    designs: Sequence[Image.Image],
    seeds: Sequence[int],
    config: RenderConfig,
    content: str = "",
    on_step: Callable[[int, int, Tensor], None] | None = None,
) -> list[Image.Image]:
    """Draws prepared designs anew with whatever adapter is on the UNet, one batch.

    Args:
        base: the base.
        designs: RGB, all of one size; one for all seeds, or one a seed.
        seeds: one a picture.
        config: every number; the colour fix is part of it.
        content: what the designs show, if known.
        on_step: see :func:`worker.engine.sampling.denoise`.

    Returns:
        One RGB picture a seed, of the designs' size.
    """
    start = base.encode_images(image_to_tensor(designs))
    given = conditions(base, content, config, control_of(base, designs, config.control_tile, config.control_edge))
    latents = denoise(base, _noise(base, seeds, start.shape[-1]), given, config, start=start, on_step=on_step)
    pictures = tensor_to_image(base.decode_latents(latents))
    if not config.colour_fix:
        return pictures
    flat = designs if len(designs) == len(pictures) else [designs[0]] * len(pictures)
    return [lab_colour_fix(picture, design) for picture, design in zip(pictures, flat, strict=True)]


def imagine(
    base: Base,
    brief: str,
    seeds: Sequence[int],
    config: RenderConfig,
    on_step: Callable[[int, int, Tensor], None] | None = None,
) -> list[Image.Image]:
    """Draws a brief from noise with whatever adapter is on the UNet, one batch; one RGB picture a seed."""
    side = _size(base, config) // base.downscale
    latents = denoise(base, _noise(base, seeds, side), conditions(base, brief, config), config, on_step=on_step)
    return tensor_to_image(base.decode_latents(latents))


def _noise(base: Base, seeds: Sequence[int], side: int) -> Tensor:
    shape = (1, base.latent_channels, side, side)
    return torch.cat([normal(shape, generator(seed, "render"), base.device) for seed in seeds])


def _size(base: Base, config: RenderConfig) -> int:
    """Pixels of the picture's side: the request's or the base's, in whole cells of the UNet's coarsest level."""
    wanted = config.size or base.info.resolution
    return max(base.size_multiple, round(wanted / base.size_multiple) * base.size_multiple)


class Renderer:
    """Renders in learnt styles with one base. One render at a time: adapters go onto the base's own weights."""

    def __init__(self, base: Base) -> None:
        self.base = base

    def render(
        self, adapter: Adapter | None, request: RenderRequest, progress: Progress | None = None
    ) -> list[RenderedImage]:
        """Renders all variations.

        Args:
            adapter: the style; ``None`` shows what the base does without one.
            request: what to render.
            progress: stages prepare, diffuse, decode and place, and previews of the first variation.

        Raises:
            AdapterError: the style belongs to another base.
            PlacementOutsideError: the placement does not lie on the garment.
            Canceled: the caller's progress asked to stop.
        """
        progress = progress or NullProgress()
        progress.update("prepare", 0, 1)
        size = _size(self.base, request.config)
        # The style was learnt on its own cloth; sewn on it a design is nearest to what the adapter knows.
        ground = DEFAULT_GROUND if adapter is None else adapter.manifest.get("ground_rgb", DEFAULT_GROUND)
        request, notices = self._with_drawing(request, size, ground)
        prepared = None
        if request.design is not None:
            prepared = prepare_design(request.design, size, ground_rgb=ground)
        progress.update("prepare", 1, 1)
        seeds = [variation_seed(request.seed, index) for index in range(request.variations)]
        with style_on(self.base, adapter):
            patches = list(self._patches(prepared, request, seeds, progress))
        progress.update("decode", len(patches), len(patches))
        finished = self._finished(prepared, request, seeds, patches, progress)
        return [replace(image, warnings=(*image.warnings, *notices)) for image in finished]

    def _with_drawing(
        self, request: RenderRequest, size: int, ground: Sequence[float]
    ) -> tuple[RenderRequest, tuple[Notice, ...]]:
        """For a base that knows no things, a brief with a drawing of what it names, and what to say about that."""
        if request.brief is None or self.base.info.draws_words:
            return request, ()
        red, green, blue = (round(255 * value) for value in ground)
        drawing = draw_brief(request.brief, size, (red, green, blue))
        if drawing is None:
            listed = ", ".join(known_things())
            return request, (
                Notice(
                    "words_not_drawn",
                    "The small base model cannot draw this from words, so only colours and texture are shown. Please "
                    f"upload a design, or ask for one of the things Hoop has a drawing of: {listed}.",
                ),
            )
        asked = request.config
        config = replace(
            render_config("flat", small=True), steps=asked.steps, size=asked.size, preview_every=asked.preview_every
        )
        return replace(request, brief=None, design=drawing, config=config), (
            Notice(
                "drawn_by_hoop",
                "The small base model cannot draw from words yet: this shows a drawing of Hoop's own. Upload a design "
                "to see yours.",
            ),
        )

    def _patches(
        self, prepared: PreparedDesign | None, request: RenderRequest, seeds: list[int], progress: Progress
    ) -> Iterator[Image.Image]:
        config, total = request.config, request.config.steps * len(seeds)
        for begin in range(0, len(seeds), BATCH):
            part = seeds[begin : begin + BATCH]

            def report(done: int, steps: int, clean: Tensor, begin: int = begin, count: int = len(part)) -> None:
                progress.update("diffuse", config.steps * begin + config.steps * count * done // steps, total)
                if begin == 0 and config.preview_every and done < steps and done % config.preview_every == 0:
                    progress.preview(tensor_to_image(self.base.decode_latents(clean[:1]))[0])

            if prepared is None:
                yield from imagine(self.base, request.brief or "", part, config, report)
            else:
                yield from sew(self.base, [prepared.design], part, config, "", report)

    def _finished(
        self,
        prepared: PreparedDesign | None,
        request: RenderRequest,
        seeds: list[int],
        patches: list[Image.Image],
        progress: Progress,
    ) -> Iterator[RenderedImage]:
        for index, (seed, patch) in enumerate(zip(seeds, patches, strict=True)):
            cutout = cut_out(patch, None if prepared is None else prepared.mask)
            garment = None
            if request.garment is not None:
                progress.update("place", index, len(patches))
                placement = request.garment
                garment = place_patch(cutout, placement.garment, placement.placement, placement.width_mm)
            yield RenderedImage(
                index,
                seed,
                patch,
                cutout,
                garment,
                design=None if prepared is None else prepared.design,
                warnings=() if prepared is None else prepared.warnings,
            )
        if request.garment is not None:
            progress.update("place", len(patches), len(patches))


def cut_out(patch: Image.Image, mask: Bool | None) -> Image.Image:
    """The embroidery without its cloth, RGBA with a soft border.

    Args:
        patch: RGB.
        mask: true on the motif, at any size; ``None``: what differs from the cloth in the picture itself.
    """
    motif = find_ground(to_float(patch)).motif if mask is None else np.asarray(mask, dtype=bool)
    if motif.shape != (patch.height, patch.width):
        motif = np.asarray(Image.fromarray(motif).resize(patch.size, Image.Resampling.NEAREST))
    return lift_motif(patch.convert("RGB"), motif)
