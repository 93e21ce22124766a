"""High-frequency energy: how much of a picture's lightness changes faster than a thread is wide."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from worker.engine.colour import Bool, Float, Picture, lightness

__all__ = ["CUTOFF", "high_frequency_difference", "high_frequency_energy", "high_frequency_ratio", "local_contrast"]

CUTOFF: Final = 0.08
"""Cycles per pixel. Periods under 12.5 px count as high: threads at working resolution (3 to 8 px) and sequins do,
shapes and shading do not."""


def soft_mask(mask: Bool | None, shape: tuple[int, int], softness: float = 4.0) -> Float:
    """Weights in 0..1 that fall off inside the mask, so that its border adds no frequencies of its own.

    An empty mask counts as the whole picture.
    """
    if mask is None or not mask.any():
        window: Float = np.outer(_taper(shape[0]), _taper(shape[1])).astype(np.float32)
        return window
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = np.clip(inside / max(softness, 1e-3), 0, 1)
    weights: Float = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
    return weights


def _taper(length: int) -> Float:
    edge = max(1, length // 16)
    ramp = np.clip((np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5) / edge, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)


def high_frequency_ratio(picture: Picture, mask: Bool | None = None, cutoff: float = CUTOFF) -> float:
    """Share of the energy of L* above a cutoff frequency.

    With w the soft mask, x = w * (L* - weighted mean of L*) and P = abs(FFT(x))**2::

        ratio = sum(P where |f| > cutoff) / sum(P where |f| > 0)

    Args:
        picture: H x W x 3.
        mask: H x W bool; where it counts.
        cutoff: cycles per pixel, 0 to 0.5.

    Returns:
        0..1. 0 for a picture without any change in lightness.
    """
    high, everything = _energies(picture, mask, cutoff)
    # a picture of one L* leaves only rounding errors, whose ratio means nothing
    return high / everything if everything > 1e-6 else 0.0


def high_frequency_energy(picture: Picture, mask: Bool | None = None, cutoff: float = CUTOFF) -> float:
    """Mean squared change of L* above the cutoff frequency where the mask counts, in squared units of L*.

    Unlike the ratio it can be compared between a texture and a flat fill: machine fill has 50 to 120, a flat fill 0.
    """
    return _energies(picture, mask, cutoff)[0]


def _energies(picture: Picture, mask: Bool | None, cutoff: float) -> tuple[float, float]:
    """Mean squared weighted change of L* above the cutoff, and of any frequency but zero (Parseval)."""
    plane = lightness(picture)
    weights = soft_mask(mask, plane.shape)
    total = float(weights.sum())
    centred = weights * (plane - float((weights * plane).sum()) / max(total, 1e-6))
    power = np.abs(np.fft.rfft2(centred)) ** 2
    fy = np.fft.fftfreq(plane.shape[0])[:, None]
    fx = np.fft.rfftfreq(plane.shape[1])[None]
    # the half spectrum holds every column twice but the first and, for even widths, the last
    twice = np.full(fx.shape, 2.0)
    twice[0, 0] = 1.0
    if plane.shape[1] % 2 == 0:
        twice[0, -1] = 1.0
    power *= twice
    radius = np.hypot(fy, fx)
    norm = plane.size * max(float((weights * weights).sum()), 1e-6)
    return float(power[radius > cutoff].sum()) / norm, float(power[radius > 0].sum()) / norm


def high_frequency_difference(
    result: Picture,
    reference: Picture,
    result_mask: Bool | None = None,
    reference_mask: Bool | None = None,
    cutoff: float = CUTOFF,
) -> float:
    """HFRD: 100 times the absolute difference of two high-frequency ratios (paper, section on evaluation).

    Returns:
        0..100, lower is nearer.
    """
    first = high_frequency_ratio(result, result_mask, cutoff)
    second = high_frequency_ratio(reference, reference_mask, cutoff)
    return 100 * abs(first - second)


def local_contrast(picture: Picture, mask: Bool | None = None, sigma: float = 8.0) -> float:
    """Standard deviation of L* minus its Gaussian blur, in units of L*.

    Machine fill reads 9 to 13 on scans, sequins about 15, a flat fill 0.
    """
    plane = lightness(picture)
    detail = plane - cv2.GaussianBlur(plane, (0, 0), sigma)
    weights = soft_mask(mask, plane.shape)
    total = max(float(weights.sum()), 1e-6)
    mean = float((weights * detail).sum()) / total
    return float(np.sqrt(float((weights * (detail - mean) ** 2).sum()) / total))
