"""True renders with captions: what the judge learns from, and renders of the briefs themselves to test it with."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worker.atelier.designs import (
    HELD_OUT_BRIEFS,
    SYNONYM_BRIEFS,
    Icon,
    LabelMap,
    colour_words,
    icon_design,
    load_icons,
    recolour,
)
from worker.atelier.held_out import article
from worker.atelier.stitches import FAMILIES, flat_design, render_embroidery, sample_style
from worker.atelier.words import is_plural, several
from worker.engine.colour import Picture

VIEWS = ("flat", "embroidered")
RESERVED = 5
"""One drawing in so many is kept from the judge, for the test with true renders."""
RECOLOURED, SEVERAL = 0.6, 0.1
_TRIES = 400


@dataclass(frozen=True)
class Example:
    """A true render.

    Attributes:
        picture: uint8 [S, S, 3].
        text: What it shows.
        view: One of `VIEWS`.
    """

    picture: Picture
    text: str
    view: str


@dataclass(frozen=True)
class Wanted:
    """A brief, taken apart.

    Attributes:
        text: The brief.
        thing: In the singular.
        colours: One or two.
        count: How many of the thing.
    """

    text: str
    thing: str
    colours: tuple[str, ...]
    count: int = 1


def wanted_briefs() -> list[Wanted]:
    """The held-out briefs."""
    counts = {"two": 2, "three": 3}
    return [Wanted(b.text, b.thing, b.colours, counts.get(b.text.split()[0], 1)) for b in HELD_OUT_BRIEFS]


def wanted_plain() -> list[Wanted]:
    """The plain forms of the synonym briefs, each once."""
    plain = dict.fromkeys(plain for _, plain in SYNONYM_BRIEFS)
    return [Wanted(text, text.split()[-1], (text.split()[-2],)) for text in plain]


def things() -> frozenset[str]:
    """Every thing that a brief asks for."""
    return frozenset(w.thing for w in (*wanted_briefs(), *wanted_plain()))


def reserved(icon: Icon) -> bool:
    """Whether a drawing is kept from the judge."""
    return zlib.crc32(f"{icon.source}/{icon.name}".encode()) % RESERVED == 0


def _both(design: LabelMap, text: str, rng: np.random.Generator) -> Iterator[Example]:
    yield Example(flat_design(design), text, "flat")
    family = FAMILIES[int(rng.integers(len(FAMILIES)))]
    yield Example(render_embroidery(design, sample_style(family, rng)), text, "embroidered")


def _told(name: str, design: LabelMap) -> str:
    words = " ".join([" and ".join(colour_words(design)), name]).strip()
    return words if is_plural(name) else f"{article(words)} {words}"


def training_examples(
    icons: Path, count: int, size: int, track: Callable[[Sequence[int]], Iterator[int]], seed: int = 1
) -> Iterator[Example]:
    """Two renders each of `count` designs, with all the colours they show in their captions.

    Half of the designs show a thing that some brief asks for, in any colours; the others are all drawings there are,
    held-out designs included: the judge has to know every object.
    """
    rng = np.random.default_rng(seed)
    asked = things()
    known = [icon for icon in load_icons(icons) if not reserved(icon)]
    groups = ([i for i in known if not asked & set(i.names)], [i for i in known if asked & set(i.names)])
    for number in track(range(count)):
        while True:
            group = groups[number % 2] or known
            icon = group[int(rng.integers(len(group)))]
            names = [name for name in icon.names if name in asked] or list(icon.names)
            several_of = int(rng.integers(2, 4)) if rng.random() < SEVERAL else 1
            design = icon_design(icon, size, rng, several_of)
            if design is None:
                continue
            if icon.silhouette or rng.random() < RECOLOURED:
                design = recolour(design, rng)
            name = names[0] if several_of == 1 else several(names[:1], several_of)[0]
            yield from _both(design, _told(name, design), rng)
            break


def true_examples(
    icons: Path,
    wanted: Sequence[Wanted],
    size: int,
    track: Callable[[Sequence[Wanted]], Iterator[Wanted]],
    seed: int = 2,
) -> Iterator[Example]:
    """Renders of what briefs ask for, of reserved drawings where there are any; what cannot be had is left out."""
    rng = np.random.default_rng(seed)
    every = load_icons(icons)
    for one in track(wanted):
        design = _design_of(one, every, size, rng)
        if design is not None:
            yield from _both(design, one.text, rng)


def _design_of(wanted: Wanted, icons: Sequence[Icon], size: int, rng: np.random.Generator) -> LabelMap | None:
    drawings = [icon for icon in icons if wanted.thing in icon.names]
    named = [icon for icon in drawings if icon.names[0] == wanted.thing] or drawings
    choice = [icon for icon in named if reserved(icon)] or named
    design: LabelMap | None = None
    for attempt in range(_TRIES if choice else 0):
        if design is None or attempt % 20 == 0:
            design = icon_design(choice[int(rng.integers(len(choice)))], size, rng, wanted.count)
        if design is None:
            continue
        shown = colour_words(design)
        if shown[:1] == wanted.colours or (len(wanted.colours) == 2 and set(shown) == set(wanted.colours)):
            return design
        design = recolour(design, rng)
    return None
