"""Maps that hold a rendering to its design: where the colours are and where the edges are.

Both are made from the flat design, never from an embroidery, so that no stitch reaches the network through control.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from worker.engine.colour import Float, Picture, to_float, to_uint8
from worker.engine.smoothing import guided_filter

__all__ = ["edge_map", "tile_map"]

REFERENCE_SIDE: Final = 1024
"""The paper states its kernel for pictures of this side; maps of other sizes scale it."""


def tile_map(design: Picture, kernel: float = 15, *, guided: bool = True) -> Float:
    """Colours without detail: Gaussian blur, then a light guided filter (paper, section on inference).

    Args:
        design: flat design, H x W x 3.
        kernel: kernel size at a longer side of 1024 px, scaled to the design's longer side. 15 is the paper's; a base
            that was trained on strongly blurred colours names its own.
        guided: keep the edges of the design in the blurred colours.

    Returns:
        H x W x 3 ``float32`` in 0..1.
    """
    flat = to_float(design)
    scale = max(flat.shape[:2]) / REFERENCE_SIDE
    # OpenCV's rule from kernel size to sigma, kept continuous so that small maps are blurred in proportion
    sigma = (0.3 * ((kernel - 1) * 0.5 - 1) + 0.8) * scale
    if sigma < 0.1:
        return flat
    blurred = cv2.GaussianBlur(flat, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    if guided:
        guide = np.ascontiguousarray(flat.mean(axis=2))
        blurred = guided_filter(blurred, guide, radius=max(1, round(2 * sigma)), eps=1e-3)
    clipped: Float = np.clip(blurred, 0, 1).astype(np.float32)
    return clipped


def edge_map(design: Picture, low: int = 50, high: int = 100) -> Float:
    """Canny edges of a flat design.

    Args:
        design: flat design, H x W x 3.
        low: lower hysteresis threshold on an 8-bit gradient.
        high: upper hysteresis threshold. 50 and 100 are the paper's.

    Returns:
        H x W ``float32``, 0 or 1. An edge in any colour channel counts: red on green of the same grey is one too.
    """
    flat = to_uint8(design)
    edges = np.zeros(flat.shape[:2], np.uint8)
    for channel in range(3):
        edges |= cv2.Canny(np.ascontiguousarray(flat[..., channel]), low, high, L2gradient=True)
    return (edges > 0).astype(np.float32)
