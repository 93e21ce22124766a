"""Few flat colours: choosing them, giving every pixel one, drawing areas with smooth borders."""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.colour import Bool, Float, lab_to_rgb, rgb_to_lab

__all__ = ["Labels", "absorb_small", "choose_inks", "draw_areas", "nearest_ink", "smooth_labels"]

Labels: TypeAlias = NDArray[np.int32]

_CANDIDATES: Final = 16
_LIGHTNESS_WEIGHT: Final = 0.6
"""Sheen and relief change a thread's lightness, not its chroma."""
_WEIGHT: Final = np.array([_LIGHTNESS_WEIGHT, 1, 1], np.float32)


def ink_distance(lab: Float, inks: Float) -> Float:
    """Distance of every pixel to every ink, ... x K, lightness weighted down."""
    flat: Float = np.linalg.norm((lab[..., None, :] - inks) * _WEIGHT, axis=-1)
    return flat


def choose_inks(lab: Float, merge: float, smallest: float, limit: int = 12, seed: int = 0) -> Float:
    """Choose few colours that stand for many.

    Many candidates by k-means, then the two nearest are joined again and again until all are ``merge`` apart; inks of
    less than ``smallest`` share go, unless they stand alone in colour (an eye's black).

    Args:
        lab: N x 3.
        merge: distance under which two inks are one (lightness weighted by 0.6).
        smallest: share of the pixels under which an ink is dropped.
        limit: most inks.
        seed: of k-means.

    Returns:
        K x 3 Lab, at least one.
    """
    points = (lab * _WEIGHT).astype(np.float32)
    sample = np.ascontiguousarray(points[np.linspace(0, len(points) - 1, min(len(points), 12000)).astype(np.int64)])
    cv2.setRNGSeed(seed + 11)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 0.2)
    count = min(_CANDIDATES, len(sample))
    _, labels, centres = cv2.kmeans(sample, count, None, criteria, 3, cv2.KMEANS_PP_CENTERS)
    weights = np.bincount(labels.ravel(), minlength=count).astype(np.float64) / len(sample)
    inks = [(centres[i].astype(np.float64), weights[i]) for i in range(count) if weights[i] > 0]
    while len(inks) > 1:
        gaps = [(float(np.linalg.norm(inks[i][0] - inks[j][0])), i, j) for i in range(len(inks)) for j in range(i)]
        gap, i, j = min(gaps)
        if gap >= merge and len(inks) <= limit:
            break
        (first, first_share), (second, second_share) = inks[i], inks[j]
        share = first_share + second_share
        joined = ((first * first_share + second * second_share) / share, share)
        inks = [ink for k, ink in enumerate(inks) if k not in {i, j}] + [joined]
    kept = [
        ink
        for k, ink in enumerate(inks)
        if ink[1] >= smallest
        or (
            ink[1] >= smallest / 4
            and min((float(np.linalg.norm(ink[0] - o[0])) for m, o in enumerate(inks) if m != k), default=99) > 30
        )
    ]
    kept = kept or inks
    chosen: Float = (np.stack([ink[0] for ink in kept]) / _WEIGHT).astype(np.float32)
    return chosen


def nearest_ink(lab: Float, inks: Float, window: float) -> Labels:
    """Give every pixel an ink: least distance, averaged over a Gaussian window so that specks do not count.

    Args:
        lab: H x W x 3.
        inks: K x 3.
        window: sigma in pixels.
    """
    # a cap keeps one odd pixel (a glint, a loose thread) from outvoting its neighbours
    cost = np.minimum(ink_distance(lab, inks), 45).astype(np.float32)
    planes = [cv2.GaussianBlur(np.ascontiguousarray(cost[..., k]), (0, 0), window) for k in range(len(inks))]
    labels: Labels = np.argmin(np.stack(planes, axis=-1), axis=-1).astype(np.int32)
    return labels


def absorb_small(labels: Labels, smallest: float, keep: Bool | None = None) -> Labels:
    """Give areas of fewer than ``smallest`` pixels to the neighbour with the longest common border.

    Args:
        labels: H x W.
        smallest: pixels.
        keep: K bool; inks whose areas stay down to a quarter of the size (they stand out and are meant).
    """
    out = labels.copy()
    cross = np.ones((3, 3), np.uint8)
    for _ in range(3):
        changed = False
        for ink in np.unique(out):
            least = smallest / 4 if keep is not None and keep[ink] else smallest
            count, pieces, stats, _ = cv2.connectedComponentsWithStats((out == ink).astype(np.uint8), connectivity=4)
            for piece in range(1, count):
                if stats[piece, cv2.CC_STAT_AREA] >= least:
                    continue
                x, y, w, h = (int(v) for v in stats[piece, :4])
                area = np.s_[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1]
                here = (pieces[area] == piece).astype(np.uint8)
                ring = (cv2.dilate(here, cross) > 0) & (here == 0)
                if ring.any():
                    out[area][here > 0] = np.bincount(out[area][ring]).argmax()
                    changed = True
        if not changed:
            break
    return out


def smooth_labels(labels: Labels, sigma: float) -> Labels:
    """Round the borders of areas off: each pixel takes the ink with most weight in a Gaussian window."""
    if sigma <= 0:
        return labels
    count = int(labels.max()) + 1
    planes = [cv2.GaussianBlur((labels == k).astype(np.float32), (0, 0), sigma) for k in range(count)]
    smooth: Labels = np.argmax(np.stack(planes, axis=-1), axis=-1).astype(np.int32)
    return smooth


def draw_areas(planes: list[Float], colours: Float, size: int, supersample: int = 3) -> Float:
    """Draw flat areas with antialiased borders.

    Args:
        planes: for each ink H x W weights; the heaviest ink wins at each place.
        colours: K x 3 sRGB in 0..1.
        size: side of the result.
        supersample: borders are placed on a grid this much finer.

    Returns:
        size x size x 3 in 0..1, nothing but the given colours and, on borders, their mixtures.
    """
    fine = (size * supersample, size * supersample)
    best = np.full((fine[1], fine[0]), -1, np.float32)
    winner = np.zeros((fine[1], fine[0]), np.int32)
    for index, plane in enumerate(planes):
        grown = cv2.resize(plane, fine, interpolation=cv2.INTER_CUBIC)
        ahead = grown > best
        best[ahead] = grown[ahead]
        winner[ahead] = index
    picture: Float = cv2.resize(colours.astype(np.float32)[winner], (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(picture, 0, 1)


def thread_colour(embroidery: Float, area: Bool, fallback: Float) -> Float:
    """The colour that a thread area has to the eye: median a* and b*, a little more than median L*.

    A thread's shaded side and the gaps beside it are darker than the thread, so the median of L* lies too low.

    Args:
        embroidery: H x W x 3.
        area: H x W bool.
        fallback: sRGB for an empty area.
    """
    if int(area.sum()) < 8:
        return fallback
    lab = rgb_to_lab(embroidery[area][None])[0]
    picked = np.array([np.percentile(lab[:, 0], 58), np.median(lab[:, 1]), np.median(lab[:, 2])], np.float32)
    colour: Float = lab_to_rgb(picked[None, None])[0, 0]
    return colour
