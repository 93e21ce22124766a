"""How each stitch family covers the cloth.

A family turns regions and a style into a `Cover`: which region's thread lies on each pixel, where across the thread
the pixel is, which way the thread runs and how it dips. `render` does the light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from worker.atelier.stitches.fields import (
    Field,
    Labels,
    Regions,
    hash01,
    hash01_pair,
    outline_coordinates,
    smooth_noise,
)
from worker.atelier.stitches.style import StitchStyle


@dataclass
class Cover:
    """Fields [S, S] that describe the threads seen from above.

    Attributes:
        region: Region whose thread covers the pixel, 0 for bare cloth.
        covered: Whether any thread is there.
        across: Position across the thread, -1 to 1.
        heading: Direction of the thread, radians.
        dive: Slope along the thread: it goes into the cloth at its ends.
        shade: Darkening by gaps and ends, 0 to 1.
        identity: One random number per thread, [0, 1).
        tilt: Extra slope of the surface (x, y) by padding or by the shape of a bead.
    """

    region: Labels
    covered: Labels
    across: Field
    heading: Field
    dive: Field
    shade: Field
    identity: Field
    tilt: tuple[Field, Field] | None = None


@dataclass
class Canvas:
    """What every family needs to know about the picture."""

    size: int
    scale: float
    regions: Regions
    style: StitchStyle
    rng: np.random.Generator
    x: Field = field(init=False)
    y: Field = field(init=False)

    def __post_init__(self) -> None:
        self.y, self.x = (a.astype(np.float32) for a in np.mgrid[0 : self.size, 0 : self.size])

    @property
    def seed(self) -> int:
        """Seed of the hashes."""
        return self.style.seed & 0xFFFF

    def wobbled(self) -> tuple[Field, Field]:
        """Coordinates with the slow drift of hand-guided thread, plus a little of each stitch's own."""
        amount = self.style.wobble * self.scale
        return (
            self.x
            + amount * smooth_noise(self.size, 5, self.rng)
            + 0.12 * amount * smooth_noise(self.size, 40, self.rng),
            self.y
            + amount * smooth_noise(self.size, 5, self.rng)
            + 0.12 * amount * smooth_noise(self.size, 40, self.rng),
        )

    def region_at(self, x: Field, y: Field) -> Labels:
        """Region under each of the given points."""
        column = x.round().clip(0, self.size - 1).astype(int)
        row = y.round().clip(0, self.size - 1).astype(int)
        region: Labels = self.regions.index[row, column]
        return region


def _padding(canvas: Canvas, strength: float) -> tuple[Field, Field]:
    """Slope of a padded surface: stitches bulge over their regions."""
    k = canvas.scale
    height = cv2.GaussianBlur(np.minimum(canvas.regions.distance, 14 * k), (0, 0), 3.0 * k)
    return (
        np.asarray(-cv2.Sobel(height, cv2.CV_32F, 1, 0) / 8 * strength, np.float32),
        np.asarray(-cv2.Sobel(height, cv2.CV_32F, 0, 1) / 8 * strength, np.float32),
    )


def _rows(canvas: Canvas, along: Field, over: Field, heading: Field, *, length: Field | float, phase: str) -> Cover:
    """Parallel threads: `along` runs with them, `over` counts the rows."""
    style, k, seed = canvas.style, np.float32(canvas.scale), canvas.seed
    pitch = np.float32(style.pitch * k)
    regions = canvas.regions.index
    row = np.floor(over / pitch)
    index = row.astype(np.int64)
    luck = hash01_pair(index, regions, seed)
    # Ragged ends: the outline is read a little further along the thread, by another amount in every row.
    reach = (3.5 if style.family == "longshort" else 1.0 + 1.2 * style.fuzz) * k * (luck - 0.5)
    sewn = canvas.region_at(canvas.x + np.cos(heading) * reach, canvas.y + np.sin(heading) * reach)
    region = np.where(regions > 0, sewn, 0)
    within = 2 * (over / pitch - row) - 1
    # Threads are not equally wide: a row may leave a gap that another fills.
    width = np.clip(style.cover * (0.86 + 0.28 * hash01_pair(index, regions, seed + 11)), 0.3, 1.05)
    across = within / width
    covered = (region > 0) & (np.abs(across) <= 1)
    if phase == "random":
        offset = hash01_pair(index, np.zeros_like(index), seed + 3)
    else:
        offset = (index * np.float32(style.brick) + 0.10 * luck) % 1
    position = along / length + offset
    stitch = np.floor(position)
    toward_end = np.abs(2 * (position - stitch) - 1)
    dive = np.where(toward_end > 0.8, (position - stitch - 0.5) * 5 * (toward_end - 0.8), 0)
    shade = 1 - 0.45 * np.clip((toward_end - 0.84) / 0.16, 0, 1) ** 2
    identity = hash01_pair(index * 131 + stitch.astype(np.int64), region, seed + 7)
    # Twisted plies show once a thread is wide enough to resolve them.
    plies = 0.16 * np.clip((style.pitch - 3) / 3, 0, 1)
    shade = shade * (1 - plies * (0.5 + 0.5 * np.cos(2 * np.pi * (along / (0.75 * pitch) + 0.4 * across + identity))))
    return Cover(
        region,
        covered,
        np.clip(across, -1, 1).astype(np.float32),
        heading,
        dive.astype(np.float32),
        shade.astype(np.float32),
        identity,
        _padding(canvas, 0.35 * style.relief),
    )


def _straight(canvas: Canvas, angles: Field) -> tuple[Field, Field, Field]:
    heading = angles[canvas.regions.index]
    x, y = canvas.wobbled()
    c, s = np.cos(heading), np.sin(heading)
    return x * c + y * s, -x * s + y * c, heading


def _region_angles(canvas: Canvas) -> Field:
    style, regions = canvas.style, canvas.regions
    if not style.angle_by_region:
        return np.full(len(regions.ink), style.angle, np.float32)
    spread = np.pi * hash01(regions.ink, canvas.seed) * 0.9 + 0.3 * hash01(np.arange(len(regions.ink)), canvas.seed + 1)
    return (style.angle + spread).astype(np.float32)


def fill(canvas: Canvas) -> Cover:
    """Tatami: straight rows whose stitch ends are offset from row to row."""
    along, over, heading = _straight(canvas, _region_angles(canvas))
    return _rows(canvas, along, over, heading, length=canvas.style.stitch_length * canvas.scale, phase="brick")


def longshort(canvas: Canvas) -> Cover:
    """Thread painting: rows as in a fill, stitch ends at random, edges feathered."""
    along, over, heading = _straight(canvas, _region_angles(canvas))
    return _rows(canvas, along, over, heading, length=canvas.style.stitch_length * canvas.scale, phase="random")


def satin(canvas: Canvas) -> Cover:
    """Threads side by side across the short way of each region; wide regions are split."""
    regions, k = canvas.regions, canvas.scale
    lean = 0.25 * (canvas.rng.random(len(regions.ink)) - 0.5)
    along, over, heading = _straight(canvas, (regions.axis + np.pi / 2 + lean).astype(np.float32))
    wide = regions.thickness[regions.index] * k / 2 >= 23 * k
    length = np.where(wide, 38 * k, 1e6).astype(np.float32)
    cover = _rows(canvas, along, over, heading, length=length, phase="brick")
    one_stitch = length > 1e5
    cover.dive = np.where(one_stitch, 0, cover.dive).astype(np.float32)
    cover.shade = np.where(one_stitch, 1, cover.shade).astype(np.float32)
    cover.tilt = _padding(canvas, 0.9 * (0.4 + 0.6 * canvas.style.relief))
    return cover


def contour(canvas: Canvas) -> Cover:
    """A fill, or loose runs, that follows the outline inwards row by row."""
    arc, heading = outline_coordinates(canvas.regions, 1.2 * canvas.scale)
    jitter = 0.5 * canvas.style.wobble * canvas.scale * smooth_noise(canvas.size, 48, canvas.rng)
    over, length = canvas.regions.distance + jitter, canvas.style.stitch_length * canvas.scale
    return _rows(canvas, arc, over, heading, length=length, phase="random")


def chain(canvas: Canvas) -> Cover:
    """Rows of teardrop links along the outline."""
    style, k, regions, seed = canvas.style, canvas.scale, canvas.regions, canvas.seed
    arc, heading = outline_coordinates(regions, 1.2 * k)
    pitch = np.float32(style.pitch * k)
    length = np.float32(pitch * (1.4 + 0.6 * (style.stitch_length - 11) / 19))
    row = np.floor(regions.distance / pitch)
    side = 2 * (regions.distance / pitch - row) - 1
    position = arc / length + 0.5 * (row % 2)
    link = np.floor(position)
    u = position - link
    half_width = 0.62 * np.sin(np.pi * np.clip(u, 0.02, 0.98) ** 0.75)
    across = (np.abs(side) - half_width) / 0.42
    hole = np.abs(across) > 1
    shade = np.where(hole, 0.55, 1 - 0.35 * np.clip((0.1 - u) / 0.1, 0, 1))
    turn = np.arctan(0.62 * np.pi * np.cos(np.pi * u) * pitch / length * 0.5) * np.sign(side)
    return Cover(
        regions.index,
        regions.index > 0,
        (np.clip(across, -1, 1) * np.sign(side)).astype(np.float32),
        (heading + turn).astype(np.float32),
        np.where(u < 0.12, -0.5, 0).astype(np.float32),
        shade.astype(np.float32),
        hash01_pair(row.astype(np.int64) * 977 + link.astype(np.int64), regions.index, seed),
    )


def cross(canvas: Canvas) -> Cover:
    """Counted cross-stitch on a grid; each cell takes the ink at its centre."""
    grid, seed = np.float32(canvas.style.pitch * canvas.scale), canvas.seed
    column, row = np.floor(canvas.x / grid), np.floor(canvas.y / grid)
    region = canvas.region_at((column + 0.5) * grid, (row + 0.5) * grid)
    fx, fy = canvas.x / grid - column - 0.5, canvas.y / grid - row - 0.5
    a, b = (fx - fy) * 0.7071, (fx + fy) * 0.7071
    width = np.float32(0.24 + 0.12 * canvas.style.cover)
    jitter = (hash01_pair(column.astype(np.int64), row.astype(np.int64), seed) - 0.5) * 0.08
    upper = np.abs(a + jitter) < width / 2
    lower = np.abs(b - jitter) < width / 2
    across = np.where(upper, (a + jitter) / (width / 2), (b - jitter) / (width / 2))
    reach = np.where(upper, np.abs(b), np.abs(a))
    shade = 1 - 0.5 * np.clip((reach - 0.5) / 0.2, 0, 1)
    shade = np.where(~upper & (np.abs(a) < width * 0.85), 0.6 * shade, shade)
    covered = (region > 0) & (upper | lower)
    return Cover(
        np.where(covered, region, 0),
        covered,
        np.clip(across, -1, 1).astype(np.float32),
        np.where(upper, np.pi / 4, 3 * np.pi / 4).astype(np.float32),
        np.zeros_like(canvas.x),
        shade.astype(np.float32),
        hash01_pair(column.astype(np.int64) * 2 + upper, row.astype(np.int64), seed + 1),
    )


@dataclass
class _Spots:
    """Nearest spot of a jittered grid: offsets in pixels, the spot's own number and the region under its centre."""

    dx: Field
    dy: Field
    number: Labels
    region: Labels
    found: Labels


def _scatter(canvas: Canvas, jitter: float, *, squeeze: float = 1.0, overlap: bool = False) -> _Spots:
    pitch, seed = np.float32(canvas.style.pitch * canvas.scale), canvas.seed
    pitch_y = pitch * np.float32(squeeze)
    best = np.full((canvas.size, canvas.size), 9e9, np.float32)
    number = np.zeros(best.shape, np.int64)
    dx, dy = np.zeros_like(best), np.zeros_like(best)
    row0 = np.floor(canvas.y / pitch_y).astype(np.int64)
    for down in (-1, 0, 1):
        row = row0 + down
        shift = 0.5 * (row % 2)
        column0 = np.floor(canvas.x / pitch - shift).astype(np.int64)
        for right in (-1, 0, 1):
            column = column0 + right
            px = (column + shift + 0.5 + jitter * (hash01_pair(column, row, seed) - 0.5)) * pitch
            py = (row + 0.5 + jitter * (hash01_pair(column, row, seed + 1) - 0.5)) * pitch_y
            square = (canvas.x - px) ** 2 + (canvas.y - py) ** 2
            # Overlapping pieces (sequins) lie in the order they were sewn, others share the ground between them.
            key = (
                np.where(square < (0.62 * pitch) ** 2, (-row * 1000 - column).astype(np.float32), 9e8)
                if overlap
                else square
            )
            closer = key < best
            best = np.where(closer, key, best)
            dx, dy = np.where(closer, canvas.x - px, dx), np.where(closer, canvas.y - py, dy)
            number = np.where(closer, column * 7919 + row, number)
    region = canvas.region_at(canvas.x - dx, canvas.y - dy)
    return _Spots(dx.astype(np.float32), dy.astype(np.float32), number, region, best < 9e8)


def sequin(canvas: Canvas) -> Cover:
    """Overlapping discs with a hole and a bent rim."""
    pitch = np.float32(canvas.style.pitch * canvas.scale)
    spots = _scatter(canvas, 0.12, squeeze=0.8, overlap=True)
    radius = np.hypot(spots.dx, spots.dy) / pitch
    tip_x, tip_y = (0.7 * (hash01(spots.number, canvas.seed + i) - 0.5) for i in (4, 5))
    rim = radius > 0.42
    shade = np.where(radius > 0.55, 0.6, 1) * np.where(radius < 0.09, 0.25, 1)
    tilt = tuple(
        (tip - 0.9 * d / pitch * rim + 0.25 * d / pitch).astype(np.float32)
        for tip, d in ((tip_x, spots.dx), (tip_y, spots.dy))
    )
    return Cover(
        spots.region,
        (spots.region > 0) & spots.found,
        np.zeros_like(radius),
        (np.arctan2(spots.dy, spots.dx) + np.pi / 2).astype(np.float32),
        np.zeros_like(radius),
        shade.astype(np.float32),
        hash01(spots.number, canvas.seed + 3),
        (tilt[0], tilt[1]),
    )


def chenille(canvas: Canvas) -> Cover:
    """Loops of soft yarn, standing up at random."""
    pitch, seed = np.float32(canvas.style.pitch * canvas.scale), canvas.seed
    spots = _scatter(canvas, 0.7)
    stretch = 0.75 + 0.5 * hash01(spots.number, seed + 8)
    turn = np.pi * hash01(spots.number, seed + 9)
    a = spots.dx * np.cos(turn) + spots.dy * np.sin(turn)
    b = -spots.dx * np.sin(turn) + spots.dy * np.cos(turn)
    radius = np.hypot(a * stretch, b / stretch) / pitch
    fibre = 0.10 * canvas.style.fuzz * smooth_noise(canvas.size, canvas.size // 2, canvas.rng)
    shade = 1.05 - 0.45 * np.clip((radius - 0.5) / 0.3, 0, 1) - 0.3 * np.clip((0.12 - radius) / 0.12, 0, 1) + fibre
    return Cover(
        spots.region,
        spots.region > 0,
        np.clip((radius - 0.33) / 0.30, -1, 1).astype(np.float32),
        (np.arctan2(spots.dy, spots.dx) + np.pi / 2).astype(np.float32),
        np.zeros_like(radius),
        np.clip(shade, 0.5, 1.15).astype(np.float32),
        hash01(spots.number, seed + 3),
    )


def knot(canvas: Canvas) -> Cover:
    """French knots: thread wound up in a spiral."""
    pitch, seed = np.float32(canvas.style.pitch * canvas.scale), canvas.seed
    spots = _scatter(canvas, 0.7)
    radius = np.hypot(spots.dx, spots.dy) / pitch
    around = np.arctan2(spots.dy, spots.dx)
    spiral = radius * 6.0 - around / (2 * np.pi) + hash01(spots.number, seed)
    across = (2 * (spiral - np.floor(spiral)) - 1) * 0.75
    shade = np.clip(1.08 - 0.8 * np.clip((radius - 0.28) / 0.35, 0, 1), 0.45, 1)
    return Cover(
        spots.region,
        spots.region > 0,
        across.astype(np.float32),
        (around + np.pi / 2).astype(np.float32),
        np.zeros_like(radius),
        shade.astype(np.float32),
        hash01(spots.number, seed + 3),
        (1.3 * spots.dx / pitch, 1.3 * spots.dy / pitch),
    )


def bead(canvas: Canvas) -> Cover:
    """Round glass beads in loose rows."""
    pitch, seed = np.float32(canvas.style.pitch * canvas.scale), canvas.seed
    spots = _scatter(canvas, 0.25, squeeze=0.92)
    radius = np.hypot(spots.dx, spots.dy) / pitch
    shade = np.where(radius < 0.5, 1.0 - 0.25 * radius, np.clip(0.9 - 5 * (radius - 0.5), 0.35, 0.9))
    shade = np.where(radius < 0.07, 0.45, shade)
    steep = 2.1 * np.clip(radius / 0.5, 0, 1) / np.maximum(radius, 1e-3) / pitch
    return Cover(
        spots.region,
        (spots.region > 0) & (radius < 0.56),
        np.zeros_like(radius),
        (np.arctan2(spots.dy, spots.dx) + np.pi / 2).astype(np.float32),
        np.zeros_like(radius),
        shade.astype(np.float32),
        hash01(spots.number, seed + 3),
        ((spots.dx * steep).astype(np.float32), (spots.dy * steep).astype(np.float32)),
    )


COVERS: dict[str, Callable[[Canvas], Cover]] = {
    "fill": fill,
    "satin": satin,
    "longshort": longshort,
    "contour": contour,
    "run": contour,
    "chain": chain,
    "cross": cross,
    "chenille": chenille,
    "sequin": sequin,
    "knot": knot,
    "bead": bead,
}
