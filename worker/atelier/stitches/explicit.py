"""Renders the stitches of a file one by one, with the light, the cloth and the camera of the stitch families."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from worker.atelier.stitches.camera import in_hoop, on_garment, photograph
from worker.atelier.stitches.canvas import Canvas, Cover
from worker.atelier.stitches.digitise import Plans
from worker.atelier.stitches.fabric import weave
from worker.atelier.stitches.fields import Field, blur, hash01, shifted, slopes, smoothstep
from worker.atelier.stitches.files import (
    CLOTH,
    SEQUIN_MM,
    Colour,
    StitchProgram,
    flat_of,
    frame_of,
    load_stitches,
    palette_of,
)
from worker.atelier.stitches.label_map import SUPERSAMPLING, flat_design
from worker.atelier.stitches.light import direction, lay_on_cloth, shade_threads
from worker.atelier.stitches.pile import Threads, topmost
from worker.atelier.stitches.style import THREAD_MM, StitchStyle

_FINEST = 2.0
"""Threads are drawn at least this wide, pixels of the picture that is reduced afterwards."""
_LARGEST = 1024
"""Side in pixels beyond which no picture is enlarged for the sake of its threads: it takes 1 GB and 5 s on a CPU."""
_USUAL = 9.0
"""Pixels a millimetre that the cloth is woven for."""
_HOLE_MM = 0.28
"""Radius of what a needle leaves in the cloth."""


@torch.no_grad()
def render_stitches(
    program: StitchProgram,
    style: StitchStyle,
    size: int,
    *,
    colours: Sequence[Colour] | None = None,
    ground: Colour = CLOTH,
    camera: float = 1.0,
    device: str | torch.device = "cpu",
) -> npt.NDArray[np.uint8]:
    """Sews and photographs a program, every stitch of it as one thread.

    The style gives the thread, its light, the cloth and the framing; where stitches lie is the program's, and the
    scale is that of `frame_of`. Where threads would be under 2 px wide at `size`, everything is sewn larger, up to
    1024 px a side, and reduced before it is photographed; beyond that threads get thinner.

    Args:
        program: What is sewn.
        style: `weight`, `material`, `sheen`, `fuzz`, `taper`, `jitter`, `wobble`, `relief`, `light`, `softness`,
            `fabric`, `framing` and `seed` count; the rest is about families.
        size: Pixels a side, S.
        colours: RGB in [0, 1] in place of the program's threads, from the first on.
        ground: RGB in [0, 1] of the cloth.
        camera: 0 for a perfect camera, 1 for the usual spread of shop photographs.
        device: Where to compute.

    Returns:
        RGB [S, S, 3].
    """
    width = THREAD_MM[style.weight]
    larger = _FINEST / (frame_of(program, size).px_per_mm * width)
    inner = min(max(size, -(-int(size * larger) // 8) * 8), max(size, _LARGEST))
    scale = frame_of(program, inner).px_per_mm
    sewn = replace(style, px_per_mm=scale, spacing=max(width, 1.6 / scale), family="fill")
    plans = _plans(program, inner, colours, ground, torch.device(device))
    canvas = Canvas(plans, [sewn])
    threads = Threads.of(program, sewn, inner, torch.device(device))
    cover, ink = _cover(canvas, threads, program, palette_of(program, colours, ground))
    lit = shade_threads(canvas, cover, ink)
    picture = lay_on_cloth(canvas, lit, cover.covered, cover.hole, _cloth(canvas, ground))
    del lit, cover, ink
    picture = functional.avg_pool2d(picture, SUPERSAMPLING)
    if inner != size:
        picture = functional.interpolate(picture, (size, size), mode="bilinear", antialias=True)
    for framing, frame in (("hoop", in_hoop), ("garment", on_garment)):
        if style.framing == framing:
            picture = frame(picture, canvas.seed)
    picture = photograph(picture, canvas.seed, camera)[0]
    return np.asarray((picture.permute(1, 2, 0) * 255).round().clamp(0, 255).byte().cpu().numpy())


@dataclass(frozen=True)
class Sewn:
    """What `sew_file` did.

    Attributes:
        picture: File of the embroidery.
        flat: File of the flat design in the same frame; None unless asked for.
        stitches: Stitches sewn.
        sequins: Sequins sewn.
        colours: Different colours sewn.
        width_mm: Width of the motif.
        height_mm: Height of the motif.
        px_per_mm: Scale of the pictures.
        named_threads: Whether the colours are the file's own.
    """

    picture: Path
    flat: Path | None
    stitches: int
    sequins: int
    colours: int
    width_mm: float
    height_mm: float
    px_per_mm: float
    named_threads: bool


def sew_file(
    source: Path,
    picture: Path,
    style: StitchStyle,
    size: int = 512,
    *,
    flat: Path | None = None,
    colours: Sequence[Colour] | None = None,
    ground: Colour = CLOTH,
    camera: float = 1.0,
    device: str | torch.device = "cpu",
) -> Sewn:
    """Renders a stitch file into a picture file, and its flat design into another.

    Args:
        source: A stitch file.
        picture: Gets the embroidery, PNG or JPEG by its name.
        style: As for `render_stitches`.
        size: Pixels a side.
        flat: Gets the flat design.
        colours: As for `render_stitches`.
        ground: RGB in [0, 1] of the cloth.
        camera: As for `render_stitches`.
        device: Where to compute.

    Raises:
        ValueError: The stitch file is unreadable or empty; the message is for its owner.
    """
    program = load_stitches(source)
    sewn = render_stitches(program, style, size, colours=colours, ground=ground, camera=camera, device=device)
    Image.fromarray(sewn).save(picture)
    if flat is not None:
        Image.fromarray(flat_design(flat_of(program, size, colours=colours, ground=ground))).save(flat)
    left, top, right, bottom = program.bounds
    inks = len(palette_of(program, colours, ground)[0]) - 1
    return Sewn(
        picture,
        flat,
        len(program),
        len(program.sequins),
        inks,
        right - left,
        bottom - top,
        frame_of(program, size).px_per_mm,
        program.named,
    )


def _plans(
    program: StitchProgram, size: int, colours: Sequence[Colour] | None, ground: Colour, device: torch.device
) -> Plans:
    """What `Canvas` needs of a design: areas of ink and the distance from their borders."""
    labels = flat_of(program, size, colours=colours, ground=ground).labels
    border = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    distance = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 5) * (labels > 0)
    known = {
        "region": torch.from_numpy(labels.astype(np.int64))[None].to(device),
        "distance": torch.from_numpy(distance.astype(np.float32))[None].to(device),
    }
    unused = torch.zeros(1, 1, device=device)
    return Plans(**{f.name: known.get(f.name, unused) for f in fields(Plans)})


def _cloth(canvas: Canvas, ground: Colour) -> Tensor:
    """Cloth for the scale of the stitches, RGB [1, 3, S, S]; finer than its usual scale nobody would see it."""
    colour = torch.tensor(ground, device=canvas.device).view(1, 3, 1, 1)
    zoom = min(max(canvas.styles[0].px_per_mm / _USUAL, 1.0), 2.5)
    side = max(32, round(canvas.size / zoom))
    cloth = weave(canvas.styles[0].fabric, colour, canvas.seed, side)
    if side == canvas.size:
        return cloth
    return functional.interpolate(cloth, (canvas.size,) * 2, mode="bicubic", antialias=True, align_corners=False)


def _cover(
    canvas: Canvas, threads: Threads, program: StitchProgram, palette: tuple[Field, npt.NDArray[np.int64]]
) -> tuple[Cover, Tensor]:
    """The threads and sequins seen from above, and their inks, RGB [1, 3, S, S]."""
    device, size = canvas.device, canvas.size
    count = len(program)
    frame = frame_of(program, size // SUPERSAMPLING)
    scale = frame.px_per_mm * SUPERSAMPLING
    centres = (torch.from_numpy(program.sequins) - torch.tensor([frame.left, frame.top])) * scale - 0.5
    centres = centres.to(device)
    top, profile = (v.view(1, size, size) for v in topmost(threads, centres, size))
    covered = top >= 0
    number = top.clamp(min=0)
    if count:
        k = number.clamp(max=count - 1)
        across, along, _, ending = threads.place(k, canvas.x, canvas.y)
        length, c, s = threads.length[k], threads.c[k], threads.s[k]
    else:
        length, c = torch.ones_like(profile), torch.ones_like(profile)
        s = across = along = ending = torch.zeros_like(profile)
    within = (along / length).clamp(0, 1)
    taper = threads.taper
    # A stitch is an arch: long ones rise higher, yet are flatter, and mirror the light along more of their length.
    length_mm = length / scale
    arch = 4 * (0.06 + 0.09 * length_mm).clamp(max=0.45) / length_mm.clamp(min=0.4)
    dive = 0.55 * arch * (2 * within - 1) + torch.sign(within - 0.5) * (0.2 + 0.45 * taper) * ending.square()
    identity = hash01(number, canvas.seed + 7)
    resolved = min(max((threads.width / SUPERSAMPLING - 3) / 3, 0.0), 1.0)
    twist = 0.5 + 0.5 * torch.cos(
        2 * torch.pi * (along / (0.8 * threads.width) + 0.45 * across.clamp(-1, 1) + identity)
    )
    shade = (0.72 + 0.30 * smoothstep(profile, 0.0, 0.8)) * (1 - (0.10 + 0.16 * resolved) * twist)
    shade = shade * (1 - (0.10 + 0.22 * taper) * smoothstep(ending, 0.3, 1.0))
    lustre = 0.75 + 0.45 * smoothstep(length_mm, 0.8, 5.0)
    heading = torch.atan2(s, c)
    layers = torch.cat([threads.layer, threads.sequin_layer])
    shade = shade * _contact(canvas, torch.where(covered, layers[number] + 0.8 * profile, 0.0), threads.width)
    covers = (across.clamp(-1, 1), heading, dive, shade, identity)
    region = covered.to(torch.int64)
    hole = torch.where(covered, 0.0, _holes(program, canvas))
    cover = Cover(region, covered, *covers, hole, _padding(canvas, scale), lustre)
    if len(program.sequins):
        offset = torch.stack([canvas.x[0], canvas.y[0]], -1)[None] - centres[(number - count).clamp(min=0)]
        flat = _contact(canvas, layers[number] * covered, threads.width)
        cover = _sequins(canvas, cover, offset / (SEQUIN_MM / 2 * scale), number, top >= count, flat)
    rgb, row_of = palette
    colour = torch.from_numpy(row_of[np.r_[program.colour, program.sequin_colour]]).to(device)
    ink = torch.from_numpy(rgb).clamp(0.03, 0.88).to(device)[colour[number]].permute(0, 3, 1, 2)
    return cover, ink


def _sequins(canvas: Canvas, cover: Cover, offset: Tensor, number: Tensor, disc: Tensor, light: Tensor) -> Cover:
    """Bent discs over a cover.

    Args:
        canvas: Coordinates and style.
        cover: The threads.
        offset: From the middle of each sample's sequin, in its radii, [1, S, S, 2].
        number: Of each sample's sequin.
        disc: Where sequins are.
        light: Factor of the light on them.
    """
    dx, dy = offset.unbind(-1)
    radius = torch.hypot(dx, dy)
    facets = 0.10 * torch.cos(6 * torch.atan2(dy, dx))
    bent = 0.18 - 0.54 * (radius > 0.75).float()
    tilt = tuple(
        1.1 * (hash01(number, canvas.seed + i) - 0.5) + bent * d + facets * d.sign() for i, d in ((4, dx), (5, dy))
    )
    own = {
        "across": torch.zeros_like(radius),
        "heading": torch.atan2(dy, dx) + torch.pi / 2,
        "dive": torch.zeros_like(radius),
        "shade": torch.where(radius > 0.95, 0.5, 1.0) * light,
        # Foil shines whatever the thread does.
        "lustre": torch.full_like(radius, 1.3) / canvas.of("sheen").clamp(min=0.3),
    }
    merged = {name: torch.where(disc, value, getattr(cover, name)) for name, value in own.items()}
    below = cover.tilt or (radius, radius)
    return replace(cover, **merged, tilt=(torch.where(disc, tilt[0], below[0]), torch.where(disc, tilt[1], below[1])))


def _padding(canvas: Canvas, scale: float) -> tuple[Tensor, Tensor]:
    """Slope of the motif's surface, which falls off within a millimetre of the borders of its areas."""
    reach = 1.1 * scale
    t = (canvas.plans.distance / reach).clamp(0, 1)
    gx, gy = slopes(blur(0.5 * reach * (1 - (1 - t).square()), max(1.0, 0.15 * scale)))
    strength = 0.8 * canvas.of("relief")
    return -gx * strength, -gy * strength


def _contact(canvas: Canvas, height: Tensor, width: float) -> Tensor:
    """Factor of the light in the small shadows of threads on those below.

    Args:
        canvas: Gives the light.
        height: Of the surface, thread widths, [1, S, S].
        width: Of a thread, samples.
    """
    lx, ly, _ = direction(canvas)
    hard = 1 - canvas.of("softness")
    over = (shifted(height, -lx * 0.7 * width, -ly * 0.7 * width) - height - 0.6).clamp(0, 1)
    about = (blur(height, max(0.45 * width, 0.6)) - height - 0.2).clamp(0, 1)
    return (1 - (0.12 + 0.26 * hard) * over) * (1 - 0.3 * about)


def _holes(program: StitchProgram, canvas: Canvas) -> Tensor:
    """Darkness of the needle holes, 0 to 1, [1, S, S]."""
    size = canvas.size
    frame = frame_of(program, size // SUPERSAMPLING)
    scale = frame.px_per_mm * SUPERSAMPLING
    needle = np.concatenate([program.start, program.end]) - np.array([frame.left, frame.top], np.float32)
    points = torch.from_numpy(np.unique((needle * scale - 0.5).round(1), axis=0)).to(canvas.device)
    radius = max(_HOLE_MM * scale, 1.0)
    dark = torch.zeros(size * size, device=canvas.device)
    span = range(-math.ceil(radius), math.ceil(radius) + 1)
    middle = points.round().to(torch.int64)
    for dx in span:
        for dy in span:
            near = (middle + torch.tensor([dx, dy], device=canvas.device)).clamp(0, size - 1)
            depth = (1 - (near - points).norm(dim=1) / radius).clamp(0, 1)
            dark.scatter_reduce_(0, near[:, 1] * size + near[:, 0], depth, "amax")
    return dark.view(1, size, size)
