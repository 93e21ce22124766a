"""Light on thread: from a label map and a style to a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from worker.atelier.stitches.fabric import weave
from worker.atelier.stitches.families import COVERS, Canvas, Cover
from worker.atelier.stitches.fields import Field, Labels, Regions, find_regions, hash01, smooth_noise
from worker.atelier.stitches.style import StitchStyle

SUPERSAMPLING = 2


@dataclass(frozen=True)
class LabelMap:
    """A design as areas of ink: the one source that flat design and embroidery are both drawn from.

    Attributes:
        labels: Ink of every pixel, 0 is the ground; [S, S] with S = `SUPERSAMPLING` x the output size.
        palette: RGB in [0, 1] of every ink, row 0 the ground's.
    """

    labels: Labels
    palette: Field


def flat_design(design: LabelMap) -> npt.NDArray[np.uint8]:
    """The design as clean flat artwork, uint8 RGB at the output size."""
    size = design.labels.shape[0] // SUPERSAMPLING
    picture = cv2.resize(design.palette[design.labels], (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray((picture * 255 + 0.5).clip(0, 255), np.uint8)


def render_embroidery(design: LabelMap, style: StitchStyle) -> npt.NDArray[np.uint8]:
    """Sews the design.

    Args:
        design: What to sew.
        style: How to sew it; `style.seed` makes the picture reproducible.

    Returns:
        uint8 RGB at the output size.
    """
    rng = np.random.default_rng(style.seed)
    size, scale = design.labels.shape[0], float(SUPERSAMPLING)
    regions = find_regions(design.labels)
    canvas = Canvas(size, scale, regions, style, rng)
    cover = COVERS[style.family](canvas)
    thread = _shade(design, style, regions, cover, scale)
    covered = cover.covered & (cover.region > 0)
    if style.outline:
        thread, covered = _outline(thread, covered, design, style, scale)
    cloth = weave(size, style.fabric, scale, design.palette[0], rng)
    picture = _lay_on_cloth(thread, covered, cloth, style, rng)
    picture = cv2.resize(picture, (size // SUPERSAMPLING,) * 2, interpolation=cv2.INTER_AREA)
    return _camera(picture, rng)


def _light(angle: float) -> tuple[float, float, float]:
    return float(np.cos(angle) * 0.62), float(np.sin(angle) * 0.62), 0.78


def _shade(design: LabelMap, style: StitchStyle, regions: Regions, cover: Cover, scale: float) -> Field:
    """Diffuse light, a Kajiya-Kay highlight along the thread (Kajiya and Kay 1989) and a Blinn one across it."""
    ink = design.palette[regions.ink[cover.region]]
    colour = ink * (1 + 2 * style.jitter * (cover.identity - 0.5))[..., None]
    tint = hash01((cover.identity * 1e6).astype(np.int64), 3) - 0.5
    colour = colour + tint[..., None] * np.array([0.02, 0, -0.02], np.float32)
    heading = cover.heading
    across = np.clip(cover.across, -0.97, 0.97)
    nx = -np.sin(heading) * across * 0.85 + np.cos(heading) * cover.dive
    ny = np.cos(heading) * across * 0.85 + np.sin(heading) * cover.dive
    slope = cover.dive
    if cover.tilt is not None:
        nx, ny = nx + cover.tilt[0], ny + cover.tilt[1]
        slope = np.asarray(
            slope - 0.9 * (np.cos(heading) * cover.tilt[0] + np.sin(heading) * cover.tilt[1]), np.float32
        )
    nz = np.sqrt(np.maximum(0.12, 1 - 0.8 * across * across))
    norm = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * norm, ny * norm, nz * norm
    lx, ly, lz = _light(style.light)
    diffuse = np.clip(nx * lx + ny * ly + nz * lz, 0, 1)
    half = np.array([lx, ly, lz + 1])
    hx, hy, hz = half / np.linalg.norm(half)
    along = (np.cos(heading) * hx + np.sin(heading) * hy + slope * hz) / np.sqrt(1 + slope * slope)
    strand = np.clip(1 - along * along, 0, 1) ** 14 * np.clip(nz, 0, 1) ** 2
    gloss = np.clip(nx * hx + ny * hy + nz * hz, 0, 1) ** 22
    highlight = style.sheen * (0.22 * strand + 0.18 * gloss) * (0.55 + 0.45 * cover.shade)
    shade = (0.42 + 0.84 * diffuse) * cover.shade * (1 - 0.30 * np.abs(across) ** 3)
    if style.family in ("fill", "satin", "longshort", "contour"):
        shade = shade * (1 - 0.2 * np.clip(1 - regions.distance / (1.6 * scale), 0, 1))
    return np.asarray(colour * shade[..., None] + highlight[..., None] * (0.35 + 0.65 * colour), np.float32)


def _outline(
    thread: Field, covered: Labels, design: LabelMap, style: StitchStyle, scale: float
) -> tuple[Field, Labels]:
    """A narrow satin border in the darkest ink, sewn across the motif's edge."""
    motif = (design.labels > 0).astype(np.uint8)
    inside = cv2.distanceTransform(motif, cv2.DIST_L2, 5)
    signed = inside - cv2.distanceTransform(1 - motif, cv2.DIST_L2, 5)
    half = np.float32(style.outline / 2 * scale)
    band = np.abs(signed - 0.4 * half) < half
    soft = cv2.GaussianBlur(signed, (0, 0), 2 * scale)
    angle = np.arctan2(cv2.Sobel(soft, cv2.CV_32F, 0, 1), cv2.Sobel(soft, cv2.CV_32F, 1, 0))
    y, x = np.mgrid[0 : motif.shape[0], 0 : motif.shape[1]].astype(np.float32)
    position = (-x * np.sin(angle) + y * np.cos(angle)) / (max(1.6, 0.6 * style.pitch) * scale) + 0.9 * np.sin(
        3 * angle
    )
    across = 2 * (position - np.floor(position)) - 1
    over = (signed - 0.4 * half) / half
    lx, ly, lz = _light(style.light)
    light = np.clip(
        (-np.sin(angle) * lx + np.cos(angle) * ly) * across * 0.7
        - (np.cos(angle) * lx + np.sin(angle) * ly) * over * 0.6
        + 0.8 * lz,
        0,
        1,
    )
    inks = design.palette[1:]
    colour = inks[np.argmin(inks.sum(1))] * 0.8 if len(inks) else design.palette[0]
    border = colour * (0.4 + 0.9 * light)[..., None]
    border = border + (style.sheen * 0.22 * np.clip(1 - over * over, 0, 1) ** 3 * light**3)[..., None]
    return np.where(band[..., None], border, thread).astype(np.float32), covered | band


def _lay_on_cloth(thread: Field, covered: Labels, cloth: Field, style: StitchStyle, rng: np.random.Generator) -> Field:
    """Composites with a soft, fuzzy edge, a cast shadow and the dent the stitches pull into the cloth."""
    size, scale = covered.shape[0], SUPERSAMPLING
    mask = covered.astype(np.float32)
    alpha = cv2.GaussianBlur(mask, (0, 0), 0.5 * scale)
    if style.fuzz:
        stray = smooth_noise(size, size // 3, rng) * np.float32(0.35 * style.fuzz)
        halo = cv2.GaussianBlur(mask, (0, 0), 1.6 * scale)
        alpha = np.clip(alpha + stray * halo * (1 - halo) * 4, 0, 1)
        thread = thread * (1 + np.float32(0.10 * style.fuzz) * smooth_noise(size, size // 3, rng))[..., None]
    shadow = cv2.GaussianBlur(mask, (0, 0), 2.0 * scale)
    lx, ly, _ = _light(style.light)
    cast = np.roll(shadow, (int(-ly * 3.5 * scale), int(-lx * 3.5 * scale)), (0, 1))
    cloth = cloth * (1 - 0.42 * np.maximum(cast, 0.6 * shadow))[..., None]
    return np.asarray(thread * alpha[..., None] + cloth * (1 - alpha[..., None]), np.float32)


def _camera(picture: Field, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A mild photograph: uneven light, exposure, focus, sensor noise and sometimes JPEG."""
    size = picture.shape[0]
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    gradient = 1 + rng.uniform(-0.06, 0.06) * x + rng.uniform(-0.06, 0.06) * y
    picture = picture * (gradient * rng.uniform(0.94, 1.08))[..., None]
    picture = picture * (1 + rng.uniform(-0.02, 0.02, 3).astype(np.float32))
    contrast = rng.uniform(0.95, 1.25)
    soft = cv2.GaussianBlur(picture, (0, 0), 4.0)
    picture = soft + contrast * (picture - soft)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.6))
    picture = picture + rng.normal(0, rng.uniform(0.002, 0.015), picture.shape).astype(np.float32)
    out: npt.NDArray[Any] = (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.4:
        _, packed = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))])
        decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        out = np.asarray(decoded)[..., ::-1]
    return np.ascontiguousarray(out, np.uint8)
