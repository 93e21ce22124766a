"""One door to the three pair builders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from worker.engine.colour import to_float, to_image
from worker.engine.pairs.artwork import design_from_artwork
from worker.engine.pairs.diffusion import DesignConfig, DesignModel, draw_design
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
    *,
    caption: str = "",
    numbers: DesignConfig | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Pair:
    """Build the flat design of a prepared embroidery.

    Args:
        prepared: from :func:`worker.engine.prepare.prepare_reference`.
        builder: ``artwork``, ``flatten`` or ``diffusion``.
        artwork: the shop's own artwork, for ``artwork``.
        seed: of clustering and of the design model.
        diffusion: what draws, for ``diffusion``.
        caption: what the embroidery shows, for ``diffusion``; may be empty.
        numbers: of ``diffusion``; the paper's when left out.
        on_step: called after each step of ``diffusion`` with (steps done, of how many); may raise to stop.

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
    report: dict[str, Any] = {}
    used = builder
    if builder == "diffusion":
        design, said = draw_design(prepared.embroidery, diffusion, seed, caption, numbers, on_step)
        report.update(said)
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
