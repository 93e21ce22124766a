"""Colour distributions in Lab."""

from __future__ import annotations

import cv2
import numpy as np

from worker.engine.colour import Bool, Float, Picture, rgb_to_lab

__all__ = ["histogram_distance", "lab_histogram"]

_L_BINS = 16
_AB_BINS = 24
_AB_RANGE = 110.0


def lab_histogram(picture: Picture, mask: Bool | None = None, blur: float = 3.0) -> tuple[Float, Float]:
    """Share of the pixels at each lightness and at each chroma.

    The picture is blurred first: the colour of a thread is that of its area, not of its glints and gaps.

    Args:
        picture: H x W x 3.
        mask: H x W bool; where it counts.
        blur: Gaussian sigma in pixels, 0 for none.

    Returns:
        Histogram of L* (16 bins over 0..100) and of a*, b* together (24 x 24 bins over -110..110), each smoothed by
        one bin and summing to 1.
    """
    lab = rgb_to_lab(picture)
    if blur > 0:
        lab = cv2.GaussianBlur(lab, (0, 0), blur)
    pixels = lab[mask] if mask is not None and mask.any() else lab.reshape(-1, 3)
    by_l, _ = np.histogram(pixels[:, 0], bins=_L_BINS, range=(0, 100.001))
    limits = [(-_AB_RANGE, _AB_RANGE)] * 2
    by_ab, _, _ = np.histogram2d(pixels[:, 1], pixels[:, 2], bins=_AB_BINS, range=limits)
    # a colour on the border of two bins must not count as two colours
    soft_l = cv2.GaussianBlur(by_l.astype(np.float32)[None], (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)[0]
    soft_ab = cv2.GaussianBlur(by_ab.astype(np.float32), (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)
    return soft_l / max(float(soft_l.sum()), 1e-6), soft_ab / max(float(soft_ab.sum()), 1e-6)


def histogram_distance(
    first: Picture, second: Picture, first_mask: Bool | None = None, second_mask: Bool | None = None
) -> float:
    """Histogram loss: mean of the Hellinger distances of L* and of (a*, b*).

    Hellinger: ``sqrt(sum((sqrt(p) - sqrt(q))**2) / 2)`` for histograms p and q.

    Returns:
        0 for the same colours in the same shares, 1 for none in common.
    """
    l_first, ab_first = lab_histogram(first, first_mask)
    l_second, ab_second = lab_histogram(second, second_mask)
    return (_hellinger(l_first, l_second) + _hellinger(ab_first, ab_second)) / 2


def _hellinger(first: Float, second: Float) -> float:
    return float(np.sqrt(0.5 * float(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())))
