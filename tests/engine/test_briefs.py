"""Words to drawings, for bases that know no things."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from worker.atelier.held_out import HELD_OUT_BRIEFS
from worker.engine.briefs import draw_brief, known_things, similar_things
from worker.engine.clipart import FOLDER, MOST, compose, letters_lacking, library, recoloured

GROUND = (230, 228, 220)
SIZE = 96


def shows(brief: str) -> tuple[str, ...]:
    drawn = draw_brief(brief, SIZE, GROUND)
    return () if drawn is None else drawn.shows


def pixels(brief: str) -> np.ndarray:
    drawn = draw_brief(brief, SIZE, GROUND)
    assert drawn is not None, brief
    assert drawn.picture.size == (SIZE, SIZE)
    return np.asarray(drawn.picture, np.int16)


def inked(found: np.ndarray) -> np.ndarray:
    ink: np.ndarray = np.abs(found - GROUND).max(2) > 30
    return ink


def test_every_drawing_shows_something_on_the_cloth_and_stays_inside() -> None:
    for drawing in library():
        found = np.asarray(compose([drawing], "", (0, 0, 0), 64, GROUND), np.int16)
        assert 0.03 < inked(found).mean() < 0.9, drawing.names
        assert np.abs(found[0, 0] - GROUND).max() <= 2, drawing.names


@pytest.mark.parametrize(
    ("brief", "thing"),
    [
        ("a fox", "fox"),
        ("my grandmother's bicycle", "bicycle"),
        ("three foxes", "fox"),
        ("mice", "mouse"),
        ("an amber hound", "dog"),
        ("bunny", "rabbit"),
        ("a birthday cake, please", "birthday cake"),
        ("an orange", "tangerine"),
        ("an orange cat", "cat"),
        ("a golden retriever", "dog"),
    ],
)
def test_plurals_kinds_and_other_words_for_a_thing_are_understood(brief: str, thing: str) -> None:
    assert shows(brief) == (thing,)


def test_every_brief_that_training_never_shows_has_a_drawing() -> None:
    assert [brief.text for brief in HELD_OUT_BRIEFS if not shows(brief.text)] == []


def test_a_colour_in_the_brief_is_the_things_own() -> None:
    plain, blue, green = pixels("fox"), pixels("a blue fox, please"), pixels("a fox in green")
    changed = np.abs(blue - plain).max(2) > 60
    assert 0.5 < changed.sum() / inked(plain).sum() <= 1
    assert blue[changed].mean(0).argmax() == 2
    assert green[changed].mean(0).argmax() == 1


def test_shades_follow_a_colour_and_other_colours_stay() -> None:
    apple = next(drawing for drawing in library() if drawing.names[0] == "red apple")
    blue = recoloured(apple, [(38, 84, 164)])
    before, after = (np.asarray(compose([one], "", (0, 0, 0), SIZE, GROUND), int) for one in (apple, blue))
    leaf = np.abs(before - [0, 210, 106]).max(2) <= 2
    assert leaf.any()
    assert np.array_equal(before[leaf], after[leaf])
    assert recoloured(apple, []).body == apple.body


def test_counts_and_several_things_come_side_by_side() -> None:
    assert shows("a fox and a tulip") == ("fox", "tulip")
    two = inked(pixels("two red foxes"))
    # The same fox twice, nothing between.
    assert not two[:, SIZE // 2].any()
    assert two[:, : SIZE // 2].sum() == pytest.approx(two[:, SIZE // 2 :].sum(), rel=0.1)
    assert len(shows("a cat, a dog, a fox, a cow, a pig and a bee")) == MOST


def test_each_thing_has_its_own_colour() -> None:
    found = pixels("a blue heart and a green star")
    left, right = found[:, : SIZE // 2], found[:, SIZE // 2 :]
    assert left[inked(left)].mean(0).argmax() == 2
    assert right[inked(right)].mean(0).argmax() == 1


@pytest.mark.parametrize(
    ("brief", "expected"),
    [
        ("a crown with the name “Bella Rosa” in gold", ("crown", "“Bella Rosa”")),
        ("the name Anna in red", ("“Anna”",)),
        ("monogram AB", ("“AB”",)),
        ("a heart with the name anna", ("heart", "“anna”")),
        ("the word love", ("“love”",)),
        ("“Zoë Łukasz Жанна”", ("“Zoë Łukasz Жанна”",)),
        ("'Team Blue' with a star", ("star", "“Team Blue”")),
        ("a bird's nest", ("bird",)),
    ],
)
def test_lettering_is_set_as_it_is_written(brief: str, expected: tuple[str, ...]) -> None:
    found = shows(brief)
    assert set(expected) <= {name.removeprefix("red ") for name in found}


def test_lettering_has_the_colour_that_no_thing_takes() -> None:
    red = pixels("the name Anna in red")
    assert red[inked(red)].mean(0).argmax() == 0


def test_letters_that_the_font_lacks_are_left_out_and_named() -> None:
    drawn = draw_brief("a fox with “日本”", SIZE, GROUND)
    assert drawn is not None
    assert (drawn.shows, drawn.lacking) == (("fox",), "日本")
    assert letters_lacking("Zoë José Łukasz Ωμέγα Ещё & 5") == ""


def test_colours_are_known_whatever_pillow_has_looked_up_before() -> None:
    from worker.engine import briefs

    Image.new("RGB", (1, 1), "white")
    briefs._colours.cache_clear()
    assert shows("a white swan") == ("swan",)


@pytest.mark.parametrize(("brief", "most"), [("I love Mom", 1), ("a man's face", 1), ("my life in words", 1)])
def test_words_that_go_with_everything_call_for_nothing_absurd(brief: str, most: int) -> None:
    assert len(shows(brief)) <= most
    assert not {"love hotel", "information", "breast feeding", "clown", "clown face"} & set(shows(brief))


def test_more_than_fit_are_as_many_as_fit() -> None:
    dozen, twelve = pixels("a dozen roses"), pixels("12 roses")
    assert np.array_equal(dozen, twelve)
    assert np.array_equal(dozen, pixels("four roses"))


def test_letters_take_the_last_colour_and_things_keep_theirs() -> None:
    plain, gold = pixels("a tulip with the name “Ann”"), pixels("a tulip with the name “Ann” in red")
    half = round(SIZE * 0.65)
    assert np.array_equal(plain[:half], gold[:half])
    assert not np.array_equal(plain[half:], gold[half:])


def test_ink_like_the_cloth_is_set_apart_from_it() -> None:
    swan = next(drawing for drawing in library() if drawing.names[0] == "swan")
    for ground in ((244, 244, 244), (28, 28, 28)):
        found = np.asarray(compose([swan], "", (0, 0, 0), 64, ground), int)
        assert (np.abs(found - ground).max(2) > 20).mean() > 0.25


def test_what_is_not_known_is_not_guessed_but_near_spellings_are_named() -> None:
    assert draw_brief("12345", SIZE, GROUND) is None
    assert draw_brief("a zzyzx in blue", SIZE, GROUND) is None
    assert similar_things("a bycicle")[0] == "bicycle"
    assert similar_things("qqqq") == []


def test_own_sketches_are_part_of_the_library() -> None:
    assert {path.stem for path in FOLDER.glob("*.svg")} <= set(known_things())
    assert len(known_things()) > 1000
