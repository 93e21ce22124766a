"""Preparing a design for rendering: its motif told from its background, squared, on cloth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Bool, Float, rgb_to_lab, to_image
from worker.engine.notices import Notice

__all__ = ["DEFAULT_GROUND", "PreparedDesign", "prepare_design", "separate_background"]

DEFAULT_GROUND: Final = (0.95, 0.93, 0.89)
"""Natural cotton, for designs that bring no cloth of their own."""

_MARGIN: Final = 0.06
_THIN: Final = 2.5
"""Pixels at working resolution under which a line is narrower than a thread."""


@dataclass(frozen=True, slots=True)
class PreparedDesign:
    """A design, ready to be sewn.

    Attributes:
        design: ``size`` x ``size`` RGB, the motif on plain cloth colour.
        mask: ``size`` x ``size`` bool, True on the motif.
        alpha: ``size`` x ``size`` ``float32`` in 0..1, the same with a smooth border.
        ground_rgb: the cloth's colour, 3 values in 0..1.
        box: left, top, side of the square in pixels of the design that was given; may reach beyond it.
        warnings: what will not sew well.
    """

    design: Image.Image
    mask: Bool
    alpha: Float
    ground_rgb: tuple[float, float, float]
    box: tuple[float, float, float]
    warnings: tuple[Notice, ...]


def prepare_design(
    image: Image.Image, size: int, *, ground_rgb: Sequence[float] = DEFAULT_GROUND, margin: float = _MARGIN
) -> PreparedDesign:
    """Crop a design to its motif, square it and lay it on cloth.

    Args:
        image: RGBA, or RGB on a plain background of one colour (which is taken away), or RGB without one.
        size: side of the result.
        ground_rgb: cloth colour, 3 values in 0..1.
        margin: cloth left on each side, share of the result.

    Returns:
        The squared design. A picture without a plain background is used whole.
    """
    rgb, alpha = separate_background(image)
    rows, columns = np.nonzero((alpha > 0.1).any(axis=1))[0], np.nonzero((alpha > 0.1).any(axis=0))[0]
    height, width = alpha.shape
    top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, height)
    left, right = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, width)
    whole = bool(alpha.min() > 0.9)
    side = max(bottom - top, right - left) / (1.0 if whole else 1 - 2 * margin)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    ground = np.array(ground_rgb, np.float32)
    colour, cover = _resample(rgb * alpha[..., None], alpha, (x, y, side), size)
    design = np.clip(colour + ground * (1 - cover[..., None]), 0, 1)
    mask = cover > 0.5
    return PreparedDesign(
        design=to_image(design),
        mask=mask,
        alpha=cover,
        ground_rgb=(float(ground[0]), float(ground[1]), float(ground[2])),
        box=(float(x), float(y), float(side)),
        warnings=tuple(_notices(mask, design)),
    )


def separate_background(image: Image.Image) -> tuple[Float, Float]:
    """Tell a design from what it stands on.

    Transparency decides where there is any. Else, where the border is of one colour, everything of that colour that is
    connected to the border is background; white inside the motif (an eye) stays.

    Returns:
        ``rgb`` H x W x 3 and ``alpha`` H x W, ``float32`` in 0..1. Without a plain background, alpha is 1 everywhere.
    """
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"), np.float32) / np.float32(255)
        if float(rgba[..., 3].min()) < 0.95:
            return rgba[..., :3].copy(), rgba[..., 3].copy()
    rgb = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    height, width = rgb.shape[:2]
    lab = rgb_to_lab(rgb)
    edge = max(1, min(height, width) // 100)
    frame = np.ones((height, width), bool)
    frame[edge:-edge, edge:-edge] = False
    colour = np.median(lab[frame], axis=0)
    away = np.linalg.norm(lab - colour, axis=2).astype(np.float32)
    if float((away[frame] < 8).mean()) < 0.7:
        return rgb, np.ones((height, width), np.float32)
    like = (away < 10).astype(np.uint8)
    _, pieces = cv2.connectedComponents(like, connectivity=4)
    outside = np.isin(pieces, np.unique(pieces[frame & (like > 0)])) & (like > 0)
    if float(outside.mean()) > 0.995:
        return rgb, np.ones((height, width), np.float32)
    # the border pixels of an antialiased edge are mixtures: alpha by how far they are from the background
    near = cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    alpha = np.where(outside, 0, np.where(near, np.clip(away / 40, 0, 1), 1)).astype(np.float32)
    background = np.median(rgb[frame], axis=0).astype(np.float32)
    share = np.maximum(alpha, 0.2)[..., None]
    mixed = (alpha > 0) & (alpha < 1)
    unmixed = np.clip((rgb - background * (1 - share)) / share, 0, 1)
    return np.where(mixed[..., None], unmixed, rgb).astype(np.float32), alpha


def _resample(premultiplied: Float, alpha: Float, square: tuple[float, float, float], size: int) -> tuple[Float, Float]:
    """Cut a square out of a premultiplied picture at ``size``; outside is transparent."""
    x, y, side = square
    scale = size / side
    shrink = min(1.0, scale)
    height, width = alpha.shape
    small = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    stack = np.concatenate([premultiplied, alpha[..., None]], axis=2)
    if shrink < 1:
        stack = cv2.resize(stack, small, interpolation=cv2.INTER_AREA)
    sx, sy = scale * width / small[0], scale * height / small[1]
    matrix = np.array([[sx, 0, -x * scale + 0.5 * sx - 0.5], [0, sy, -y * scale + 0.5 * sy - 0.5]])
    cut = cv2.warpAffine(stack, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    cut = np.clip(cut, 0, 1).astype(np.float32)
    return cut[..., :3].copy(), cut[..., 3].copy()


def _notices(mask: Bool, design: Float) -> list[Notice]:
    notices = []
    if mask.any() and not mask.all():
        depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
        ridge = mask & (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8)))
        thin = float((2 * depth[ridge] <= _THIN).mean()) if ridge.any() else 0.0
        if thin > 0.3:
            notices.append(
                Notice(
                    "thin_lines", "The design has lines thinner than a thread; they may break up or vanish when sewn."
                )
            )
    lab = rgb_to_lab(design)
    gx = np.abs(np.diff(lab, axis=1)).sum(axis=2)[:-1]
    gy = np.abs(np.diff(lab, axis=0)).sum(axis=2)[:, :-1]
    slope = (gx + gy)[mask[:-1, :-1]]
    if slope.size and float(((slope > 0.3) & (slope < 6)).mean()) > 0.4:
        notices.append(
            Notice(
                "gradients", "The design has soft shading; thread has few colours, so it will look simpler when sewn."
            )
        )
    return notices
