"""The builder without a model: an embroidery redrawn in few flat colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np

from worker.engine.colour import Bool, Float, lab_to_rgb, rgb_to_lab
from worker.engine.pairs.inks import (
    Labels,
    absorb_small,
    choose_inks,
    draw_areas,
    ink_distance,
    nearest_ink,
    smooth_labels,
    thread_colour,
)
from worker.engine.smoothing import remove_texture

__all__ = ["FlatDesign", "flatten"]

_WORKING_SIDE: Final = 384
"""Areas are found at this size at most; their borders are drawn at any size."""

_DEFAULT_PERIOD: Final = 4.0
_MERGE: Final = 18.0
_SMALLEST_INK: Final = 0.006
_HUE_WINDOW: Final = 0.3
"""Of a thread's scale: the window in which a* and b* are averaged."""


@dataclass(frozen=True, slots=True)
class FlatDesign:
    """What :func:`flatten` draws.

    Attributes:
        picture: size x size x 3 in 0..1.
        inks: sRGB of every colour used on the motif, K x 3.
        report: ``inks`` (hex codes), ``areas``.
    """

    picture: Float
    inks: Float
    report: dict[str, Any]


def flatten(embroidery: Float, mask: Bool, ground_rgb: Float, period: float = 0.0, seed: int = 0) -> FlatDesign:
    """Redraw an embroidery as clean flat artwork.

    Texture goes by relative total variation at the scale of a thread; the motif's colours are clustered in Lab to as
    few inks as stay 18 apart; areas smaller than a few threads are given to their neighbours, borders rounded off;
    every area takes the colour its threads have to the eye. Nothing of the photo's pixels reaches the result.

    Args:
        embroidery: size x size x 3 in 0..1.
        mask: size x size bool, the motif.
        ground_rgb: cloth colour, 3 values in 0..1.
        period: distance of threads in pixels, 0 when unknown.
        seed: of the clustering.
    """
    size = embroidery.shape[0]
    scale = min(1.0, _WORKING_SIDE / size)
    side = round(size * scale)
    small = cv2.resize(embroidery, (side, side), interpolation=cv2.INTER_AREA) if scale < 1 else embroidery
    motif = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0.5
    ground = np.asarray(ground_rgb, np.float32)
    pitch = float(np.clip((period or _DEFAULT_PERIOD) * scale, 2.0, 8.0))
    if not motif.any():
        plain = np.broadcast_to(ground, embroidery.shape).astype(np.float32)
        return FlatDesign(plain, np.zeros((0, 3), np.float32), {"inks": [], "areas": 0})

    depth = _depth(motif)
    # a line of one or two threads has no texture across: a window wider than it would wash it away
    sigma = float(np.clip(0.25 * _line_width(depth), 0.8, 0.9 * pitch))
    lab = rgb_to_lab(remove_texture(small, sigma=sigma))
    # relief is light and shade: it hides a border between two inks, which hue alone shows
    lab[..., 1:] = cv2.GaussianBlur(rgb_to_lab(small)[..., 1:], (0, 0), _HUE_WINDOW * sigma)
    core = cv2.erode(motif.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    core = core if int(core.sum()) > 200 else motif
    inks = choose_inks(lab[core], _MERGE, _SMALLEST_INK, seed=seed)
    ground_lab = rgb_to_lab(ground[None, None])[0, 0]
    # cloth seen through the motif (an eye left open) is cloth, not an ink
    # and cloth in the motif's shadow is cloth too: darker than the cloth, of the same chroma
    limits = np.where(inks[:, 0] < ground_lab[0], 15, 9)
    inks = inks[ink_distance(ground_lab, inks) > limits]
    palette = (
        np.concatenate([ground_lab[None], inks]) if len(inks) else np.stack([ground_lab, np.median(lab[core], axis=0)])
    )

    labels = nearest_ink(lab, palette, window=0.3 * sigma)
    labels = _respect_mask(labels, motif, ink_distance(lab, palette), pitch)
    labels = _without_rims(labels, palette, pitch)
    gaps = np.linalg.norm(palette[:, None] - palette[None], axis=2)
    np.fill_diagonal(gaps, 99)
    outstanding = gaps.min(axis=1) > 28
    labels = absorb_small(labels, smallest=(1.6 * pitch) ** 2, keep=outstanding)
    labels = _without_gaps(labels, pitch)
    labels = _rounded(labels, pitch)
    labels = absorb_small(labels, smallest=(1.2 * pitch) ** 2, keep=outstanding)

    colours = _colours(small, labels, palette, ground)
    planes = [cv2.GaussianBlur((labels == k).astype(np.float32), (0, 0), 0.3 * pitch) for k in range(len(palette))]
    picture = draw_areas(planes, colours, size, supersample=3 if size <= 512 else 2)
    used = [k for k in range(1, len(palette)) if (labels == k).any()]
    areas = sum(cv2.connectedComponents((labels == k).astype(np.uint8), connectivity=4)[0] - 1 for k in used)
    codes = ["#" + "".join(f"{round(float(v) * 255):02x}" for v in colours[k]) for k in used]
    return FlatDesign(picture, colours[used], {"inks": codes, "areas": int(areas)})


def _depth(area: Bool) -> Float:
    """Distance to the border of an area; the picture's edge is no border."""
    depth: Float = cv2.distanceTransform(area.astype(np.uint8), cv2.DIST_L2, 5)
    return depth


def _line_width(depth: Float) -> float:
    """Median width of the strokes that an area is made of, in pixels."""
    ridge = (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8))) & (depth > 0.5)
    return 2 * float(np.median(depth[ridge])) if ridge.any() else 0.0


def _respect_mask(labels: Labels, motif: Bool, distance: Float, pitch: float) -> Labels:
    """Cloth outside the motif; inside it the nearest ink, but where a whole patch looks just like cloth."""
    out = labels.copy()
    out[~motif] = 0
    doubtful = motif & (labels == 0)
    clothlike = (doubtful & (distance[..., 0] < 8)).astype(np.uint8)
    # gaps between threads are narrower than a thread; an opening in the motif is wider
    radius = max(1, round(0.35 * pitch))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    open_cloth = cv2.morphologyEx(clothlike, cv2.MORPH_OPEN, element) > 0
    fill = doubtful & ~open_cloth
    out[fill] = 1 + np.argmin(distance[..., 1:], axis=-1)[fill]
    return out


def _without_rims(labels: Labels, palette: Float, pitch: float) -> Labels:
    """Give rims to the area they surround.

    At a motif's border thread and cloth mix to a colour in between, which clustering takes for an ink of its own. An
    area is such a rim when it is narrow, touches the cloth, and its ink lies between the cloth's colour and that of
    a neighbour.
    """
    out = labels.copy()
    box = np.ones((3, 3), np.uint8)
    for ink in range(1, len(palette)):
        hosts = [k for k in range(1, len(palette)) if k != ink and _between(palette[ink], palette[0], palette[k])]
        if not hosts:
            continue
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((out == ink).astype(np.uint8), connectivity=8)
        for piece in range(1, count):
            x, y, w, h = (int(v) for v in stats[piece, :4])
            area = np.s_[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1]
            here = pieces[area] == piece
            if float(_depth(np.pad(here, 1)).max()) > 1.8 * pitch:
                continue
            ring = (cv2.dilate(here.astype(np.uint8), box) > 0) & ~here
            around = np.bincount(out[area][ring], minlength=len(palette))
            host = max(hosts, key=lambda k: around[k])
            if around[host] > 0.15 * around.sum():
                out[area][here] = host
    return out


def _without_gaps(labels: Labels, pitch: float) -> Labels:
    """Close narrow holes in one area: they are cloth between its threads.

    A hole that two inks share (the white round a pupil) is meant and stays.
    """
    out = labels.copy()
    box = np.ones((3, 3), np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((labels == 0).astype(np.uint8), connectivity=4)
    for piece in range(1, count):
        x, y, w, h, size = (int(v) for v in stats[piece, :5])
        at_edge = x == 0 or y == 0 or x + w == labels.shape[1] or y + h == labels.shape[0]
        if at_edge or size > (5 * pitch) ** 2:
            continue
        area = np.s_[y - 1 : y + h + 1, x - 1 : x + w + 1]
        here = pieces[area] == piece
        ring = (cv2.dilate(here.astype(np.uint8), box) > 0) & ~here
        around = np.bincount(labels[area][ring])
        if float(_depth(here).max()) <= 1.2 * pitch and around.max() >= 0.85 * around.sum():
            out[area][here] = int(around.argmax())
    return out


def _between(colour: Float, first: Float, second: Float) -> bool:
    """Whether a colour lies near the line between two others, not at its ends."""
    line = second - first
    length = float(line @ line)
    if length < 1e-3:
        return False
    position = float((colour - first) @ line) / length
    beside = float(np.linalg.norm(colour - first - np.clip(position, 0, 1) * line))
    return 0.15 < position < 1.0 and beside < 18


def _rounded(labels: Labels, pitch: float) -> Labels:
    """Round borders: widely where areas are deep, narrowly on lines and dots, which would vanish otherwise."""
    narrow = smooth_labels(labels, 0.35 * pitch)
    wide = smooth_labels(labels, 1.3 * pitch)
    fine = np.zeros(labels.shape, np.uint8)
    radius = max(2, round(1.5 * pitch))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    for ink in np.unique(labels):
        area = (labels == ink).astype(np.uint8)
        padded = cv2.copyMakeBorder(area, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
        opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, element)[radius:-radius, radius:-radius]
        fine |= area & (1 - opened)
    # corners are fine too, but small: only what an opening takes away in one long or whole piece is a line
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(fine, connectivity=8)
    lines = np.zeros(count, bool)
    lines[1:] = stats[1:, cv2.CC_STAT_AREA] >= (1.5 * pitch) ** 2
    near = cv2.dilate(lines[pieces].astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, round(pitch / 2)))
    rounded: Labels = np.where(near > 0, narrow, wide).astype(np.int32)
    return rounded


def _colours(embroidery: Float, labels: Labels, palette: Float, ground: Float) -> Float:
    """Colours (sRGB) of every label as its threads look."""
    colours = [ground]
    for index in range(1, len(palette)):
        area = (labels == index).astype(np.uint8)
        inner = cv2.erode(area, np.ones((3, 3), np.uint8)) > 0
        inner = inner if int(inner.sum()) >= 40 else area > 0
        colours.append(thread_colour(embroidery, inner, lab_to_rgb(palette[index][None, None])[0, 0]))
    stacked: Float = np.stack(colours).astype(np.float32)
    return stacked
