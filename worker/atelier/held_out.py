"""What training never shows: designs, pairs of a colour and a thing, and words; and the briefs that test each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def words_of(text: str) -> frozenset[str]:
    """The words of a text, for tables that would be a page long as literals."""
    return frozenset(text.split())


HELD_OUT_DESIGNS = words_of(
    """
    anchor avocado basketball bear bicycle butterfly cactus camera carrot cheese-wedge cherries croissant crown
    cupcake delivery-truck dolphin drum eggplant elephant fox giraffe guitar heart-on-fire hedgehog hibiscus
    hot-air-balloon kite lady-beetle lemon lighthouse lizard maple-leaf mushroom octopus owl parrot peacock penguin
    pineapple pretzel rainbow rocket rose sailboat salt scissors snail snowman squirrel strawberry sunflower teapot
    telescope tiger trophy tulip turtle umbrella unicorn violin whale
    """
)
"""Things never drawn in training, in any icon set; see `is_held_out_design`."""

_COMBINATIONS = {
    "airplane": ("orange", "green", "pink"),
    "apple": ("blue", "purple"),
    "balloon": ("green", "brown"),
    "banana": ("blue", "red"),
    "bell": ("purple", "teal"),
    "boot": ("yellow", "blue"),
    "bus": ("pink", "purple"),
    "car": ("teal", "purple"),
    "castle": ("pink", "green"),
    "cat": ("blue", "green"),
    "chair": ("purple", "orange"),
    "cow": ("yellow", "purple"),
    "crab": ("blue", "green"),
    "dog": ("teal", "pink"),
    "donut": ("green", "blue"),
    "dragon": ("pink", "orange"),
    "dress": ("green", "brown"),
    "duck": ("purple", "red"),
    "fish": ("pink", "brown"),
    "flamingo": ("blue", "green"),
    "frog": ("red", "purple"),
    "gift": ("orange", "teal"),
    "glasses": ("green", "orange"),
    "grapes": ("orange", "blue"),
    "heart": ("teal", "brown"),
    "helicopter": ("yellow", "purple"),
    "horse": ("red", "blue"),
    "house": ("purple", "teal"),
    "key": ("red", "green"),
    "lantern": ("blue", "purple"),
    "lion": ("green", "pink"),
    "lobster": ("yellow", "purple"),
    "monkey": ("green", "orange"),
    "pear": ("pink", "blue"),
    "pig": ("blue", "green"),
    "pizza": ("purple", "blue"),
    "rabbit": ("orange", "purple"),
    "shark": ("pink", "orange"),
    "ship": ("yellow", "purple"),
    "shirt": ("brown", "orange"),
    "tractor": ("pink", "purple"),
    "train": ("orange", "brown"),
}
_TWO_COLOURS = {
    "bird": ("purple", "yellow"),
    "candle": ("red", "blue"),
    "dinosaur": ("pink", "blue"),
    "fish": ("green", "red"),
    "hat": ("teal", "orange"),
    "robot": ("red", "green"),
    "star": ("pink", "teal"),
    "tent": ("purple", "orange"),
}
_SEVERAL = {
    "two": {"camel": "blue", "deer": "pink", "swan": "green", "tomato": "purple"},
    "three": {"snowflake": "red", "mouse": "teal", "bee": "pink"},
}


@dataclass(frozen=True)
class Brief:
    """Words to draw from, all of them known from training, but never together.

    Attributes:
        text: What the customer writes.
        thing: The object, in the singular.
        colours: One colour word, or two in the order of the text.
    """

    text: str
    thing: str
    colours: tuple[str, ...]


def _briefs() -> Iterable[Brief]:
    def single(words: str, thing: str) -> str:
        if thing.endswith("s") and not thing.endswith(("ss", "us")):
            return f"{words} {thing}"
        return f"{article(words)} {words} {thing}"

    for thing, colours in _COMBINATIONS.items():
        yield from (Brief(single(colour, thing), thing, (colour,)) for colour in colours)
    for thing, (first, second) in _TWO_COLOURS.items():
        yield Brief(single(f"{first} and {second}", thing), thing, (first, second))
    for count, things in _SEVERAL.items():
        for thing, colour in things.items():
            yield Brief(f"{count} {colour} {plural(thing)}", thing, (colour,))


def article(words: str) -> str:
    """The indefinite article before these words."""
    return "an" if words[0] in "aeiou" and not words.startswith(("uni", "eu", "one", "u-", "ufo")) else "a"


_IRREGULAR = {"mouse": "mice", "goose": "geese", "tooth": "teeth", "foot": "feet", "leaf": "leaves", "knife": "knives"}
_SAME = words_of("deer fish sheep bison shrimp squid glasses scissors sparkles socks dango sushi")


def plural(name: str) -> str:
    """Several of a thing, its last word changed."""
    *rest, last = name.split()
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last not in _SAME:
        if re.search(r"(s|x|z|ch|sh|[tn]o)$", last) and last not in {"piano", "casino"}:
            last += "es"
        elif re.search(r"[^aeiou]y$", last):
            last = last[:-1] + "ies"
        else:
            last += "s"
    return " ".join([*rest, last])


def singular(word: str) -> str:
    """One of a thing; words that only look like plurals stay."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "oes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 3 else word


def _stem(name: str) -> str:
    return f" {' '.join(singular(word) for word in re.split(r'[^a-z]+', name.lower()) if word)} "


_HELD_OUT_STEMS = tuple(_stem(name) for name in sorted(HELD_OUT_DESIGNS))


def is_held_out_design(names: Iterable[str]) -> bool:
    """Whether one of a design's names, keys of icon sets included, has a held-out name in it.

    The rule: the words of a held-out design, one after another, singular or plural. "fox" holds out "fox-face",
    "face of a fox" and "arctic fox", "lemon" does not hold out "lemonade".
    """
    stems = [_stem(name) for name in names]
    return any(held in stem for held in _HELD_OUT_STEMS for stem in stems)


HELD_OUT_BRIEFS = tuple(_briefs())
"""A hundred briefs. Their colour and thing are in the captions of training, never in one."""

_HELD_OUT_PAIRS = {
    _stem(thing): [frozenset(b.colours) for b in HELD_OUT_BRIEFS if b.thing == thing]
    for thing in {b.thing for b in HELD_OUT_BRIEFS}
}


def is_held_out_combination(names: Iterable[str], colours: Sequence[str]) -> bool:
    """Whether training must not show a thing of these names in these colours (the most important first).

    A brief of one colour holds out all designs of its thing where that colour leads; one of two colours those two.
    """
    if not colours:
        return False
    pairs = [pair for name in names for pair in _HELD_OUT_PAIRS.get(_stem(name), ())]
    return any(pair in (frozenset(colours[:1]), frozenset(colours)) for pair in pairs)


SYNONYM_BRIEFS = (
    ("a crimson automobile", "a red car"),
    ("a scarlet tunic", "a red shirt"),
    ("an azure hare", "a blue rabbit"),
    ("a violet feline", "a purple cat"),
    ("an emerald toad", "a green frog"),
    ("an amber hound", "a yellow dog"),
    ("a magenta steed", "a pink horse"),
    ("a ginger kitty", "an orange cat"),
    ("a lavender cottage", "a purple house"),
    ("a chestnut pony", "a brown horse"),
    ("a cobalt vessel", "a blue ship"),
    ("a ruby sweetheart", "a red heart"),
    ("a charcoal rodent", "a grey mouse"),
    ("an ivory swine", "a white pig"),
    ("a cyan fowl", "a turquoise bird"),
    ("a jade serpent", "a green snake"),
    ("a rosy hog", "a pink pig"),
    ("a maroon locomotive", "a red train"),
    ("an indigo garment", "a navy dress"),
    ("a saffron sunshine", "a yellow sun"),
    ("a lime doughnut", "a green donut"),
    ("a tan bovine", "a brown cow"),
    ("a sapphire gem", "a blue diamond"),
    ("a claret bloom", "a red flower"),
    ("an olive dinosaur", "a green dinosaur"),
    ("a coral automaton", "a pink robot"),
    ("a mauve pullover", "a purple shirt"),
    ("a mustard coach", "a yellow bus"),
    ("a vermilion aircraft", "a red airplane"),
    ("an aquamarine seahorse", "a turquoise fish"),
    ("a bronze goblet", "a brown cup"),
    ("a peach-coloured mansion", "an orange house"),
    ("silver spectacles", "grey glasses"),
    ("a khaki footwear", "a green boot"),
    ("a lilac blossom", "a purple flower"),
    ("an ochre primate", "a brown monkey"),
    ("a fuchsia parcel", "a pink gift"),
    ("a slate warship", "a grey ship"),
    ("a golden pooch", "a yellow dog"),
    ("a beryl drake", "a teal dragon"),
    ("a burgundy fedora", "a red hat"),
    ("an auburn stag", "a brown deer"),
    ("a cerulean duckling", "a blue duck"),
    ("a tangerine feline", "an orange cat"),
    ("a plum seat", "a purple chair"),
    ("a snowy bunny", "a white rabbit"),
    ("a teal fortress", "a teal castle"),
    ("a jet-black crow", "a black bird"),
    ("a canary chopper", "a yellow helicopter"),
    ("an ebony timepiece", "a black clock"),
)
"""(brief, its plain form): fifty briefs with words that no caption of training uses, though it knows what they mean."""

UNSEEN_WORDS = frozenset(
    word
    for brief, plain in SYNONYM_BRIEFS
    for word in brief.split()
    if word not in plain.split() and word not in ("a", "an")
)
"""Words that no caption of training may use."""
