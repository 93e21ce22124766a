"""The cloth under the stitches."""

from __future__ import annotations

import numpy as np

from worker.atelier.stitches.fields import Field, hash01_pair, smooth_noise


def weave(size: int, fabric: str, scale: float, colour: Field, rng: np.random.Generator) -> Field:
    """A lit piece of cloth.

    Args:
        size: Side of the square picture, pixels.
        fabric: One of `style.FABRICS`.
        scale: Supersampling factor: pixels of `size` per output pixel.
        colour: RGB of the dyed cloth in [0, 1].
        rng: Source of its irregularities.

    Returns:
        RGB [size, size, 3], about [0, 1].
    """
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    x = x + 1.2 * scale * smooth_noise(size, 8, rng)
    y = y + 1.2 * scale * smooth_noise(size, 8, rng)
    zoom = scale * rng.uniform(0.85, 1.3)
    if fabric == "felt":
        shade = 1 + 0.07 * (0.5 * smooth_noise(size, size // 3, rng) + 0.5 * smooth_noise(size, size // 8, rng))
    elif fabric == "jersey":
        period = 3.4 * zoom
        column = x / period
        side = np.abs((column % 1) - 0.5) * 2
        shade = 0.82 + 0.22 * np.sqrt(np.maximum(0, 1 - (side * 1.1 - 0.55) ** 2)) * (
            0.75 + 0.25 * np.cos(2 * np.pi * (y / (2.6 * zoom) + 0.35 * side))
        )
    else:
        period = {"plain": 2.6, "twill": 3.0, "canvas": 5.0}[fabric] * zoom
        u, v = x / period, y / period
        iu, iv = np.floor(u), np.floor(v)
        fu, fv = 2 * (u - iu - 0.5), 2 * (v - iv - 0.5)
        over = ((iu + iv) % 2 == 0) if fabric != "twill" else ((iu + iv) % 3 == 0)
        warp = np.sqrt(1 - fu**2 * 0.8) * (1 - 0.5 * np.abs(fv) ** 2)
        weft = np.sqrt(1 - fv**2 * 0.8) * (1 - 0.5 * np.abs(fu) ** 2)
        slub = np.where(
            over,
            hash01_pair(iu.astype(int), iv.astype(int) // 3, 5),
            hash01_pair(iv.astype(int), iu.astype(int) // 3, 9),
        )
        shade = 0.62 + 0.42 * np.where(over, warp, weft) + 0.10 * (slub - 0.5)
        if fabric == "twill":
            shade = shade * np.where(over, 1.12, 0.95)
        contrast = rng.uniform(0.35, 1.0)
        shade = shade.mean() + contrast * (shade - shade.mean()) + (1 - shade.mean()) * 0.5
    shade = shade + 0.03 * smooth_noise(size, 6, rng)
    return np.asarray(colour[None, None] * shade[..., None], np.float32)
