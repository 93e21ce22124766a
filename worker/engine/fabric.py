"""Continuing a cloth beyond the edge of its photo, by quilting pieces of the cloth itself."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from worker.engine.colour import Bool, Float

__all__ = ["continue_cloth"]

_TRIES: Final = 48
"""Pieces looked at for each place; the best fitting one is laid down."""


def continue_cloth(canvas: Float, known: Bool, calm: Bool, fallback: Float, seed: int = 0) -> Float:
    """Fill the unknown part of a picture with cloth.

    Pieces are cut from calm cloth, laid over the unknown part row by row, each chosen to fit what lies there already
    and joined along the path where the two differ least (image quilting, Efros and Freeman, 2001). A piece takes on the
    brightness of its new neighbours, so shading goes on too.

    Args:
        canvas: H x W x 3 in 0..1; unknown pixels may hold anything.
        known: H x W bool, True where ``canvas`` is to stay.
        calm: H x W bool, cloth without motif; pieces are cut where it and ``known`` are True.
        fallback: colour (3 values) where there is too little cloth to cut from.
        seed: for the choice of pieces.

    Returns:
        H x W x 3 in 0..1, without holes.
    """
    out = np.where(known[..., None], canvas, fallback).astype(np.float32)
    if known.all():
        return out
    height, width = known.shape
    piece = int(np.clip(min(height, width) // 7, 16, 96))
    corners = _corners(known & calm, piece)
    while len(corners) == 0 and piece > 10:
        piece = int(piece * 0.7)
        corners = _corners(known & calm, piece)
    if len(corners) == 0:
        return out
    rng = np.random.default_rng(seed)
    done = known.copy()
    step = piece - max(3, piece // 4)
    for top in _starts(height, piece, step):
        for left in _starts(width, piece, step):
            place = np.s_[top : top + piece, left : left + piece]
            if not done[place].all():
                out[place] = _lay(out, done[place], (top, left), corners, piece, rng)
                done[place] = True
    # what was known is not touched by a seam
    return np.where(known[..., None], canvas, out).astype(np.float32)


def _starts(length: int, piece: int, step: int) -> list[int]:
    last = max(0, length - piece)
    return [*range(0, last, step), last]


def _corners(usable: Bool, piece: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Top left corners of windows that hold nothing but usable cloth."""
    if min(usable.shape) < piece:
        return np.zeros((0, 2), np.int64)
    total = cv2.integral(usable.astype(np.uint8))
    count = total[piece:, piece:] - total[:-piece, piece:] - total[piece:, :-piece] + total[:-piece, :-piece]
    corners: np.ndarray[tuple[int, int], np.dtype[np.int64]] = np.argwhere(count == piece * piece)
    return corners


def _lay(
    out: Float,
    done: Bool,
    place: tuple[int, int],
    corners: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    piece: int,
    rng: np.random.Generator,
) -> Float:
    """The content of one window after a fitting piece was laid into its unknown part."""
    top, left = place
    here = out[top : top + piece, left : left + piece]
    picked = corners[rng.integers(0, len(corners), min(_TRIES, len(corners)))]
    best: Float | None = None
    best_cost = np.inf
    for y, x in picked:
        cut = out[y : y + piece, x : x + piece]
        if done.any():
            shift = here[done].mean(axis=0) - cut[done].mean(axis=0)
            cut = cut + np.clip(shift, -0.12, 0.12)
            cost = float(((cut - here)[done] ** 2).mean())
        else:
            cost = 0.0
        if cost < best_cost:
            best, best_cost = cut, cost
    if best is None:
        return here
    if not done.any():
        return best
    differ = ((best - here) ** 2).sum(axis=2)
    new = ~done | _beyond_seam(differ, done)
    soft = cv2.GaussianBlur(new.astype(np.float32), (0, 0), 0.8)
    soft = np.where(done, soft, 1)[..., None]
    blended: Float = np.clip(best * soft + here * (1 - soft), 0, 1).astype(np.float32)
    return blended


def _beyond_seam(differ: Float, done: Bool) -> Bool:
    """Pixels of the overlap that go to the new piece.

    The seam is a watershed between what must stay and what is new, flooded by how much the two differ.
    """
    unknown = ~done
    distance = cv2.distanceTransform(done.astype(np.uint8), cv2.DIST_L2, 3)
    deepest = float(distance.max())
    if deepest < 3 or not unknown.any():
        return np.zeros_like(done)
    markers = np.zeros(done.shape, np.int32)
    markers[unknown] = 1
    markers[distance >= min(deepest, 0.25 * done.shape[0])] = 2
    scaled = np.clip(differ / max(float(np.percentile(differ[done], 95)), 1e-6) * 255, 0, 255).astype(np.uint8)
    flooded = cv2.watershed(cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB), markers)
    taken: Bool = (flooded == 1) & done
    return taken
