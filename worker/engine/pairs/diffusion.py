"""The paper's builder: a base model draws the design, held by a tile map and soft edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Float, lightness, to_float
from worker.engine.control_maps import tile_map
from worker.engine.metrics.orientation import structure_tensor

__all__ = ["PROMPT", "DesignModel", "DiffusionUnavailableError", "draw_design", "soft_edges"]

DesignModel: TypeAlias = Callable[[Image.Image, Float, Float, str, int], Image.Image]
"""``(embroidery, tile, edges, prompt, seed) -> design``: tile H x W x 3 and edges H x W, both 0..1."""

PROMPT: Final = "flat vector illustration, clean shapes, solid colours, plain background"


class DiffusionUnavailableError(ValueError):
    """The base model cannot draw designs."""


def draw_design(embroidery: Image.Image, model: DesignModel | None, seed: int) -> Image.Image:
    """Let the base draw the design of an embroidery.

    Raises:
        DiffusionUnavailableError: no model was given.
    """
    if model is None:
        raise DiffusionUnavailableError(
            "The installed base model cannot draw the flat design by itself. Please upload the artwork, or let the "
            'design be drawn from the photo (builder "flatten").'
        )
    return (
        model(embroidery, tile_map(embroidery), soft_edges(embroidery), PROMPT, seed)
        .convert("RGB")
        .resize(embroidery.size, Image.Resampling.LANCZOS)
    )


def soft_edges(picture: Image.Image) -> Float:
    """Edges of areas as a soft map, taken at half the size so that stitches are lost on the way (paper, appendix).

    Returns:
        H x W ``float32`` in 0..1.
    """
    array = to_float(picture)
    height, width = array.shape[:2]
    small = cv2.resize(array, (max(8, width // 2), max(8, height // 2)), interpolation=cv2.INTER_AREA)
    plane = cv2.GaussianBlur(lightness(small), (0, 0), 1.5)
    _, _, energy = structure_tensor(plane, 1.0)
    edges = np.sqrt(energy)
    edges = np.clip(edges / max(float(np.percentile(edges, 99)), 1e-3), 0, 1)
    soft: Float = cv2.resize(edges, (width, height), interpolation=cv2.INTER_LINEAR)
    return soft
