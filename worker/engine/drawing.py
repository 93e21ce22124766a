"""One batch of pictures: designs with stitches laid on them, designs or words drawn by whatever style is on the UNet.

From a design: SDEdit (Meng et al. 2022, arXiv 2108.01073) under tile and edge control, then the colour fix. From a
brief: from noise, with guidance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from worker.engine.bases import Base, image_to_tensor, tensor_to_image
from worker.engine.colour import Bool, lab_colour_fix
from worker.engine.config import RenderConfig
from worker.engine.quilt import Laid, Swatch, lay_stitches
from worker.engine.sampling import conditions, control_of, denoise
from worker.engine.seeds import generator, normal


def sew(
    base: Base,
    designs: Sequence[Image.Image],
    seeds: Sequence[int],
    config: RenderConfig,
    content: str = "",
    on_step: Callable[[int, int, Tensor], None] | None = None,
    drafts: Sequence[Image.Image] = (),
    laid: Sequence[Laid] = (),
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
    latents = denoise(base, noise, conditions(base, content, config, control), config, start=start, on_step=on_step)
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
) -> list[Image.Image]:
    """Draws a brief from noise with whatever adapter is on the UNet, one batch; one RGB picture a seed."""
    noise = _noise(base, seeds, size_of(base, config) // base.downscale, "render")
    latents = denoise(base, noise, conditions(base, brief, config), config, on_step=on_step)
    return tensor_to_image(base.decode_latents(latents))


def _noise(base: Base, seeds: Sequence[int], side: int, purpose: str) -> Tensor:
    shape = (1, base.latent_channels, side, side)
    return torch.cat([normal(shape, generator(seed, purpose), base.device) for seed in seeds])


def size_of(base: Base, config: RenderConfig) -> int:
    """Pixels of the picture's side: the request's or the base's, in whole cells of the UNet's coarsest level."""
    wanted = config.size or base.info.resolution * (2 if config.quality == "final" else 1)
    return max(base.size_multiple, round(wanted / base.size_multiple) * base.size_multiple)
