"""Showing an embroidery on a garment: perspective, shading, contact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Float, lab_to_rgb, lightness, rgb_to_lab, to_float, to_image

__all__ = ["PlacementOutsideError", "place_patch", "placement_corners"]

DEFAULT_WIDTH_MM: Final = 80.0
"""A left-chest logo, for placements that do not say how wide they are sewn."""

_THREAD_MM: Final = 0.5
"""How far an embroidery stands off the cloth."""

_SHADING: Final = 0.75
"""Share of the garment's folds that shows on the embroidery: stitching is stiffer than the cloth it is on."""


class PlacementOutsideError(ValueError):
    """The place for the embroidery does not lie on the garment's picture."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A patch warped to the garment's size: colour (not premultiplied) and cover, and the field it fills."""

    colour: Float
    cover: Float
    field: Float


def placement_corners(placement: object, aspect: float = 1.0) -> Float:
    """The patch's corners on the garment: top left, top right, bottom right, bottom left, 4 x 2 in pixels.

    Args:
        placement: a mapping with ``quad`` (four points), or with ``center``, ``width_px`` and ``rotation_deg``
            (clockwise); or an object with attributes of these names; or four points.
        aspect: height over width of the patch, where only its width is given.

    Raises:
        ValueError: neither a quad nor a centre with a width.
    """
    if isinstance(placement, (list, tuple, np.ndarray)):
        quad: Any = placement
    else:
        quad = _field(placement, "quad")
    if quad is not None:
        corners = np.array(quad, np.float32)
        if corners.shape != (4, 2):
            raise ValueError("a quad has four points")
        return corners
    centre, width = _field(placement, "center"), _field(placement, "width_px")
    if centre is None or width is None:
        raise ValueError("a placement has a quad, or a centre and a width")
    angle = math.radians(float(_field(placement, "rotation_deg") or 0.0))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([float(width) / 2, float(width) * aspect / 2])
    placed: Float = (half @ turn + np.array(centre, np.float64)).astype(np.float32)
    return placed


def _field(placement: object, name: str) -> Any:
    return placement.get(name) if isinstance(placement, Mapping) else getattr(placement, name, None)


def place_patch(
    patch: Image.Image, garment: Image.Image, placement: object, width_mm: float | None = None
) -> Image.Image:
    """Lay an embroidery on a garment so that it looks sewn on.

    The patch is warped into its field, its border feathered by half a thread; the garment's folds (smooth lightness
    relative to the field's median) darken and lighten it, fine weave shows through hardly; it throws a narrow contact
    shadow, away from the light at the top left, and pulls the cloth a little darker round its border.

    Args:
        patch: RGBA; what is transparent stays garment.
        garment: photo, RGB.
        placement: see :func:`placement_corners`.
        width_mm: width of the field as sewn; sets how far the threads stand off the cloth.

    Returns:
        The garment's photo with the embroidery, RGB, same size.

    Raises:
        PlacementOutsideError: a corner lies outside the photo, or the corners make no convex field.
    """
    photo = to_float(garment)
    height, width = photo.shape[:2]
    corners = placement_corners(placement, patch.height / patch.width)
    _check(corners, width, height)
    placed = _warp(patch, corners, (width, height))
    across = float(np.linalg.norm(corners[1] - corners[0]))
    thread = _THREAD_MM * across / (width_mm or DEFAULT_WIDTH_MM)

    shaded = _shade(placed, photo, across)
    ground = _contact(photo, placed.cover, max(thread, 0.6))
    out = ground * (1 - placed.cover[..., None]) + shaded * placed.cover[..., None]
    return to_image(np.clip(out, 0, 1))


def _check(corners: Float, width: int, height: int) -> None:
    slack = 0.5  # half a pixel of rounding is nobody's mistake
    low, high = corners.min(axis=0), corners.max(axis=0)
    if low.min() < -slack or high[0] > width + slack or high[1] > height + slack:
        raise PlacementOutsideError(
            "The embroidery does not lie wholly on the garment's picture. Please move it in, or make it smaller."
        )
    following, after = np.roll(corners, -1, axis=0), np.roll(corners, -2, axis=0)
    first, second = following - corners, after - following
    turns = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    if float(turns.min()) <= 1e-3:
        raise PlacementOutsideError("The four corners do not make a field to sew on.")


def _warp(patch: Image.Image, corners: Float, size: tuple[int, int]) -> _Placed:
    """Warp premultiplied, so that no colour of the transparent part bleeds in; shrink by area first against moire."""
    rgba = np.asarray(patch.convert("RGBA"), np.float32) / np.float32(255)
    across = float(np.linalg.norm(corners[1] - corners[0]) + np.linalg.norm(corners[2] - corners[3])) / 2
    down = float(np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2
    stack = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=2)
    target = (max(2, round(min(across, patch.width))), max(2, round(min(down, patch.height))))
    if target != (patch.width, patch.height):
        stack = cv2.resize(stack, target, interpolation=cv2.INTER_AREA)
    source = np.array([[0, 0], [target[0], 0], [target[0], target[1]], [0, target[1]]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32) - 0.5)
    warped = cv2.warpPerspective(stack, matrix, size, flags=cv2.INTER_CUBIC, borderValue=(0, 0, 0, 0))
    field = cv2.warpPerspective(np.ones(stack.shape[:2], np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    cover = np.clip(warped[..., 3], 0, 1)
    colour = np.clip(warped[..., :3] / np.maximum(cover, 1e-3)[..., None], 0, 1)
    # a border as sharp as a cut would look printed
    cover = np.clip(np.minimum(cover, cv2.GaussianBlur(cover, (0, 0), 0.7) * 1.15), 0, 1)
    return _Placed(colour.astype(np.float32), cover.astype(np.float32), field.astype(np.float32))


def _shade(placed: _Placed, photo: Float, across: float) -> Float:
    """The embroidery in the garment's light."""
    plane = lightness(photo)
    # folds are wider than threads; what is narrower is the cloth's own weave and lies under the stitches
    folds = cv2.GaussianBlur(plane, (0, 0), max(1.5, across / 40))
    weights = placed.field > 0.5
    median = float(np.median(folds[weights])) if weights.any() else 50.0
    # on black cloth the same fold moves L* little, relative to its L* much: damp it there
    ratio = (folds + 12) / (median + 12)
    gain = np.clip(ratio, 0.5, 1.35) ** _SHADING
    # an embroidery lit like the garment: dim rooms dim it too, gently
    exposure = np.clip(float(np.percentile(plane, 99)) / 96, 0.6, 1.0) ** 0.5
    lab = rgb_to_lab(placed.colour)
    lab[..., 0] *= gain * exposure
    lab[..., 1:] *= (0.5 + 0.5 * np.clip(gain, 0.6, 1.0) * exposure)[..., None]
    return lab_to_rgb(lab)


def _contact(photo: Float, cover: Float, thread: float) -> Float:
    """The garment with the shadow that the embroidery throws on it."""
    shift = 1.2 * thread
    matrix = np.array([[1, 0, shift], [0, 1, shift]], np.float32)
    height, width = cover.shape
    moved = cv2.warpAffine(cover, matrix, (width, height), flags=cv2.INTER_LINEAR)
    cast = cv2.GaussianBlur(moved, (0, 0), max(0.8, 1.2 * thread))
    pull = cv2.GaussianBlur(cover, (0, 0), max(1.5, 5 * thread))
    dark = np.clip(0.42 * cast + 0.14 * pull, 0, 0.6)
    shadowed: Float = photo * (1 - dark)[..., None]
    return shadowed
