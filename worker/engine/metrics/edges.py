"""Whether a rendering still has the design's outlines."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from worker.engine.colour import Float, Picture, rgb_to_lab

__all__ = ["EdgeAgreement", "edge_agreement", "edge_distance", "outline"]


@dataclass(frozen=True, slots=True)
class EdgeAgreement:
    """Agreement of outlines within a tolerance, each 0..1.

    Attributes:
        precision: share of the rendering's outlines that the design has too.
        recall: share of the design's outlines that the rendering has too.
        f1: their harmonic mean.
    """

    precision: float
    recall: float
    f1: float


def outline(picture: Picture, sigma: float = 2.5, share: float = 0.25) -> Float:
    """Outlines of areas of colour: gradient of Lab after a blur that drowns threads, thinned, thresholded.

    Args:
        picture: H x W x 3.
        sigma: blur in pixels, more than half a thread.
        share: threshold as a share of the 99th percentile of the gradient.

    Returns:
        H x W ``float32``, 0 or 1.
    """
    lab = cv2.GaussianBlur(rgb_to_lab(picture), (0, 0), sigma)
    gx = cv2.Sobel(lab, cv2.CV_32F, 1, 0, ksize=3)
    gy = cv2.Sobel(lab, cv2.CV_32F, 0, 1, ksize=3)
    # Di Zenzo: the direction in which colour as a whole changes most
    xx, yy, xy = (gx * gx).sum(axis=2), (gy * gy).sum(axis=2), (gx * gy).sum(axis=2)
    size = np.sqrt(np.maximum(0.5 * (xx + yy + np.sqrt((xx - yy) ** 2 + 4 * xy**2)), 0))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    y, x = np.mgrid[0 : size.shape[0], 0 : size.shape[1]].astype(np.float32)
    ahead = cv2.remap(size, x + np.cos(angle), y + np.sin(angle), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    behind = cv2.remap(size, x - np.cos(angle), y - np.sin(angle), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # under 2 Lab units a step of the gradient is noise or shading
    strong = size > max(share * float(np.percentile(size, 99)), 2.0)
    thin: Float = (strong & (size >= ahead) & (size >= behind)).astype(np.float32)
    return thin


def edge_distance(edges: Float) -> Float:
    """Distance of every pixel to the nearest edge; the picture's diagonal where there is none."""
    if not edges.any():
        return np.full(edges.shape, float(np.hypot(*edges.shape)), np.float32)
    distance: Float = cv2.distanceTransform((edges == 0).astype(np.uint8), cv2.DIST_L2, 5)
    return distance


def edge_agreement(result: Picture, design: Picture, tolerance: float = 3.0, sigma: float = 2.5) -> EdgeAgreement:
    """Precision and recall of outlines within ``tolerance`` pixels.

    Args:
        result: rendering, H x W x 3.
        design: flat design of the same size.
        tolerance: how far an outline may move, in pixels; about a thread.
        sigma: blur before outlines are taken.

    Raises:
        ValueError: sizes differ.
    """
    found, wanted = outline(result, sigma), outline(design, sigma)
    if found.shape != wanted.shape:
        raise ValueError(f"sizes differ: {found.shape} and {wanted.shape}")
    if not found.any() and not wanted.any():
        return EdgeAgreement(1.0, 1.0, 1.0)
    if not found.any() or not wanted.any():
        return EdgeAgreement(0.0, 0.0, 0.0)
    precision = float((edge_distance(wanted)[found > 0] <= tolerance).mean())
    recall = float((edge_distance(found)[wanted > 0] <= tolerance).mean())
    return EdgeAgreement(precision, recall, 2 * precision * recall / max(precision + recall, 1e-6))
