"""The other looks of a design."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worker.atelier.domains import DOMAIN_WORDS, DOMAINS, paint
from worker.atelier.held_out import UNSEEN_WORDS

SIZE = 96


def designs() -> tuple[torch.Tensor, torch.Tensor]:
    """A red disc on white, twice: uint8 [2, 2S, 2S] and [2, 3, 3]."""
    y, x = np.mgrid[0 : 2 * SIZE, 0 : 2 * SIZE]
    labels = torch.from_numpy((np.hypot(x - SIZE, y - SIZE) < 0.7 * SIZE).astype(np.uint8))
    palette = torch.tensor([[0.95, 0.95, 0.95], [0.8, 0.12, 0.15], [0.0, 0.0, 0.0]])
    return labels[None].repeat(2, 1, 1), palette[None].repeat(2, 1, 1)


def painted(domain: str, seed: int) -> torch.Tensor:
    return paint(domain, *designs(), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_is_fixed_by_its_seed_and_varies_with_it(domain: str) -> None:
    first = painted(domain, 1)
    assert first.shape == (2, 3, SIZE, SIZE)
    assert torch.isfinite(first).all()
    assert 0 <= float(first.min()) < float(first.max()) <= 1
    assert torch.equal(first, painted(domain, 1))
    if domain != "flat":  # whose variants are rare
        assert not torch.equal(first, painted(domain, 2))
        assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("domain", [d for d in DOMAINS if d != "lineart"])
def test_a_red_disc_stays_red(domain: str) -> None:
    picture = torch.cat([painted(domain, seed) for seed in range(4)])
    inside = picture[:, :, 36:60, 36:60].mean((2, 3))
    assert bool((inside[:, 0] > inside[:, 1] + 0.15).all()), inside


def test_line_art_draws_the_border() -> None:
    picture = torch.cat([painted("lineart", seed) for seed in range(4)]).mean(1)
    contrast = picture[:, 46:50].amax(-1) - picture[:, 46:50].amin(-1)
    assert bool((contrast > 0.3).all())


def test_labels_of_any_whole_type_do() -> None:
    labels, palettes = designs()
    same = [paint("felt", kind, palettes, torch.Generator().manual_seed(3)) for kind in (labels, labels.long())]
    assert torch.equal(*same)


def test_captions_have_words_for_every_domain() -> None:
    assert DOMAIN_WORDS["flat"][0] == ""
    assert all(DOMAIN_WORDS[domain] for domain in DOMAINS)
    assert not UNSEEN_WORDS & {word for words in DOMAIN_WORDS.values() for text in words for word in text.split()}
