"""Few flat colours: choosing them, giving every pixel one, drawing areas with smooth borders."""

from __future__ import annotations

from dataclasses import dataclass
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
_SAME: Final = 10.0
"""Distance under which two candidates are one ink whatever lies between."""
_FEW: Final = 0.03
"""Share of the pixels under which a candidate joins its neighbour."""
_SHEEN: Final = 1.4
"""Of the distance of merging: so far do the shades of one thread reach."""
_VALLEY: Final = 0.5
"""Of the lower peak's density: less than this between two candidates and they are two inks."""
_KERNEL: Final = 3.0
"""Standard deviation of the density's kernel, weighted Lab units."""
_OUTSTANDING: Final = 30.0


def ink_distance(lab: Float, inks: Float) -> Float:
    """Distance of every pixel to every ink, ... x K, lightness weighted down."""
    flat: Float = np.linalg.norm((lab[..., None, :] - inks) * _WEIGHT, axis=-1)
    return flat


def choose_inks(lab: Float, merge: float, smallest: float, limit: int = 12, seed: int = 0) -> Float:
    """Choose few colours that stand for many.

    Many candidates by k-means, then the two nearest that are shades of one thread are joined again and again. Sheen
    runs through all the shades of a thread, between two threads there are few pixels: candidates are one ink where no
    valley of rare colours lies between them. Inks of less than ``smallest`` share go, unless they stand alone in colour
    (an eye's black).

    Args:
        lab: N x 3.
        merge: distance under which few pixels of another shade are no ink of their own, and from whose 1.4-fold on two
            are never one (lightness weighted by 0.6).
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
    shares = np.bincount(labels.ravel(), minlength=count) / len(sample)
    between = _density_between(centres, sample[:: max(1, len(sample) // 4000)])
    inks = [_Ink((i,), centres[i], float(shares[i])) for i in range(count) if shares[i] > 0]

    def shades(first: _Ink, second: _Ink, gap: float) -> bool:
        if gap < _SAME or (gap < merge and min(first.share, second.share) < _FEW):
            return True
        peaks = [max(between[i, i] for i in ink.members) for ink in (first, second)]
        bridge = max(between[i, j] for i in first.members for j in second.members)
        return gap < _SHEEN * merge and bridge >= _VALLEY * min(peaks)

    while len(inks) > 1:
        pairs = [
            (float(np.linalg.norm(a.colour - b.colour)), i, j)
            for i, a in enumerate(inks)
            for j, b in enumerate(inks[:i])
        ]
        alike = [pair for pair in pairs if shades(inks[pair[1]], inks[pair[2]], pair[0])]
        if not alike and len(inks) <= limit:
            break
        _, i, j = min(alike or pairs)
        inks = [ink for k, ink in enumerate(inks) if k not in {i, j}] + [inks[i].joined(inks[j])]

    def alone(ink: _Ink) -> bool:
        return all(
            float(np.linalg.norm(ink.colour - other.colour)) > _OUTSTANDING for other in inks if other is not ink
        )

    kept = [ink for ink in inks if ink.share >= (smallest / 4 if alone(ink) else smallest)] or inks
    chosen: Float = (np.stack([ink.colour for ink in kept]) / _WEIGHT).astype(np.float32)
    return chosen


@dataclass(frozen=True, eq=False)
class _Ink:
    """Candidates that are one ink: which, their mean colour (weighted Lab), their share of the pixels."""

    members: tuple[int, ...]
    colour: Float
    share: float

    def joined(self, other: _Ink) -> _Ink:
        both, shares = [self.colour, other.colour], [self.share, other.share]
        colour: Float = np.average(both, axis=0, weights=shares).astype(np.float32)
        return _Ink(self.members + other.members, colour, sum(shares))


def _density_between(centres: Float, sample: Float) -> Float:
    """Least density of colours on the way between two centres, K x K; in the diagonal that of the centre itself."""
    way = np.linspace(0, 1, 9, dtype=np.float32)[:, None, None, None]
    line = (centres + way * (centres[:, None] - centres)).reshape(-1, 3)
    square = (line**2).sum(1)[:, None] - 2 * line @ sample.T + (sample**2).sum(1)
    density = np.exp(-square / (2 * _KERNEL**2)).mean(1).reshape(9, len(centres), len(centres))
    least: Float = density.min(0)
    return least


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
