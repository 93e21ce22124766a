"""One batch of pictures: designs with stitches laid on them, designs or words drawn by whatever style is on the UNet.

From a design: SDEdit (Meng et al. 2022, arXiv 2108.01073) under tile and edge control, then the colour fix. From a
brief: from noise, with guidance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from worker.engine.bases import Base, image_to_tensor, tensor_to_image
from worker.engine.colour import Bool, lab_colour_fix
from worker.engine.config import RenderConfig
from worker.engine.quilt import Laid, Swatch, lay_stitches
from worker.engine.sampling import Conditions, conditions, control_of, denoise, passes
from worker.engine.seeds import generator, normal


@dataclass(frozen=True)
class Drawing:
    """One picture to be drawn, alone or in a batch with others of its :attr:`kind`.

    Attributes:
        seed: of its noise.
        config: every number.
        design: RGB, prepared; ``None``: from words, or from a draft of words.
        content: what it shows, if known.
        laid: the design with stitches on it, to be dissolved in its place.
        draft: a picture of the result's size, to be dissolved in its place.
    """

    seed: int
    config: RenderConfig
    design: Image.Image | None = None
    content: str = ""
    laid: Laid | None = None
    draft: Image.Image | None = None

    @property
    def runs(self) -> int:
        """Steps that are made."""
        return self.config.steps if self.design is None and self.draft is None else passes(self.config)

    @property
    def kind(self) -> tuple[object, ...]:
        """Drawings that agree in it can be one batch."""
        start = self.laid.picture if self.laid is not None else self.draft or self.design
        size = None if start is None else start.size
        # Neither a preset's name nor how often its caller wants to look changes a picture.
        numbers = replace(self.config, preset="", preview_every=0)
        return numbers, size, self.design is None, self.laid is None, self.draft is None


def draw(
    base: Base,
    drawings: Sequence[Drawing],
    on_step: Callable[[int, int, Tensor], None] | None = None,
    told: Conditions | None = None,
) -> list[Image.Image]:
    """Draws what is of one kind with whatever is on the UNet, as one batch.

    Args:
        base: the base.
        drawings: of one :attr:`Drawing.kind`, and of one content unless ``told`` says otherwise.
        on_step: see :func:`worker.engine.sampling.denoise`.
        told: see :func:`sew`.

    Returns:
        One RGB picture a drawing.
    """
    first, seeds = drawings[0], [one.seed for one in drawings]
    if first.design is None and first.draft is None:
        return imagine(base, first.content, seeds, first.config, on_step, told)
    designs = [one.design for one in drawings if one.design is not None]
    if all(one is designs[0] for one in designs):
        designs = designs[:1]  # read once, whatever is made of it
    drafts = [one.draft for one in drawings if one.draft is not None]
    laid = [one.laid for one in drawings if one.laid is not None]
    return sew(base, designs, seeds, first.config, first.content, on_step, drafts, laid, told)


def sew(
    base: Base,
    designs: Sequence[Image.Image],
    seeds: Sequence[int],
    config: RenderConfig,
    content: str = "",
    on_step: Callable[[int, int, Tensor], None] | None = None,
    drafts: Sequence[Image.Image] = (),
    laid: Sequence[Laid] = (),
    told: Conditions | None = None,
) -> list[Image.Image]:
    """Draws prepared designs anew with whatever adapter is on the UNet, one batch.

    Args:
        base: the base.
        designs: RGB, all of one size; one for all seeds, or one a seed; none where only drafts are known.
        seeds: one a picture.
        config: every number; the colour fix is part of it.
        content: what the designs show, if known.
        on_step: see :func:`worker.engine.sampling.denoise`.
        drafts: pictures to dissolve and draw again instead of the designs, one a seed, of the designs' size.
        laid: the designs with stitches on them (:func:`lay`), one a seed, to dissolve and draw again instead.
        told: prompts, one a seed, in place of those of ``content``; its control is replaced by the designs'.

    Returns:
        One RGB picture a seed, of the designs' size.
    """
    if not laid and not drafts:
        config = config.without_stitches()
    # Broad shading is the sample's photograph, not its style.
    even = [lab_colour_fix(one.picture, one.colours, 1.0, config.hold_lightness) for one in laid]
    start = base.encode_images(image_to_tensor(even or drafts or designs))
    control = control_of(base, designs, config.control_tile, config.control_edge) if designs else None
    # A second drawing with the first one's noise would only find again what that noise became.
    noise = _noise(base, seeds, start.shape[-1], "refine" if drafts else "render")
    given = conditions(base, content, config, control) if told is None else replace(told, residuals=control)
    latents = denoise(base, noise, given, config, start=start, on_step=on_step, sources=_sources(seeds))
    pictures = tensor_to_image(base.decode_latents(latents))
    colours = float(config.colour_fix and bool(designs))
    flat = [one.colours for one in laid] or [*(designs or drafts)]
    if even and config.laid_hold:
        return [
            lab_colour_fix(picture, one.colours, colours, config.laid_hold, light)
            for picture, one, light in zip(pictures, laid, even, strict=True)
        ]
    if not (colours or config.hold_lightness):
        return pictures
    flat = flat if len(flat) == len(pictures) else flat[:1] * len(pictures)
    return [
        lab_colour_fix(picture, design, colours, config.hold_lightness, light)
        for picture, design, light in zip(pictures, flat, drafts or flat, strict=True)
    ]


def lay(
    config: RenderConfig,
    swatch: Swatch | None,
    designs: Sequence[Image.Image],
    seeds: Sequence[int],
    masks: Sequence[Bool | None] = (),
) -> list[Laid]:
    """What :func:`sew` draws from if ``config`` wants the sample's stitches laid first and the style brings some.

    Args:
        config: of the render.
        swatch: the style's.
        designs: one for all seeds, or one a seed.
        seeds: one a picture.
        masks: true on the designs' motifs; where there is none the motif is found by its cloth's colour.
    """
    if swatch is None or not config.lay_stitches or not designs:
        return []
    masks = masks or [None] * len(designs)
    of = range(len(seeds)) if len(designs) > 1 else [0] * len(seeds)
    return [lay_stitches(swatch, designs[i], masks[i], seed) for i, seed in zip(of, seeds, strict=True)]


def imagine(
    base: Base,
    brief: str,
    seeds: Sequence[int],
    config: RenderConfig,
    on_step: Callable[[int, int, Tensor], None] | None = None,
    told: Conditions | None = None,
) -> list[Image.Image]:
    """Draws a brief from noise with whatever adapter is on the UNet, one batch; one RGB picture a seed.

    ``told`` are prompts, one a seed, in place of the brief's.
    """
    noise = _noise(base, seeds, size_of(base, config) // base.downscale, "render")
    given = conditions(base, brief, config) if told is None else told
    latents = denoise(base, noise, given, config, on_step=on_step, sources=_sources(seeds))
    return tensor_to_image(base.decode_latents(latents))


def _noise(base: Base, seeds: Sequence[int], side: int, purpose: str) -> Tensor:
    shape = (1, base.latent_channels, side, side)
    return torch.cat([normal(shape, generator(seed, purpose), base.device) for seed in seeds])


def _sources(seeds: Sequence[int]) -> list[torch.Generator]:
    """Of the noise that some samplers add between steps: what is drawn beside a picture must not change it."""
    return [generator(seed, "sampler") for seed in seeds]


def size_of(base: Base, config: RenderConfig) -> int:
    """Pixels of the picture's side: the request's or the base's, in whole cells of the UNet's coarsest level."""
    wanted = config.size or base.info.resolution * (2 if config.quality == "final" else 1)
    return max(base.size_multiple, round(wanted / base.size_multiple) * base.size_multiple)
