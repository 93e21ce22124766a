"""Families of single pieces on a grid: crosses, loops, knots, sequins, beads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.atelier.stitches.canvas import Canvas, Cover
from worker.atelier.stitches.fields import hash01, pair, smoothstep
from worker.atelier.stitches.light import direction
from worker.atelier.stitches.lines import details


def cross(canvas: Canvas) -> Cover:
    """Counted cross-stitch on a grid; each cell takes the ink at its centre."""
    grid, seed = canvas.length("spacing"), canvas.seed
    x, y = canvas.x + 0.2 * canvas.length("wobble") * canvas.noise(24, 2), canvas.y
    column, row = torch.floor(x / grid), torch.floor(y / grid)
    thin = _thin(canvas, 0.42)
    region = _thick(canvas, thin, (column + 0.5) * grid, (row + 0.5) * grid)
    fx, fy = x / grid - column - 0.5, y / grid - row - 0.5
    cell = pair(column, row)
    jitter = (hash01(cell, seed) - 0.5) * 0.09
    a, b = (fx - fy) * 0.7071, (fx + fy) * 0.7071
    half = 0.13 + 0.07 * canvas.of("cover")
    upper = (a + jitter).abs() < half
    lower = (b - jitter).abs() < half
    across = torch.where(upper, a + jitter, b - jitter) / half
    reach = torch.where(upper, b.abs(), a.abs())
    # Two strands of floss lie in each leg.
    strand = torch.floor((across * 0.5 + 0.5).clamp(0, 0.999) * 2)
    legs = 2 * ((across * 0.5 + 0.5) * 2 - strand) - 1
    shade = 1 - 0.55 * ((reach - 0.48) / 0.2).clamp(0, 1)
    shade = torch.where(~upper & (a.abs() < half * 1.8), 0.62 * shade, shade)
    covered = (region > 0) & (upper | lower)
    corner = (fx.abs() - 0.5).square() + (fy.abs() - 0.5).square()
    pieces = Cover(
        torch.where(covered, region, 0),
        covered,
        (0.35 * across + 0.65 * legs).clamp(-1, 1),
        torch.where(upper, torch.pi / 4, 3 * torch.pi / 4),
        (torch.sign(torch.where(upper, b, a)) * 1.2 * (reach - 0.35).clamp(min=0)),
        shade,
        hash01(cell * 4 + upper * 2 + strand.to(torch.int32), seed + 1),
        torch.where(region > 0, (1 - corner / 0.02).clamp(0, 1), 0.0),
    )
    return details(canvas, pieces, thin)


def _thin(canvas: Canvas, share: float) -> Tensor:
    """Where regions are narrower than pieces of `share` spacings to each side, which would be lost or stick out."""
    plans = canvas.plans
    return (plans.region > 0) & (plans.width < (share * canvas.length("spacing")).clamp(max=15.0))


def _thick(canvas: Canvas, thin: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Region under the middles of pieces; 0 where they would be in a thin one."""
    return canvas.region_at(x, y, torch.where(thin, 0, canvas.plans.region))


@dataclass
class _Spots:
    """Nearest spot of a jittered grid, for every sample.

    Attributes:
        dx, dy: Offset from the spot, samples.
        radius: Its length, in spacings.
        around: Its direction, radians.
        number: The spot's own.
        region: Under the spot's centre.
        found: Whether a spot is near enough.
        thin: Where regions are too narrow for pieces.
    """

    dx: Tensor
    dy: Tensor
    radius: Tensor
    around: Tensor
    number: Tensor
    region: Tensor
    found: Tensor
    thin: Tensor


def _scatter(
    canvas: Canvas, jitter: float, *, share: float, squeeze: float = 1.0, overlap: float | None = None
) -> _Spots:
    """Spots in staggered rows.

    Args:
        canvas: What is sewn.
        jitter: How far a spot may leave its place, as a share of the spacing.
        share: Half width, in spacings, of what is too narrow for a piece.
        squeeze: Distance of the rows over the spacing.
        overlap: Radius over spacing of pieces that lie in the order they were sewn; None for pieces that share the
            ground between them.
    """
    pitch, seed = canvas.length("spacing"), canvas.seed
    pitch_y = pitch * squeeze
    turn = torch.where(canvas.of("angle_by_region") > 0, canvas.of("angle"), 0.0)
    c, s = torch.cos(turn), torch.sin(turn)
    gx, gy = canvas.x * c + canvas.y * s, -canvas.x * s + canvas.y * c
    best = torch.full((len(canvas.styles), canvas.size, canvas.size), 9e9, device=canvas.device)
    number = torch.zeros_like(best, dtype=torch.int32)
    dx, dy = torch.zeros_like(best), torch.zeros_like(best)
    row0 = torch.floor(gy / pitch_y).to(torch.int32)
    for down in (-1, 0, 1):
        row = row0 + down
        shift = 0.5 * (row % 2)
        column0 = torch.floor(gx / pitch - shift).to(torch.int32)
        for right in (-1, 0, 1):
            column = column0 + right
            cell = pair(column, row)
            ox = gx - (column + shift + 0.5 + jitter * (hash01(cell, seed) - 0.5)) * pitch
            oy = gy - (row + 0.5 + jitter * (hash01(cell, seed + 1) - 0.5)) * pitch_y
            square = ox * ox + oy * oy
            if overlap is None:
                key = square
            else:
                order = (-row * 1000 - column).to(torch.float32)
                key = torch.where(square < (overlap * pitch).square(), order, 9e8)
            closer = key < best
            best = torch.where(closer, key, best)
            dx, dy = torch.where(closer, ox, dx), torch.where(closer, oy, dy)
            number = torch.where(closer, column * 7919 + row, number)
    dx, dy = dx * c - dy * s, dx * s + dy * c
    thin = _thin(canvas, share)
    return _Spots(
        dx,
        dy,
        (dx.square() + dy.square()).sqrt() / pitch,
        torch.atan2(dy, dx),
        number,
        _thick(canvas, thin, canvas.x - dx, canvas.y - dy),
        best < 9e8,
        thin,
    )


def sequin(canvas: Canvas) -> Cover:
    """Overlapping discs with a hole, a bent rim and a thread that holds them."""
    pitch, seed = canvas.length("spacing"), canvas.seed
    spots = _scatter(canvas, 0.12, share=0.45, squeeze=0.8, overlap=0.60)
    radius = spots.radius
    tip_x, tip_y = (1.1 * (hash01(spots.number, seed + i) - 0.5) for i in (4, 5))
    rim = (radius > 0.42).float()
    shade = torch.where(radius > 0.555, 0.45, 1.0) * torch.where(radius < 0.085, 0.25, 1.0)
    facets = torch.cos(6 * spots.around) * 0.10
    tilt = tuple(
        tip - 0.9 * d / pitch * rim + 0.3 * d / pitch + facets * d.sign()
        for tip, d in ((tip_x, spots.dx), (tip_y, spots.dy))
    )
    pieces = Cover(
        spots.region,
        (spots.region > 0) & spots.found,
        torch.zeros_like(radius),
        spots.around + torch.pi / 2,
        torch.zeros_like(radius),
        shade,
        hash01(spots.number, seed + 3),
        None,
        (tilt[0], tilt[1]),
        torch.full_like(radius, 1.2),
    )
    return details(canvas, pieces, spots.thin)


def chenille(canvas: Canvas) -> Cover:
    """Loops of soft yarn, standing up at random."""
    pitch, seed = canvas.length("spacing"), canvas.seed
    spots = _scatter(canvas, 0.8, share=0.5)
    stretch = 0.7 + 0.6 * hash01(spots.number, seed + 8)
    turn = torch.pi * hash01(spots.number, seed + 9)
    a = spots.dx * torch.cos(turn) + spots.dy * torch.sin(turn)
    b = -spots.dx * torch.sin(turn) + spots.dy * torch.cos(turn)
    radius = ((a * stretch).square() + (b / stretch).square()).sqrt() / pitch
    around = spots.around
    fibre = 0.13 * canvas.of("fuzz") * canvas.noise(canvas.size // 2, 61)
    shade = 1.06 - 0.32 * ((radius - 0.42) / 0.35).clamp(0, 1) - 0.25 * ((0.13 - radius) / 0.13).clamp(0, 1)
    plies = 0.07 * torch.cos(5 * around + 12 * radius + 6.28 * hash01(spots.number, seed + 10))
    pieces = Cover(
        spots.region,
        spots.region > 0,
        ((radius - 0.33) / 0.30).clamp(-1, 1),
        around + torch.pi / 2,
        torch.zeros_like(radius),
        (shade + fibre + plies).clamp(0.55, 1.25),
        hash01(spots.number, seed + 3),
        None,
        (0.5 * spots.dx / pitch, 0.5 * spots.dy / pitch),
    )
    return details(canvas, pieces, spots.thin)


def towel(canvas: Canvas) -> Cover:
    """Looped pile in rows: upright loops of yarn, each leaning its own way."""
    pitch, seed = canvas.length("spacing"), canvas.seed
    spots = _scatter(canvas, 0.45, share=0.35, squeeze=0.62, overlap=0.62)
    lean = (hash01(spots.number, seed + 8) - 0.5) * 1.1 + canvas.of("angle")
    a = spots.dx * torch.cos(lean) + spots.dy * torch.sin(lean)
    b = -spots.dx * torch.sin(lean) + spots.dy * torch.cos(lean)
    # Seen from above a loop is a short thick arc.
    bend = b + 0.5 * a * a / pitch
    across = bend / (0.30 * pitch)
    end = (a.abs() / (0.58 * pitch)).clamp(0, 1)
    covered = (spots.region > 0) & spots.found
    inside = across.abs() <= 1
    shade = torch.where(inside, 1.08 - 0.25 * end.square(), 0.68)
    twist = 0.5 + 0.5 * torch.cos(2 * torch.pi * (a / (0.42 * pitch) + 0.5 * across))
    fibre = 0.10 * canvas.of("fuzz") * canvas.noise(canvas.size // 2, 61)
    pieces = Cover(
        spots.region,
        covered,
        across.clamp(-1, 1),
        lean + torch.atan(a / pitch),
        -torch.sign(a) * 0.6 * end,
        ((shade + fibre) * (1 - 0.13 * twist)).clamp(0.45, 1.2),
        hash01(spots.number, seed + 3),
    )
    return details(canvas, pieces, spots.thin)


def knot(canvas: Canvas) -> Cover:
    """French knots: thread wound up in a spiral."""
    pitch, seed = canvas.length("spacing"), canvas.seed
    spots = _scatter(canvas, 0.7, share=0.42)
    radius = spots.radius
    around = spots.around
    spiral = radius * 6.0 - around / (2 * torch.pi) + hash01(spots.number, seed)
    across = (2 * (spiral - torch.floor(spiral)) - 1) * 0.8
    shade = (1.1 - 0.75 * ((radius - 0.3) / 0.33).clamp(0, 1)).clamp(0.5, 1.06)
    pieces = Cover(
        spots.region,
        spots.region > 0,
        across,
        around + torch.pi / 2,
        torch.zeros_like(radius),
        shade,
        hash01(spots.number, seed + 3),
        None,
        (1.4 * spots.dx / pitch, 1.4 * spots.dy / pitch),
    )
    return details(canvas, pieces, spots.thin)


def bead(canvas: Canvas) -> Cover:
    """Round glass beads in loose rows."""
    pitch, seed = canvas.length("spacing"), canvas.seed
    spots = _scatter(canvas, 0.25, share=0.45, squeeze=0.92)
    radius = spots.radius
    lx, ly, _ = direction(canvas)
    toward = (spots.dx * lx + spots.dy * ly) / (0.35 * pitch)
    # Glass: dark at its rim and around its hole, and light that comes through shines on the far side.
    shade = (
        0.9
        - 0.35 * smoothstep(radius, 0.38, 0.54)
        + 0.5 * smoothstep(-toward, 0.25, 0.9) * smoothstep(0.54 - radius, 0.0, 0.12)
    )
    shade = torch.where(radius < 0.075, 0.4, shade)
    steep = 2.1 * (radius / 0.5).clamp(0, 1) / radius.clamp(min=1e-3) / pitch
    pieces = Cover(
        spots.region,
        (spots.region > 0) & (radius < 0.56),
        torch.zeros_like(radius),
        spots.around + torch.pi / 2,
        torch.zeros_like(radius),
        shade,
        hash01(spots.number, seed + 3),
        None,
        (spots.dx * steep, spots.dy * steep),
        torch.full_like(radius, 2.0),
    )
    return details(canvas, pieces, spots.thin)


PIECES: dict[str, Callable[[Canvas], Cover]] = {
    "cross": cross,
    "chenille": chenille,
    "towel": towel,
    "sequin": sequin,
    "knot": knot,
    "bead": bead,
}
