"""The photograph: framing, uneven light, white balance, focus, perspective, sensor noise, JPEG."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from worker.atelier.stitches.fields import blur, hash01, smooth_noise, smoothstep

# Tables K.1 and K.2 of ITU-T T.81.
_LUMA = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
_CHROMA = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99 " + "99 " * 32
)


def luck(seed: Tensor, salt: int) -> Tensor:
    """A uniform number of every seed, [B, 1, 1, 1]."""
    return hash01(torch.full((len(seed), 1), salt, device=seed.device), seed + 9001).view(-1, 1, 1, 1)


def photograph(picture: Tensor, seed: Tensor, noisy: float = 1.0) -> Tensor:
    """Mild photographs of pictures [B, 3, S, S], about [0, 1]: exposure, light, focus, noise, compression.

    Args:
        picture: What is before the camera; values over 1 are clipped here.
        seed: Seeds [B].
        noisy: 0 for a perfect camera, 1 for the usual spread of shop photographs.
    """
    size = picture.shape[-1]
    steps = torch.linspace(-1, 1, size, device=picture.device)
    y, x = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)

    def spread(salt: int, low: float, high: float) -> Tensor:
        middle = (low + high) / 2
        return middle + noisy * (luck(seed, salt) - 0.5) * (high - low)

    light = (1 + spread(1, -0.07, 0.07) * x + spread(2, -0.07, 0.07) * y) * spread(3, 0.94, 1.08)
    white = torch.cat([spread(4 + i, 0.97, 1.03) for i in range(3)], 1)
    picture = picture * light * white
    soft = blur(picture, 4.0)
    picture = soft + spread(7, 0.95, 1.35) * (picture - soft)
    # Lenses and scanners leave little at periods under 3 px: between one and two blurs, or rarely none.
    focus = noisy * luck(seed, 9) * (luck(seed, 8) < 0.85)
    picture = torch.lerp(picture, blur(picture, 0.85), focus)
    grain = torch.stack([smooth_noise(seed * 3 + c, size, size, 91) for c in range(3)], 1)
    picture = picture + noisy * (0.002 + 0.012 * luck(seed, 10)) * grain
    picture = picture.clamp(0, 1)
    packed = jpeg(picture, 60 + 36 * luck(seed, 12))
    return torch.where(luck(seed, 11) < 0.4 * noisy, packed, picture)


def jpeg(picture: Tensor, quality: Tensor) -> Tensor:
    """What JPEG of a quality of 1-100 ([B, 1, 1, 1]) leaves of pictures [B, 3, S, S] in [0, 1], without subsampling."""
    device, (height, width) = picture.device, picture.shape[-2:]
    to_ycc = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=device
    )
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, picture * 255 - 128).round()
    padded = functional.pad(ycc, (0, -width % 8, 0, -height % 8), mode="replicate")
    n = torch.arange(8, device=device, dtype=torch.float32)
    dct = torch.cos((2 * n[None] + 1) * n[:, None] * math.pi / 16) * 0.5
    dct[0] /= math.sqrt(2)
    blocks = padded.view(
        *padded.shape[:2], padded.shape[2] // 8, 8, padded.shape[3] // 8, 8
    )  # [B, 3, rows, 8, columns, 8]
    spectrum = torch.einsum("ui,vj,bcyixj->bcyuxv", dct, dct, blocks)
    base = [torch.tensor([float(v) for v in t.split()], device=device).view(8, 8) for t in (_LUMA, _CHROMA)]
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    table = torch.stack([base[0], base[1], base[1]])[None] * scale
    table = table.clamp(1, 255).round()[:, :, None, :, None, :]
    spectrum = (spectrum / table).round() * table
    blocks = torch.einsum("ui,vj,bcyuxv->bcyixj", dct, dct, spectrum)
    ycc = blocks.flatten(-2).flatten(-3, -2)[..., :height, :width]
    rgb = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc), ycc)
    return ((rgb + 128) / 255).clamp(0, 1)


def perspective(pictures: Tensor, seed: Tensor, strength: float) -> Tensor:
    """Pictures [B, C, S, S] as seen by a camera held a little askew; the same for the same seeds.

    Args:
        pictures: Embroidery, flat design or a mask: warp whatever must stay aligned with the same seeds.
        seed: Seeds [B].
        strength: Shift of the corners at most, as a share of the side.
    """
    size = pictures.shape[-1]
    a, b, turn, zoom = (luck(seed, 20 + i).view(-1, 1, 1) - 0.5 for i in range(4))
    steps = torch.linspace(-1, 1, size, device=pictures.device)
    y, x = steps.view(1, -1, 1), steps.view(1, 1, -1)
    w = 1 + strength * 2 * (a * x + b * y)
    c, s = torch.cos(turn * strength * 3), torch.sin(turn * strength * 3)
    k = 1 + strength * 2 * (zoom - 0.5)
    grid = torch.stack([(x * c - y * s) * k / w, (x * s + y * c) * k / w], -1)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=True)


def in_hoop(picture: Tensor, seed: Tensor) -> Tensor:
    """Lays the inner edge of a wooden or plastic hoop over the corners of pictures [B, 3, S, S]."""
    size = picture.shape[-1]
    steps = torch.linspace(-1, 1, size, device=picture.device)
    y, x = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
    x, y = x - 0.1 * (luck(seed, 30) - 0.5), y - 0.1 * (luck(seed, 31) - 0.5)
    radius, around = (x * x + y * y).sqrt(), torch.atan2(y, x)
    inner, wide = 1.12 + 0.12 * luck(seed, 32), 0.10 + 0.08 * luck(seed, 33)
    t = (radius - inner) / wide
    grain = 1 + 0.06 * torch.sin(60 * around + 9 * t + 6 * smooth_noise(seed, size, 12, 34)[:, None])
    wood = torch.tensor([0.80, 0.62, 0.40], device=picture.device).view(1, 3, 1, 1)
    plastic = torch.cat([luck(seed, 35 + i) for i in range(3)], 1) * 0.7 + 0.2
    colour = torch.where(luck(seed, 38) < 0.6, wood * grain, plastic)
    ring = colour * (0.55 + 0.55 * (1 - (2 * t - 1).square()).clamp(0, 1).sqrt())
    outside = picture.mean((2, 3), keepdim=True) * 0.6 + 0.15
    shadow = 1 - 0.35 * smoothstep(t, -0.5, 0.0) * (t < 0)
    alpha = smoothstep(t, -0.03, 0.03)
    framed = picture * shadow * (1 - alpha) + ring * alpha
    beyond = smoothstep(t, 0.97, 1.03)
    return framed * (1 - beyond) + outside * beyond


def on_garment(picture: Tensor, seed: Tensor) -> Tensor:
    """Folds, and on some pictures [B, 3, S, S] a seam with its topstitching along one side."""
    size = picture.shape[-1]
    steps = torch.linspace(-1, 1, size, device=picture.device)
    y, x = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
    shade = torch.ones_like(picture[:, :1])
    for i in range(3):
        turn = (luck(seed, 40 + i) - 0.5) * math.pi
        at = (x * torch.cos(turn) + y * torch.sin(turn)) - 1.8 * (luck(seed, 43 + i) - 0.5)
        at = at + 0.12 * smooth_noise(seed + i, size, 4, 46)[:, None]
        width = 0.08 + 0.25 * luck(seed, 47 + i)
        shade = shade + 0.20 * (luck(seed, 50 + i) - 0.3) * (at / width) * torch.exp(-(at / width).square())
    picture = picture * shade
    edge = x + 0.04 * y - (0.80 + 0.15 * luck(seed, 53))
    dash = ((y * (16 + 10 * luck(seed, 54))) % 1) < 0.62
    line = torch.exp(-(edge / 0.012).square())
    stitches = torch.exp(-((edge + 0.07) / 0.013).square()) * dash
    sewn = (picture * (1 - 0.55 * line)) * (1 - stitches) + stitches * (0.35 + 0.55 * luck(seed, 55))
    return torch.where(luck(seed, 56) < 0.5, sewn, picture)
