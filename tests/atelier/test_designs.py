"""Designs: what they are called, in which colours they come, and what training never sees."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from worker.atelier.colours import COLOUR_WORDS, colour_words, names_of_inks, recolour
from worker.atelier.designs import Design, draw_icon, draw_procedural, icon_design, label_map, procedural_design
from worker.atelier.held_out import (
    HELD_OUT_BRIEFS,
    HELD_OUT_DESIGNS,
    SYNONYM_BRIEFS,
    UNSEEN_WORDS,
    is_held_out_combination,
    is_held_out_design,
    plural,
)
from worker.atelier.icons import Icon
from worker.atelier.stitches.label_map import LabelMap
from worker.atelier.words import EmojiNames, caption, several

if TYPE_CHECKING:
    from collections.abc import Callable

TRACTOR = Icon(
    "twemoji",
    "tractor",
    ("tractor", "vehicle"),
    (0, 0, 36, 36),
    '<path fill="#c02030" d="M4 8h26v16H4z"/><circle cx="10" cy="26" r="6" fill="#222"/>'
    '<circle cx="26" cy="26" r="6" fill="#f0c020"/>',
)
EMOJI = [
    {"label": "fox", "group": 3, "shortcodes": ["fox face"], "tags": ["animal", "forest"]},
    {"label": "red apple", "group": 4, "shortcodes": ["apple"], "tags": ["fruit", "health", "red"]},
    {"label": "automobile", "group": 5, "shortcodes": ["car", "red car"], "tags": ["vehicle", "driving"]},
    {"label": "flag: France", "group": 9, "shortcodes": ["flag france", "france"], "tags": []},
]


def draw(seed: int, icon: Icon = TRACTOR) -> Design:
    design = draw_icon(icon, 64, np.random.default_rng(seed))
    assert design is not None
    return design


def filled(*inks: tuple[float, float, float]) -> LabelMap:
    """Equal bars of these inks on a white ground."""
    labels = np.zeros((64, 64), np.uint8)
    labels[8:56] = 1 + np.arange(48)[:, None] * len(inks) // 48
    return LabelMap(labels, np.array([(1, 1, 1), *inks], np.float32))


def test_an_icon_becomes_a_few_inks_on_cloth() -> None:
    design = draw(3).map
    assert design.labels.shape == (128, 128)
    assert design.labels.dtype == np.uint8
    assert 2 <= len(design.palette) <= 8
    assert int(design.labels.max()) < len(design.palette)
    assert design.palette.dtype == np.float32


def test_a_seed_fixes_a_design() -> None:
    makers: tuple[Callable[[int], LabelMap], ...] = (
        lambda s: draw(s).map,
        lambda s: procedural_design(64, np.random.default_rng(s))[0],
    )
    for make in makers:
        assert np.array_equal(make(5).labels, make(5).labels)
        assert np.array_equal(make(5).palette, make(5).palette)


def test_icons_that_fill_too_little_or_too_much_are_left_out() -> None:
    rng = np.random.default_rng(0)
    dot = replace(TRACTOR, body='<circle cx="18" cy="18" r="3"/>')
    assert icon_design(dot, 64, rng) is None
    assert icon_design(replace(dot, body='<path d="M-9-9h60v60H-9z"/>'), 64, rng) is None


def test_hard_edges_bring_no_inks_between_the_inks() -> None:
    y, x = np.mgrid[:200, :200]
    rgba = np.zeros((200, 200, 4), np.uint8)
    rgba[np.hypot(x - 100, y - 100) < 80] = (200, 30, 40, 255)
    rgba[np.hypot(x - 100, y - 100) < 40] = (250, 250, 250, 255)
    design = label_map(rgba, np.array([0.2, 0.2, 0.2], np.float32), 7, np.random.default_rng(0))
    assert len(design.palette) == 3


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((0.8, 0.1, 0.15), "red"),
        ((0.1, 0.3, 0.75), "blue"),
        ((0.98, 0.85, 0.2), "yellow"),
        ((0.2, 0.6, 0.2), "green"),
        ((0.45, 0.2, 0.6), "purple"),
        ((0.05, 0.05, 0.06), "black"),
        ((0.45, 0.28, 0.15), "brown"),
        ((0.98, 0.98, 0.97), "white"),
        ((0.95, 0.5, 0.1), "orange"),
        ((0.96, 0.6, 0.75), "pink"),
    ],
)
def test_colours_have_plain_names(rgb: tuple[float, float, float], word: str) -> None:
    assert names_of_inks(np.array([rgb], np.float32)) == [word]


def test_a_design_is_called_by_its_one_or_two_large_colours() -> None:
    red, blue, green, yellow = (0.8, 0.1, 0.15), (0.1, 0.3, 0.75), (0.2, 0.6, 0.2), (0.98, 0.85, 0.2)
    assert colour_words(filled(red)) == ("red",)
    assert set(colour_words(filled(red, blue))) == {"red", "blue"}
    assert colour_words(filled(red, blue, green, yellow)) == ()
    assert colour_words(filled(red, (0, 0, 0))) == ("red",), "outlines do not count"
    assert colour_words(filled((0, 0, 0))) == ("black",)


def test_recolouring_keeps_areas_and_brings_many_colours() -> None:
    rng = np.random.default_rng(2)
    design = filled((0.8, 0.1, 0.15), (0.9, 0.4, 0.4))
    others = [recolour(design, rng) for _ in range(120)]
    assert all(np.array_equal(other.labels, design.labels) for other in others)
    assert len({word for other in others for word in colour_words(other)}) > 11
    assert all(other.palette.min() >= 0 and other.palette.max() <= 1 for other in others)


def test_captions_vary_and_tell_the_colours() -> None:
    rng = np.random.default_rng(0)
    design = filled((0.1, 0.3, 0.75))
    captions = {caption(("apple", "fruit"), design, rng) for _ in range(80)}
    assert {"apple", "an apple", "blue apple", "a blue apple", "a fruit", "a blue fruit"} <= captions
    assert {caption(("two apples",), design, rng) for _ in range(30)} == {"two apples", "two blue apples"}
    assert "a grapes" not in {caption(("grapes",), design, rng) for _ in range(30)}


def test_names_come_from_emoji_without_colours_or_unseen_words() -> None:
    table = EmojiNames.read(EMOJI)
    assert table.names("fox-face", strict=False) == ("fox", "animal")
    assert table.names("apple-one", strict=True) == ("apple", "fruit")
    assert table.names("automobile", strict=False) == ("car", "vehicle")
    assert table.names("france", strict=False) == ()
    assert table.names("acme-logo", strict=True) == ()


def test_held_out_designs_are_found_under_every_name() -> None:
    for name in ("fox", "fox-face", "face-of-fox", "Fox 2", "cherry", "teddy bear", "roses"):
        assert is_held_out_design([name]), name
    for name in ("lemonade", "firefox", "apple", "cat"):
        assert not is_held_out_design([name]), name
    assert all(is_held_out_design([name]) for name in HELD_OUT_DESIGNS)


def test_briefs_use_training_words_in_combinations_of_their_own() -> None:
    assert len(HELD_OUT_BRIEFS) == len({b.text for b in HELD_OUT_BRIEFS}) == 100
    for brief in HELD_OUT_BRIEFS:
        assert set(brief.colours) <= set(COLOUR_WORDS)
        assert brief.text.endswith((brief.thing, plural(brief.thing)))
        assert not is_held_out_design([brief.thing])
        assert is_held_out_combination([brief.thing], brief.colours)
    assert is_held_out_combination(["tractor", "vehicle"], ("purple", "grey")), "purple leads"
    assert not is_held_out_combination(["tractor"], ("red",))
    assert is_held_out_combination(["fish"], ("red", "green")), "in either order"


def test_no_training_design_shows_a_held_out_combination() -> None:
    drawn = [draw(seed) for seed in range(150)]
    assert all(not is_held_out_combination(["tractor"], colour_words(d.map)) for d in drawn)
    assert any(colour_words(d.map)[:1] == ("green",) for d in drawn), "other colours do come"
    assert any(name.startswith(("two", "three")) for d in drawn for name in d.names)


def test_synonyms_are_words_that_no_name_uses() -> None:
    assert len(SYNONYM_BRIEFS) == 50
    plain = {word for _, text in SYNONYM_BRIEFS for word in text.split()}
    for brief, _ in SYNONYM_BRIEFS:
        assert UNSEEN_WORDS & set(brief.split()), brief
    assert not UNSEEN_WORDS & plain
    assert not UNSEEN_WORDS & set(COLOUR_WORDS)


def test_procedural_designs_are_many_kinds_and_never_empty() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_procedural(64, rng) for _ in range(150)]
    assert len({d.names[0] for d in drawn}) > 60
    assert all((d.map.labels > 0).mean() > 0.01 for d in drawn)
    assert all(int(d.map.labels.max()) == len(d.map.palette) - 1 for d in drawn)
    assert all(not UNSEEN_WORDS & set(name.split()) for d in drawn for name in d.names)


def test_plurals() -> None:
    assert several(("cherry", "box", "mouse", "grapes"), 2) == ("two cherries", "two boxes", "two mice", "two grapes")
