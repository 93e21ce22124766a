"""Evidence of threads: is there stitch texture in a picture, and how many pixels wide is a thread?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from worker.engine.colour import Bool, Float

__all__ = ["ThreadEvidence", "measure_threads"]

_PERIODS: Final = tuple(2.4 * 1.22**i for i in range(12))
"""Centre periods in pixels of narrow bands, 2.4 to 21: from the finest that a pixel grid holds to a sequin."""

_BAND: Final = 0.8
"""Sigma-on-f of a band, about half an octave wide."""

_WINDOW: Final = 6.0
"""Gaussian window in pixels in which the local contrast of texture is taken."""

_COARSEST_SIDE: Final = 800

_MIN_PIXELS: Final = 300
"""A motif of fewer pixels says nothing about texture."""


@dataclass(frozen=True, slots=True)
class ThreadEvidence:
    """What speaks for threads inside a motif.

    Measured on 16 scans of machine embroidery: contrast 6.9 to 19, uniformity 0.79 to 0.91, prominence 1.4 to 3.0.
    Of 65 garments, flat designs and everyday photos hardly one has all three.

    Attributes:
        period: distance between neighbouring threads in pixels of the picture; 0 when nothing could be measured.
        contrast: median local standard deviation of L* inside the motif.
        uniformity: 20th percentile over median of that deviation, 0..1: stitches are everywhere in a motif, folds,
            prints and faces are here and there.
        prominence: strength of the strongest thread-sized band over the finest and the coarsest one: thread texture has
            a scale, noise and shading have none.
        score: 0..1, the three together; 0.5 is the border between embroidery and none.
    """

    period: float
    contrast: float
    uniformity: float
    prominence: float
    score: float


_NOTHING: Final = ThreadEvidence(0.0, 0.0, 0.0, 0.0, 0.0)


def measure_threads(plane: Float, mask: Bool) -> ThreadEvidence:
    """Look for thread texture in a motif, at the picture's own scale and, for large pictures, at a half and a quarter.

    Coarser scales are looked at only while the longer side keeps 800 px: below that letters and folds pass for threads.

    Args:
        plane: H x W L* in 0..100.
        mask: H x W bool, the motif.

    Returns:
        The evidence at the finest scale that has nearly the best score, its period in pixels of ``plane``.
    """
    found: list[ThreadEvidence] = []
    scale = 1.0
    while not found or max(plane.shape) * scale >= _COARSEST_SIDE:
        size = (max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale)))
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        small_mask = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        at_scale = _measure(small, small_mask)
        found.append(replace(at_scale, period=at_scale.period / scale))
        scale /= 2
    best = max(one.score for one in found)
    return next(one for one in found if one.score >= 0.9 * best)


def _measure(plane: Float, mask: Bool) -> ThreadEvidence:
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if int(inner.sum()) < _MIN_PIXELS:
        inner = mask
    if int(inner.sum()) < _MIN_PIXELS:
        return _NOTHING
    weights = inner.astype(np.float32)
    share = cv2.GaussianBlur(weights, (0, 0), _WINDOW) + np.float32(1e-3)
    # means are taken inside the motif only, so that its border against the cloth adds no contrast
    detail = (plane - cv2.GaussianBlur(plane * weights, (0, 0), _WINDOW) / share) * weights
    deviation = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _WINDOW) / share)[inner]
    contrast = float(np.median(deviation))
    if contrast < 0.5:
        return ThreadEvidence(0.0, contrast, 0.0, 0.0, 0.0)
    uniformity = float(np.percentile(deviation, 20)) / contrast
    bands = _band_strengths(detail, weights)
    # the finest bands are those of noise and sharpening, the coarsest those of shading
    first, last = 2, len(_PERIODS) - 2
    peak = first + int(np.argmax(bands[first:last]))
    prominence = float(bands[peak] / max(float(bands[0]), float(bands[-1]), 1e-3))
    agreement = float(
        np.sqrt(
            _ramp(contrast, 3.5, 6.5)
            * _ramp(uniformity, 0.6, 0.8)
            * _ramp(prominence, 0.85, 1.3)
            * _ramp(float(bands[peak]), 1.0, 2.4)
        )
    )
    return ThreadEvidence(_period(bands), contrast, uniformity, prominence, _ramp(agreement, 0.7, 1.0))


def _band_strengths(detail: Float, weights: Float) -> Float:
    """Median local amplitude of each band inside the motif, L* units."""
    spectrum = np.fft.rfft2(detail)
    fy = np.fft.fftfreq(detail.shape[0])[:, None]
    fx = np.fft.rfftfreq(detail.shape[1])[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1
    coarse_share = _coarse_mean(weights) + np.float32(1e-3)
    coarse_inner = coarse_share > min(0.5, float(coarse_share.max()) / 2)
    strengths = []
    for period in _PERIODS:
        gain = np.exp(-(np.log(radius * period) ** 2) / (2 * np.log(_BAND) ** 2))
        gain[0, 0] = 0
        band = np.fft.irfft2(spectrum * gain, s=detail.shape).astype(np.float32)
        power = _coarse_mean(band * band * weights) / coarse_share
        strengths.append(float(np.sqrt(np.median(power[coarse_inner]))))
    return np.array(strengths, np.float32)


def _coarse_mean(plane: Float) -> Float:
    """Mean in the window, on a grid of every fourth pixel: the window is far wider than that."""
    size = (max(1, plane.shape[1] // 4), max(1, plane.shape[0] // 4))
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    mean: Float = cv2.GaussianBlur(small, (0, 0), _WINDOW / 4)
    return mean


def _period(bands: Float) -> float:
    """Thread pitch: the strongest band after dividing by the root of its period, refined by a parabola.

    Rows of stitches are coarser than their threads and often stronger; the root makes up for it. On renders of known
    thread width it reads 2.9, 3.8 and 4.7 px for 3, 4 and 5 px.
    """
    level = bands[:-2] / np.sqrt(np.array(_PERIODS[:-2], np.float32))
    peak = int(np.argmax(level))
    shift = 0.0
    if 0 < peak < len(level) - 1:
        before, at, after = (float(level[peak + i]) for i in (-1, 0, 1))
        bend = before - 2 * at + after
        if bend < -1e-6:
            shift = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
    return float(_PERIODS[peak] * (_PERIODS[1] / _PERIODS[0]) ** shift)


def _ramp(value: float, low: float, high: float) -> float:
    """0 at ``low``, 0.5 in the middle, 1 at ``high``."""
    return float(np.clip((value - low) / (high - low), 0, 1))
