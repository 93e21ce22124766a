"""What designs are called: names from emoji tables, and captions made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worker.atelier.colours import COLOUR_WORDS, colour_words
from worker.atelier.held_out import UNSEEN_WORDS, article, plural, words_of
from worker.atelier.stitches.label_map import LabelMap

SHORTCODES = ("cldr", "emojibase", "joypixels", "github")
"""Tables of emojibase that name the same emoji in several ways."""

MOST_NAMES = 6

_FLAGS = 9
"""The group of emojibase that flags are in."""

_GENERAL = words_of(
    """
    animal dinosaur
    bird fish insect flower plant tree fruit vegetable berry boat vehicle building house home drink dessert
    candy cake toy tool weapon hat shoe instrument ball moon bug gift present leaf bread train plane aeroplane jet
    yacht bike burger sandwich crab cat dog kitten puppy bunny mouse monkey horse deer shell mountain bridge church
    tower temple robot doll bag lamp pen book letter clock key lock medal ring gem necklace cup mug plate bowl fork
    """
)
"""Keywords of an emoji that may name its picture; most others ("birthday", "hungry") only go with it."""

_COLOURS = frozenset(COLOUR_WORDS) | {"gray", "light", "dark", "golden", "bright"}
_NOISE = re.compile(
    r"\b(button|symbol|sign|mark|tone|one|two|three|four|five|hocho|moyai|lang|suit|selector|emoji|o clock)\b"
)
_FACES = re.compile(r" (face|head)$")


def in_words(name: str) -> str:
    """An icon's key as words a caption uses."""
    return re.sub(r"\s+", " ", re.sub(r"[-_]|\d+$", " ", name)).strip()


def _tidy(name: str) -> str:
    """Small letters without signs; colours are left out, for captions say which ones the design has."""
    words = re.sub(r"[^a-z ]+", " ", name.lower().replace("’", "").replace("'", "")).split()
    plain = [word for word in words if word not in _COLOURS]
    return " ".join(plain or words)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]+", "", name.lower())


@dataclass(frozen=True)
class EmojiNames:
    """Names of things by any of their names.

    Attributes:
        by_letters: Names of an emoji (the canonical one first) under each of its names' letters, without spaces.
        vocabulary: Every word that any emoji's name or keywords use.
    """

    by_letters: dict[str, tuple[str, ...]]
    vocabulary: frozenset[str]

    @classmethod
    def read(cls, emoji: Sequence[dict[str, Any]]) -> EmojiNames:
        """From the table that `fetch_icons` made: label, group, shortcodes and tags of every emoji."""
        by_letters: dict[str, tuple[str, ...]] = {}
        vocabulary: set[str] = set()
        for entry in emoji:
            if entry["group"] == _FLAGS:
                for name in (entry["label"], *entry["shortcodes"]):
                    by_letters[_letters(name)] = by_letters[_letters(name).removeprefix("flag")] = ()
                continue
            thing = entry["group"] in (3, 4, 5, 6, 7)
            names = [_tidy(name) for name in (entry["label"], *entry["shortcodes"])]
            if entry["group"] == 3:
                names = [_FACES.sub("", name) for name in names]
            vocabulary |= {word for name in names for word in name.split()}
            if thing:
                vocabulary |= set(entry["tags"])
                names += [tag for tag in entry["tags"] if tag in _GENERAL]
            kept = usable_names(names if thing else names[:1])
            if kept:
                for key in (entry["label"], *entry["shortcodes"], *names[: 1 + len(entry["shortcodes"])]):
                    by_letters.setdefault(_letters(key), kept)
        return cls(by_letters, frozenset(vocabulary))

    def names(self, key: str, *, strict: bool) -> tuple[str, ...]:
        """Names for an icon's key, the canonical first; none if it does not name a thing.

        Args:
            key: For example "face-of-fox" or "apple-one".
            strict: For sets of signs and logos: every word has to be one that emoji use.
        """
        name = re.sub(r"\b(duo|flat|one|two|three|four|five|fill)$", "", in_words(re.sub(r"-\d+$", "", key))).strip()
        if (known := self.by_letters.get(_letters(name))) is not None:
            return known
        words = _tidy(name).split()
        if not words or not all(word in self.vocabulary for word in words) or (strict and len(words) > 2):
            return ()
        return usable_names([" ".join(words)])


def usable_names(names: Iterable[str]) -> tuple[str, ...]:
    """The first `MOST_NAMES` different names that captions may use."""
    kept = dict.fromkeys(
        name
        for name in names
        if 2 < len(name) < 34
        and not re.match(r"(?![tx] )[a-z] ", name)
        and not _NOISE.search(name)
        and not UNSEEN_WORDS.intersection(name.split())
    )
    return tuple(kept)[:MOST_NAMES]


_AMOUNTS = words_of("lettering text confetti rice bread sushi money thumb lightning fire teeth")
_NOT_PLURAL = frozenset({"lens", "canvas", "cosmos", "christmas", "atlas"})


def is_plural(name: str) -> bool:
    """Whether a name already means several things, or an amount: no article then."""
    last = name.rsplit(maxsplit=1)[-1]
    return last in _AMOUNTS or (bool(re.search(r"(?<![su])s$", last)) and last not in _NOT_PLURAL)


def caption(names: Sequence[str], design: LabelMap, rng: np.random.Generator) -> str:
    """Words for the design: half the time its own name, else another; half the time with its colours.

    Args:
        names: Canonical name first.
        design: In its final inks.
        rng: Chooses the words.
    """
    name = names[0] if len(names) == 1 or rng.random() < 0.5 else str(names[int(rng.integers(1, len(names)))])
    colours = colour_words(design) if rng.random() < 0.5 else ()
    counted = re.match(r"(two|three) (.*)", name)
    count, thing = counted.groups() if counted else ("", name)
    words = " ".join([" and ".join(colours), thing]).strip()
    if count:
        return f"{count} {words}"
    return words if is_plural(name) or rng.random() < 0.35 else f"{article(words)} {words}"


def several(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Names of `count` (2 or 3) of the thing; none if there is no way to say so."""
    word = {2: "two", 3: "three"}[count]
    return tuple(f"{word} {name if is_plural(name) else plural(name)}" for name in names)
