"""Choosing the window of a photo that shows stitches best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from worker.engine.colour import Bool, Float, rgb_to_lab
from worker.engine.ground import Ground

__all__ = ["Window", "choose_window"]

WANTED_PERIOD: Final = 3.6
"""Pixels between threads that are enough at working resolution: under 3 a stitch is lost in the autoencoder."""

LARGEST_ENLARGEMENT: Final = 1.6
_MARGIN: Final = 0.07
_GRID: Final = 96


@dataclass(frozen=True, slots=True)
class Window:
    """A square crop in pixels of a photo; it may reach beyond the photo.

    Attributes:
        left: x of its left edge.
        top: y of its top edge.
        side: its width and height.
        kept: share of the motif's pixels inside it, 0..1.
    """

    left: float
    top: float
    side: float
    kept: float


def choose_window(
    picture: Float, ground: Ground, period: float, size: int, crop: str | Sequence[float] = "auto"
) -> Window:
    """Choose the square of a photo to learn from.

    ``auto`` takes the whole motif when its threads stay ``WANTED_PERIOD`` px apart at ``size``. Otherwise it moves in
    until they do, to where there is most motif, in most colours, with the fewest shapes cut through.

    Args:
        picture: H x W x 3 in 0..1.
        ground: its cloth and motif.
        period: distance of threads in pixels of the picture, 0 when unknown.
        size: side of the result in pixels.
        crop: ``auto``, ``motif``, ``whole``, or (left, top, right, bottom).

    Raises:
        ValueError: an empty box or an unknown word.
    """
    height, width = picture.shape[:2]
    if not isinstance(crop, str):
        left, top, right, bottom = (float(value) for value in crop)
        if right - left < 8 or bottom - top < 8:
            raise ValueError("the crop box is empty")
        return _centred(ground.motif, (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top))
    if crop == "whole":
        return _centred(ground.motif, width / 2, height / 2, max(width, height))
    if crop not in {"auto", "motif"}:
        raise ValueError(f"unknown crop: {crop}")
    rows, columns = np.nonzero(ground.motif.any(axis=1))[0], np.nonzero(ground.motif.any(axis=0))[0]
    if len(rows) == 0:
        return _centred(ground.motif, width / 2, height / 2, max(width, height))
    top, bottom, left, right = float(rows[0]), float(rows[-1] + 1), float(columns[0]), float(columns[-1] + 1)
    whole = max(bottom - top, right - left) * (1 + 2 * _MARGIN)
    smallest = size / LARGEST_ENLARGEMENT
    if crop == "motif" or period <= 0:
        side = max(whole, smallest)
    else:
        # a little more than wanted is no reason to cut a motif
        closest = size * period / WANTED_PERIOD
        side = max(whole if whole <= 1.15 * closest else closest, smallest)
    if side >= whole:
        window = _centred(ground.motif, (left + right) / 2, (top + bottom) / 2, side)
        return _shift_inside(window, ground.motif)
    return _richest(picture, ground, side)


def _centred(motif: Bool, x: float, y: float, side: float) -> Window:
    left, top = x - side / 2, y - side / 2
    return Window(left, top, side, _kept(motif, left, top, side))


def _kept(motif: Bool, left: float, top: float, side: float) -> float:
    inside = motif[max(0, round(top)) : max(0, round(top + side)), max(0, round(left)) : max(0, round(left + side))]
    return float(inside.sum()) / max(float(motif.sum()), 1.0)


def _shift_inside(window: Window, motif: Bool) -> Window:
    """Move a window over as much of the photo as it can: own cloth is better than continued cloth."""
    height, width = motif.shape
    left = _clamp(window.left, 0, width - window.side)
    top = _clamp(window.top, 0, height - window.side)
    moved = Window(left, top, window.side, _kept(motif, left, top, window.side))
    # it may not lose motif by that
    return moved if moved.kept >= window.kept - 1e-6 else window


def _clamp(value: float, low: float, high: float) -> float:
    """Keep between limits; centre between them where they cross."""
    return (low + high) / 2 if high < low else min(max(value, low), high)


def _richest(picture: Float, ground: Ground, side: float) -> Window:
    """Slide a window over the photo and take the best place."""
    height, width = ground.motif.shape
    scale = _GRID / max(height, width)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    motif = cv2.resize(ground.motif.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    cloth = cv2.resize((ground.cloth | ground.motif).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    inks = _ink_shares(picture, ground.motif, size)
    span = max(2, round(side * scale))
    across, down = min(span, size[0]), min(span, size[1])

    def sums(plane: Float) -> Float:
        total = cv2.integral(plane)
        found: Float = total[down:, across:] - total[:-down, across:] - total[down:, :-across] + total[:-down, :-across]
        return found

    area = float(across * down)
    cover = sums(motif) / area
    bare = 1 - sums(cloth) / area
    shares = np.stack([sums(np.ascontiguousarray(inks[..., i])) for i in range(inks.shape[2])], axis=-1)
    shares = shares / np.maximum(shares.sum(axis=-1, keepdims=True), 1e-6)
    variety = -(shares * np.log(np.maximum(shares, 1e-6))).sum(axis=-1) / np.log(max(2, inks.shape[2]))
    cut = _cut_share(motif, across, down)
    # some cloth must stay in view, or nothing tells where the motif ends
    fill = np.where(cover < 0.6, cover / 0.6, 1 - 0.8 * (cover - 0.6))
    value = fill + 0.5 * variety - 1.2 * cut - 1.5 * bare
    row, column = np.unravel_index(int(np.argmax(value)), value.shape)
    left = _clamp(float(column) / scale, 0, width - side)
    top = _clamp(float(row) / scale, 0, height - side)
    return Window(left, top, side, _kept(ground.motif, left, top, side))


def _cut_share(motif: Float, across: int, down: int) -> Float:
    """Share of a window's frame that runs through motif, for every place of the window."""
    along_rows = cv2.blur(motif, (across, 1), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    along_columns = cv2.blur(motif, (1, down), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    rows, columns = motif.shape[0] - down + 1, motif.shape[1] - across + 1
    top, bottom = along_rows[:rows, :columns], along_rows[down - 1 : down - 1 + rows, :columns]
    left, right = along_columns[:rows, :columns], along_columns[:rows, across - 1 : across - 1 + columns]
    share: Float = (top + bottom + left + right) / 4
    return share


def _ink_shares(picture: Float, motif: Bool, size: tuple[int, int]) -> Float:
    """How much of each cell is motif of each of five colours, h x w x 5."""
    small = cv2.resize(cv2.GaussianBlur(picture, (0, 0), 2), size, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(motif.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    lab = rgb_to_lab(small)
    points = lab[weight > 0.5]
    if len(points) < 10:
        single: Float = weight[..., None]
        return single
    cv2.setRNGSeed(7)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    _, _, centres = cv2.kmeans(np.ascontiguousarray(points), 5, None, criteria, 2, cv2.KMEANS_PP_CENTERS)
    # near colours are one ink: shading must not count as variety
    kept: list[Float] = []
    for centre in centres:
        if all(float(np.linalg.norm(centre - other)) > 22 for other in kept):
            kept.append(centre)
    nearest = np.argmin(((lab[:, :, None] - np.array(kept)[None, None]) ** 2).sum(axis=3), axis=2)
    one_hot = (nearest[..., None] == np.arange(len(kept))).astype(np.float32)
    shares: Float = one_hot * weight[..., None]
    return shares
