"""The cloth under the stitches, and the patches of appliques."""

from __future__ import annotations

import torch
from torch import Tensor

from worker.atelier.stitches.fields import hash01, pair, smooth_noise
from worker.atelier.stitches.label_map import SUPERSAMPLING

_PERIOD = {"plain": 2.7, "twill": 3.0, "denim": 3.2, "canvas": 5.0, "linen": 3.2}
"""Distance of the threads of each weave in output pixels at the usual scale."""


def weave(fabric: str, colour: Tensor, seed: Tensor, size: int, salt: int = 0) -> Tensor:
    """Lit pieces of one kind of cloth.

    Args:
        fabric: One of `style.FABRICS`.
        colour: RGB in [0, 1] of the dyed cloth, [B, 3, 1, 1] or a picture [B, 3, S, S].
        seed: Seeds [B] of their irregularities.
        size: Samples a side, S.
        salt: Tells several cloths of one picture apart.

    Returns:
        RGB [B, 3, S, S], about [0, 1].
    """
    seed = seed + 7001 * (salt + 1)

    def luck(i: int) -> Tensor:
        return hash01(torch.full((len(seed), 1, 1), i, device=seed.device), seed)

    def noise(cells: int, i: int) -> Tensor:
        return smooth_noise(seed, size, cells, i)

    steps = torch.arange(size, device=seed.device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    turn = (luck(1) - 0.5) * 0.5
    c, s = torch.cos(turn), torch.sin(turn)
    drift = (0.3 + 1.1 * luck(4)) * SUPERSAMPLING
    u, v = x * c + y * s + drift * noise(8, 1), -x * s + y * c + drift * noise(8, 2)
    zoom = SUPERSAMPLING * (0.92 + 0.55 * luck(2))
    contrast = 0.45 + 0.85 * luck(3)
    tint = torch.zeros_like(u)
    if fabric == "felt":
        shade = 1 + 0.07 * noise(size // 3, 3) + 0.04 * noise(size // 8, 4)
    elif fabric == "terry":
        shade = _terry(u, v, zoom * 4.6, seed)
    elif fabric == "jersey":
        side = ((u / (3.4 * zoom)) % 1 - 0.5).abs() * 2
        bow = (1 - (side * 1.1 - 0.55).square()).clamp(min=0).sqrt()
        shade = 0.78 + 0.26 * bow * (0.75 + 0.25 * torch.cos(2 * torch.pi * (v / (2.6 * zoom) + 0.35 * side)))
    else:
        period = _PERIOD[fabric] * zoom
        shade, warp_up = _threads(fabric, u / period, v / period, seed)
        if fabric == "denim":
            # Indigo warp over white weft.
            tint = torch.where(warp_up, 0.0, 0.35)
    mean = shade.mean((1, 2), keepdim=True)
    # Soft wrinkles across, and flecks of husk as in unbleached cotton.
    wrinkle = noise(5, 6) + 0.5 * noise(13, 7)
    shade = 0.97 + contrast * (shade - mean) + 0.03 * noise(6, 5) + 0.016 * luck(5) * wrinkle
    fleck = (noise(max(8, size // 7), 8) - 2.35).clamp(0, 0.5) * noise(9, 9).clamp(0, 1)
    shade = shade * (1 - 1.1 * luck(6) * fleck)
    cloth = colour * shade[:, None]
    return cloth + tint[:, None] * (0.85 - cloth).clamp(min=0)


def _threads(fabric: str, u: Tensor, v: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    iu, iv = torch.floor(u), torch.floor(v)
    # No thread is as thick as its neighbour, linen's least of all.
    uneven = 0.36 if fabric == "linen" else 0.16
    thick_u = 1 + uneven * (hash01(pair(iu, iv / 24), seed + 3) - 0.5)
    thick_v = 1 + uneven * (hash01(pair(iv, iu / 24), seed + 4) - 0.5)
    fu, fv = 2 * (u - iu - 0.5) / thick_u, 2 * (v - iv - 0.5) / thick_v
    up = (iu + iv) % 3 != 0 if fabric in ("twill", "denim") else (iu + iv) % 2 == 0
    warp = (1 - 0.7 * fu.square()).clamp(min=0.1).sqrt() * (1 - 0.4 * fv.square()).clamp(min=0.2)
    weft = (1 - 0.7 * fv.square()).clamp(min=0.1).sqrt() * (1 - 0.4 * fu.square()).clamp(min=0.2)
    slub = torch.where(
        up,
        hash01(pair(iu, iv / 3), seed + 5),
        hash01(pair(iv, iu / 3), seed + 9),
    )
    # One system of threads often lies higher, and single threads are paler along their whole length.
    streak = hash01(pair(iv, iu / 40), seed + 11) - 0.5
    shade = 0.6 + 0.40 * torch.where(up, warp, weft) + 0.09 * (slub - 0.5) + 0.05 * streak
    if fabric in ("twill", "denim"):
        shade = shade * torch.where(up, 1.08, 0.9)
    return shade, up


def _terry(u: Tensor, v: Tensor, period: Tensor, seed: Tensor) -> Tensor:
    """Loops of a towel: dots in jittered rows, each lit from above."""
    iu, iv = torch.floor(u / period), torch.floor(v / period)
    cell = pair(iu, iv)
    du = u / period - iu - 0.5 - 0.5 * (hash01(cell, seed + 1) - 0.5)
    dv = v / period - iv - 0.5 - 0.5 * (hash01(cell, seed + 2) - 0.5)
    radius = (du.square() + dv.square()).sqrt()
    return 0.75 + 0.4 * (0.5 - radius).clamp(min=-0.2) + 0.25 * (-dv) + 0.12 * (hash01(cell, seed + 3) - 0.5)
