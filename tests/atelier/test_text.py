"""The base's words: whole words stay whole, the style word is one token, and meaning comes from the teacher."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch

from worker.atelier import text
from worker.atelier.text import (
    PROMPT_TOKENS,
    STYLE_WORD,
    TEXT_WIDTHS,
    Teacher,
    build_tokenizer,
    load_text,
    make_text_encoders,
    phrases_for,
)
from worker.atelier.vocabulary import FAMILY_WORDS, style_phrases
from worker.engine.prompts import embed_prompts, token_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

WORDS = ("fox", "boat", "rose", "lamp", "tree", "star", "fish", "bird", "cake", "shoe")


class WordTeacher(Teacher):
    """Places a phrase where the words it is made of lie."""

    def __init__(self) -> None:
        super().__init__(None, None, list(WORDS))

    def embed(self, phrases: Sequence[str], tick: Callable[[int], object] = lambda _: None) -> torch.Tensor:
        tick(len(phrases))
        vectors = torch.stack([sum((self._of(w) for w in p.split()), torch.zeros(384)) for p in phrases])
        return torch.nn.functional.normalize(vectors, dim=-1)

    def word_vectors(self, pieces: Sequence[str]) -> torch.Tensor:
        return torch.stack([self._of(piece) for piece in pieces])

    @staticmethod
    def _of(word: str) -> torch.Tensor:
        seed = int.from_bytes(word.encode()[:6].ljust(6, b"\0"), "little")
        return torch.from_numpy(np.random.default_rng(seed).standard_normal(384).astype(np.float32))


def test_the_tokenizer_keeps_known_words_whole_and_spells_unknown_ones() -> None:
    tokenizer = build_tokenizer(["a red fox in satin style"] * 20)
    assert tokenizer.tokenize("red fox") == ["red</w>", "fox</w>"]
    assert len(tokenizer.tokenize("zebra")) > 1
    assert STYLE_WORD in tokenizer.tokenize(f"a fox in {STYLE_WORD} style")
    assert token_ids(tokenizer, ["fox " * 40]).shape == (1, PROMPT_TOKENS)


def test_encoders_learn_where_the_teacher_puts_phrases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text.Teacher, "load", classmethod(lambda _cls, _folder: WordTeacher()))
    monkeypatch.setattr(text, "_DISTIL_BATCH", 32)
    clock = itertools.count()
    # A hundred steps, however slow the machine is.
    monkeypatch.setattr(text, "time", SimpleNamespace(monotonic=lambda: 0.6 * next(clock)))
    figures = make_text_encoders(tmp_path, tmp_path, 1.0, WORDS, ["satin stitch", "bead"])
    assert set(figures) == {"encoder", "encoder_2", "pooled", "neighbour"}
    assert figures["pooled"] > 0.2
    tokenizer, encoders = load_text(tmp_path)
    with torch.no_grad():
        prompts = embed_prompts((tokenizer, tokenizer), encoders, ["a fox", "a red fox", "a cake"])
    assert prompts.hidden.shape == (3, PROMPT_TOKENS, sum(TEXT_WIDTHS))
    fox, red, cake = torch.nn.functional.normalize(prompts.pooled, dim=-1)
    assert float(fox @ red) > float(fox @ cake)


def test_phrases_name_colours_counts_and_styles() -> None:
    phrases = phrases_for(WORDS, list(WORDS), ["satin stitch"], np.random.default_rng(0))
    assert phrases == phrases_for(WORDS, list(WORDS), ["satin stitch"], np.random.default_rng(0))
    assert len(set(phrases)) == len(phrases)
    assert any("satin stitch style" in phrase for phrase in phrases)
    assert any(phrase.startswith(("two ", "three ", "four ")) for phrase in phrases)


def test_the_shipped_words_tell_stitches_apart() -> None:
    from worker.atelier.cli import PARTS

    tokenizer, encoders = load_text(PARTS)
    words = [STYLE_WORD, *(options[0] for options in FAMILY_WORDS.values())]
    with torch.no_grad():
        hidden = embed_prompts((tokenizer, tokenizer), encoders, [f"a fox in {w} style" for w in words]).hidden
    flat = hidden.flatten(1)
    distance = torch.cdist(flat, flat).fill_diagonal_(torch.inf) / flat.norm(dim=1).mean()
    assert float(distance.min()) > 0.2
    assert len(style_phrases()) > 100
