"""Designs that no icon set has: badges, monograms, lettering, patterns, wreaths, line art and the like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from worker.atelier.colours import COLOUR_WORDS, contrasting_cloth, lab_of, rgb_of, thread
from worker.atelier.shapes import FRAMES, SHAPES, Points, Sheet, outline, polar, turned
from worker.atelier.stitches.fields import Field
from worker.atelier.stitches.label_map import SUPERSAMPLING, LabelMap

Names = tuple[str, ...]

_WORDS = """
love hello home happy dream team coffee bakery summer garden studio mama papa baby sweet smile music ocean
yoga farm club craft market bistro salon florist brew surf camp ride hope peace joy wild free lucky magic
party queen king best crew staff chef class sport racing texas paris tokyo london miami river forest
alpine sunset vintage
"""
LETTERING = tuple(_WORDS.split())
"""Words that shops are asked for."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _one(rng: np.random.Generator, kinds: Sequence[str]) -> str:
    return kinds[int(rng.integers(len(kinds)))]


def _badge(sheet: Sheet, rng: np.random.Generator, font: Path | None) -> Names:
    frame, motif = _one(rng, FRAMES), _one(rng, SHAPES)
    points = outline(frame, rng)
    sheet.fill(points, 1)
    sheet.fill(points * 0.86, 2)
    if rng.random() < 0.5:
        sheet.fill(points * 0.78, 1)
        sheet.fill(points * 0.74, 2)
    if rng.random() < 0.3:
        sheet.text(_one(rng, LETTERING).upper(), font, (0, 0.42), 0.8, 0.18, (1,))
        sheet.shape(motif, (0, -0.12), 0.32, 3)
    else:
        sheet.shape(motif, (0, 0), 0.42, 3)
    round_frame = {"circle": "round badge", "oval": "oval badge"}.get(frame, f"{frame} badge")
    return (f"badge with {motif}", round_frame, "badge", "patch", "emblem")


def _monogram(sheet: Sheet, rng: np.random.Generator, font: Path | None) -> Names:
    letters = "".join(rng.choice(list(_LETTERS), int(rng.choice([1, 1, 2, 3]))))
    if rng.random() < 0.5:
        points = outline(_one(rng, FRAMES[:6]), rng)
        if rng.random() < 0.5:
            sheet.fill(points, 2)
            sheet.closed(points * 0.9, 0.03, 3)
        else:
            sheet.closed(points, rng.uniform(0.04, 0.1), 2)
        box = 0.95
    else:
        box = 1.7
    sheet.text(letters, font, (0, 0), box, box * 0.8, (1,) if rng.random() < 0.6 else (1, 3))
    if len(letters) == 1:
        return (f"letter {letters.lower()}", "monogram", "initial")
    return (f"monogram {letters.lower()}", "monogram", "initials")


def _lettering(sheet: Sheet, rng: np.random.Generator, font: Path | None) -> Names:
    word = _one(rng, LETTERING)
    second = _one(rng, LETTERING)
    two = rng.random() < 0.35
    shown = f"{word}\n{second}" if two else word
    shown = (shown.upper(), shown.title(), shown)[int(rng.integers(3))]
    sheet.text(shown, font, (0, 0), 1.9, 1.3, (1,) if rng.random() < 0.5 else (1, 2))
    if not two and rng.random() < 0.5:
        x = np.linspace(-0.8, 0.8, 40)
        y = 0.55 + 0.06 * np.sin(x * rng.uniform(2, 7))
        sheet.line(np.stack([x, y], 1), 0.04, 3)
    words = f"{word} {second}" if two else word
    return (f"{words} lettering", f"lettering {words}", "lettering", "text")


def _logo(sheet: Sheet, rng: np.random.Generator, font: Path | None) -> Names:
    way = int(rng.integers(4))
    count = int(rng.integers(3, 7))
    kind = _one(rng, SHAPES)
    if way == 0:  # petals about a point
        for i in range(count):
            angle = 2 * np.pi * i / count
            sheet.shape("leaf", (0.45 * np.sin(angle), -0.45 * np.cos(angle)), 0.48, 1 + i % 3, angle)
    elif way == 1:  # nested
        for i in range(count):
            sheet.shape(kind if i else _one(rng, FRAMES), (0, 0), 1 - i / count, 1 + i % 3 if i % 2 == 0 else 2)
    elif way == 2:  # bars that rise within a circle
        sheet.shape("circle", (0, 0), 1, 1)
        for i in range(count):
            x, top = -0.55 + 1.1 * i / (count - 1), 0.45 - 0.9 * (i + 1) / count * rng.uniform(0.7, 1)
            w = 0.4 / count
            sheet.fill(np.array([(x - w, 0.5), (x - w, top), (x + w, top), (x + w, 0.5)]), 2 + i % 2)
    else:  # two that overlap
        sheet.shape("circle", (-0.32, 0), 0.66, 1)
        sheet.shape("circle", (0.32, 0), 0.66, 2)
        t = np.linspace(-np.arccos(0.32 / 0.66), np.arccos(0.32 / 0.66), 30)
        bow = np.stack([0.66 * np.cos(t) - 0.32, 0.66 * np.sin(t)], 1)
        sheet.fill(np.concatenate([bow, -bow]), 3)
    if way != 3 and rng.random() < 0.3:
        sheet.text(_one(rng, LETTERING).title(), font, (0, 1.12), 1.2, 0.2, (1,))
    return ("logo", "geometric logo", "abstract emblem")


def _stripes(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    angle = float(rng.choice([0, np.pi / 2, np.pi / 4]))
    y, i, inks = -1.0, 0, int(rng.integers(1, 4))
    wavy = rng.uniform(0.03, 0.12) if rng.random() < 0.3 else 0.0
    x = np.linspace(-1, 1, 60)
    while y < 0.96:
        thick = min(rng.uniform(0.03, 0.28), 1 - y)
        edge = wavy * np.sin(x * 7)
        band = np.concatenate([np.stack([x, y + edge], 1), np.stack([x, y + thick + edge], 1)[::-1]])
        sheet.fill(turned(band, angle), 1 + i % inks)
        y += thick + rng.uniform(0.05, 0.18)
        i += 1
    kind = "wavy" if wavy else {0: "horizontal", 1: "diagonal", 2: "vertical"}[round(angle / (np.pi / 4))]
    return (f"{kind} stripes", "stripes", "lines")


def _pattern(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    way = _one(rng, ("motifs", "motifs", "dots", "checks", "chevrons", "argyle"))
    count = int(rng.integers(3, 8))
    step = 2 / count
    if way == "chevrons":
        x = np.linspace(-1, 1, 2 * count + 1)
        zigzag = np.where(np.arange(2 * count + 1) % 2, -0.5, 0.5) * step
        for i in range(count):
            sheet.line(np.stack([x, zigzag - 1 + step * (i + 0.5)], 1), step * 0.3, 1 + i % 2)
        return ("chevron pattern", "zigzag pattern", "chevrons")
    kind = {"dots": "circle", "checks": "square", "argyle": "diamond"}.get(way) or _one(rng, SHAPES)
    radius = {"dots": 0.3, "checks": 0.72, "argyle": 0.56}.get(way, 0.42) * step
    shift = 0.5 if way in ("motifs", "dots") and rng.random() < 0.5 else 0.0
    points = outline(kind, rng) * radius
    for i in range(count):
        for j in range(count):
            if way == "checks" and (i + j) % 2:
                continue
            left = -1 + step * (j + 0.5 + (shift if i % 2 else 0))
            if left < 1:
                sheet.fill(points + np.array([left, -1 + step * (i + 0.5)]), 1 + (i + j) % 2)
    return {
        "dots": ("polka dots", "dot pattern", "dots"),
        "checks": ("checkerboard", "checked pattern"),
        "argyle": ("argyle pattern", "diamond pattern"),
    }.get(way, (f"{kind} pattern", f"pattern with {kind} shapes", "pattern"))


def _wreath(sheet: Sheet, rng: np.random.Generator, font: Path | None) -> Names:
    count, gap = int(rng.integers(12, 24)), float(rng.choice([0.0, 0.5]))
    flowers = rng.random() < 0.4
    ring = np.linspace(gap, 2 * np.pi - gap, 90)
    sheet.line(polar(ring, np.full(90, 0.76)), 0.025, 1)
    for i, t in enumerate(np.linspace(gap, 2 * np.pi - gap, count)):
        for side in (-1, 1):
            centre = polar(np.array([t]), np.array([0.76 + 0.14 * side]))[0]
            lean = t + np.pi / 2 * (1 if t < np.pi else -1) - side * 0.6 * (1 if t < np.pi else -1)
            sheet.shape("leaf", (centre[0], centre[1]), 0.17, 1 if side < 0 else 2, lean)
        if i % 3 == 0:
            centre = polar(np.array([t]), np.array([0.76]))[0]
            sheet.shape("flower" if flowers else "circle", (centre[0], centre[1]), 0.15 if flowers else 0.06, 3)
            if flowers:
                sheet.shape("circle", (centre[0], centre[1]), 0.05, 4)
    if rng.random() < 0.3:
        sheet.text(_one(rng, list(_LETTERS)), font, (0, 0), 0.7, 0.6, (3,))
    return ("floral wreath", "wreath") if flowers else ("laurel wreath" if gap else "leaf wreath", "wreath")


def _floral(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    count = int(rng.integers(1, 6))
    for i in range(count):
        lean = 0.0 if count == 1 else -0.55 + 1.1 * i / (count - 1)
        tall = rng.uniform(1.1, 1.55) - 0.3 * abs(lean)
        t = np.linspace(0, 1, 30)
        stem = np.stack([lean * 1.2 * t**1.5, 1 - tall * t], 1)
        sheet.line(stem, 0.035, 1)
        for place in rng.uniform(0.2, 0.7, 2):
            x, y = stem[int(place * 29)]
            side = float(rng.choice([-1, 1]))
            sheet.shape("leaf", (x + side * 0.13, y - 0.05), 0.19, 2 if rng.random() < 0.5 else 1, side * 0.9)
        x, y = stem[-1]
        _bloom(sheet, rng, (float(x), float(y)), (0.42 if count == 1 else 0.26) * rng.uniform(0.85, 1.1), 3 + i % 2)
    return ("flower", "flower on a stem") if count == 1 else ("flowers", "bunch of flowers", "bouquet")


def _bloom(sheet: Sheet, rng: np.random.Generator, at: tuple[float, float], radius: float, ink: int) -> None:
    petals, angle = int(rng.integers(5, 10)), rng.uniform(0, 1)
    for k in range(petals):
        t = angle + 2 * np.pi * k / petals
        centre = (at[0] + 0.6 * radius * np.sin(t), at[1] - 0.6 * radius * np.cos(t))
        sheet.shape("oval", centre, 0.42 * radius, ink, t)
    sheet.shape("circle", at, 0.36 * radius, 5)


def _mandala(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    folds = int(rng.choice([6, 8, 10, 12]))
    if rng.random() < 0.4:
        sheet.shape("circle", (0, 0), 1, 5)
    for ring, radius in enumerate(np.linspace(0.78, 0.2, int(rng.integers(2, 5)))):
        kind = _one(rng, ("leaf", "drop", "circle", "diamond", "heart", "oval"))
        size = radius * min(2.4 / folds + 0.08, 0.42)
        for k in range(folds):
            t = 2 * np.pi * (k + 0.5 * (ring % 2)) / folds
            x, y = radius * np.sin(t), -radius * np.cos(t)
            sheet.shape(kind, (x, y), size, 1 + ring % 4, t)
            if ring == 0:
                sheet.shape("circle", (x * 0.75, y * 0.75), 0.035, 4)
    sheet.shape("circle", (0, 0), 0.12, 3)
    return ("mandala", "rosette", "round ornament")


def _line_art(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    way = _one(rng, ("outline", "outline", "spiral", "waves", "loops", "mountains", "sprig"))
    wide = rng.uniform(0.012, 0.045)
    t = np.linspace(0, 1, 240)
    if way == "spiral":
        sheet.line(polar(t * rng.uniform(3, 6) * 2 * np.pi, t * 0.98), wide, 1)
        return ("spiral", "spiral line drawing")
    if way == "waves":
        for i, y in enumerate(np.linspace(-0.8, 0.8, int(rng.integers(3, 8)))):
            x = t * 2 - 1
            sheet.line(np.stack([x, y + 0.1 * np.sin(x * 9 + i)], 1), wide, 1 + i % 2)
        return ("waves", "wave line drawing", "wavy lines")
    if way == "loops":
        a, b = int(rng.integers(2, 5)), int(rng.integers(3, 7))
        sheet.closed(np.stack([np.sin(2 * np.pi * a * t), np.sin(2 * np.pi * b * t + 0.6)], 1)[:-1] * 0.95, wide, 1)
        return ("looped line", "line drawing")
    if way == "mountains":
        x = np.linspace(-1, 1, 9)
        for shift, ink in ((0.0, 1), (0.3, 2)):
            peaks = np.where(np.arange(9) % 2, -rng.uniform(0.1, 0.8, 9), 0.35)
            sheet.line(np.stack([x, peaks + shift], 1), wide, ink)
        sheet.closed(outline("circle", rng) * 0.16 + np.array([0.5, -0.75]), wide, 2)
        return ("mountain line drawing", "mountains", "mountain range")
    if way == "sprig":
        stem = np.stack([0.15 * np.sin(t * 3), 1 - 1.9 * t], 1)
        sheet.line(stem, wide, 1)
        for k in range(8):
            x, y = stem[25 + 24 * k]
            for side in (-1, 1):
                leaf = turned(outline("leaf", rng) * (0.26 - 0.015 * k), side * 0.95)
                sheet.closed(leaf + np.array([x + side * 0.2, y - 0.13]), wide, 1)
        return ("leaf sprig", "branch line drawing", "branch with leaves")
    kind = _one(rng, SHAPES)
    points: Points = outline(kind, rng)
    for i in range(int(rng.integers(1, 4))):
        sheet.closed(points * (1 - 0.2 * i), wide, 1 + i % 2)
    return (f"{kind} outline", f"{kind} line drawing", f"outlined {kind}")


def _bands(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    count = int(rng.integers(5, 8))
    if rng.random() < 0.5:
        kind = _one(rng, FRAMES)
        points = outline(kind, rng)
        for i in range(count):
            sheet.fill(points * (1 - i / count), 1 + i)
        return (f"shaded {kind}", f"{kind} with colour gradient", "colour gradient")
    half = np.linspace(-1, 1, count + 1)
    for i in range(count):
        y = np.linspace(half[i], half[i + 1] - (0.02 * i if count < 7 else 0), 12)
        x = np.sqrt(np.clip(1 - y**2, 0, 1))
        sheet.fill(np.concatenate([np.stack([x, y], 1), np.stack([-x, y], 1)[::-1]]), 1 + i)
    return ("sunset", "retro sun", "shaded circle")


def _landscape(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    framed = rng.random() < 0.6
    if framed:
        sheet.fill(np.array([(-1, -0.9), (1, -0.9), (1, 0.9), (-1, 0.9)]), 5)
    sun = rng.uniform(-0.6, 0.6)
    sheet.shape("circle", (sun, -0.45), rng.uniform(0.16, 0.3), 4)
    sea = rng.random() < 0.4
    for layer, ink in enumerate((2, 1)):
        count = int(rng.integers(2, 5))
        base = 0.9 if framed else 0.75
        for x in np.linspace(-0.8, 0.8, count) + rng.uniform(-0.1, 0.1, count):
            tall, wide = rng.uniform(0.6, 1.15) - 0.3 * layer, rng.uniform(0.4, 0.7)
            left, right = max(x - wide, -1), min(x + wide, 1)
            sheet.fill(
                np.array(
                    [
                        (left, base),
                        (left, base - tall * (left - x + wide) / wide),
                        (x, base - tall),
                        (right, base - tall * (x + wide - right) / wide),
                        (right, base),
                    ]
                ),
                ink,
            )
            if layer == 0:
                snow = np.array([(-0.22, 0.22), (0, 0), (0.22, 0.22), (0.08, 0.16), (0, 0.24), (-0.1, 0.15)])
                sheet.fill(snow * (wide, tall) + np.array([x, base - tall]), 3)
    if sea:
        x = np.linspace(-1, 1, 60)
        top = np.stack([x, 0.5 + 0.04 * np.sin(x * 12)], 1)
        sheet.fill(np.concatenate([top, [(1, 0.9), (-1, 0.9)]]), 6)
        return ("mountains by the sea", "mountain landscape", "landscape")
    return ("mountains and sun", "mountain landscape", "landscape", "mountains")


def _scattered(sheet: Sheet, rng: np.random.Generator, _: Path | None) -> Names:
    kind = _one(rng, SHAPES)
    mixed = rng.random() < 0.3
    for i, (x, y) in enumerate(rng.uniform(-0.95, 0.95, (int(rng.integers(18, 60)), 2))):
        sheet.shape(_one(rng, SHAPES) if mixed else kind, (x, y), rng.uniform(0.04, 0.13), 1 + i % 4, rng.uniform(0, 6))
    return ("confetti", "scattered shapes") if mixed else (f"scattered {kind} shapes", f"small {kind} pattern")


def _frame(sheet: Sheet, rng: np.random.Generator, font: Path | None) -> Names:
    points = outline(_one(rng, FRAMES), rng)
    sheet.closed(points * 0.95, rng.uniform(0.02, 0.06), 1)
    sheet.closed(points * 0.8, 0.02, 2)
    kind, count = _one(rng, ("circle", "diamond", "flower", "leaf", "heart")), int(rng.integers(8, 25))
    closed = np.concatenate([points, points[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    for s in np.linspace(0, along[-1], count, endpoint=False):
        x, y = (np.interp(s, along, closed[:, k]) * 0.875 for k in (0, 1))
        sheet.shape(kind, (x, y), 0.075, 3, float(np.arctan2(x, -y)))
    if rng.random() < 0.5:
        sheet.text(_one(rng, LETTERING).title(), font, (0, 0), 0.9, 0.5, (1,))
        return ("frame with a word", "decorative frame", "frame")
    return ("decorative frame", "ornamental border", "frame")


_KINDS: dict[Callable[[Sheet, np.random.Generator, Path | None], Names], float] = {
    _badge: 1.2,
    _monogram: 1.2,
    _lettering: 1.5,
    _logo: 1.0,
    _stripes: 0.5,
    _pattern: 0.8,
    _wreath: 0.7,
    _floral: 1.2,
    _mandala: 0.8,
    _line_art: 1.2,
    _bands: 0.5,
    _landscape: 0.7,
    _scattered: 0.5,
    _frame: 0.6,
}
_UPRIGHT = (_monogram, _lettering, _landscape, _floral, _badge, _logo, _wreath, _frame)
"""Not turned: they have letters or an up and a down."""


def _inks(count: int, rng: np.random.Generator, *, ramp: bool) -> Field:
    """RGB of threads that go together: a ramp between two of them, one colour with its shades, or different ones."""
    words = rng.choice(COLOUR_WORDS, count, replace=False)
    lab = np.array([thread(str(word), rng) for word in words])
    if ramp:
        lab = lab[0] + (lab[1] - lab[0]) * np.linspace(0, 1, count, dtype=np.float32)[:, None]
    elif rng.random() < 0.3:
        lab = lab[0] + rng.normal(0, 1, (count, 3)).astype(np.float32) * (22, 6, 6)
        lab[:, 0] = lab[:, 0].clip(12, 95)
    return rgb_of(lab.astype(np.float32))


def procedural_design(
    size: int, rng: np.random.Generator, fonts: Sequence[Path] = ()
) -> tuple[LabelMap, tuple[str, ...]]:
    """A drawing made of simple shapes or letters, on cloth.

    Args:
        size: Pixels a side of the pictures to be made of it.
        rng: Decides on everything.
        fonts: For letters; without any, Pillow's own.

    Returns:
        The design and what it is called, the canonical name first; no colours.
    """
    weights = np.array(list(_KINDS.values()))
    kind = list(_KINDS)[int(rng.choice(len(_KINDS), p=weights / weights.sum()))]
    font = fonts[int(rng.integers(len(fonts)))] if fonts and rng.random() < 0.9 else None
    sheet = Sheet(size * SUPERSAMPLING, rng, upright=kind in _UPRIGHT)
    names = kind(sheet, rng, font)
    labels = sheet.labels
    used = np.unique(labels)
    used = used[used > 0]
    table = np.zeros(256, np.uint8)
    table[used] = np.arange(1, len(used) + 1)
    labels = table[labels]
    areas = np.bincount(labels.ravel()[::7], minlength=len(used) + 1)[1:]
    inks = _inks(max(len(used), 2), rng, ramp=kind is _bands)[: len(used)]
    for _ in range(4):  # letters on a badge must be seen
        lab = lab_of(inks)
        apart = np.sqrt(((lab[:, None] - lab) ** 2).sum(-1)) + 99 * np.eye(len(lab))
        if kind is _bands or apart.min() > 18:
            break
        inks = _inks(max(len(used), 2), rng, ramp=False)[: len(used)]
    return LabelMap(labels, np.concatenate([contrasting_cloth(inks, areas, rng)[None], inks])), names
