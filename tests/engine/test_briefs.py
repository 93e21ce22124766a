"""Words to drawings, for bases that know no things."""

from __future__ import annotations

import numpy as np
import pytest

from worker.engine.briefs import MAIN_FILL, SAME_THING, SKETCHES, draw_brief, known_things
from worker.engine.drawings import OBJECTS

GROUND = (230, 228, 220)


def pixels(brief: str) -> np.ndarray:
    picture = draw_brief(brief, 96, GROUND)
    assert picture is not None, brief
    assert picture.size == (96, 96)
    return np.asarray(picture, np.int16)


@pytest.mark.parametrize("thing", known_things())
def test_every_known_thing_is_drawn_on_the_cloth(thing: str) -> None:
    found = pixels(f"a {thing}")
    assert np.abs(found[0, 0] - GROUND).max() <= 2
    share = (np.abs(found - GROUND).max(2) > 30).mean()
    assert 0.08 < share < 0.8


def test_a_colour_in_the_brief_is_the_things_own() -> None:
    blue = pixels("a blue fox, please")
    red = pixels("a red fox")
    fur = (np.abs(pixels("fox") - [0xD9, 0x62, 0x2B]).max(2) < 12).nonzero()
    assert blue[fur].mean(0)[2] > blue[fur].mean(0)[0]
    assert red[fur].mean(0)[0] > red[fur].mean(0)[2]


def test_plurals_and_other_words_for_the_same_thing_are_understood() -> None:
    assert np.array_equal(pixels("two boats"), pixels("a sailboat"))
    assert np.array_equal(pixels("green stars"), pixels("green star"))


def test_what_is_not_known_is_not_guessed() -> None:
    assert draw_brief("my grandmother's bicycle", 64, GROUND) is None
    assert draw_brief("12345", 64, GROUND) is None


def test_the_lists_and_the_files_agree() -> None:
    assert {path.stem for path in SKETCHES.glob("*.svg")} == set(MAIN_FILL)
    for name, fill in MAIN_FILL.items():
        assert fill in (SKETCHES / f"{name}.svg").read_text(), name
    assert set(SAME_THING.values()) <= {*MAIN_FILL, *OBJECTS}
