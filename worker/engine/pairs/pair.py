"""The pair that a style is learnt from, and the figures that say how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Bool, Float, lightness
from worker.engine.metrics import edge_agreement, high_frequency_energy, histogram_distance
from worker.engine.metrics.edges import edge_distance, outline

__all__ = ["Pair", "pair_figures"]


@dataclass(frozen=True, slots=True)
class Pair:
    """An embroidery and its flat design, pixel on pixel.

    Attributes:
        embroidery: size x size RGB.
        design: size x size RGB: the same motif in flat colours on the cloth's plain colour.
        mask: size x size bool, True on the motif.
        builder: which builder made the design; ``flatten`` too where another one had to give up.
        report: JSON values: ``high_frequency``, ``texture_left``, ``edges``, ``colours`` and the builder's own.
    """

    embroidery: Image.Image
    design: Image.Image
    mask: Bool
    builder: str
    report: dict[str, Any]


def pair_figures(embroidery: Image.Image, design: Image.Image, mask: Bool, period: float) -> dict[str, Any]:
    """How well a design fits its embroidery and how flat it is.

    Returns:
        ``high_frequency``: energy of both (squared L*) and the design's share of it; edges between inks count in both;
        ``texture_left``: deviation of L* inside areas, design over embroidery: 0 when no stitch is left;
        ``edges``: share of outlines in common within a thread; ``colours``: Lab histogram distance.
    """
    first, second = high_frequency_energy(embroidery, mask), high_frequency_energy(design, mask)
    tolerance = max(3.0, period)
    return {
        "high_frequency": {
            "embroidery": round(first, 2),
            "design": round(second, 2),
            "ratio": round(second / max(first, 1e-6), 4),
        },
        "texture_left": round(_texture_left(embroidery, design, mask), 4),
        "edges": round(edge_agreement(embroidery, design, tolerance=tolerance).f1, 4),
        "colours": round(histogram_distance(embroidery, design, mask, mask), 4),
    }


def _texture_left(embroidery: Image.Image, design: Image.Image, mask: Bool) -> float:
    """Median local deviation of fine L* inside areas, away from outlines, design over embroidery."""

    def deviation(picture: Image.Image) -> Float:
        plane = lightness(picture)
        fine = plane - cv2.GaussianBlur(plane, (0, 0), 4)
        spread: Float = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 3))
        return spread

    inside = mask & (edge_distance(outline(design)) > 6)
    if int(inside.sum()) < 50:
        # thin lines have no inside
        return 0.0
    stitched = float(np.median(deviation(embroidery)[inside]))
    return float(np.median(deviation(design)[inside])) / max(stitched, 1e-3)
