"""Bringing a piece of artwork onto the photo of its embroidery.

Stitching changes colours, fills gaps and pulls the cloth, but a motif keeps its silhouette. So the silhouettes are
matched: rough guesses (same framing, bounding boxes, moments with quarter turns), each judged by overlap and colour;
the best few refined by enhanced correlation (ECC, Evangelidis and Psarakis, 2008) from a turn and scale up to a
homography; and last a smooth displacement field takes up what the cloth was pulled.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.colour import Bool, Float, rgb_to_lab

__all__ = ["Registration", "register", "warp_planes"]

_SIDE: Final = 320
"""Longer side of the photo at which silhouettes are matched."""

_GUESSES: Final = 3
_MAX_PULL: Final = 0.035
"""Largest displacement by the cloth, share of the photo's longer side."""


@dataclass(frozen=True, slots=True)
class Registration:
    """How artwork lies on a photo.

    Attributes:
        matrix: 3 x 3, pixels of the artwork to pixels of the photo.
        pull: h x w x 2, where a place of the photo was before the cloth was pulled, as a displacement in pixels of the
            photo, on a grid of one value every ``step`` pixels; or None.
        step: pixels of the photo between two values of ``pull``.
        overlap: intersection over union of the silhouettes, 0..1.
        model: ``similarity``, ``affine`` or ``homography``.
    """

    matrix: Float
    pull: Float | None
    step: float
    overlap: float
    model: str


@dataclass(frozen=True, slots=True)
class _Scene:
    """Artwork and photo at working size, with the matrices that lead there."""

    art_rgb: Float
    art_alpha: Float
    photo_rgb: Float
    photo_mask: Float
    to_small_art: Float
    to_small_photo: Float


def register(art_rgb: Float, art_alpha: Float, photo: Float, photo_mask: Bool) -> Registration:
    """Find where artwork lies on a photo.

    Args:
        art_rgb: h x w x 3 in 0..1.
        art_alpha: h x w in 0..1, the motif of the artwork.
        photo: H x W x 3 in 0..1.
        photo_mask: H x W bool, the motif of the photo.

    Returns:
        The best registration found; ``overlap`` says how good it is.
    """
    scene = _scene(art_rgb, art_alpha, photo, photo_mask)
    ranked = sorted(_guesses(scene), key=lambda matrix: -_judge(scene, matrix))[:_GUESSES]
    best, best_value, model = ranked[0], _judge(scene, ranked[0]), "similarity"
    for guess in ranked:
        matrix, name = guess, "similarity"
        value = _judge(scene, guess)
        for motion, label in ((cv2.MOTION_AFFINE, "affine"), (cv2.MOTION_HOMOGRAPHY, "homography")):
            finer = _refine(scene, matrix, motion)
            if finer is None or not _sane(scene, guess, finer):
                continue
            finer_value = _judge(scene, finer)
            # more freedom must pay, or noise is fitted
            if finer_value > value + (0.002 if label == "affine" else 0.006):
                matrix, value, name = finer, finer_value, label
        if value > best_value + 1e-6:
            best, best_value, model = matrix, value, name
    pull = _pull(scene, best)
    overlap = _overlap(_warped(scene.art_alpha, best, scene.photo_mask.shape, pull), scene.photo_mask)
    full = np.linalg.inv(scene.to_small_photo) @ best @ scene.to_small_art
    step = 1 / float(scene.to_small_photo[0, 0])
    return Registration(
        matrix=(full / full[2, 2]).astype(np.float32),
        pull=None if pull is None else (pull * np.float32(step)),
        step=step,
        overlap=overlap,
        model=model,
    )


def warp_planes(planes: Float, registration: Registration, size: tuple[int, int], window: Float) -> Float:
    """Warp artwork into a window of the photo.

    Args:
        planes: h x w x C of the artwork's size.
        registration: from :func:`register`.
        size: (width, height) of the result.
        window: 3 x 3, pixels of the photo to pixels of the result.

    Returns:
        height x width x C; 0 outside the artwork.
    """
    width, height = size
    back = np.linalg.inv(window)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    photo_x = (back[0, 0] * x + back[0, 1] * y + back[0, 2]).astype(np.float32)
    photo_y = (back[1, 0] * x + back[1, 1] * y + back[1, 2]).astype(np.float32)
    if registration.pull is not None:
        grid_x, grid_y = photo_x / np.float32(registration.step), photo_y / np.float32(registration.step)
        moved = _sample(registration.pull, grid_x, grid_y)
        photo_x, photo_y = photo_x + moved[..., 0], photo_y + moved[..., 1]
    map_x, map_y = _through(np.linalg.inv(registration.matrix.astype(np.float64)), photo_x, photo_y)
    layers = [
        cv2.remap(np.ascontiguousarray(planes[..., c]), map_x, map_y, cv2.INTER_LINEAR, borderValue=0)
        for c in range(planes.shape[2])
    ]
    stacked: Float = np.stack(layers, axis=-1).astype(np.float32)
    return stacked


def _sample(field: Float, x: Float, y: Float) -> Float:
    layers = [
        cv2.remap(np.ascontiguousarray(field[..., c]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for c in range(field.shape[2])
    ]
    sampled: Float = np.stack(layers, axis=-1)
    return sampled


def _through(matrix: NDArray[np.float64], x: Float, y: Float) -> tuple[Float, Float]:
    """Points through a homography."""
    depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    depth = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    moved_x = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / depth
    moved_y = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / depth
    return moved_x.astype(np.float32), moved_y.astype(np.float32)


def _scene(art_rgb: Float, art_alpha: Float, photo: Float, photo_mask: Bool) -> _Scene:
    def shrink(plane: Float) -> tuple[Float, Float]:
        height, width = plane.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        small = cv2.resize(
            plane, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA
        )
        return small, np.diag([small.shape[1] / width, small.shape[0] / height, 1.0])

    small_art, to_art = shrink(art_rgb)
    small_alpha, _ = shrink(art_alpha)
    small_photo, to_photo = shrink(photo)
    small_mask, _ = shrink(photo_mask.astype(np.float32))
    # fills that are hatched in the photo are whole in the artwork
    closed = cv2.morphologyEx(small_mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return _Scene(small_art, small_alpha, small_photo, closed, to_art, to_photo)


def _moments(plane: Float) -> tuple[Float, float, float]:
    """Centre (x, y), radius of gyration and direction of the longest axis of a weighted area."""
    m = cv2.moments(plane)
    mass = max(m["m00"], 1e-6)
    centre = np.array([m["m10"], m["m01"]]) / mass
    xx, yy, xy = m["mu20"] / mass, m["mu02"] / mass, m["mu11"] / mass
    return centre, float(np.sqrt(max(xx + yy, 1e-6))), float(0.5 * np.arctan2(2 * xy, xx - yy))


def _similarity(source: Float, target: Float, scale: float, turn: float) -> Float:
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    shift = target - np.array([[cos, -sin], [sin, cos]]) @ source
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [0, 0, 1]])


def _guesses(scene: _Scene) -> list[Float]:
    """Artwork to photo at working size, roughly."""
    art, photo = scene.art_alpha, scene.photo_mask
    framing = np.array([art.shape[1] / 2, art.shape[0] / 2]), np.array([photo.shape[1] / 2, photo.shape[0] / 2])
    ratio = min(photo.shape[1] / art.shape[1], photo.shape[0] / art.shape[0])
    found = [_similarity(*framing, ratio, 0.0)]
    boxes = [cv2.boundingRect((plane > 0.5).astype(np.uint8)) for plane in (art, photo)]
    centres = [np.array([x + w / 2, y + h / 2]) for x, y, w, h in boxes]
    (_, _, art_w, art_h), (_, _, photo_w, photo_h) = boxes
    if min(art_w, art_h, photo_w, photo_h) > 0:
        upright = float(np.sqrt(photo_w / art_w * photo_h / art_h))
        sideways = float(np.sqrt(photo_w / art_h * photo_h / art_w))
        for quarter in range(4):
            scale = sideways if quarter % 2 else upright
            found.append(_similarity(centres[0], centres[1], scale, quarter * np.pi / 2))
    art_centre, art_radius, art_turn = _moments(art)
    photo_centre, photo_radius, photo_turn = _moments(photo)
    scale = photo_radius / max(art_radius, 1e-3)
    turns = (0.0, photo_turn - art_turn, photo_turn - art_turn + np.pi, np.pi / 2, np.pi, -np.pi / 2)
    return [*found, *(_similarity(art_centre, photo_centre, scale, turn) for turn in turns)]


def _warped(plane: Float, matrix: Float, shape: tuple[int, ...], pull: Float | None = None) -> Float:
    """A plane of the small artwork on the small photo."""
    moved = cv2.warpPerspective(plane, matrix.astype(np.float64), (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    if pull is not None:
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        moved = cv2.remap(moved, x + pull[..., 0], y + pull[..., 1], cv2.INTER_LINEAR)
    warped: Float = moved
    return warped


def _overlap(first: Float, second: Float) -> float:
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / max(union, 1e-6)


def _judge(scene: _Scene, matrix: Float) -> float:
    """Overlap of the silhouettes, less for colours that disagree inside both."""
    alpha = _warped(scene.art_alpha, matrix, scene.photo_mask.shape)
    both = (alpha > 0.7) & (scene.photo_mask > 0.7)
    overlap = _overlap(alpha, scene.photo_mask)
    if int(both.sum()) < 20:
        return overlap
    art = rgb_to_lab(_warped(scene.art_rgb, matrix, scene.photo_mask.shape))
    photo = rgb_to_lab(cv2.GaussianBlur(scene.photo_rgb, (0, 0), 1.5))
    # threads are never the very colours of the artwork: only differences above that count
    apart = np.linalg.norm((art - photo)[both] * np.array([0.5, 1, 1]), axis=1)
    return overlap - 0.25 * float(np.clip((apart - 25) / 60, 0, 1).mean())


def _refine(scene: _Scene, matrix: Float, motion: int) -> Float | None:
    """ECC on blurred silhouettes; None where it does not converge."""
    template = cv2.GaussianBlur(scene.photo_mask, (0, 0), 2.5)
    moving = cv2.GaussianBlur(scene.art_alpha, (0, 0), 2.5)
    warp = np.linalg.inv(matrix)
    warp = (warp / warp[2, 2]).astype(np.float32)
    start = warp if motion == cv2.MOTION_HOMOGRAPHY else warp[:2].copy()
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 120, 1e-5)
    try:
        _, found = cv2.findTransformECC(template, moving, start, motion, criteria, None, 1)
    except cv2.error:
        return None
    full = found if motion == cv2.MOTION_HOMOGRAPHY else np.vstack([found, [0, 0, 1]])
    back = np.linalg.inv(full.astype(np.float64))
    scaled: Float = back / back[2, 2]
    return scaled


def _sane(scene: _Scene, guess: Float, finer: Float) -> bool:
    """A refinement may not shear, mirror or stretch the artwork out of recognition."""
    height, width = scene.art_alpha.shape
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
    before = cv2.perspectiveTransform(corners, guess)[0]
    after = cv2.perspectiveTransform(corners, finer)[0]
    diagonal = float(np.linalg.norm(before[2] - before[0]))
    if float(np.linalg.norm(after - before, axis=1).max()) > 0.25 * diagonal:
        return False
    sides = [float(np.linalg.norm(b - a)) for a, b in pairwise([*after, after[0]])]
    original = [float(np.linalg.norm(b - a)) for a, b in pairwise([*before, before[0]])]
    stretch = [now / max(was, 1e-6) for now, was in zip(sides, original, strict=True)]
    return max(stretch) / max(min(stretch), 1e-6) < 1.35 and min(stretch) > 0.5


def _pull(scene: _Scene, matrix: Float) -> Float | None:
    """Smooth displacement that brings the silhouettes closer still, or None where it does not help."""
    alpha = _warped(scene.art_alpha, matrix, scene.photo_mask.shape)
    before = _overlap(alpha, scene.photo_mask)
    if before < 0.4:
        return None
    target, moving = (_signed_distance(plane) for plane in (scene.photo_mask, alpha))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    field = flow.calc(target, moving, None)
    limit = _MAX_PULL * max(scene.photo_mask.shape)
    field = cv2.GaussianBlur(np.clip(field, -2 * limit, 2 * limit), (0, 0), 0.025 * max(scene.photo_mask.shape))
    length = np.linalg.norm(field, axis=2, keepdims=True)
    field = (field * np.minimum(1, limit / np.maximum(length, 1e-6))).astype(np.float32)
    after = _overlap(_warped(scene.art_alpha, matrix, scene.photo_mask.shape, field), scene.photo_mask)
    pulled: Float = field
    return pulled if after > before + 0.01 else None


def _signed_distance(plane: Float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Distance to the silhouette as grey levels, so that flow has something to hold on to away from the border."""
    inside = (plane > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    levels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = np.clip(128 + 9 * distance, 0, 255).astype(np.uint8)
    return levels
