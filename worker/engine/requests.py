"""What the engine is asked to render, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from worker.engine.config import RenderConfig
from worker.engine.notices import Notice


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
        design: the prepared design that was drawn, on the cloth's colour, RGB, if one was given.
        design_cutout: the same without the cloth, RGBA, to compare with `cutout`.
        warnings: what will not sew well.
    """

    index: int
    seed: int
    patch: Image.Image
    cutout: Image.Image
    garment: Image.Image | None = None
    design: Image.Image | None = None
    design_cutout: Image.Image | None = None
    warnings: tuple[Notice, ...] = ()
