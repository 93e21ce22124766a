"""Drawings for words: some thousand things, of Microsoft's Fluent emoji and of our own, and how they are put together.

The file is made by `hoop atelier drawings` from npm packages; NOTICE says whose drawings they are.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import resvg_py
from PIL import Image, ImageDraw, ImageFont

from worker.engine.colour import Float, lab_to_rgb, rgb_to_lab

FOLDER: Final = Path(__file__).parent / "sketches"
FONT: Final = FOLDER / "DejaVuSans-Bold.ttf"
"""Latin with all accents, Greek and Cyrillic; bold, for thread needs width."""
LIBRARY: Final = FOLDER / "fluent-emoji-flat.json.gz"

Colour = tuple[int, int, int]

_HEX: Final = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")
_LOOKED_AT: Final = 96
"""Pixels a side at which the areas of a drawing's colours are counted."""
_LEAST: Final = 0.12
"""Share of the drawing from which on a colour may be the one that a brief means."""
_CHROMATIC: Final = 18.0
"""Chroma in Lab from which on a colour is more than a grey."""
_ALIKE: Final = 35.0
"""Degrees of hue within which colours are shades of one."""
_SEEN: Final = 16.0
"""Lab units by which ink and cloth differ at least, and lightness by which ink is moved where they do not."""
_NO_LETTER: Final = "\uffff"
"""No font has it: it shows what stands for what a font lacks."""
_PLACES: Final = {
    1: ((0.5, 0.5, 0.9),),
    2: ((0.27, 0.5, 0.48), (0.73, 0.5, 0.48)),
    3: ((0.5, 0.27, 0.46), (0.27, 0.73, 0.46), (0.73, 0.73, 0.46)),
    4: ((0.27, 0.27, 0.46), (0.73, 0.27, 0.46), (0.27, 0.73, 0.46), (0.73, 0.73, 0.46)),
}
"""Centre and side of each of several drawings, as shares of the picture's."""
MOST: Final = max(_PLACES)
"""Drawings in one picture."""
_LETTERED: Final = 0.7
"""Share of the height that is left to drawings above lettering."""


@dataclass(frozen=True)
class Drawing:
    """One thing, as vectors.

    Attributes:
        names: what it is called, the plainest first.
        kinds: kinds of it, and other names, single words.
        words: what goes with it and may mean it.
        body: SVG elements.
        side: of the square that they fill.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    words: tuple[str, ...]
    body: str
    side: float


@lru_cache(maxsize=1)
def library() -> tuple[Drawing, ...]:
    """All drawings; our own come first."""
    own = [_own(path) for path in sorted(FOLDER.glob("*.svg"))]
    kept = json.loads(gzip.decompress(LIBRARY.read_bytes()))
    found = [
        Drawing(tuple(one["names"]), tuple(one.get("kinds", ())), tuple(one["words"]), one["body"], float(kept["side"]))
        for one in kept["drawings"]
    ]
    return (*own, *found)


def _own(path: Path) -> Drawing:
    svg = path.read_text(encoding="utf-8")
    box = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', svg)
    inner = re.search(r"<svg[^>]*>(.*)</svg>", svg, re.DOTALL)
    if box is None or inner is None:
        raise ValueError(f"{path} is not a drawing in a square")
    return Drawing((path.stem,), (), (), inner.group(1), float(box.group(1)))


def recoloured(drawing: Drawing, colours: Sequence[Colour]) -> Drawing:
    """The drawing with its most important colours in others, the largest first; their shades go with them.

    Args:
        drawing: any.
        colours: RGB; as many as the drawing has groups of colours are used.
    """
    table = dict(zip(_groups(drawing), colours, strict=False))
    new: dict[str, str] = {}
    for (lead, members), colour in table.items():
        target = _lab([colour])[0]
        labs = _lab([_rgb(member) for member in members])
        lead_lab = _lab([_rgb(lead)])[0]
        for member, lab in zip(members, labs, strict=True):
            shade = target.copy()
            shade[0] = np.clip(target[0] + lab[0] - lead_lab[0], 4, 98)
            new[member] = _code(shade)
    return _with_codes(drawing, new)


def _seen_on(ground: Colour, drawing: Drawing) -> Drawing:
    """The drawing with inks that the cloth would swallow made lighter or darker than it."""
    cloth = _lab([ground])[0]
    new: dict[str, str] = {}
    for code in {code.lower() for code in _HEX.findall(drawing.body)}:
        lab = _lab([_rgb(code)])[0]
        if np.linalg.norm(lab - cloth) < _SEEN:
            lab[0] = cloth[0] + (_SEEN if cloth[0] < 50 else -_SEEN)
            new[code] = _code(lab)
    return _with_codes(drawing, new)


def _with_codes(drawing: Drawing, new: dict[str, str]) -> Drawing:
    return replace(drawing, body=_HEX.sub(lambda match: new.get(match.group().lower(), match.group()), drawing.body))


def _code(lab: Float) -> str:
    return "#{:02x}{:02x}{:02x}".format(*np.round(255 * lab_to_rgb(lab[None, None])[0, 0]).astype(int))


def _groups(drawing: Drawing) -> list[tuple[str, tuple[str, ...]]]:
    """Colours of a drawing with their shades: colours before greys, unless these are all there is; largest first."""
    named = list(dict.fromkeys(code.lower() for code in _HEX.findall(drawing.body)))
    if not named:
        return []
    pixels = np.asarray(_drawn([(drawing, *_PLACES[1][0])], _LOOKED_AT, crisp=True)).reshape(-1, 4)
    inked = pixels[pixels[:, 3] > 127, :3].astype(int)
    rgb = np.array([_rgb(code) for code in named])
    nearest = np.abs(inked[:, None] - rgb).sum(-1).argmin(1) if len(inked) else np.zeros(0, int)
    share = np.bincount(nearest, minlength=len(named)) / max(1, len(inked))
    labs = _lab([_rgb(code) for code in named])
    chroma, hue = np.hypot(labs[:, 1], labs[:, 2]), np.degrees(np.arctan2(labs[:, 2], labs[:, 1]))
    left, groups = set(range(len(named))), []
    while left:
        first = max(left, key=lambda i: share[i] + (chroma[i] > _CHROMATIC and share[i] > _LEAST))
        grey = chroma[first] <= _CHROMATIC
        apart = np.abs((hue - hue[first] + 180) % 360 - 180)
        alike = {
            i for i in left if (chroma[i] <= _CHROMATIC if grey else chroma[i] > _CHROMATIC and apart[i] <= _ALIKE)
        }
        # Of greys only those that are about as light: black outlines are no shade of a white body.
        if grey:
            alike = {i for i in alike if abs(labs[i, 0] - labs[first, 0]) < 25}
        alike.add(first)
        groups.append((named[first], tuple(named[i] for i in sorted(alike))))
        left -= alike
    return groups


def _rgb(code: str) -> Colour:
    digits = code[1:] if len(code) == 7 else "".join(2 * digit for digit in code[1:])
    return (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))


def _lab(colours: Sequence[Colour]) -> Float:
    lab: Float = rgb_to_lab(np.array(colours, np.uint8)[None])[0]
    return lab


def compose(drawings: Sequence[Drawing], lettering: str, ink: Colour, size: int, ground: Colour) -> Image.Image:
    """Up to four drawings side by side, and lettering below or alone.

    Args:
        drawings: what to show; beyond :data:`MOST` they are left out.
        lettering: letters to set, or nothing.
        ink: of the lettering.
        size: pixels a side.
        ground: RGB of the cloth.
    """
    picture = Image.new("RGB", (size, size), ground)
    shown = drawings[:MOST]
    if shown:
        share = _LETTERED if lettering else 1.0
        places = [(0.5 + (x - 0.5) * share, y * share, side * share) for x, y, side in _PLACES[len(shown)]]
        seen = [_seen_on(ground, one) for one in shown]
        drawn = _drawn([(one, *place) for one, place in zip(seen, places, strict=True)], size)
        picture.paste(drawn, (0, 0), drawn)
    if lettering:
        top = round(size * _LETTERED) if shown else round(size * 0.1)
        _set(
            picture,
            lettering,
            ink,
            (round(size * 0.07), top, round(size * 0.93), round(size * (0.95 if shown else 0.9))),
        )
    return picture


def _drawn(placed: Iterable[tuple[Drawing, float, float, float]], size: int, *, crisp: bool = False) -> Image.Image:
    """RGBA of drawings at (x, y) with a side, all as shares of ``size``."""
    parts = [
        f'<g transform="translate({x - side / 2:.5f} {y - side / 2:.5f}) scale({side / one.side:.6f})">{one.body}</g>'
        for one, x, y, side in placed
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 1 1">'
    data = resvg_py.svg_to_bytes(
        svg_string=f"{head}{''.join(parts)}</svg>",
        width=size,
        height=size,
        skip_system_fonts=True,
        shape_rendering="crisp_edges" if crisp else "geometric_precision",
    )
    return Image.open(io.BytesIO(bytes(data))).convert("RGBA")


def _set(picture: Image.Image, lettering: str, ink: Colour, box: tuple[int, int, int, int]) -> None:
    """Lettering as large as fits a box (left, top, right, bottom), on as many lines as make it largest."""
    left, top, right, bottom = box
    words, pen = lettering.split(), ImageDraw.Draw(picture)
    best: tuple[int, str] = (0, lettering)
    for lines in range(1, min(3, len(words)) + 1):
        text = "\n".join(" ".join(part) for part in np.array_split(np.array(words), lines))
        size = next((s for s in range(bottom - top, 5, -1) if _fits(pen, text, s, right - left, bottom - top)), 6)
        best = max(best, (size, text))
    size, text = best
    pen.multiline_text(
        ((left + right) / 2, (top + bottom) / 2),
        text,
        fill=ink,
        font=_font(size),
        anchor="mm",
        align="center",
    )


def letters_lacking(text: str) -> str:
    """Those characters of a text that the font has no letters for."""
    font = _font(32)
    nothing = bytes(font.getmask(_NO_LETTER))
    return "".join(
        dict.fromkeys(letter for letter in text if not letter.isspace() and bytes(font.getmask(letter)) == nothing)
    )


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)


def _fits(pen: ImageDraw.ImageDraw, text: str, size: int, width: int, height: int) -> bool:
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, font=_font(size))
    return right - left <= width and bottom - top <= height
