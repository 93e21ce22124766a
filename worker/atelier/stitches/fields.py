"""Small vectorised helpers: hashes, smooth noise, regions of a label map and the coordinates along their outlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Labels = npt.NDArray[Any]


def hash01(value: npt.NDArray[Any], seed: int = 0) -> Field:
    """Integer array to uniform floats in [0, 1): the same input always gives the same number."""
    a = value.astype(np.uint32) * np.uint32(2654435761) + np.uint32((seed * 40503 + 12345) & 0xFFFFFFFF)
    a ^= a >> np.uint32(15)
    a *= np.uint32(2246822519)
    a ^= a >> np.uint32(13)
    a *= np.uint32(3266489917)
    a ^= a >> np.uint32(16)
    return (a & np.uint32(0xFFFFFF)).astype(np.float32) / np.float32(0x1000000)


def hash01_pair(a: npt.NDArray[Any], b: npt.NDArray[Any], seed: int = 0) -> Field:
    """`hash01` of two integer arrays taken together."""
    return hash01(a.astype(np.int64) * 73856093 ^ b.astype(np.int64) * 19349663, seed)


def smooth_noise(size: int, cells: int, rng: np.random.Generator) -> Field:
    """Gaussian noise of about unit deviation with features of `size / cells` pixels."""
    grid = rng.standard_normal((max(2, cells), max(2, cells))).astype(np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


@dataclass(frozen=True)
class Regions:
    """Connected areas of one ink. Index 0 is the ground in every table.

    Attributes:
        index: Region of every pixel, [S, S].
        ink: Ink of every region.
        axis: Direction of the region's long axis, radians.
        thickness: Rough half width of the region, pixels.
        distance: Distance of every pixel to the nearest region border, pixels.
    """

    index: Labels
    ink: Labels
    axis: Field
    thickness: Field
    distance: Field
    border: Labels


def find_regions(labels: Labels) -> Regions:
    """Splits a label map [S, S] (0 is ground) into connected regions."""
    index = np.zeros(labels.shape, np.int32)
    ink, axis, thickness = [0], [0.0], [0.0]
    for label in range(1, int(labels.max()) + 1):
        count, components, stats, _ = cv2.connectedComponentsWithStats(
            (labels == label).astype(np.uint8), connectivity=8
        )
        for i in range(1, count):
            x, y, w, h, area = stats[i]
            inside = components[y : y + h, x : x + w] == i
            index[y : y + h, x : x + w][inside] = len(ink)
            rows, cols = np.nonzero(inside)
            dx, dy = cols - cols.mean(), rows - rows.mean()
            axis.append(0.5 * float(np.arctan2(2 * (dx * dy).mean(), (dx * dx).mean() - (dy * dy).mean() + 1e-6)))
            thickness.append(area / max(1.0, float(np.hypot(w, h))) / 2)
            ink.append(label)
    border = np.zeros(labels.shape, np.uint8)
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    distance = cv2.distanceTransform(1 - border, cv2.DIST_L2, 5)
    return Regions(
        index,
        np.array(ink),
        np.array(axis, np.float32),
        np.array(thickness, np.float32),
        np.asarray(distance, np.float32),
        border,
    )


def outline_coordinates(regions: Regions, smooth: float) -> tuple[Field, Field]:
    """Arc length of the nearest outline point, and the direction that runs along the outline there.

    Args:
        regions: The regions of the design.
        smooth: Sigma of the smoothing of the distance field before its gradient is taken, pixels.

    Returns:
        Arc length [S, S] in pixels and tangent angle [S, S] in radians.
    """
    arc = np.zeros(regions.index.shape, np.float32)
    for i in range(1, len(regions.ink)):
        mask = (regions.index == i).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        contours, _ = cv2.findContours(mask[y : y + h, x : x + w], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        for contour in contours:
            points = contour[:, 0]
            steps = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
            arc[points[:, 1] + y, points[:, 0] + x] = steps
    border = regions.border.copy()
    border[0, :] = border[-1, :] = border[:, 0] = border[:, -1] = 1
    _, nearest = cv2.distanceTransformWithLabels(1 - border, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, cols = np.nonzero(border)
    table = np.zeros(int(nearest.max()) + 1, np.float32)
    table[nearest[rows, cols]] = arc[rows, cols]
    soft = cv2.GaussianBlur(regions.distance, (0, 0), smooth)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    return table[nearest], np.asarray(np.arctan2(gy, gx) + np.pi / 2, np.float32)
