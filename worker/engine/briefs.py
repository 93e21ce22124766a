"""Words to a flat drawing, for bases that cannot draw things from words alone.

A base of a few million parameters paints any design in any texture, but knows no things. For a brief it is given a
drawing of our own instead: one of a few sketches, or a simple shape, in the colour that the brief names. What no
drawing is found for is left to the base, and whoever asked is told.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final

import resvg_py
from PIL import Image

from worker.engine.drawings import COLOURS, OBJECTS, draw_design

SKETCHES: Final = Path(__file__).parent / "sketches"

MAIN_FILL: Final = {
    "anchor": "#1f3b66",
    "bee": "#f0b429",
    "fox": "#d9622b",
    "monogram": "#7b1e3a",
    "mountain": "#4d6b57",
    "mushroom": "#c23b32",
    "sailboat": "#c8352f",
    "tulip": "#d8365a",
}
"""Sketches by name, with the colour in them that a brief's colour takes the place of."""

SAME_THING: Final = {
    "boat": "sailboat",
    "ship": "sailboat",
    "bumblebee": "bee",
    "toadstool": "mushroom",
    "mountains": "mountain",
    "badge": "mountain",
    "rose": "tulip",
    "daisy": "flower",
    "blossom": "flower",
    "pine": "tree",
    "fir": "tree",
    "home": "house",
    "circle": "ring",
}
_OTHER_COLOURS: Final = {
    "white": (244, 240, 230),
    "grey": (128, 130, 134),
    "gray": (128, 130, 134),
    "gold": (201, 161, 74),
}


def known_things() -> list[str]:
    """Everything there is a drawing of."""
    return sorted({*MAIN_FILL, *OBJECTS})


def draw_brief(brief: str, size: int, ground: tuple[int, int, int]) -> Image.Image | None:
    """The drawing that a brief asks for, RGB ``size`` x ``size`` on ``ground``; ``None`` if nothing in it is known."""
    words = re.findall(r"[a-z]+", brief.lower())
    things = [SAME_THING.get(form, form) for word in words for form in (word, word.removesuffix("s"))]
    thing = next((thing for thing in things if thing in MAIN_FILL or thing in OBJECTS), None)
    if thing is None:
        return None
    colour = next((word for word in words if word in COLOURS or word in _OTHER_COLOURS), None)
    rgb = None if colour is None else COLOURS.get(colour) or _OTHER_COLOURS[colour]
    if thing in MAIN_FILL:
        return _sketch(thing, rgb, size, ground)
    plain = colour if colour in COLOURS else "red"
    return draw_design(plain, thing, "yellow" if plain != "yellow" else "orange", size, ground).picture


def _sketch(thing: str, rgb: tuple[int, int, int] | None, size: int, ground: tuple[int, int, int]) -> Image.Image:
    svg = (SKETCHES / f"{thing}.svg").read_text(encoding="utf-8")
    if rgb is not None:
        svg = svg.replace(MAIN_FILL[thing], "#{:02x}{:02x}{:02x}".format(*rgb))
    inner = round(size * 0.86)
    data = resvg_py.svg_to_bytes(svg_string=svg, width=inner, height=inner, skip_system_fonts=True)
    drawing = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    picture = Image.new("RGB", (size, size), ground)
    picture.paste(drawing, ((size - inner) // 2,) * 2, drawing)
    return picture
