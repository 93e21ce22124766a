"""Inks in plain words, and designs in other inks; all of it in CIE Lab."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from worker.atelier.stitches.fields import Field
from worker.atelier.stitches.label_map import LabelMap

CLOTHS = (
    (0.92, 0.90, 0.84),
    (0.25, 0.28, 0.36),
    (0.75, 0.72, 0.66),
    (0.55, 0.65, 0.75),
    (0.85, 0.60, 0.60),
    (0.95, 0.95, 0.95),
    (0.20, 0.20, 0.20),
    (0.45, 0.55, 0.45),
    (0.96, 0.92, 0.80),
    (0.70, 0.20, 0.22),
)
"""RGB of the cloths designs are sewn on, before jitter."""

_ANCHORS = {
    "red": "d0202a e0303a b01824 f04438 8c1820",
    "orange": "f07818 f59030 e06010 ff9f40",
    "yellow": "f8d020 ffe060 fff080 ffcc30",
    "gold": "c89a30 b08820",
    "green": "30902f 58b848 206030 90d060 a0b830 10a868 6b8e4e 124a28 c0e8a0",
    "teal": "108088 0c6a70 2f9a98",
    "turquoise": "40c8c8 70dcd8 20b8c0",
    "blue": "2458c8 3a8ae8 60b0f0 1840a0 98ccf8 4878a8",
    "navy": "142050 1c2c60 28405c",
    "purple": "702898 9058c8 502080 b088e0 7a3a70",
    "pink": "f090b8 f8b8d0 e85090 d83880 f0a0a0 f060c0",
    "brown": "704020 8c5a30 a87848 4a2c1c 905040",
    "beige": "e8d0a8 d8b890 f0e0c0 f5cfa5",
    "grey": "808488 a8acb0 5c6066 c4c8cc 8094a4",
    "black": "101014 282a2e 201818",
    "white": "f8f8f5 ececec f4f0ea",
}
COLOUR_WORDS = tuple(_ANCHORS)
"""The sixteen colours that captions know."""


def lab_of(rgb: Field) -> Field:
    """CIE Lab [N, 3] of RGB [N, 3] in [0, 1]."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb[None], np.float32), cv2.COLOR_RGB2LAB)[0], np.float32)


def rgb_of(lab: Field) -> Field:
    """RGB [N, 3] in [0, 1] of CIE Lab [N, 3]; what no screen shows is clipped."""
    rgb = cv2.cvtColor(np.ascontiguousarray(lab[None], np.float32), cv2.COLOR_LAB2RGB)[0]
    return np.asarray(rgb.clip(0, 1), np.float32)


def _from_hex(codes: str) -> Field:
    return np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in codes.split()], np.float32)


_ANCHOR_WORDS = [word for word, codes in _ANCHORS.items() for _ in codes.split()]
_ANCHOR_LAB = np.concatenate([lab_of(_from_hex(codes)) for codes in _ANCHORS.values()])
_THREADS = {word: lab_of(_from_hex(codes)) for word, codes in _ANCHORS.items()}
_NAMED_INKS = tuple(word for word in COLOUR_WORDS if word != "gold")
_LAB_WEIGHTS = np.array([0.6, 1.0, 1.0], np.float32)
"""A hue decides on a colour's word sooner than its lightness does."""


def names_of_inks(rgb: Field) -> list[str]:
    """The plain word for each of the colours [N, 3]."""
    apart = (lab_of(rgb)[:, None] - _ANCHOR_LAB) * _LAB_WEIGHTS
    return [_ANCHOR_WORDS[i] for i in (apart**2).sum(-1).argmin(-1)]


def _areas(design: LabelMap) -> npt.NDArray[np.int64]:
    areas = np.bincount(design.labels.ravel()[::5], minlength=len(design.palette))
    areas[0] = 0
    return areas


def colour_words(design: LabelMap) -> tuple[str, ...]:
    """The colours one would call the design by, the largest first.

    Returns:
        One word where a colour covers most of the inked area, two where two do, else none. Black and white count only
        where hardly anything else is there: they are mostly outlines and highlights.
    """
    areas = _areas(design)
    total = max(int(areas.sum()), 1)
    shares: dict[str, float] = {}
    for word, area in zip(names_of_inks(design.palette), areas / total, strict=True):
        shares[word] = shares.get(word, 0.0) + float(area)
    quiet = sum(shares.get(word, 0.0) for word in ("black", "white"))
    if quiet < 0.7:
        shares = {word: share / (1 - quiet) for word, share in shares.items() if word not in ("black", "white")}
    ranked = sorted(shares, key=lambda word: -shares[word])
    first, second = shares[ranked[0]], shares[ranked[1]] if len(ranked) > 1 else 0.0
    if second > 0.22 and first + second > 0.7:
        return (ranked[0], ranked[1])
    return (ranked[0],) if first > 0.5 else ()


def cloth_colour(rng: np.random.Generator) -> Field:
    """RGB of a cloth, a little different every time."""
    base = np.array(CLOTHS[int(rng.integers(len(CLOTHS)))]) + rng.normal(0, 0.03, 3)
    return np.asarray(base.clip(0.03, 0.98), np.float32)


def contrasting_cloth(inks: Field, areas: npt.NDArray[np.int64], rng: np.random.Generator) -> Field:
    """RGB of a cloth that the larger inks [N, 3] (RGB) stand out from, if one of a few tries is such."""
    large = lab_of(inks[areas > 0.08 * areas.sum()]) if len(inks) else lab_of(np.zeros((1, 3), np.float32))
    best, widest = cloth_colour(rng), -1.0
    for _ in range(5):
        cloth = cloth_colour(rng)
        apart = float(np.sqrt(((large - lab_of(cloth[None])) ** 2).sum(-1)).min())
        if apart > widest:
            best, widest = cloth, apart
        if apart > 22:
            break
    return best


def thread(word: str, rng: np.random.Generator) -> Field:
    """Lab [3] of a thread of that colour, one of several."""
    anchors = _THREADS[word]
    return np.asarray(anchors[int(rng.integers(len(anchors)))] + rng.normal(0, 2.5, 3), np.float32)


def _turned(lab: Field, rng: np.random.Generator) -> Field:
    """All hues turned by the same angle."""
    angle, vivid = rng.uniform(0.6, 2 * np.pi - 0.6), rng.uniform(0.85, 1.2)
    cos, sin = np.cos(angle) * vivid, np.sin(angle) * vivid
    turned = lab.copy()
    turned[:, 1:] = lab[:, 1:] @ np.array([[cos, sin], [-sin, cos]], np.float32)
    # Threads are less vivid than screens.
    turned[:, 1:] *= np.minimum(1, 72 / np.hypot(turned[:, 1], turned[:, 2]).clip(1))[:, None]
    return turned


def _dominant_dyed(lab: Field, areas: npt.NDArray[np.int64], rng: np.random.Generator) -> Field:
    """The largest ink, and its shades with it, in a thread's colour; other inks stay as they are."""
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    loud = np.where((lab[:, 0] > 18) & ((lab[:, 0] < 93) | (chroma > 8)), areas, 0)
    main = int((loud if loud.any() else areas).argmax())
    hue = np.arctan2(lab[:, 2], lab[:, 1])
    near_hue = np.abs(np.angle(np.exp(1j * (hue - hue[main])))) < 0.8
    shades = near_hue & (chroma > 12) if chroma[main] > 12 else (chroma <= 12) & (np.abs(lab[:, 0] - lab[main, 0]) < 30)
    shades[main] = True
    target = thread(str(rng.choice(_NAMED_INKS)), rng)
    dyed = lab.copy()
    dyed[shades, 0] = (target[0] + 0.8 * (lab[shades, 0] - lab[main, 0])).clip(6, 97)
    # Darker and lighter shades of a thread are a little less vivid than itself.
    fade = 1 - 0.006 * np.abs(lab[shades, 0] - lab[main, 0])
    dyed[shades, 1:] = target[None, 1:] * fade[:, None]
    return dyed


def _few_threads(lab: Field, rng: np.random.Generator) -> Field:
    """All inks in two to four threads, dark inks in dark ones."""
    count = min(int(rng.integers(2, 5)), len(lab))
    words = rng.choice(COLOUR_WORDS, count, replace=False)
    threads = np.array([thread(str(word), rng) for word in words])
    threads = threads[threads[:, 0].argsort()]
    ranks = lab[:, 0].argsort().argsort()
    return np.asarray(threads[(ranks * count) // len(lab)], np.float32)


def recolour(design: LabelMap, rng: np.random.Generator) -> LabelMap:
    """The design in other inks that go together, on a cloth they stand out from.

    Either all hues turn alike, or the largest ink is dyed with its shades, or a few threads take the inks' places.
    """
    inks = design.palette[1:]
    if not len(inks):
        return design
    areas = _areas(design)[1:]
    lab = lab_of(inks)
    way = rng.random() if np.hypot(lab[:, 1], lab[:, 2]).max() > 15 else rng.uniform(0.3, 1)
    if way < 0.3:
        lab = _turned(lab, rng)
    elif way < 0.75:
        lab = _dominant_dyed(lab, areas, rng)
    else:
        lab = _few_threads(lab, rng)
    rgb = rgb_of(lab)
    return LabelMap(design.labels, np.concatenate([contrasting_cloth(rgb, areas, rng)[None], rgb]))
