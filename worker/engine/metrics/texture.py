"""Log-Gabor statistics of lightness: which scales and directions a texture has, and how they go together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from worker.engine.colour import Bool, Float, Picture, lightness
from worker.engine.metrics.frequency import soft_mask

__all__ = ["ORIENTATIONS", "WAVELENGTHS", "TextureStatistics", "log_gabor_distance", "log_gabor_statistics"]

WAVELENGTHS: Final = (2.6, 4.2, 6.7, 10.7, 17.2)
"""Centre periods of the bands in pixels, a factor of 1.6 apart: from a thread at working resolution to a sequin."""

ORIENTATIONS: Final = 6
_BANDWIDTH: Final = 0.55
"""Ratio of the radial Gaussian's width to its centre frequency (sigma-on-f); 0.55 is about two octaves."""
_NOISE_FLOOR: Final = 0.05
"""L* units added to every band before the logarithm: below it nothing can be seen."""


@dataclass(frozen=True, slots=True)
class TextureStatistics:
    """What a texture looks like, without where it is.

    Attributes:
        magnitude: mean response by band, scales x orientations, L* units, directions turned so that the strongest
            comes first (an embroidery at another angle has the same style).
        spread: standard deviation over mean of the responses, scales x orientations: even fill against glints.
        correlation: correlation of the magnitudes of all bands, (scales * orientations) squared, -1..1: thread edges
            light up several bands at once, noise does not.
    """

    magnitude: Float
    spread: Float
    correlation: Float


@lru_cache(maxsize=8)
def _filters(height: int, width: int) -> tuple[Float, ...]:
    """One-sided log-Gabor transfer functions (Field, 1987), scales outermost; |response| is local energy."""
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.fftfreq(width)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1
    angle = np.arctan2(-fy, fx)
    angular_width = np.pi / ORIENTATIONS / 1.3
    bank = []
    for wavelength in WAVELENGTHS:
        radial = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(_BANDWIDTH) ** 2))
        radial[0, 0] = 0
        # corners of the frequency square hold no full circle: fade out towards Nyquist
        radial *= 1 / (1 + (radius / 0.45) ** 30)
        for index in range(ORIENTATIONS):
            centre = index * np.pi / ORIENTATIONS
            away = np.abs(np.angle(np.exp(1j * (angle - centre))))
            bank.append((2 * radial * np.exp(-(away**2) / (2 * angular_width**2))).astype(np.float32))
    return tuple(bank)


def log_gabor_statistics(picture: Picture, mask: Bool | None = None) -> TextureStatistics:
    """Statistics of the magnitudes of a log-Gabor bank on L*, weighted by a soft mask.

    Args:
        picture: H x W x 3, each side at least 32 px.
        mask: H x W bool; where it counts.

    Returns:
        Means, relative spreads and cross-band correlations, turned to the strongest direction.
    """
    plane = lightness(picture)
    weights = soft_mask(mask, plane.shape)
    weights = weights / max(float(weights.sum()), 1e-6)
    mean = float((weights * plane).sum())
    # outside the mask the plane is set to its mean, or the border of the motif would ring into it
    inside = soft_mask(mask, plane.shape, softness=2.0)
    spectrum = np.fft.fft2(inside * (plane - mean))
    shape = (len(WAVELENGTHS), ORIENTATIONS)
    responses = np.stack([np.abs(np.fft.ifft2(spectrum * one)).ravel() for one in _filters(*plane.shape)])
    flat_weights = weights.ravel()
    means = responses @ flat_weights
    centred = responses - means[:, None]
    covariance = (centred * flat_weights) @ centred.T
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    correlation = covariance / np.outer(deviation, deviation)
    turn = int(np.argmax(means.reshape(shape).sum(axis=0)))
    columns = (np.arange(ORIENTATIONS) + turn) % ORIENTATIONS
    order = np.arange(len(WAVELENGTHS))[:, None] * ORIENTATIONS + columns
    flat_order = order.ravel()
    return TextureStatistics(
        magnitude=means[order].astype(np.float32),
        spread=(deviation / (means + _NOISE_FLOOR))[order].astype(np.float32),
        correlation=correlation[np.ix_(flat_order, flat_order)].astype(np.float32),
    )


def log_gabor_distance(first: TextureStatistics, second: TextureStatistics) -> float:
    """How different two textures look.

    Mean absolute difference of log magnitudes, of spreads and of correlations, added with weights 1, 0.5 and 0.5::

        mean|log(m1 + e) - log(m2 + e)| + 0.5 * mean|s1 - s2| + 0.5 * mean|c1 - c2|,   e = 0.05 L*

    Returns:
        0 for the same statistics; about 0.1 between two crops of one embroidery, over 1 against a flat fill.
    """
    magnitude = np.abs(np.log(first.magnitude + _NOISE_FLOOR) - np.log(second.magnitude + _NOISE_FLOOR)).mean()
    spread = np.abs(first.spread - second.spread).mean()
    correlation = np.abs(first.correlation - second.correlation).mean()
    return float(magnitude + 0.5 * spread + 0.5 * correlation)
