"""Families of threads that lie side by side in rows, or that follow a line: fills, satins, runs, stem and chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from worker.atelier.stitches.canvas import Canvas, Cover
from worker.atelier.stitches.fields import blur, hash01, pair, slopes, smoothstep
from worker.atelier.stitches.label_map import SUPERSAMPLING


@dataclass(frozen=True)
class _Stitch:
    """The stitches of one row of threads, over every sample."""

    height: Tensor
    across: Tensor
    within: Tensor
    identity: Tensor
    region: Tensor


def rows(
    canvas: Canvas,
    along: Tensor,
    over: Tensor,
    heading: Tensor,
    *,
    length: Tensor,
    ragged: Tensor | float,
    random_ends: bool,
    last: Tensor | None = None,
    overhang: bool = False,
    pitch: Tensor | None = None,
) -> Cover:
    """Parallel threads, stitch by stitch.

    A stitch is a lens: it may lie over its neighbour where that one thins out, and where the ends of several meet the
    cloth looks through.

    Args:
        canvas: What is sewn.
        along: Coordinate that runs with the threads, samples.
        over: Coordinate that counts the rows, samples.
        heading: Direction of the threads, radians.
        length: Length of one stitch, samples; over 1e6 for threads without ends.
        ragged: How far a row's end may leave the outline, output pixels.
        random_ends: Whether stitch ends are placed at random and not by the style's offset.
        last: Rows there are, from 0; None for as many as fit.
        overhang: Whether `ragged` threads also end outside; the heading must be known there.
        pitch: Distance of the rows, samples; None for the style's.
    """
    pitch = canvas.length("spacing") if pitch is None else pitch
    # Rows are not ruled: their common border wanders a little.
    uneven = 0.08 if last is not None else 0.12 + 0.3 * canvas.of("wobble") / canvas.of("spacing")
    place = over / pitch + uneven * canvas.noise(max(8, canvas.size // 18), 21)
    here = canvas.near if overhang else canvas.plans.region
    row = torch.floor(place)
    beside = row + torch.where(place - row < 0.5, -1.0, 1.0)
    first, second = (
        _row(canvas, here, along, place, heading, n, length, ragged, random_ends=random_ends) for n in (row, beside)
    )
    if last is not None:
        first, second = (
            replace(s, height=torch.where((n >= 0) & (n < last), s.height, 0.0))
            for s, n in ((first, row), (second, beside))
        )
    upper = second.height > first.height
    height, across, within, identity, region = (
        torch.where(upper, getattr(second, f.name), getattr(first, f.name)) for f in fields(_Stitch)
    )
    endless = length > 1e6
    toward_end = torch.where(endless, 0.0, (2 * within - 1).abs())
    taper = canvas.of("taper")
    dive = torch.sign(within - 0.5) * (0.25 + 0.55 * taper) * toward_end.square() * toward_end
    # What lies low between its neighbours gets less light; so do the ends, down in their holes.
    shade = (0.74 + 0.28 * smoothstep(height, 0.0, 0.42)) * (
        1 - (0.10 + 0.22 * taper) * smoothstep(toward_end, 0.7, 1.0)
    )
    # Twisted plies show once a thread is wide enough to resolve them.
    resolved = ((pitch / SUPERSAMPLING - 3) / 3).clamp(0, 1)
    twist = 0.5 + 0.5 * torch.cos(2 * torch.pi * (along / (0.8 * pitch) + 0.45 * across.clamp(-1, 1) + identity))
    shade = shade * (1 - (0.10 + 0.16 * resolved) * twist)
    covered = (region > 0) & (height > 0)
    bare = (canvas.plans.region > 0) & ~covered
    hole = torch.where(bare, 0.5 * smoothstep(toward_end, 0.8, 1.0), 0.0)
    return Cover(region, covered, across.clamp(-1, 1), heading.expand_as(across), dive, shade, identity, hole)


def _row(
    canvas: Canvas,
    here: Tensor,
    along: Tensor,
    place: Tensor,
    heading: Tensor,
    row: Tensor,
    length: Tensor,
    ragged: Tensor | float,
    *,
    random_ends: bool,
) -> _Stitch:
    seed = canvas.seed
    index = row.to(torch.int32)
    luck = hash01(pair(index, here), seed)
    region = here
    if isinstance(ragged, Tensor) or ragged:
        reach = ragged * SUPERSAMPLING * (1 + 0.8 * canvas.of("fuzz")) * (luck - 0.5)
        sewn = canvas.region_at(canvas.x + torch.cos(heading) * reach, canvas.y + torch.sin(heading) * reach)
        region = torch.where(here > 0, sewn, 0)

    offset, pattern = canvas.of("offset"), canvas.of("pattern")
    chance = hash01(index, seed + 3)
    if random_ends:
        shift = chance
    else:
        wave = 0.5 + 0.5 * torch.sin(2 * torch.pi * row / pattern.clamp(min=1))
        shift = torch.where(offset < 0, chance, torch.where(pattern > 0, 0.8 * wave, row * offset)) + 0.1 * luck
    position = along / length + shift
    # Machines and hands alike place the needle a little early or late.
    position = position + 0.10 * torch.sin(4.1 * position + 6.28 * luck)
    stitch = torch.floor(position)
    within = position - stitch
    endless = length > 1e6
    toward_end = torch.where(endless, 0.0, (2 * within - 1).abs())
    identity = hash01(pair(index * 131 + stitch.to(torch.int32), region), seed + 7)
    # More independent numbers of the same stitch, without hashing again.
    lean, thick = (identity * 61.7) % 1 - 0.5, (identity * 377.3) % 1 - 0.5
    loose = torch.where(endless, 0.6, 1.0)
    side = place - row - 0.5 - loose * (0.16 * (luck - 0.5) + 0.22 * lean * (2 * within - 1))
    taper = canvas.of("taper")
    width = 0.53 * canvas.of("cover") * (1 + 0.24 * loose * thick) * (1 - 0.62 * taper * toward_end**3)
    across = side / width.clamp(min=0.08)
    height = width * (1 - across.square()).clamp(min=0).sqrt() * (1 - 0.25 * toward_end.square())
    return _Stitch(torch.where(region > 0, height, 0.0), across, within, identity, region)


def straight(canvas: Canvas, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates along and over straight threads, and their heading, by a table [B, R] of angles."""
    heading = canvas.plans.of_region(angles, canvas.near)
    x, y = canvas.wobbled()
    c, s = torch.cos(heading), torch.sin(heading)
    return x * c + y * s, -x * s + y * c, heading


def region_angles(canvas: Canvas) -> Tensor:
    """Sewing direction of every region, [B, R]: the style's own, turned by ink if it says so."""
    ink = canvas.plans.ink
    number = torch.arange(ink.shape[1], device=canvas.device).expand_as(ink)
    turned = torch.pi * hash01(ink, canvas.seed) * 0.9 + 0.3 * hash01(number, canvas.seed + 1)
    return canvas.of("angle")[:, 0] + torch.where(canvas.of("angle_by_region")[:, 0] > 0, turned, 0.0)


def _raggedness(canvas: Canvas) -> Tensor:
    """How unevenly rows end: the less steady a style's threads, the more."""
    return 0.7 + 2.6 * canvas.of("wobble") / canvas.of("spacing")


def fill(canvas: Canvas) -> Cover:
    """Tatami: straight rows whose stitch ends are offset from row to row, or make a pattern."""
    along, over, heading = straight(canvas, region_angles(canvas))
    cover = rows(
        canvas,
        along,
        over,
        heading,
        length=canvas.length("stitch"),
        ragged=_raggedness(canvas),
        random_ends=False,
        overhang=True,
    )
    cover.tilt = canvas.padding(0.25 * canvas.of("relief"))
    return cover


def longshort(canvas: Canvas) -> Cover:
    """Thread painting: rows as in a fill, stitch ends at random, edges feathered."""
    along, over, heading = straight(canvas, region_angles(canvas))
    heading = heading + 0.10 * canvas.noise(9, 31)
    cover = rows(
        canvas, along, over, heading, length=canvas.length("stitch") * 1.3, ragged=5.0, random_ends=True, overhang=True
    )
    cover.tilt = canvas.padding(0.3 * canvas.of("relief"))
    return cover


def _satin_field(canvas: Canvas) -> tuple[Tensor, Tensor, Tensor]:
    """Threads across the stroke, along equal lengths of it."""
    plans = canvas.plans
    stroke = plans.stroke + canvas.length("wobble") * 0.6 * canvas.noise(7, 41)
    gx, gy = slopes(blur(plans.stroke, 1.5 * SUPERSAMPLING))
    curved = torch.atan2(gy, gx) + torch.pi / 2
    # The jump of lengths between regions is no direction.
    steady = (gx * gx + gy * gy).sqrt() < 2.5
    heading = torch.where(steady, curved, plans.of_region(plans.axis, plans.region) + torch.pi / 2)
    along = canvas.x * torch.cos(heading) + canvas.y * torch.sin(heading)
    return along, stroke, heading


def satin(canvas: Canvas) -> Cover:
    """Threads side by side across the short way of each region; wide ones are sewn straight and split at random."""
    along, over, heading = _satin_field(canvas)
    plans = canvas.plans
    wide = plans.of_region(plans.thickness, plans.region) > 20 * SUPERSAMPLING
    plain_along, plain_over, plain = straight(canvas, plans.axis + torch.pi / 2)
    along, over, heading = (
        torch.where(wide, a, b) for a, b in ((plain_along, along), (plain_over, over), (plain, heading))
    )
    length = torch.where(wide, 30.0 * SUPERSAMPLING, 1e7)
    cover = rows(canvas, along, over, heading, length=length, ragged=1.5 * _raggedness(canvas), random_ends=True)
    cover.hole = None
    cover.tilt = canvas.padding(0.9 * canvas.of("relief"))
    return cover


def puff(canvas: Canvas) -> Cover:
    """Satin over foam: a high, round surface that falls off steeply at its edges."""
    along, over, heading = _satin_field(canvas)
    cover = rows(canvas, along, over, heading, length=torch.full_like(over, 1e7), ragged=0.5, random_ends=False)
    cover.hole = None
    plans = canvas.plans
    radius = (plans.of_region(plans.thickness, plans.region) * 0.9).clamp(4 * SUPERSAMPLING, 15 * SUPERSAMPLING)
    t = (plans.distance / radius).clamp(0, 1)
    height = blur(radius * (1 - (1 - t) ** 2).clamp(min=0).sqrt(), 1.2 * SUPERSAMPLING)
    gx, gy = slopes(height)
    strength = 0.9 * canvas.of("relief")
    cover.tilt = (-gx * strength, -gy * strength)
    cover.shade = cover.shade * (0.72 + 0.28 * smoothstep(t, 0.0, 0.5))
    return cover


def _fitted(canvas: Canvas, pitch: Tensor) -> Tensor:
    """Distance of rows along outlines, closer in narrow strokes, which else no row would meet in their middle."""
    width = canvas.plans.width
    return torch.where(2 * width < pitch, (2 * width).clamp(min=1.6 * SUPERSAMPLING), pitch)


def _smooth_distance(canvas: Canvas) -> Tensor:
    """Distance from the outline without the steps of its samples; as it is in strokes that a blur would flatten."""
    plans = canvas.plans
    return torch.where(plans.width > 4, blur(plans.distance, 1.1 * SUPERSAMPLING), plans.distance)


def contour(canvas: Canvas) -> Cover:
    """A fill that follows the outline inwards row by row."""
    return _echo(canvas, limit=None)


def _echo(canvas: Canvas, *, limit: Tensor | None) -> Cover:
    heading = canvas.outline_heading()
    spacing, length = canvas.length("spacing"), canvas.length("stitch")
    pitch = _fitted(canvas, spacing)
    smooth = _smooth_distance(canvas)
    astray = 0.25 * canvas.length("wobble") * pitch / spacing
    over = smooth + astray * canvas.noise(max(8, canvas.size // 40), 51)
    cover = rows(
        canvas, canvas.plans.arc, over, heading, length=length, ragged=0.0, random_ends=True, last=limit, pitch=pitch
    )
    if limit is not None:
        cover.hole = None
    return cover


def _line_limit(canvas: Canvas) -> Tensor:
    count = canvas.of("rows")
    return torch.where(count > 0, count, 1e6)


def run(canvas: Canvas) -> Cover:
    """Running stitch: one or more lines of single stitches along every outline."""
    cover = _echo(canvas, limit=_line_limit(canvas))
    cover.tilt = None
    return cover


def bean(canvas: Canvas) -> Cover:
    """Triple stitch: three threads beside each other in every stitch, all pulled into the same holes."""
    cover = run(canvas)
    strand = torch.floor((cover.across * 0.5 + 0.5) * 2.999)
    cover.across = (2 * ((cover.across * 0.5 + 0.5) * 2.999 - strand) - 1).clamp(-1, 1)
    cover.identity = hash01((cover.identity * 65536).to(torch.int32) * 3 + strand.to(torch.int32), canvas.seed + 5)
    cover.shade = cover.shade * 0.97
    return cover


def _outline_rows(canvas: Canvas, astray: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rows along outlines: their distance, heading, number, the position across one (-1 to 1), and the sewn regions.

    `astray` is how far they leave their line, wobbles.
    """
    pitch = _fitted(canvas, canvas.length("spacing"))
    over = canvas.plans.distance + astray * canvas.length("wobble") * canvas.noise(40, 51)
    row = torch.floor(over / pitch)
    region = torch.where(row < _line_limit(canvas), canvas.plans.region, 0)
    return pitch, canvas.outline_heading(), row, 2 * (over / pitch - row) - 1, region


def _longer(canvas: Canvas) -> Tensor:
    """How long a style's stitches are for their width, 0 to 1."""
    return ((canvas.of("stitch") / canvas.of("spacing") - 9) / 23).clamp(0, 1)


def stem(canvas: Canvas) -> Cover:
    """Stem stitch: slanted stitches that overlap like the strands of a rope."""
    plans, seed = canvas.plans, canvas.seed
    pitch, heading, row, side, region = _outline_rows(canvas, 0.4)
    width = canvas.of("cover")
    length = pitch * (0.55 + 0.5 * _longer(canvas))
    position = plans.arc / length + 0.55 * side + 0.37 * row
    strand = torch.floor(position)
    u = 2 * (position - strand) - 1
    covered = (region > 0) & (side.abs() <= width)
    round_off = (1 - (side / width.clamp(min=0.3)).square()).clamp(min=0.02).sqrt()
    slant = torch.atan2(pitch * 0.5, length * 0.55 * 2)
    identity = hash01(pair(row.to(torch.int32) * 977 + strand.to(torch.int32), plans.region), seed)
    gx, gy = torch.cos(heading + torch.pi / 2), torch.sin(heading + torch.pi / 2)
    bulge = 0.55 * side
    return Cover(
        region,
        covered,
        u.clamp(-1, 1) * 0.95,
        heading - slant,
        torch.zeros_like(u),
        0.55 + 0.45 * round_off * (1 - 0.35 * smoothstep(u.abs(), 0.7, 1.0)),
        identity,
        None,
        (-gx * bulge, -gy * bulge),
    )


def chain(canvas: Canvas) -> Cover:
    """Rows of teardrop links along the outline."""
    plans, seed = canvas.plans, canvas.seed
    pitch, heading, row, side, region = _outline_rows(canvas, 0.3)
    length = pitch * (1.4 + 0.7 * _longer(canvas))
    position = plans.arc / length + 0.5 * (row % 2)
    link = torch.floor(position)
    u = position - link
    half_width = 0.62 * torch.sin(math.pi * u.clamp(0.02, 0.98) ** 0.75)
    across = (side.abs() - half_width) / 0.40
    hollow = across.abs() > 1
    shade = torch.where(hollow, 0.45, 1 - 0.4 * ((0.12 - u) / 0.12).clamp(0, 1))
    turn = torch.atan(0.31 * math.pi * torch.cos(math.pi * u) * pitch / length) * torch.sign(side)
    return Cover(
        region,
        (region > 0) & ~(hollow & (side.abs() > half_width)),
        across.clamp(-1, 1) * torch.sign(side),
        heading + turn,
        torch.where(u < 0.12, -0.5, 0.0),
        shade,
        hash01(pair(row.to(torch.int32) * 977 + link.to(torch.int32), plans.region), seed),
    )


def details(canvas: Canvas, pieces: Cover, thin: Tensor) -> Cover:
    """Sews what is too narrow for single pieces in lines of the same thread along the outline, as embroiderers do."""
    along, over = canvas.plans.arc, _smooth_distance(canvas)
    pitch = _fitted(canvas, (0.45 * canvas.length("spacing")).clamp(2.8 * SUPERSAMPLING, 3.8 * SUPERSAMPLING))
    length = torch.full_like(pitch, 11.0 * SUPERSAMPLING)
    heading = canvas.outline_heading()
    lines = rows(canvas, along, over, heading, length=length, ragged=0.0, random_ends=True, pitch=pitch)
    sewn = thin & lines.covered & ~pieces.covered
    merged = {f.name: getattr(pieces, f.name) for f in fields(Cover)}
    for name in ("region", "across", "heading", "dive", "shade", "identity"):
        merged[name] = torch.where(sewn, getattr(lines, name), merged[name])
    if pieces.tilt is not None:
        merged["tilt"] = tuple(torch.where(sewn, 0.0, t) for t in pieces.tilt)
    if pieces.lustre is not None:
        merged["lustre"] = torch.where(sewn, 0.5, pieces.lustre)
    merged["covered"] = pieces.covered | sewn
    return Cover(**merged)


LINES: dict[str, Callable[[Canvas], Cover]] = {
    "fill": fill,
    "longshort": longshort,
    "satin": satin,
    "puff": puff,
    "contour": contour,
    "run": run,
    "bean": bean,
    "stem": stem,
    "chain": chain,
}
