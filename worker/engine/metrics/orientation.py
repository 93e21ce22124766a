"""Thread direction: histogram of the structure tensor's orientation."""

from __future__ import annotations

import cv2
import numpy as np

from worker.engine.colour import Bool, Float, Picture, lightness
from worker.engine.metrics.frequency import soft_mask

__all__ = ["orientation_distance", "orientation_histogram", "structure_tensor"]


def structure_tensor(plane: Float, sigma: float = 3.0) -> tuple[Float, Float, Float]:
    """Direction along the threads, coherence and energy at every pixel.

    Args:
        plane: H x W lightness.
        sigma: Gaussian window that gathers gradients, in pixels.

    Returns:
        ``angle`` in 0..pi (0 = horizontal threads), ``coherence`` in 0..1 (0 = no direction), ``energy`` (mean squared
        gradient), each H x W.
    """
    gx = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3) / 8
    gy = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3) / 8
    xx = cv2.GaussianBlur(gx * gx, (0, 0), sigma)
    yy = cv2.GaussianBlur(gy * gy, (0, 0), sigma)
    xy = cv2.GaussianBlur(gx * gy, (0, 0), sigma)
    # the gradient runs across a thread, hence the quarter turn
    angle = np.mod(0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2, np.pi)
    energy = xx + yy
    coherence = np.hypot(xx - yy, 2 * xy) / np.maximum(energy, 1e-6)
    return angle.astype(np.float32), coherence.astype(np.float32), energy.astype(np.float32)


def orientation_histogram(picture: Picture, mask: Bool | None = None, bins: int = 18, sigma: float = 3.0) -> Float:
    """Share of the directed texture at each thread direction.

    Every pixel votes for its direction with coherence x sqrt(energy), split between the two nearest bins.

    Returns:
        ``bins`` values over 0..pi that sum to 1; even when nothing has a direction.
    """
    plane = lightness(picture)
    angle, coherence, energy = structure_tensor(plane, sigma)
    votes = soft_mask(mask, plane.shape) * coherence * np.sqrt(energy)
    position = angle / np.pi * bins
    lower = np.floor(position).astype(np.int64)
    share = position - lower
    histogram = np.bincount((lower % bins).ravel(), (votes * (1 - share)).ravel(), minlength=bins)
    histogram += np.bincount(((lower + 1) % bins).ravel(), (votes * share).ravel(), minlength=bins)
    total = float(histogram.sum())
    if total < 1e-6:
        return np.full(bins, 1 / bins, np.float32)
    return (histogram / total).astype(np.float32)


def orientation_distance(first: Float, second: Float, *, turn: bool = False) -> float:
    """Circular earth mover's distance between two orientation histograms.

    On a circle the least work is the cumulated difference taken about its median (Rabin, Delon and Gousseau, 2011).

    Args:
        first: histogram over 0..pi that sums to 1.
        second: another one with the same number of bins.
        turn: take the smallest distance over all turns of ``second``: compares how directed, not which way.

    Returns:
        Degrees that the average vote has to turn, 0..90.
    """
    turns = range(len(first)) if turn else (0,)
    best = min(_circular_work(first, np.roll(second, shift)) for shift in turns)
    return best * 180 / len(first)


def _circular_work(first: Float, second: Float) -> float:
    cumulated = np.cumsum(first.astype(np.float64) - second.astype(np.float64))
    return float(np.abs(cumulated - np.median(cumulated)).sum())
