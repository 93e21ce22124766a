"""Designs to sew: icons and procedural drawings as areas of ink, placed on cloth and named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from worker.atelier.colours import cloth_colour, colour_words, contrasting_cloth, lab_of, recolour, rgb_of
from worker.atelier.held_out import (
    HELD_OUT_BRIEFS,
    HELD_OUT_DESIGNS,
    SYNONYM_BRIEFS,
    is_held_out_combination,
    is_held_out_design,
)
from worker.atelier.icons import (
    ICON_SETS,
    Icon,
    fetch_icons,
    fonts_in,
    held_out_icons,
    load_icons,
    shuffled,
    training_icons,
)
from worker.atelier.procedural import procedural_design
from worker.atelier.stitches.fields import Field
from worker.atelier.stitches.label_map import SUPERSAMPLING, LabelMap
from worker.atelier.words import caption, in_words, several

__all__ = [
    "HELD_OUT_BRIEFS",
    "HELD_OUT_DESIGNS",
    "ICON_SETS",
    "SYNONYM_BRIEFS",
    "Design",
    "Icon",
    "LabelMap",
    "caption",
    "cloth_colour",
    "colour_words",
    "draw_icon",
    "draw_procedural",
    "fetch_icons",
    "fonts_in",
    "held_out_icons",
    "icon_design",
    "in_words",
    "label_map",
    "load_icons",
    "place_on_cloth",
    "procedural_design",
    "recolour",
    "shuffled",
    "training_icons",
]

RECOLOURED = 0.45
"""Share of the icons drawn in other inks than their own."""

SEVERAL = 0.06
"""Share of the icons drawn two or three times side by side."""


@dataclass(frozen=True)
class Design:
    """A design in its final inks, on its cloth.

    Attributes:
        map: The areas of ink.
        names: What it is called, the canonical name first; no colours.
        source: The icon set, or "procedural".
    """

    map: LabelMap
    names: tuple[str, ...]
    source: str


def draw_icon(icon: Icon, size: int, rng: np.random.Generator) -> Design | None:
    """An icon for training: sometimes several, sometimes in other inks, never in colours that its names hold out.

    Args:
        icon: The drawing.
        size: Pixels a side of the pictures to be made of it.
        rng: Decides on everything.

    Returns:
        None if the drawing covers too little or too much of the cloth, or cannot be had in allowed colours.
    """
    count, names = 1, icon.names
    if rng.random() < SEVERAL:
        count = int(rng.integers(2, 4))
        names = several(names, count)
    design = icon_design(icon, size, rng, count)
    if design is None:
        return None
    if icon.silhouette or rng.random() < RECOLOURED:
        design = recolour(design, rng)
    singular = tuple(re.sub(r"^(two|three) ", "", name) for name in names)
    for _ in range(12):
        if not is_held_out_combination(singular, colour_words(design)):
            return Design(design, names, icon.source)
        design = recolour(design, rng)
    return None


def draw_procedural(size: int, rng: np.random.Generator, fonts: Sequence[Path] = ()) -> Design:
    """A procedural design for training; like `draw_icon`, never a held-out thing or one in held-out colours."""
    while True:
        design, names = procedural_design(size, rng, fonts)
        if not is_held_out_design(names) and not is_held_out_combination(names, colour_words(design)):
            return Design(design, names, "procedural")


def icon_design(icon: Icon, size: int, rng: np.random.Generator, count: int = 1) -> LabelMap | None:
    """An icon on cloth in two to eight inks, the ground included: scaled, shifted, turned a little, perhaps mirrored.

    Args:
        icon: The drawing.
        size: Pixels a side of the pictures to be made of it.
        rng: Decides on placement, cloth and number of inks.
        count: How many of it, side by side; up to three.

    Returns:
        None if it covers less than 8 % or more than 85 % of the cloth.
    """
    rgba = icon.raster(size * SUPERSAMPLING, _placements(count, rng))
    if not 0.08 <= float((rgba[::3, ::3, 3] > _OPAQUE).mean()) <= 0.85:
        return None
    design = label_map(rgba, cloth_colour(rng), int(rng.integers(3, 8)), rng)
    if len(design.palette) < 2:
        return None
    areas = np.bincount(design.labels.ravel()[::7], minlength=len(design.palette))[1:]
    palette = design.palette.copy()
    palette[0] = contrasting_cloth(palette[1:], areas, rng)
    return LabelMap(design.labels, palette)


def _placements(count: int, rng: np.random.Generator) -> list[str]:
    """SVG transforms of `count` copies within the unit square."""
    scale = rng.uniform(0.62, 0.97)
    margin = (1 - scale) / 2
    shift = rng.uniform(-margin, margin, 2)
    # Upright most of the time: photographed garments hang straight, and faces on their side are no use.
    angle = float(rng.normal(0, 4)) if rng.random() < 0.5 else 0.0
    mirror = -1 if rng.random() < 0.3 else 1
    places = {1: [(0.5, 0.5, 1.0)], 2: [(0.27, 0.5, 0.5), (0.73, 0.5, 0.5)]}
    places[3] = [(0.5, 0.27, 0.5), (0.27, 0.73, 0.5), (0.73, 0.73, 0.5)]
    return [
        f"translate({x + shift[0]:.4f} {y + shift[1]:.4f}) rotate({angle:.2f}) "
        f"scale({mirror * scale * part:.4f} {scale * part:.4f}) translate(-0.5 -0.5)"
        for x, y, part in places[count]
    ]


_OPAQUE = 110
"""Alpha from which a pixel is ink; shadows stay below."""


def label_map(rgba: npt.NDArray[np.uint8], ground: Field, inks: int, rng: np.random.Generator) -> LabelMap:
    """Reduces a drawing to a few inks on a ground.

    Args:
        rgba: uint8 [S, S, 4] at `SUPERSAMPLING` x the output size.
        ground: RGB of the cloth in [0, 1].
        inks: Most inks to use; near-equal ones are merged, so fewer may come out.
        rng: Chooses the pixels the palette is found from.
    """
    opaque = rgba[..., 3] > _OPAQUE
    where = np.flatnonzero(opaque)
    if len(where) < 50:
        return LabelMap(np.zeros(opaque.shape, np.uint8), ground[None].astype(np.float32))
    pixels = rgba.reshape(-1, 4)[where[rng.integers(0, len(where), 700)], :3]
    palette = _palette(lab_of(np.asarray(pixels / 255, np.float32)), inks)
    # Ink by the five upper bits of each channel: a table is fifty times faster than distances at every pixel.
    nearest = (((_CUBE_LAB[:, None] - palette) ** 2).sum(-1).argmin(-1) + 1).astype(np.uint8)
    bits = rgba[..., :3] >> 3
    index = (bits[..., 0].astype(np.uint16) << 10) | (bits[..., 1].astype(np.uint16) << 5) | bits[..., 2]
    labels = nearest[index]
    labels[~opaque] = 0
    labels = np.asarray(cv2.medianBlur(labels, 5), np.uint8)
    used, labels = _renumbered(labels, len(palette))
    return LabelMap(labels, np.concatenate([ground[None].astype(np.float32), rgb_of(palette[used])]))


def _palette(lab: Field, inks: int) -> Field:
    """At most `inks` colours [K, 3] that stand for those given."""
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 8, 1.0)
    start = np.zeros((len(lab), 1), np.int32)
    _, _, centres = cv2.kmeans(lab, inks, start, criteria, 1, cv2.KMEANS_PP_CENTERS)
    kept: list[Field] = []
    for centre in centres:
        if all(np.linalg.norm(centre - other) > 9 for other in kept):
            kept.append(centre)
    return np.array(kept, np.float32)


def _renumbered(labels: npt.NDArray[np.uint8], inks: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Leaves out inks that hardly appear: (indices of those kept among the inks, labels anew, the rest bare)."""
    counts = np.bincount(labels.ravel(), minlength=inks + 1)[1:]
    used = np.flatnonzero(counts > 40)
    table = np.zeros(inks + 1, np.uint8)
    table[used + 1] = np.arange(1, len(used) + 1)
    return used, table[labels]


_LEVELS = np.asarray((np.arange(32) * 8 + 4) / 255, np.float32)
_CUBE_LAB = lab_of(
    np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
)


def place_on_cloth(rgba: npt.NDArray[np.uint8], size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Scales and shifts a drawing within a square of `SUPERSAMPLING` x `size`, sometimes mirrored."""
    side = size * SUPERSAMPLING
    inner = int(side * rng.uniform(0.72, 0.98))
    canvas = np.zeros((side, side, 4), np.uint8)
    y, x = rng.integers(0, side - inner + 1, 2)
    drawing = cv2.resize(rgba, (inner, inner), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        drawing = drawing[:, ::-1]
    canvas[y : y + inner, x : x + inner] = drawing
    return canvas
