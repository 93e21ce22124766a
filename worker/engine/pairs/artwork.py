"""The builder for shops that kept the artwork: it is laid on the photo and takes the threads' colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Float, rgb_to_lab, to_float
from worker.engine.design import separate_background
from worker.engine.pairs.inks import Labels, choose_inks, draw_areas, ink_distance, thread_colour
from worker.engine.pairs.registration import Registration, register, warp_planes
from worker.engine.prepare import PreparedReference

__all__ = ["ArtworkDesign", "design_from_artwork"]

ENOUGH_OVERLAP: Final = 0.6
"""Under it the artwork is another motif, or the photo shows only a part of it."""

_LARGEST_SIDE: Final = 1024
_FLAT_SHARE: Final = 0.85


@dataclass(frozen=True, slots=True)
class ArtworkDesign:
    """What became of a piece of artwork.

    Attributes:
        picture: size x size x 3 in 0..1, or None where the artwork could not be laid on the photo.
        report: ``registration`` (overlap, model, pulled), ``inks``, and ``fallback`` with a sentence when it failed.
    """

    picture: Float | None
    report: dict[str, Any]


def design_from_artwork(prepared: PreparedReference, artwork: Image.Image, seed: int = 0) -> ArtworkDesign:
    """Lay artwork on a prepared embroidery.

    The artwork is registered to the whole photo, not to the crop, so that all of its silhouette counts; then it is
    drawn in the crop: flat artwork area by area, each in the colour its threads have in the photo (colour is content:
    left to differ, it would be learnt as style); shaded artwork as it is, on the cloth's colour.
    """
    artwork = _shrunk(artwork)
    rgb, alpha = separate_background(artwork)
    if float((alpha > 0.5).mean()) < 0.002:
        return ArtworkDesign(None, {"fallback": "The artwork is empty; the design was drawn from the photo instead."})
    photo = to_float(prepared.photo)
    found = register(rgb, alpha, photo, prepared.photo_mask)
    figures = {"overlap": round(found.overlap, 3), "model": found.model, "pulled": found.pull is not None}
    if found.overlap < ENOUGH_OVERLAP:
        sentence = (
            f"The artwork could not be matched to the photo (they agree by {found.overlap:.0%}); "
            "the design was drawn from the photo instead."
        )
        return ArtworkDesign(None, {"registration": figures, "fallback": sentence})
    inks, labels, flat_share = _areas(rgb, alpha, seed)
    if flat_share >= _FLAT_SHARE:
        picture, codes = _draw_flat(prepared, found, labels, inks)
        return ArtworkDesign(picture, {"registration": figures, "inks": codes, "shaded": False})
    return ArtworkDesign(_draw_shaded(prepared, found, rgb, alpha), {"registration": figures, "shaded": True})


def _shrunk(artwork: Image.Image) -> Image.Image:
    scale = _LARGEST_SIDE / max(artwork.size)
    if scale >= 1:
        return artwork
    return artwork.resize((round(artwork.width * scale), round(artwork.height * scale)), Image.Resampling.BOX)


def _areas(rgb: Float, alpha: Float, seed: int) -> tuple[Float, Labels, float]:
    """Flat areas of the artwork: ink colours (sRGB, ink 0 is the background), labels, share of pixels they explain."""
    lab = rgb_to_lab(rgb)
    solid = alpha > 0.9
    solid = solid if solid.any() else alpha > 0.5
    inks = choose_inks(lab[solid], merge=9, smallest=0.001, limit=20, seed=seed)
    distance = ink_distance(lab, inks)
    nearest = np.argmin(distance, axis=-1)
    explained = float((np.min(distance, axis=-1)[solid] < 6).mean())
    labels = np.where(alpha > 0.5, nearest + 1, 0).astype(np.int32)
    # antialiased borders between two inks look like a third one: a small mode filter removes their slivers
    labels = cv2.medianBlur(labels.astype(np.uint8), 3).astype(np.int32)
    colours = [np.zeros(3, np.float32)]
    for index in range(1, len(inks) + 1):
        area = (labels == index) & solid
        colours.append(np.median(rgb[area], axis=0) if area.any() else np.zeros(3, np.float32))
    return np.stack(colours).astype(np.float32), labels, explained


def _window_matrix(prepared: PreparedReference, supersample: int = 1) -> Float:
    """Pixels of the photo to pixels of the crop drawn ``supersample`` times finer."""
    scale = prepared.scale * supersample
    window = prepared.window
    return np.array([[scale, 0, -window.left * scale], [0, scale, -window.top * scale], [0, 0, 1]], np.float64)


def _draw_flat(
    prepared: PreparedReference, found: Registration, labels: Labels, colours: Float
) -> tuple[Float, list[str]]:
    size = prepared.embroidery.width
    fine = 2 if size <= 512 else 1
    planes = np.stack([(labels == k).astype(np.float32) for k in range(1, len(colours))], axis=-1)
    warped = warp_planes(planes, found, (size * fine, size * fine), _window_matrix(prepared, fine))
    weights = [np.clip(1 - warped.sum(axis=2), 0, 1), *(warped[..., k] for k in range(warped.shape[2]))]
    embroidery = to_float(prepared.embroidery)
    painted = [np.array(prepared.ground_rgb, np.float32)]
    codes = []
    for index in range(1, len(colours)):
        cover = cv2.resize(weights[index], (size, size), interpolation=cv2.INTER_AREA)
        # the artwork's areas are off by a pixel or two: ask the threads well inside
        inner = cv2.erode((cover > 0.6).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        inner = inner if int(inner.sum()) >= 30 else cover > 0.8
        colour = thread_colour(embroidery, inner, colours[index])
        if _is_ground(colour, painted[0]) and not _is_ground(colours[index], np.ones(3, np.float32)):
            # not sewn, or hidden: what the artwork says is the better guess
            colour = colours[index]
        painted.append(colour)
        if (cover > 0.5).any():
            codes.append("#" + "".join(f"{round(float(v) * 255):02x}" for v in colour))
    # a narrow blur rounds the staircase of the artwork's own pixels
    smooth = [cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 0.5 * fine) for plane in weights]
    picture = draw_areas(smooth, np.stack(painted), size, supersample=3 if size <= 512 else 2)
    return picture, codes


def _is_ground(colour: Float, ground: Float) -> bool:
    pair = rgb_to_lab(np.stack([colour, ground])[None].astype(np.float32))[0]
    return float(np.linalg.norm(pair[0] - pair[1])) < 12


def _draw_shaded(prepared: PreparedReference, found: Registration, rgb: Float, alpha: Float) -> Float:
    size = prepared.embroidery.width
    stack = np.concatenate([rgb * alpha[..., None], alpha[..., None]], axis=2)
    warped = warp_planes(stack, found, (size * 2, size * 2), _window_matrix(prepared, 2))
    warped = cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
    ground = np.array(prepared.ground_rgb, np.float32)
    picture: Float = np.clip(warped[..., :3] + ground * (1 - warped[..., 3:]), 0, 1)
    return picture
