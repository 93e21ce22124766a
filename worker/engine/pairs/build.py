"""One door to the three pair builders."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from worker.engine.colour import to_float, to_image
from worker.engine.pairs.artwork import design_from_artwork
from worker.engine.pairs.diffusion import DesignModel, draw_design
from worker.engine.pairs.flatten import flatten
from worker.engine.pairs.pair import Pair, pair_figures
from worker.engine.prepare import PreparedReference

__all__ = ["BUILDERS", "Builder", "build_pair"]

Builder: TypeAlias = Literal["artwork", "flatten", "diffusion"]
BUILDERS: Final[tuple[str, ...]] = get_args(Builder)


def build_pair(
    prepared: PreparedReference,
    builder: str,
    artwork: Image.Image | None = None,
    seed: int = 0,
    diffusion: DesignModel | None = None,
) -> Pair:
    """Build the flat design of a prepared embroidery.

    Args:
        prepared: from :func:`worker.engine.prepare.prepare_reference`.
        builder: ``artwork``, ``flatten`` or ``diffusion``.
        artwork: the shop's own artwork, for ``artwork``.
        seed: of clustering and of the base model.
        diffusion: what lets the base draw, for ``diffusion``.

    Returns:
        The pair. Where artwork cannot be brought onto the photo, the design is drawn by ``flatten`` instead, the pair's
        builder says so and the report holds a sentence under ``fallback``.

    Raises:
        ValueError: unknown builder, or ``artwork`` without artwork.
        DiffusionUnavailableError: ``diffusion`` without a model (a ValueError too).
    """
    if builder not in BUILDERS:
        raise ValueError(f"unknown pair builder {builder!r}; there are {', '.join(BUILDERS)}")
    embroidery = to_float(prepared.embroidery)
    ground = np.array(prepared.ground_rgb, np.float32)
    report = {}
    used = builder
    if builder == "diffusion":
        design = draw_design(prepared.embroidery, diffusion, seed)
    else:
        picture = None
        if builder == "artwork":
            if artwork is None:
                raise ValueError("The artwork is missing. Please upload it, or let the design be drawn from the photo.")
            registered = design_from_artwork(prepared, artwork, seed)
            report.update(registered.report)
            picture = registered.picture
        if picture is None:
            flat = flatten(embroidery, prepared.mask, ground, prepared.thread_period, seed)
            report.update(flat.report)
            picture, used = flat.picture, "flatten"
        design = to_image(picture)
    figures = pair_figures(prepared.embroidery, design, prepared.mask, prepared.thread_period)
    return Pair(prepared.embroidery, design, prepared.mask, used, {"builder": used, **report, **figures})
