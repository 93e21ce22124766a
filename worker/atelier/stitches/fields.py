"""Small vectorised helpers on fields [B, H, W]: hashes, smooth noise, blurs, slopes, lookups.

Everything random is a hash of whole numbers and a seed, so a picture does not depend on the device, on its place in a
batch or on what was drawn before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Field = npt.NDArray[np.float32]
"""Numbers or colours of a picture outside the renderer."""

_ODD = (-1640531535, -2048144777, -1028477379)
"""2654435761, 2246822519 and 3266489917 as signed numbers of 32 bits."""


def hash01(value: Tensor, seed: Tensor | int = 0) -> Tensor:
    """Whole numbers to uniform floats in [0, 1): the same input always gives the same number.

    In 32 bits, which wrap around alike on every device and move half as much memory as 64.

    Args:
        value: Integer tensor [B, ...].
        seed: One number for all, or one a sample ([B], or shaped to broadcast).
    """
    if not isinstance(seed, Tensor):
        seed = torch.tensor([seed], device=value.device)
    salt = (seed.to(torch.int64) * 40503 + 12345).to(torch.int32).reshape(-1, *[1] * (value.ndim - 1))
    a = value.to(torch.int32) * _ODD[0] + salt
    a = a ^ ((a >> 15) & 0x1FFFF)
    a = a * _ODD[1]
    a = a ^ ((a >> 13) & 0x7FFFF)
    a = a * _ODD[2]
    a = a ^ ((a >> 16) & 0xFFFF)
    return (a & 0xFFFFFF).to(torch.float32) / 0x1000000


def pair(a: Tensor, b: Tensor) -> Tensor:
    """One whole number of two, for `hash01`; of floats the fraction is cut off."""
    return (a.to(torch.int32) * 73856093) ^ (b.to(torch.int32) * 19349663)


def smooth_noise(seed: Tensor, size: int, cells: int, salt: int = 0) -> Tensor:
    """Noise of about unit deviation with features of `size / cells` samples, [B, size, size]."""
    cells = max(2, min(cells, size))
    y, x = torch.meshgrid(*(torch.arange(cells, device=seed.device),) * 2, indexing="ij")
    lattice = hash01(pair(x, y)[None].expand(len(seed), -1, -1), seed * 131 + salt)
    # A uniform number's deviation is 1/sqrt(12); interpolation takes some more away.
    grid = ((lattice - 0.5) * math.sqrt(12) * 1.15)[:, None]
    if cells == size:
        return grid[:, 0]
    return functional.interpolate(grid, (size, size), mode="bicubic", align_corners=False)[:, 0]


def blur(field: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of fields [B, H, W] or pictures [B, C, H, W], edges repeated."""
    picture = field if field.ndim == 4 else field[:, None]
    if sigma >= 4 and picture.shape[-1] % 4 == 0 and picture.shape[-2] % 4 == 0:
        # A wide blur leaves nothing that a quarter of the samples would not hold.
        soft = blur(functional.avg_pool2d(picture, 4), (sigma * sigma - 2.5) ** 0.5 / 4)
        out = functional.interpolate(soft, picture.shape[-2:], mode="bilinear", align_corners=False)
        return out if field.ndim == 4 else out[:, 0]
    radius = max(1, math.ceil(2.6 * sigma))
    t = torch.arange(-radius, radius + 1, device=field.device, dtype=torch.float32)
    kernel = torch.exp(-t * t / (2 * sigma * sigma))
    kernel = (kernel / kernel.sum()).to(picture.dtype)
    channels = picture.shape[1]
    out = functional.pad(picture, (radius,) * 4, mode="replicate")
    out = functional.conv2d(out, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    out = functional.conv2d(out, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return out if field.ndim == 4 else out[:, 0]


def slopes(field: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y, per sample."""
    wide = functional.pad(field[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2, (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2


def groups(kinds: Sequence[str], device: torch.device) -> Iterator[tuple[str, list[int], Tensor]]:
    """Each kind once, the places in `kinds` where it stands, and these as a tensor on `device`."""
    for kind in dict.fromkeys(kinds):
        places = [i for i, k in enumerate(kinds) if k == kind]
        yield kind, places, torch.tensor(places, device=device)


def at(field: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values of a field [B, H, W] under points [B, h, w] (samples), the nearest one."""
    height, width = field.shape[-2:]
    column = x.round().clamp(0, width - 1).to(torch.int64)
    row = y.round().clamp(0, height - 1).to(torch.int64)
    return field.flatten(1).gather(1, (row * width + column).flatten(1)).view(x.shape)


def shifted(field: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Fields moved by (dx, dy) samples, a shift of its own for each, bilinear, edges repeated."""
    count, height, width = field.shape
    theta = torch.zeros(count, 2, 3, device=field.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 2], theta[:, 1, 2] = -2 * dx.flatten() / width, -2 * dy.flatten() / height
    grid = functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
    return functional.grid_sample(field[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


def smoothstep(value: Tensor, low: float, high: float) -> Tensor:
    """0 below `low`, 1 above `high`, smooth between."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
