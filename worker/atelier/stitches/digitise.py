"""From a label map to what the stitch families need to know of it: regions, distances, coordinates along outlines."""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from worker.atelier.stitches.label_map import LabelMap

MOST_REGIONS = 128
"""Regions beyond this number, the smallest ones, are left bare."""
MOST_INKS = 24
_COARSE = 128
"""Side of the grid that distances along strokes are found on."""


@dataclass(frozen=True)
class Plan:
    """A digitised design. Index 0 is the bare ground in every table; lengths are in samples.

    Attributes:
        region: Region of every sample, uint8 [S, S]: connected areas of one ink.
        distance: Distance to the nearest border of a region, float16 [S, S].
        edge: Signed distance to the motif's edge, positive inside, float16 [S, S].
        arc: Length along the outline up to the nearest outline point, float16 [S, S].
        stroke: Length along each region from its one end, float16 [S, S]: threads across it follow the shape.
        width: Half width of the region around each sample, float16 [S, S], `_WIDTHS[-1]` at most.
        ink: Ink of every region, int16 [MOST_REGIONS].
        axis: Direction of every region's long axis, radians, float32 [MOST_REGIONS].
        thickness: Half width of every region, float32 [MOST_REGIONS].
        palette: RGB in [0, 1], float32 [MOST_INKS, 3].
    """

    region: npt.NDArray[np.uint8]
    distance: npt.NDArray[np.float16]
    edge: npt.NDArray[np.float16]
    arc: npt.NDArray[np.float16]
    stroke: npt.NDArray[np.float16]
    width: npt.NDArray[np.float16]
    ink: npt.NDArray[np.int16]
    axis: npt.NDArray[np.float32]
    thickness: npt.NDArray[np.float32]
    palette: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Plans:
    """A batch of plans on a device: the same fields with a first dimension more, in single precision."""

    region: Tensor
    distance: Tensor
    edge: Tensor
    arc: Tensor
    stroke: Tensor
    width: Tensor
    ink: Tensor
    axis: Tensor
    thickness: Tensor
    palette: Tensor

    @classmethod
    def of(cls, plans: list[Plan], device: str | torch.device = "cpu") -> Plans:
        """Stacks plans of one size."""
        stacked = {
            f.name: torch.from_numpy(np.stack([getattr(p, f.name) for p in plans])).to(device, non_blocking=True)
            for f in fields(cls)
        }
        whole = {"region": torch.int64, "ink": torch.int64}
        return cls(**{name: value.to(whole.get(name, torch.float32)) for name, value in stacked.items()})

    def __len__(self) -> int:
        return len(self.region)

    def __getitem__(self, index: Tensor) -> Plans:
        """The plans at the given positions."""
        return Plans(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def inks_of(self, region: Tensor) -> Tensor:
        """RGB [B, 3, H, W] of the ink of each sample's region."""
        return self.colours_of(self.of_region(self.ink, region))

    def colours_of(self, ink: Tensor) -> Tensor:
        """RGB [B, 3, H, W] of inks by their numbers, int64 [B, H, W]."""
        colour = self.palette.gather(1, ink.flatten(1)[..., None].expand(-1, -1, 3))
        return colour.view(*ink.shape, 3).permute(0, 3, 1, 2)

    def of_region(self, table: Tensor, region: Tensor) -> Tensor:
        """Values of a table [B, MOST_REGIONS] at each sample's region."""
        return table.gather(1, region.flatten(1)).view(region.shape)


def digitise(design: LabelMap, *, stroke: bool = True) -> Plan:
    """Finds regions and coordinates; about 40 ms for 512 samples a side.

    Args:
        design: What to sew; at most `MOST_INKS` inks.
        stroke: Whether lengths along strokes are needed: for satin and puff.

    Raises:
        ValueError: The design has more inks than a plan holds.
    """
    labels = design.labels
    size = labels.shape[0]
    if len(design.palette) > MOST_INKS:
        raise ValueError(f"a design is sewn in at most {MOST_INKS - 1} inks, this one has {len(design.palette) - 1}")
    region, ink, axis, thickness = _regions(labels)
    border = _border(region)
    distance = cv2.distanceTransform(1 - border, cv2.DIST_L2, 5)
    motif = (labels > 0).astype(np.uint8)
    edge = cv2.distanceTransform(motif, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - motif, cv2.DIST_L2, 5)
    palette = np.zeros((MOST_INKS, 3), np.float32)
    palette[: len(design.palette)] = design.palette

    def table(values: list[float], dtype: type) -> npt.NDArray[np.float32]:
        out: npt.NDArray[np.float32] = np.zeros(MOST_REGIONS, dtype)
        out[: len(values)] = values
        return out

    far = float(size)
    return Plan(
        region,
        np.minimum(distance, far).astype(np.float16),
        edge.clip(-far, far).astype(np.float16),
        _arc(region, border).astype(np.float16),
        (_stroke(region) if stroke else np.zeros_like(distance)).astype(np.float16),
        _width(region, distance).astype(np.float16),
        table(ink, np.int16),  # type: ignore[arg-type]
        table(axis, np.float32),
        table(thickness, np.float32),
        palette,
    )


def _regions(labels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], list[float], list[float], list[float]]:
    found = []
    for label in range(1, int(labels.max()) + 1):
        mask = (labels == label).astype(np.uint8)
        count, components, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        found += [(int(stats[i][4]), label, components, i, stats[i]) for i in range(1, count)]
    found.sort(key=lambda f: -f[0])
    region = np.zeros(labels.shape, np.uint8)
    ink, axis, thickness = [0.0], [0.0], [0.0]
    for area, label, components, i, (x, y, w, h, _) in found[: MOST_REGIONS - 1]:
        inside = components[y : y + h, x : x + w] == i
        region[y : y + h, x : x + w][inside] = len(ink)
        m = cv2.moments(inside.astype(np.uint8), binaryImage=True)
        axis.append(0.5 * float(np.arctan2(2 * m["mu11"], m["mu20"] - m["mu02"] + 1e-6)))
        thickness.append(area / max(1.0, float(np.hypot(w, h))) / 2)
        ink.append(float(label))
    return region, ink, axis, thickness


def _border(region: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    border = np.zeros(region.shape, np.uint8)
    across, down = region[:, 1:] != region[:, :-1], region[1:] != region[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    # The picture's edge too: a border must exist for a design that fills everything.
    border[0, :] = border[-1, :] = border[:, 0] = border[:, -1] = 1
    return border


def _arc(region: npt.NDArray[np.uint8], border: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Length along the nearest outline. Outlines are smoothed first: else threads across them would be combed unevenly.

    Beyond its nearest outline point a sample adds how far it lies along the tangent there, so that lengths fan out
    where the outline bends and do not jump from one outline point to the next.
    """
    size = region.shape[0]
    table = np.zeros((size * size, 3), np.float32)  # length, and the tangent
    table[:, 0] = -1
    for i in range(1, int(region.max()) + 1):
        mask = (region == i).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        contours, _ = cv2.findContours(mask[y : y + h, x : x + w], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        for contour in contours:
            points = contour[:, 0]
            smooth = gaussian_filter1d(points.astype(np.float32), min(4.0, len(points) / 8), axis=0, mode="wrap")
            step = np.roll(smooth, -1, 0) - smooth
            length = np.hypot(step[:, 0], step[:, 1])
            tangent = (step + np.roll(step, 1, 0)) / np.maximum(length + np.roll(length, 1), 1e-3)[:, None]
            # Of the smoothed line, where the sample's own centre is: its steps are uneven.
            along = np.r_[0, np.cumsum(length)[:-1]] + ((points - smooth) * tangent).sum(1)
            place = (points[:, 1] + y) * size + points[:, 0] + x
            table[place] = np.c_[along, tangent]
    # The ground's side of an outline counts like the side that is sewn: borders are sewn across both.
    rows, cols = np.nonzero((region == 0) & (border > 0))
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        near = (rows + dy).clip(0, size - 1) * size + (cols + dx).clip(0, size - 1)
        here = rows * size + cols
        known = (table[here, 0] < 0) & (table[near, 0] >= 0)
        value = table[near[known]]
        value[:, 0] -= dx * value[:, 1] + dy * value[:, 2]
        table[here[known]] = np.maximum(value, [[0, -1, -1]])
    _, nearest = cv2.distanceTransformWithLabels(1 - border, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, cols = np.nonzero(border)
    source = np.zeros(int(nearest.max()) + 1, np.int32)
    source[nearest[rows, cols]] = rows * size + cols
    source = source[nearest]
    found = table[source]
    y_at, x_at = np.mgrid[0:size, 0:size].astype(np.float32)
    dx, dy = x_at - source % size, y_at - source // size
    return np.asarray(np.maximum(found[..., 0], 0) + dx * found[..., 1] + dy * found[..., 2], np.float32)


_WIDTHS = (1.5, 2.5, 3.5, 5, 7, 9, 12, 16, 22)
"""Half widths that strokes are told apart by, samples."""


def _width(region: npt.NDArray[np.uint8], distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Half width of the region around each sample: of the largest circle of `_WIDTHS` inside it that covers the sample.

    Openings by circles on half the samples; a circle around a point that far from the border stays inside the region.
    """
    size = region.shape[0]
    small = np.ascontiguousarray(np.where(region > 0, distance, 0)[::2, ::2])
    width = np.zeros(small.shape, np.float32)
    for radius in _WIDTHS:
        core = (small >= radius - 0.5).astype(np.uint8)
        if not core.any():
            break
        reach = int(np.ceil(radius / 2))
        circle = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
        width[cv2.dilate(core, circle) > 0] = radius
    return np.asarray(cv2.resize(width, (size, size), interpolation=cv2.INTER_NEAREST), np.float32)


_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))
"""Half of the 16 neighbours that make distances on a grid nearly round."""


def _stroke(region: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Distance within each region from one of its ends, on a coarse grid, enlarged."""
    size = region.shape[0]
    factor = max(1, size // _COARSE)
    coarse = region[factor // 2 :: factor, factor // 2 :: factor]
    side = coarse.shape[0]
    number = np.arange(side * side).reshape(side, side)
    starts, ends, lengths = [], [], []
    for dy, dx in _STEPS:
        x0, x1 = max(0, -dx), side - max(0, dx)
        a = coarse[: side - dy, x0:x1]
        b = coarse[dy:, x0 + dx : x1 + dx]
        same = (a == b) & (a > 0)
        starts.append(number[: side - dy, x0:x1][same])
        ends.append(number[dy:, x0 + dx : x1 + dx][same])
        lengths.append(np.full(len(starts[-1]), np.hypot(dx, dy), np.float32))
    flat = coarse.ravel()
    present, first = np.unique(flat, return_index=True)
    first = first[present > 0]
    if not len(first):
        return np.zeros(region.shape, np.float32)
    graph = coo_matrix(
        (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends))), (side * side,) * 2
    ).tocsr()
    for _ in range(2):
        length = dijkstra(graph, directed=False, indices=first, min_only=True)
        length = np.where(np.isfinite(length), length, 0).astype(np.float32)
        # Twice: the sample farthest from anywhere is an end of the region, and lengths count from there.
        order = np.lexsort((length, flat))
        first = order[np.searchsorted(flat[order], present[present > 0], side="right") - 1]
    return _enlarge(length.reshape(side, side), coarse, region, factor)


def _enlarge(
    field: npt.NDArray[np.float32],
    coarse: npt.NDArray[np.uint8],
    region: npt.NDArray[np.uint8],
    factor: int,
) -> npt.NDArray[np.float32]:
    """Smooths and enlarges each region apart: lengths of neighbours must not be mixed at their common border."""
    size, side = region.shape[0], coarse.shape[0]
    out = cv2.resize(field, (size, size), interpolation=cv2.INTER_NEAREST) * factor
    for i in range(1, int(coarse.max()) + 1):
        mask = (coarse == i).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        if w * h < 12:
            continue
        x0, y0, x1, y1 = max(0, x - 3), max(0, y - 3), min(side, x + w + 3), min(side, y + h + 3)
        known = mask[y0:y1, x0:x1].astype(np.float32)
        weight = cv2.GaussianBlur(known, (0, 0), 1.5)
        soft = cv2.GaussianBlur(field[y0:y1, x0:x1] * known, (0, 0), 1.5) / np.maximum(weight, 1e-4)
        box = np.s_[y0 * factor : y1 * factor, x0 * factor : x1 * factor]
        shape = ((x1 - x0) * factor, (y1 - y0) * factor)
        large = cv2.resize(soft, shape, interpolation=cv2.INTER_LINEAR) * factor
        inside = region[box] == i
        out[box][inside] = large[inside]
    return np.asarray(out, np.float32)
