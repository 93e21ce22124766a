"""Preparing photos of embroideries and designs: crop, perspective, white balance, square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Bool, Float, lightness, to_float, to_image
from worker.engine.crop import Window, choose_window
from worker.engine.design import PreparedDesign, prepare_design
from worker.engine.fabric import continue_cloth
from worker.engine.ground import Ground, find_ground
from worker.engine.notices import Notice
from worker.engine.threads import ThreadEvidence, measure_threads

__all__ = ["Crop", "Notice", "PreparedDesign", "PreparedReference", "Quad", "prepare_design", "prepare_reference"]

Quad: TypeAlias = Sequence[tuple[float, float]]
Crop: TypeAlias = Literal["auto", "motif", "whole"] | tuple[float, float, float, float]

MAX_SIDE: Final = 2400
"""Photos are brought to this longer side first: a thread has several pixels left even on a whole jacket back."""

_FINE: Final = 1.6
"""Pixels of the photo to one of the crop from which a second crop, of twice the size, shows more."""

_BALANCE: Final = 0.5
"""Share of the cloth's cast that is taken out. Natural cotton is cream: taking all of it would turn threads blue."""


@dataclass(frozen=True, slots=True)
class PreparedReference:
    """A photo of an embroidery, ready to learn from.

    Attributes:
        embroidery: ``size`` x ``size`` RGB: the crop, cloth continued where the photo ends.
        mask: ``size`` x ``size`` bool, True on the motif.
        ground_rgb: colour of the cloth, 3 values in 0..1.
        warnings: what the owner should know.
        window: the crop in pixels of ``photo``; may reach beyond it.
        photo: the whole photo, upright, rectified and balanced.
        photo_mask: motif in ``photo``.
        evidence: what speaks for threads, measured on ``photo``.
        thread_period: distance of neighbouring threads in ``embroidery``, pixels; 0 when unknown.
        fine: ``embroidery`` with twice the pixels a side, where the photo has them.
    """

    embroidery: Image.Image
    mask: Bool
    ground_rgb: tuple[float, float, float]
    warnings: tuple[Notice, ...]
    window: Window
    photo: Image.Image
    photo_mask: Bool
    evidence: ThreadEvidence
    thread_period: float
    fine: Image.Image | None = None

    @property
    def scale(self) -> float:
        """Pixels of ``embroidery`` to a pixel of ``photo``."""
        return self.embroidery.width / self.window.side

    @property
    def motif_px(self) -> float:
        """Longer side of the photo's whole motif at the scale of ``embroidery``, pixels; 0 without a motif.

        More than the picture's side where only a part of the motif was taken, so that its threads stay visible.
        """
        rows, columns = (np.nonzero(self.photo_mask.any(axis=axis))[0] for axis in (1, 0))
        return float(max(np.ptp(rows), np.ptp(columns)) + 1) * self.scale if len(rows) else 0.0


def prepare_reference(
    image: Image.Image, size: int, *, quad: Quad | None = None, crop: Crop = "auto", balance: bool = True, seed: int = 0
) -> PreparedReference:
    """Crop a photo to its embroidery so that threads stay visible.

    Args:
        image: photo, upright (EXIF orientation applied).
        size: side of the square result: the base's resolution.
        quad: four corners of a plane in the photo, any order, for photos taken at an angle.
        crop: ``auto`` keeps as much of the motif as fits while threads stay 3 px wide, and moves in closer otherwise;
            ``motif`` takes the whole motif; ``whole`` the whole photo; or a box (left, top, right, bottom) in pixels of
            the (rectified) photo.
        balance: take the light's cast out, judged by the cloth; off for pictures that are no photos.
        seed: for the continued cloth.

    Returns:
        The crop, its masks and what was noticed. A photo without any embroidery is prepared too, with a warning.

    Raises:
        ValueError: the quad has no area, or the box is empty.
    """
    picture = _shrink(_flatten(image))
    if quad is not None:
        picture = _rectify(
            picture, [(x * picture.shape[1] / image.width, y * picture.shape[0] / image.height) for x, y in quad]
        )
    ground = find_ground(picture)
    ground_rgb = ground.rgb
    if balance:
        picture, ground_rgb = _balance(picture, ground)
    plane = lightness(picture)
    evidence = measure_threads(plane, ground.stitches)
    ground = replace(ground, motif=_closed(ground, evidence.period))
    window = choose_window(picture, ground, evidence.period, size, crop)
    embroidery, mask = _cut(picture, ground, window, ground_rgb, size, seed)
    period = evidence.period * size / window.side
    return PreparedReference(
        embroidery=to_image(embroidery),
        mask=mask,
        ground_rgb=(float(ground_rgb[0]), float(ground_rgb[1]), float(ground_rgb[2])),
        warnings=tuple(_notices(plane, ground, evidence, window, size)),
        window=window,
        photo=to_image(picture),
        photo_mask=ground.motif,
        evidence=evidence,
        thread_period=period,
        fine=to_image(_cut(picture, ground, window, ground_rgb, 2 * size, seed)[0])
        if window.side >= _FINE * size
        else None,
    )


def _flatten(image: Image.Image) -> Float:
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return to_float(image.convert("RGB"))


def _shrink(picture: Float) -> Float:
    height, width = picture.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return picture
    small: Float = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return small


def _rectify(picture: Float, quad: Quad) -> Float:
    """The plane inside four corners, seen straight on; sides as long as their two edges on average."""
    corners = np.array(quad, np.float32)
    if corners.shape != (4, 2):
        raise ValueError("a quad needs four corners")
    centre = corners.mean(axis=0)
    corners = corners[np.argsort(np.arctan2(corners[:, 1] - centre[1], corners[:, 0] - centre[0]))]
    if cv2.contourArea(corners) < 16:
        raise ValueError("the four corners enclose no area")
    edges = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    width, height = max(8, round((edges[0] + edges[2]) / 2)), max(8, round((edges[1] + edges[3]) / 2))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    straight: Float = cv2.warpPerspective(
        picture, matrix, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    return straight


def _balance(picture: Float, ground: Ground) -> tuple[Float, Float]:
    """Take part of the light's cast out, judged by the cloth, when the cloth is light and nearly neutral.

    Returns:
        The picture and the cloth's colour in it.
    """
    lightness_, chroma = float(ground.lab[0]), float(np.hypot(ground.lab[1], ground.lab[2]))
    if ground.covered or lightness_ < 55 or chroma > 25:
        return picture, ground.rgb
    linear = np.maximum(ground.rgb, 0.02) ** 2.2
    grey = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    gains = np.clip((grey / linear) ** _BALANCE, 0.8, 1.25) ** (1 / 2.2)
    gains = gains.astype(np.float32)
    return np.clip(picture * gains, 0, 1), np.clip(ground.rgb * gains, 0, 1)


def _closed(ground: Ground, period: float) -> Bool:
    """The motif with the gaps between its threads closed: they are about a thread wide, spaces between letters more."""
    if ground.covered:
        return ground.motif
    radius = max(1, round(0.55 * (period or 3.0)))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    closed: Bool = cv2.morphologyEx(ground.stitches.astype(np.uint8), cv2.MORPH_CLOSE, element) > 0
    return closed & ground.motif | ground.stitches


def _cut(picture: Float, ground: Ground, window: Window, ground_rgb: Float, size: int, seed: int) -> tuple[Float, Bool]:
    """The window at the wanted size, cloth continued where the photo or the cloth ends."""
    scale = size / window.side
    # shrinking by area first keeps threads free of moire, the rest is one affine warp
    shrink = min(1.0, scale)
    height, width = picture.shape[:2]
    small_size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(picture, small_size, interpolation=cv2.INTER_AREA) if shrink < 1 else picture
    sx, sy = small_size[0] / width, small_size[1] / height
    matrix = np.array(
        [
            [scale / sx, 0, -window.left * scale + 0.5 * scale / sx - 0.5],
            [0, scale / sy, -window.top * scale + 0.5 * scale / sy - 0.5],
        ]
    )
    canvas = cv2.warpAffine(small, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def warped(mask: Bool) -> Bool:
        plane = cv2.resize(mask.astype(np.float32), small_size, interpolation=cv2.INTER_AREA)
        moved = cv2.warpAffine(plane, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=0)
        cut: Bool = moved > 0.5
        return cut

    known = warped(ground.cloth | ground.motif)
    if not known.all():
        known = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    mask = warped(ground.motif) & known
    calm = known & (cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0)
    filled = continue_cloth(np.clip(canvas, 0, 1).astype(np.float32), known, calm, ground_rgb, seed)
    return filled, mask


def _notices(plane: Float, ground: Ground, evidence: ThreadEvidence, window: Window, size: int) -> list[Notice]:
    notices = []
    if float(np.percentile(plane, 95)) < 30:
        notices.append(Notice("too_dark", "The photo is very dark. Please take it again in daylight or under a lamp."))
    if ground.motif.mean() > 0.0005 and _sharpness(plane, ground.motif) < 3.0:
        notices.append(Notice("blurry", "The photo is blurred. Please hold the camera still and closer."))
    if evidence.score < 0.5:
        notices.append(
            Notice(
                "no_embroidery",
                "No stitches could be found in this photo. Learning will go on, but the result may not look like "
                "embroidery; a sharp, close photo of the stitches helps most.",
            )
        )
    elif evidence.period and evidence.period * size / window.side < 2.4:
        notices.append(
            Notice(
                "threads_too_fine",
                "Single threads are hardly visible at this size. A closer photo gives more of the stitch.",
            )
        )
    if window.side < 0.7 * size:
        notices.append(
            Notice("low_resolution", "The embroidery is small in the photo. A closer photo gives a sharper result.")
        )
    if window.kept < 0.75:
        notices.append(
            Notice(
                "part_of_motif",
                f"The part with the clearest stitches was chosen ({window.kept:.0%} of the embroidery), "
                "so that single threads stay visible.",
            )
        )
    return notices


def _sharpness(plane: Float, motif: Bool) -> float:
    """Steepest steps of L* a pixel near the motif (99.5th percentile); sharp photos have 8 and more."""
    gx = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3) / 8
    gy = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3) / 8
    near = cv2.dilate(motif.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return float(np.percentile(np.hypot(gx, gy)[near], 99.5))
