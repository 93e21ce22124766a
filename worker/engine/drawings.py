"""Flat designs of our own: simple things in plain colours, for complementary pairs and for samples of a new style."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw

from worker.engine.seeds import generator

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

COLOURS: dict[str, Colour] = {
    "red": (196, 40, 45),
    "blue": (38, 84, 164),
    "green": (44, 130, 70),
    "yellow": (238, 196, 50),
    "orange": (232, 126, 38),
    "purple": (118, 62, 150),
    "pink": (232, 128, 160),
    "brown": (122, 78, 48),
    "black": (38, 36, 40),
    "teal": (30, 132, 136),
}


def _polar(radius: Callable[[float], float], count: int = 240) -> Points:
    """A closed outline by its radius (0 to 1) over the angle, the first point up."""
    angles = [2 * math.pi * index / count for index in range(count)]
    return [(math.sin(a) * radius(a), -math.cos(a) * radius(a)) for a in angles]


def _heart() -> Points:
    angles = [2 * math.pi * index / 240 for index in range(240)]
    return [
        (
            math.sin(a) ** 3 * 0.95,
            -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 17,
        )
        for a in angles
    ]


def _moon() -> Points:
    """A disc less one of the same size beside it."""
    outer = [(-math.cos(a), math.sin(a)) for a in (math.radians(d) for d in range(-104, 105, 4))]
    inner = [(0.48 - math.cos(a), math.sin(a)) for a in (math.radians(d) for d in range(76, -77, -4))]
    return [(0.92 * x + 0.3, 0.92 * y) for x, y in outer + inner]


def _fish() -> Points:
    body = [(0.72 * math.cos(a) - 0.2, 0.48 * math.sin(a)) for a in (math.radians(d) for d in range(25, 336, 5))]
    return [*body, (0.95, -0.55), (0.8, 0.0), (0.95, 0.55)]


OBJECTS: dict[str, Points] = {
    "star": [
        (math.sin(a) * r, -math.cos(a) * r) for a, r in ((math.pi * k / 5, 0.42 if k % 2 else 0.98) for k in range(10))
    ],
    "heart": _heart(),
    "flower": _polar(lambda a: 0.72 + 0.26 * math.cos(6 * a)),
    "leaf": [
        (side * 0.55 * math.sin(math.pi * k / 40), k / 20 - 1)
        for side, steps in ((1, range(41)), (-1, range(40, -1, -1)))
        for k in steps
    ],
    "moon": _moon(),
    "sun": _polar(lambda a: 0.8 + 0.16 * math.cos(12 * a)),
    "fish": _fish(),
    "house": [(-0.7, -0.05), (0, -0.9), (0.7, -0.05), (0.7, 0.85), (-0.7, 0.85)],
    "tree": [(0, -0.95), (0.75, 0.5), (0.16, 0.5), (0.16, 0.95), (-0.16, 0.95), (-0.16, 0.5), (-0.75, 0.5)],
    "ring": _polar(lambda _: 0.92),
}
"""Outlines in the square from -1 to 1, y downwards."""


@dataclass(frozen=True)
class FlatDesign:
    """A drawn design: its words without article, and the picture, RGB on its ground."""

    words: str
    picture: Image.Image


def draw_design(colour: str, thing: str, accent: str, size: int, ground: Colour, turn: float = 0.0) -> FlatDesign:
    """One thing in one colour with a smaller accent inside, as a shop's plain artwork would have it.

    Args:
        colour: a name in :data:`COLOURS`.
        thing: a name in :data:`OBJECTS`.
        accent: colour name of the inner part.
        size: side in pixels.
        ground: RGB of the cloth.
        turn: in radians.
    """
    side = size * 4  # drawn large and reduced: Pillow's polygons have hard edges
    picture = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(picture)
    cos, sin = math.cos(turn), math.sin(turn)

    def outline(scale: float) -> Points:
        return [
            (side / 2 + scale * side / 2 * (x * cos - y * sin), side / 2 + scale * side / 2 * (x * sin + y * cos))
            for x, y in OBJECTS[thing]
        ]

    pen.polygon(outline(0.78), fill=COLOURS[colour])
    pen.polygon(outline(0.36), fill=ground if thing == "ring" else COLOURS[accent])
    return FlatDesign(f"{colour} {thing}", picture.resize((size, size), Image.Resampling.LANCZOS))


def draw_designs(count: int, size: int, ground: Colour, seed: int) -> list[FlatDesign]:
    """``count`` designs of different things in different colours."""
    source = generator(seed, "designs")
    things, colours = list(OBJECTS), list(COLOURS)

    def shuffled(values: list[str]) -> list[str]:
        return [values[index] for index in torch.randperm(len(values), generator=source).tolist()]

    picked = [shuffled(things), shuffled(colours), shuffled(colours)]
    turns = (torch.rand(count, generator=source) - 0.5).mul(0.6).tolist()
    designs = []
    for index, turn in enumerate(turns):
        thing, colour, accent = (names[index % len(names)] for names in picked)
        if accent == colour:
            accent = picked[2][(index + 1) % len(picked[2])]
        designs.append(draw_design(colour, thing, accent, size, ground, turn))
    return designs
