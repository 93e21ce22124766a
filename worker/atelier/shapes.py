"""Outlines that procedural designs are put together from, and the sheet they are drawn on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Points = npt.NDArray[np.float64]

SHAPES = (
    "circle",
    "flower",
    "star",
    "heart",
    "triangle",
    "square",
    "diamond",
    "hexagon",
    "shield",
    "oval",
    "drop",
    "crescent",
    "cross",
    "clover",
    "leaf",
)
FRAMES = ("circle", "square", "diamond", "hexagon", "shield", "oval", "flower", "heart")
"""Shapes wide enough to put something inside."""


def outline(kind: str, rng: np.random.Generator) -> Points:
    """A closed outline [N, 2] within [-1, 1], y downwards; some kinds differ every time."""
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    if kind == "star":
        points = int(rng.choice([4, 5, 5, 5, 6, 8]))
        radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, 0.42 if points < 7 else 0.62)
        return polar(np.linspace(0, 2 * np.pi, 2 * points, endpoint=False), radius)
    if kind == "flower":
        return polar(t, 0.72 + 0.28 * np.cos(int(rng.integers(5, 9)) * t))
    if kind == "clover":
        return polar(t + np.pi / 4, 0.25 + 0.75 * np.abs(np.sin(2 * t)) ** 0.6)
    if kind == "heart":
        x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x / 17, -y / 17 - 0.1], 1)
    if kind == "drop":
        return np.stack([0.62 * np.sin(t) * np.sin(t / 2) ** 1.5, -np.cos(t)], 1)
    if kind == "leaf":
        half = np.linspace(0, np.pi, 60)
        wide = 0.42 * np.sin(half) ** 1.2
        return np.concatenate([np.stack([wide, -np.cos(half)], 1), np.stack([-wide, -np.cos(half)], 1)[::-1]])
    if kind == "crescent":
        outer, inner = np.linspace(0.7, 2 * np.pi - 0.7, 80), np.linspace(2 * np.pi - 1.0, 1.0, 80)
        bow = np.stack([0.35 + 0.75 * np.cos(inner), 0.76 * np.sin(inner)], 1)
        return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], 1), bow])
    if kind == "cross":
        w = rng.uniform(0.25, 0.4)
        return np.array(
            [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)]
        )
    if kind == "shield":
        side = np.linspace(0, np.pi / 2, 30)
        right = np.stack([0.85 * np.cos(side), 0.05 + 0.95 * np.sin(side)], 1)
        return np.concatenate([[(-0.85, -0.9), (0.85, -0.9)], right, (right * (-1, 1))[::-1]])
    if kind in ("circle", "oval"):
        return polar(t, np.ones_like(t)) * ((1, 1) if kind == "circle" else (0.72, 1))
    sides = {"triangle": 3, "square": 4, "diamond": 4, "hexagon": 6}[kind]
    turn = np.pi / 4 if kind == "square" else 0.0
    return polar(np.linspace(0, 2 * np.pi, sides, endpoint=False) + turn, np.ones(sides))


def polar(t: Points, radius: Points) -> Points:
    """Points [N, 2] at angles from the top, clockwise."""
    return np.stack([radius * np.sin(t), -radius * np.cos(t)], 1)


def turned(points: Points, angle: float) -> Points:
    """Points turned clockwise about the origin, radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def _face(font: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size) if font is None else ImageFont.truetype(str(font), size)


class Sheet:
    """A label map in the making: drawing by ink number, in coordinates from -1 to 1.

    Args:
        side: Samples a side of the labels.
        rng: Turns and scales the whole design.
        upright: Whether it must not be turned.
    """

    def __init__(self, side: int, rng: np.random.Generator, *, upright: bool = False) -> None:
        self.side = side
        self.rng = rng
        self._image = Image.new("L", (side, side), 0)
        self._draw = ImageDraw.Draw(self._image)
        self._draw.fontmode = "1"
        self._angle = 0.0 if upright or rng.random() < 0.6 else float(rng.uniform(-np.pi, np.pi))
        self._scale = side * rng.uniform(0.38, 0.47)
        self._centre = side / 2 + rng.uniform(-0.02, 0.02, 2) * side

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """What has been drawn, uint8 [side, side]."""
        return np.array(self._image)

    def _place(self, points: Points) -> list[tuple[float, float]]:
        placed = turned(np.asarray(points, float), self._angle) * self._scale + self._centre
        return [(float(x), float(y)) for x, y in placed]

    def fill(self, points: Points, ink: int) -> None:
        """An area."""
        self._draw.polygon(self._place(points), fill=ink)

    def shape(self, kind: str, at: tuple[float, float], radius: float, ink: int, angle: float = 0.0) -> None:
        """One of `SHAPES`."""
        self.fill(turned(outline(kind, self.rng), angle) * radius + at, ink)

    def line(self, points: Points, width: float, ink: int) -> None:
        """An open line with round ends."""
        thick = max(2, int(width * self._scale))
        placed = self._place(points)
        self._draw.line(placed, fill=ink, width=thick, joint="curve")
        for x, y in (placed[0], placed[-1]):
            r = thick / 2
            self._draw.ellipse([x - r, y - r, x + r, y + r], fill=ink)

    def closed(self, points: Points, width: float, ink: int) -> None:
        """A closed line."""
        self.line(np.concatenate([points, points[:2]]), width, ink)

    def text(
        self, words: str, font: Path | None, at: tuple[float, float], width: float, height: float, inks: tuple[int, ...]
    ) -> None:
        """Words that fill a box as far as their proportions allow; a second ink surrounds the letters."""
        tall = 100
        face = _face(font, tall)
        left, top, right, bottom = self._draw.multiline_textbbox((0, 0), words, face, align="center")
        fit = min(width / max(right - left, 1), height / max(bottom - top, 1)) * self._scale
        face = _face(font, max(6, int(tall * fit)))
        (place,) = self._place(np.array([at]))
        box = self._draw.multiline_textbbox((0, 0), words, face, align="center")
        corner = place[0] - (box[0] + box[2]) / 2, place[1] - (box[1] + box[3]) / 2
        border = max(2, int(0.035 * self._scale))
        for ink, stroke in ((inks[-1], border), (inks[0], 0)) if len(inks) > 1 else ((inks[0], 0),):
            self._draw.multiline_text(corner, words, ink, face, align="center", stroke_width=stroke)
