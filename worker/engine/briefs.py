"""Words to a flat drawing, for bases that cannot draw things from words alone.

A base of a few million parameters paints any design in any texture, but knows no things. For a brief it is given a
drawing instead: up to four things out of a library (:mod:`worker.engine.clipart`), in the colours that the brief names,
and lettering. What no drawing is found for is left to the base, and whoever asked is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from PIL import Image, ImageColor

from worker.engine.clipart import MOST, Colour, Drawing, compose, letters_lacking, library, recoloured
from worker.engine.drawings import COLOURS

__all__ = ["BriefDrawing", "draw_brief", "known_things", "similar_things"]

_COUNTS: Final = {"two": 2, "three": 3, "four": 4, "pair": 2, "couple": 2, "dozen": 12, "several": 3, "many": 4}
_MORE_COLOURS: Final[dict[str, Colour]] = {
    "white": (244, 240, 230),
    "grey": (128, 130, 134),
    "gray": (128, 130, 134),
    "gold": (201, 161, 74),
    "golden": (201, 161, 74),
    "silver": (176, 180, 186),
    "cream": (240, 228, 200),
    "rose gold": (200, 140, 130),
    "scarlet": (208, 36, 30),
    "ruby": (150, 20, 50),
    "burgundy": (110, 24, 44),
    "emerald": (16, 130, 84),
    "mint": (150, 214, 180),
    "amber": (232, 160, 30),
    "mustard": (206, 160, 44),
    "peach": (244, 178, 140),
    "tangerine": (236, 120, 40),
    "ginger": (206, 110, 40),
    "azure": (60, 140, 220),
    "navy": (28, 44, 92),
    "lilac": (186, 156, 210),
    "mauve": (170, 120, 160),
    "copper": (176, 104, 60),
    "chestnut": (110, 60, 40),
    "charcoal": (60, 62, 66),
}
_WORD: Final = re.compile(r"[a-z]+|\d+")
_QUOTED: Final = re.compile(r"[\"“”„«»]([^\"“”„«»]{1,40})[\"“”„«»]|(?<!\w)['‘]([^'’]{1,40})['’](?!\w)")
_LETTERED: Final = re.compile(
    r"\b(?:[Mm]onogram|[Ii]nitials?|[Nn]ames?|[Ww]ords?|[Ll]etters?|[Ll]ettering|[Tt]ext|[Ss]aying|[Ss]logan)\b\s+(?:of\s+|is\s+)?"
    r"((?:[A-Z0-9][\w&’'.-]*)(?:\s+(?:&|and\s)?\s*[A-Z0-9][\w&’'.-]*)*)"
)
_PLAINLY: Final = re.compile(r"\b(?:name|word|text|lettering|saying|slogan)\s+(?:of\s+|is\s+)?(\w{1,30})")
"""The same in small letters, of which one word is taken."""
_NO_THING: Final = frozenset(
    re.findall(
        r"\w+",
        "a an the of on in at with and or for my our your his her its to by from it is one very little small big large "
        "please embroidery embroidered patch logo design picture style stitched sewn background colour color cloth "
        "fabric up down left right back top end soon new free cool ok no not",
    )
)
"""Words that never call for a drawing, though some emoji is named so."""
_NO_KEYWORD: Final = frozenset(
    re.findall(
        r"\w+",
        "love like want need make show give have get say see think feel know go come take put use look good bad nice "
        "happy sad best great cute pretty beautiful funny man woman mom dad mother father face body hand year time day "
        "night work life person people thing stuff word name text letter happiness info information help",
    )
)
"""Words that go with so many drawings that they call for none."""
_LONGEST: Final = 4
_LONGEST_LETTERING: Final = 40
_IRREGULAR: Final = {
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "leaves": "leaf",
    "wolves": "wolf",
    "knives": "knife",
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
}


@dataclass(frozen=True)
class BriefDrawing:
    """What a brief asked for, drawn.

    Attributes:
        picture: RGB, square.
        shows: the things in it, and lettering in quotes.
        lacking: characters of the lettering that there are no letters for; then none of it is set.
    """

    picture: Image.Image
    shows: tuple[str, ...]
    lacking: str = ""


@dataclass
class _Asked:
    """One thing of a brief: its drawing, how many of it, in which colours."""

    drawing: Drawing
    count: int
    colours: list[Colour]


def known_things() -> list[str]:
    """Everything there is a drawing of."""
    return sorted({drawing.names[0] for drawing in library()})


def similar_things(brief: str, count: int = 3) -> list[str]:
    """Things with a drawing whose names are spelt most like the brief's words; perhaps none."""
    found: list[str] = []
    for word in sorted(_words(brief), key=len, reverse=True):
        # The first letter is the one that is seldom wrong.
        alike = [name for name in _names() if name[0] == word[0]]
        found += get_close_matches(word, alike, n=count, cutoff=0.7) if len(word) > 3 and word not in _NO_THING else []
    return list(dict.fromkeys(found))[:count]


def draw_brief(brief: str, size: int, ground: Colour) -> BriefDrawing | None:
    """The drawing that a brief asks for on ``ground``; ``None`` if nothing in it is known.

    Args:
        brief: such as "two red foxes", "a blue bicycle and a green tree", "a crown with the name Anna in gold".
        size: pixels a side.
        ground: RGB of the cloth.
    """
    lettering, rest = _lettering(brief)
    lacking = letters_lacking(lettering)
    lettering = "" if lacking else lettering
    asked, spare = _things(rest)
    # "A fox in red": the fox's colour, unless there are letters to have it.
    if spare and asked and not asked[-1].colours and not lettering:
        asked[-1].colours = spare
    if not asked and not lettering:
        return None
    ink = spare[0] if spare else _readable(ground)
    drawings = [recoloured(one.drawing, one.colours) for one in asked for _ in range(one.count)]
    shown = [one.drawing.names[0] for one in asked] + ([f"“{lettering}”"] if lettering else [])
    return BriefDrawing(compose(drawings, lettering, ink, size, ground), tuple(shown), lacking)


def _readable(ground: Colour) -> Colour:
    dark = sum(ground) < 330
    return _MORE_COLOURS["cream"] if dark else _MORE_COLOURS["navy"]


def _lettering(brief: str) -> tuple[str, str]:
    """Letters to be set, and the brief without them."""
    found = _QUOTED.search(brief) or _LETTERED.search(brief) or _PLAINLY.search(brief)
    if found is None:
        return "", brief
    text = " ".join(next(group for group in found.groups() if group).split())
    if found.re is _PLAINLY and (text in _NO_THING or text in _colours()):
        return "", brief
    return text[:_LONGEST_LETTERING], f"{brief[: found.start()]} {brief[found.end() :]}"


def _things(brief: str) -> tuple[list[_Asked], list[Colour]]:
    """The things of a brief with their colours, and colours after the last of them."""
    words = _words(brief)
    asked, spare = _attached(_found(words, _kinds(), _LONGEST))
    if not asked:
        # "Bunny" is no drawing's name, but goes with one; of several such words the last is most likely the thing.
        asked, spare = _attached(_found(words, _keywords(), 1))
        asked = asked[-1:]
    return asked, spare


def _attached(parts: Iterator[Drawing | Colour | int]) -> tuple[list[_Asked], list[Colour]]:
    asked: list[_Asked] = []
    colours: list[Colour] = []
    count, shown = 1, 0
    for part in parts:
        if isinstance(part, Drawing):
            count = min(count, MOST - shown)
            if count > 0:
                asked.append(_Asked(part, count, colours))
                shown += count
            colours, count = [], 1
        elif isinstance(part, int):
            count = part
        else:
            colours.append(part)
    return asked, colours


def _found(words: Sequence[str], index: dict[str, Drawing], longest: int) -> Iterator[Drawing | Colour | int]:
    """Drawings, colours and counts in the order of a brief's words; the longest name first."""
    place = 0
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            phrase = " ".join(words[place : place + length])
            drawing = next((index[form] for form in _forms(phrase) if form in index), None)
            colour = _colours().get(phrase)
            # "Orange" is a fruit only where nothing follows that could be orange.
            if colour is not None and (drawing is None or set(words[place + length :]) - _NO_THING):
                yield colour
                break
            if drawing is not None and phrase not in _NO_THING:
                yield drawing
                break
            if phrase in _COUNTS or phrase.isdigit():
                yield _COUNTS.get(phrase) or max(1, min(int(phrase[:4]), MOST))
                break
        place += length


def _words(brief: str) -> list[str]:
    return _WORD.findall(brief.lower().replace("’s", "").replace("'s", ""))


def _forms(phrase: str) -> Iterator[str]:
    """A phrase as it stands, and with its last word in the singular."""
    yield phrase
    *first, last = phrase.split()
    if last in _IRREGULAR:
        yield " ".join([*first, _IRREGULAR[last]])
    for ending, instead in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")):
        if last.endswith(ending) and len(last) > len(ending) + 1:
            yield " ".join([*first, last.removesuffix(ending) + instead])


@lru_cache(maxsize=1)
def _colours() -> dict[str, Colour]:
    # By name: Pillow itself puts tuples into its table of codes once it has looked one up.
    named = {name: ImageColor.getrgb(name)[:3] for name in ImageColor.colormap}
    return {**named, **COLOURS, **_MORE_COLOURS}


@lru_cache(maxsize=1)
def _names() -> dict[str, Drawing]:
    index: dict[str, Drawing] = {}
    every = library()
    # A thing's first name is its own; its others may be somebody else's.
    for rank in range(max(len(drawing.names) for drawing in every)):
        for drawing in every:
            if rank < len(drawing.names):
                index.setdefault(drawing.names[rank], drawing)
    return index


@lru_cache(maxsize=1)
def _kinds() -> dict[str, Drawing]:
    return {kind: drawing for drawing in reversed(library()) for kind in drawing.kinds} | _names()


@lru_cache(maxsize=1)
def _keywords() -> dict[str, Drawing]:
    index: dict[str, Drawing] = {}
    # What goes with few words only is meant by them sooner than what goes with many.
    for drawing in sorted(library(), key=lambda one: len(one.words)):
        for word in drawing.words:
            index.setdefault(word, drawing)
    return {
        word: drawing
        for word, drawing in index.items()
        if len(word) > 2 and word not in _colours() and word not in _NO_THING and word not in _NO_KEYWORD
    }
