"""Telling an embroidery from the cloth it stands on, and the cloth from whatever lies around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from worker.engine.colour import Bool, Float, lab_to_rgb, lightness, rgb_to_lab

__all__ = ["Ground", "find_ground"]

_WORKING_SIDE: Final = 640
_CLUSTERS: Final = 7
_LIGHTNESS_WEIGHT: Final = 0.5
"""Folds and shadows change the lightness of a cloth, hardly its chroma."""
_PEEL_LIMIT: Final = 2


@dataclass(frozen=True, slots=True)
class Ground:
    """The cloth of a picture.

    Attributes:
        rgb: its colour, 3 values in 0..1 (median over cloth pixels).
        lab: the same in Lab.
        motif: H x W bool, True on embroidery, the gaps between neighbouring threads included.
        stitches: H x W bool, the same with the gaps left open where cloth shows.
        cloth: H x W bool, the cloth with the motif on it; False on a hoop, a table, a hanger.
        covered: no cloth can be seen: the whole picture is stitched, ``motif`` is True everywhere.
    """

    rgb: Float
    lab: Float
    motif: Bool
    stitches: Bool
    cloth: Bool
    covered: bool


def find_ground(picture: Float) -> Ground:
    """Find the cloth and the motif on it.

    The colour that dominates the picture's border is taken for cloth first. Where one large piece lies on it whose own
    inside is a calm area with something on it (cloth in a hoop on a table, a tote on white paper), that piece becomes
    the picture and the search is repeated, at most twice.

    Args:
        picture: H x W x 3 ``float32`` in 0..1.

    Returns:
        Masks at the picture's size.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, _WORKING_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    detail = _detail(lightness(small))
    lab = cv2.GaussianBlur(rgb_to_lab(small), (0, 0), 1.5)
    labels, centres = _clusters(lab)

    region = np.ones(lab.shape[:2], bool)
    colour = centres[_border_cluster(labels, region, len(centres))]
    for _ in range(_PEEL_LIMIT):
        inner = _peel(lab, labels, centres, region, colour, detail)
        if inner is None:
            break
        region, colour = inner

    away = _distance(lab, colour, region)
    stitches, motif = _motif(away, detail, region)
    covered = bool(motif[region].mean() > 0.97)
    calm = region & ~cv2.dilate(motif.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    cloth_lab = np.median(lab[calm], axis=0) if int(calm.sum()) > 50 else colour
    motif_full, stitches_full, cloth_full = (
        cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
        for mask in (motif, stitches, region)
    )
    return Ground(
        rgb=lab_to_rgb(cloth_lab.astype(np.float32)[None, None])[0, 0],
        lab=cloth_lab.astype(np.float32),
        motif=np.ones_like(motif_full) if covered else motif_full,
        stitches=stitches_full,
        cloth=cloth_full,
        covered=covered,
    )


def _detail(plane: Float) -> Float:
    """Local standard deviation of fine lightness, L* units."""
    fine = plane - cv2.GaussianBlur(plane, (0, 0), 5)
    variance: Float = cv2.GaussianBlur(fine * fine, (0, 0), 5)
    return np.sqrt(variance)


def _clusters(lab: Float) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int32]], Float]:
    """Label every pixel with one of a few colours; near colours are joined."""
    weight = np.array([_LIGHTNESS_WEIGHT, 1, 1], np.float32)
    points = (lab * weight).reshape(-1, 3)
    sample = points[np.linspace(0, len(points) - 1, min(len(points), 6000)).astype(np.int64)]
    cv2.setRNGSeed(7)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 30, 0.2)
    _, _, centres = cv2.kmeans(sample, min(_CLUSTERS, len(sample)), None, criteria, 3, cv2.KMEANS_PP_CENTERS)
    kept: list[Float] = []
    for centre in centres:
        if all(float(np.linalg.norm(centre - other)) > 8 for other in kept):
            kept.append(centre)
    merged = np.array(kept, np.float32)
    labels = np.argmin(((points[:, None] - merged[None]) ** 2).sum(axis=2), axis=1).reshape(lab.shape[:2])
    return labels.astype(np.int32), merged / weight


def _border_cluster(labels: np.ndarray[tuple[int, int], np.dtype[np.int32]], region: Bool, count: int) -> int:
    """The colour that has most of a region's outer tenth."""
    padded = cv2.copyMakeBorder(region.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    band = region & (depth <= 0.1 * max(float(depth.max()), 1) * 2)
    return int(np.bincount(labels[band], minlength=count).argmax())


def _distance(lab: Float, colour: Float, region: Bool) -> Float:
    """Colour distance of every pixel to the cloth near it, so that folds and uneven light do not count."""
    weight = np.array([_LIGHTNESS_WEIGHT, 1, 1], np.float32)
    away = np.linalg.norm((lab - colour) * weight, axis=2)
    away = away.astype(np.float32)
    side = max(lab.shape[:2])
    for limit in (14.0, 10.0):
        near = (region & (away < limit)).astype(np.float32)
        share = _wide_blur(near, 0.06 * side)
        local = _wide_blur(lab * near[..., None], 0.06 * side) / np.maximum(share, 1e-3)[..., None]
        # far from any cloth there is no local colour to go by
        trust = np.clip(share / 0.15, 0, 1)[..., None]
        local = trust * local + (1 - trust) * colour
        drift = np.linalg.norm((local - colour) * weight, axis=2, keepdims=True)
        local = colour + (local - colour) * np.minimum(1, 12 / np.maximum(drift, 1e-3))
        away = np.linalg.norm((lab - local) * weight, axis=2).astype(np.float32)
    distance: Float = away
    return distance


def _wide_blur(image: Float, sigma: float) -> Float:
    """Gaussian blur of many pixels, done on an eighth of the size."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(sigma / 8, 0.5))
    wide: Float = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return wide


def _motif(away: Float, detail: Float, region: Bool) -> tuple[Bool, Bool]:
    """Pixels that are not cloth (of another colour, or else of much rougher texture), gaps open and gaps closed."""
    values = np.clip(away[region], 0, 40)
    noise = float(np.percentile(values, 30))
    threshold = float(np.clip(_otsu(values), 7.0, 16.0))
    threshold = max(threshold, 2.5 * noise if noise < 6 else noise)
    found = region & (away > threshold)
    if float(found[region].mean()) < 0.004:
        # thread of the cloth's own colour: only its relief tells
        calm = float(np.percentile(detail[region], 25))
        found = region & (detail > max(2.2 * calm, 2.5))
    else:
        found |= _rough_patches(found, detail, region)
    side = max(away.shape)
    joined = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, _disc(max(1, round(side / 200))))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    smallest = max(12.0, 6e-5 * away.size)
    keep = np.zeros(count, bool)
    keep[1:] = stats[1:, cv2.CC_STAT_AREA] >= smallest
    kept: Bool = keep[labels]
    return found & kept, kept


def _rough_patches(found: Bool, detail: Float, region: Bool) -> Bool:
    """Stitches in nearly the cloth's own colour: as rough as the motif, and wider than the halo that roughness has."""
    if not found.any() or not (region & ~found).any():
        return np.zeros_like(found)
    stitched = float(np.median(detail[found]))
    calm = float(np.median(detail[region & ~found]))
    rough = region & (detail > max(0.6 * stitched, 2.5 * calm, 3.0))
    apart = rough & (cv2.dilate(found.astype(np.uint8), _disc(8)) == 0)
    hearts = cv2.morphologyEx(apart.astype(np.uint8), cv2.MORPH_OPEN, _disc(2))
    grown = cv2.dilate(hearts, _disc(10)) > 0
    patches: Bool = grown & rough
    return patches


def _otsu(values: Float) -> float:
    scaled = np.clip(values * 6, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(level) / 6


def _disc(radius: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    element: np.ndarray[tuple[int, int], np.dtype[np.uint8]] = cv2.getStructuringElement(
        cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)
    )
    return element


def _peel(
    lab: Float,
    labels: np.ndarray[tuple[int, int], np.dtype[np.int32]],
    centres: Float,
    region: Bool,
    colour: Float,
    detail: Float,
) -> tuple[Bool, Float] | None:
    """The inside of one large piece that lies on the presumed cloth, where that inside looks more like cloth."""
    away = _distance(lab, colour, region)
    piece = _largest_filled(region & (away > 12))
    if piece is None or float(piece.mean()) < 0.12:
        return None
    counts = np.bincount(labels[piece], minlength=len(centres)).astype(np.float64)
    inside = int(counts.argmax())
    weight = np.array([_LIGHTNESS_WEIGHT, 1, 1], np.float32)
    if counts[inside] < 0.3 * counts.sum() or float(np.linalg.norm((centres[inside] - colour) * weight)) < 12:
        return None
    calm = piece & (np.linalg.norm((lab - centres[inside]) * weight, axis=2) < 10)
    hull = _largest_filled(calm, hull=True)
    if hull is None or hull.sum() < 0.25 * piece.sum():
        return None
    hull &= piece
    shrunk = cv2.erode(hull.astype(np.uint8), _disc(max(2, round(max(lab.shape[:2]) / 90)))) > 0
    content = shrunk & (_distance(lab, centres[inside], shrunk) > 12)
    if float(content.sum()) < 0.01 * float(shrunk.sum()):
        return None
    rough_cloth = float(np.median(detail[calm & shrunk])) if (calm & shrunk).any() else 99.0
    rough_content = float(np.median(detail[content]))
    # cloth is calm and what stands on it is not; stitched areas are rough themselves and are not peeled
    if rough_cloth > 5.5 or rough_content < 1.3 * rough_cloth:
        return None
    return shrunk, centres[inside]


def _largest_filled(mask: Bool, *, hull: bool = False) -> Bool | None:
    """The largest connected piece with its holes filled, or its convex hull."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(max(1, round(max(mask.shape) / 160))))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    if hull:
        largest = cv2.convexHull(largest)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, [largest], -1, 1, cv2.FILLED)
    return filled > 0
