"""Stitches of a file as threads on a grid of samples: which lies over which, and what is seen from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worker.atelier.stitches.fields import Field, hash01
from worker.atelier.stitches.files import SEQUIN_MM, StitchProgram, frame_of
from worker.atelier.stitches.label_map import SUPERSAMPLING
from worker.atelier.stitches.style import THREAD_MM, StitchStyle

_SPREAD = 1.1
"""Width of a thread that is drawn tight over its diameter when it lies loose."""
_CAP = 0.3
"""How far a thread shows beyond its needle points, thread widths."""
_PART = 1 << 21
"""Samples rasterised together, which bounds the memory that takes."""
_CROSSING = 0.4
"""Sine of the angle from which on threads cross."""
_NEAR = 4
"""Stitches so near in the sewing order are turns of one line or column, not crossings."""


@dataclass(frozen=True)
class Threads:
    """Stitches on the grid of samples: tables [N] on a device, lengths in samples.

    Attributes:
        x, y: Where a stitch starts.
        c, s: Unit vector along it.
        length: Its length.
        half: Half width of its thread.
        bow: How far its middle lies beside the straight line.
        layer: How many threads lie under it, float.
        sequin_layer: The same for each sequin, [M].
        taper: How much thinner ends are, 0 to 1.
        width: Width of the style's thread.
        thread_mm: The same in millimetres.
    """

    x: Tensor
    y: Tensor
    c: Tensor
    s: Tensor
    length: Tensor
    half: Tensor
    bow: Tensor
    layer: Tensor
    sequin_layer: Tensor
    taper: float
    width: float
    thread_mm: float

    @classmethod
    def of(cls, program: StitchProgram, style: StitchStyle, size: int, device: torch.device) -> Threads:
        """The program in the frame of a picture of `size` pixels a side."""
        frame, seed = frame_of(program, size), style.seed & 0xFFFFFF
        scale = frame.px_per_mm * SUPERSAMPLING
        width = max(_SPREAD * THREAD_MM[style.weight] * scale, 1.6)
        origin = torch.tensor([frame.left, frame.top])
        points = torch.stack([torch.from_numpy(program.start), torch.from_numpy(program.end)])  # [2, N, 2] mm
        # Stitches that meet in a needle hole are moved together: the hole decides.
        tenth = (points * 10).round().to(torch.int32)
        key = tenth[..., 0] * 73856093 ^ tenth[..., 1] * 19349663
        astray = torch.stack([hash01(key, seed + i).view(key.shape) - 0.5 for i in range(2)], -1)
        points = (points - origin) * scale - 0.5 + astray * min(0.35 * style.wobble * scale, 0.2 * width)
        (x, y), (x1, y1) = points[0].T, points[1].T
        length = torch.hypot(x1 - x, y1 - y).clamp(min=1e-3)
        number = torch.arange(len(x))
        luck = [hash01(number[None], seed + 11 + i)[0] - 0.5 for i in range(2)]
        half = 0.5 * width * (1 + 0.14 * luck[0])
        slack = min(style.wobble * scale, 0.5 * width)
        bow = 1.2 * luck[1] * slack * (length / (6 * width)).clamp(0, 1)
        layer, sequin_layer = (torch.from_numpy(v) for v in layers_of(program, THREAD_MM[style.weight]))
        x, y, c, s, length, half, bow, layer, sequin_layer = (
            table.to(device, torch.float32)
            for table in (x, y, (x1 - x) / length, (y1 - y) / length, length, half, bow, layer, sequin_layer)
        )
        return cls(x, y, c, s, length, half, bow, layer, sequin_layer, style.taper, width, width / scale)

    def place(self, k: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where samples are on stitches.

        Args:
            k: Number of each sample's stitch.
            x: Of the samples.
            y: Of the samples.

        Returns:
            Position across (-1 to 1 on the thread), along, distance from the nearer end (negative beyond it), and
            how near that end is: 0 to 1 within the last widths of the thread.
        """
        dx, dy = x - self.x[k], y - self.y[k]
        c, s, length = self.c[k], self.s[k], self.length[k]
        along = dx * c + dy * s
        t = (along / length).clamp(0, 1)
        side = dy * c - dx * s - 4 * self.bow[k] * t * (1 - t)
        inside = torch.minimum(along, length - along)
        ending = (1 - inside / torch.minimum(2.2 * torch.full_like(length, self.width), 0.5 * length)).clamp(0, 1)
        thin = 1 - 0.55 * self.taper * ending.square()
        over = (-inside / (_CAP * self.width)).clamp(0, 1)
        half = self.half[k] * thin * (1 - over.square()).clamp(min=1e-6).sqrt()
        return side / half, along, inside, ending


def layers_of(program: StitchProgram, width: float) -> tuple[Field, Field]:
    """How many threads lie under each stitch [N] and each sequin [M].

    Stitches of one colour that run side by side lie in one layer and press against each other; one that crosses
    others, or comes in another colour, lies on top of them.

    Args:
        program: What is sewn.
        width: Of the thread, mm; threads are followed on a grid of it.
    """
    left, top, right, bottom = program.bounds
    columns = int((right - left) / width) + 4
    last = np.full(columns * (int((bottom - top) / width) + 4), -1, np.int64)
    count, falling = len(program), len(program.sequins)
    layer = np.zeros(count + falling, np.float32)
    vector = program.end - program.start
    length = np.hypot(vector[:, 0], vector[:, 1])
    unit = vector / length[:, None]
    # Sequins are no threads: nothing runs beside them.
    unit = np.concatenate([unit, np.full((falling, 2), 9, np.float32)])
    colour = np.r_[program.colour, program.sequin_colour]
    order = np.argsort(np.r_[np.arange(count), program.sequin_after - 0.5], kind="stable")
    beside = np.array([-0.8, -0.4, 0.0, 0.4, 0.8]) * width
    disc = np.mgrid[-1:1:9j, -1:1:9j].reshape(2, -1).T * SEQUIN_MM / 2
    disc = disc[np.hypot(disc[:, 0], disc[:, 1]) <= SEQUIN_MM / 2]

    def cells(x: Field, y: Field) -> npt.NDArray[np.int64]:
        return ((y - top) / width + 1.5).astype(np.int64) * columns + ((x - left) / width + 1.5).astype(np.int64)

    for i in order.tolist():
        if i >= count:
            here = below = cells(*(program.sequins[i - count] + disc).T)
        else:
            (x, y), (c, s) = program.start[i].tolist(), unit[i].tolist()
            # Not the ends: there a stitch meets those before and after it.
            steps = np.arange(0.12, 0.881, min(0.25, 0.5 * width / float(length[i]))) * float(length[i])
            here = cells(x + steps * c, y + steps * s)
            side = np.repeat(beside, len(steps))
            steps = np.tile(steps, len(beside))
            below = cells(x + steps * c - side * s, y + steps * s + side * c)
        under = last[below]
        under = under[under >= 0]
        if len(under):
            crossing = np.ones(len(under), bool)
            if i < count:
                turned = np.abs(unit[under] @ np.array([-s, c], np.float32)) > _CROSSING
                crossing = (turned & (np.abs(i - under) > _NEAR)) | (colour[under] != colour[i]) | (under >= count)
            layer[i] = (layer[under] + crossing).max()
        last[here] = i
    return layer[:count], layer[count:]


def topmost(threads: Threads, sequins: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """What lies on top of each sample: the number of a stitch, or of a sequin counted on from them; -1 for cloth.

    A layer covers those below; within one the rounder part of a thread is seen, and the later thread where they tie.

    Args:
        threads: The stitches.
        sequins: Centre of each sequin, samples [M, 2].
        size: Samples a side, S.

    Returns:
        Numbers [S * S], and height of the thread's surface there over its edges, 0 to 1.
    """
    device = threads.x.device
    top = torch.full((size * size,), -1, dtype=torch.int64, device=device)

    def lay(x: Tensor, y: Tensor, number: Tensor, layer: Tensor, profile: Tensor, on: Tensor) -> None:
        on = on & (x >= 0) & (x < size) & (y >= 0) & (y < size)
        height = layer.to(torch.int64) * 4096 + (profile * 4095).to(torch.int64)
        key = (height << 32) | number
        top.scatter_reduce_(0, (y * size + x)[on], key[on], "amax")

    steep = threads.s.abs() > threads.c.abs()
    run = torch.where(steep, threads.s, threads.c)
    rise = torch.where(steep, threads.c, threads.s)
    from_, minor0 = torch.where(steep, threads.y, threads.x), torch.where(steep, threads.x, threads.y)
    to = from_ + run * threads.length
    pad = 0.8 * threads.width + 1
    first = (torch.minimum(from_, to) - pad).floor().to(torch.int64)
    lines = (torch.maximum(from_, to) + pad).ceil().to(torch.int64) - first + 1
    breadth = math.ceil(1.07 * 1.42 * threads.width) + 3
    window = torch.arange(breadth, device=device) - breadth // 2
    until = lines.cumsum(0)
    count, done = len(lines), 0
    while done < count:
        limit = int(until[done - 1]) if done else 0
        stop = max(done + 1, int(torch.searchsorted(until, limit + _PART // breadth)))
        part = torch.arange(done, stop, device=device)
        k = part.repeat_interleave(lines[done:stop])
        major = first[k] + torch.arange(len(k), device=device) - (until[k] - lines[k] - limit)
        reach = (major - from_[k]) / run[k]
        t = (reach / threads.length[k]).clamp(0, 1)
        bow = 4 * threads.bow[k] * t * (1 - t) / run[k]
        minor = (minor0[k] + reach * rise[k] + torch.where(steep[k], -bow, bow)).round().to(torch.int64)
        minor = minor[:, None] + window
        major, k = major[:, None].expand_as(minor), k[:, None].expand_as(minor)
        x, y = torch.where(steep[k], minor, major), torch.where(steep[k], major, minor)
        across, _, inside, ending = threads.place(k, x, y)
        profile = (1 - across.square()).clamp(min=0).sqrt() * (1 - 0.35 * ending.square())
        lay(x, y, k, threads.layer[k], profile, (across.abs() < 1) & (inside > -_CAP * threads.width))
        done = stop
    if len(sequins):
        radius = SEQUIN_MM / 2 * threads.width / threads.thread_mm
        span = torch.arange(-math.ceil(radius) - 1, math.ceil(radius) + 2, device=device)
        dy, dx = torch.meshgrid(span, span, indexing="ij")
        centre = sequins.round().to(torch.int64)
        for j in range(len(sequins)):
            x, y = centre[j, 0] + dx, centre[j, 1] + dy
            far = torch.hypot(x - sequins[j, 0], y - sequins[j, 1]) / radius
            layer = threads.sequin_layer[j].expand_as(far)
            lay(x, y, torch.full_like(x, count + j), layer, torch.full_like(far, 0.5), (far < 1) & (far > 0.14))
    profile = ((top >> 32) & 4095).to(torch.float32) / 4095
    return torch.where(top < 0, -1, top & 0xFFFFFFFF), torch.where(top < 0, 0.0, profile)
