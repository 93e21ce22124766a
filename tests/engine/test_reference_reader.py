"""A style read at a glance, and a training that starts from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.test_train import CONFIG, SOURCE, Recorder, stitched_photo
from worker.engine.adapter import TOKENS, Adapter
from worker.engine.bases import load_base
from worker.engine.config import render_config
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.pairs import Pair
from worker.engine.reader import ReferenceReader
from worker.engine.train import style_at_a_glance, train_style

RENDER = render_config("flat", small=True, steps=3)


@pytest.fixture
def reading_base(base, monkeypatch):
    torch.manual_seed(3)
    reader = ReferenceReader(base.latent_channels, (8, 8, 8), tokens=2, token_width=32)
    monkeypatch.setattr(base, "reader", reader.requires_grad_(False).eval())
    return base


def drawn(base, adapter, **changes):
    request = RenderRequest(design=stitched_photo(), config=replace(RENDER, **changes), seed=1)
    return np.asarray(Renderer(base).render(adapter, request)[0].patch, dtype=float)


def test_a_base_folder_may_hold_a_reader(base_folder, tmp_path):
    import shutil

    folder = shutil.copytree(base_folder, tmp_path / "base")
    assert load_base(folder).reader is None
    ReferenceReader(4, (8, 8, 8), tokens=2, token_width=32).save_pretrained(folder / "reference_reader")
    loaded = load_base(folder)
    assert loaded.read_reference(torch.zeros(1, 4, 8, 8)).shape == (1, 2, 32)


def test_a_base_without_a_reader_says_so(base):
    with pytest.raises(ValueError, match="cannot read a style"):
        base.read_reference(torch.zeros(1, 4, 8, 8))


def test_tokens_stand_for_the_style_prompt_and_only_inside(reading_base):
    before = reading_base.style_hidden("a fox")
    tokens = reading_base.read_reference(torch.randn(1, 4, 8, 8))
    with reading_base.reference_tokens(tokens):
        told = reading_base.style_hidden("a fox")
    assert torch.equal(told, tokens)
    assert torch.equal(reading_base.style_hidden("a fox"), before)


@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_a_glance_changes_what_is_drawn_and_depends_on_the_reference(reading_base, guidance):
    def strong(photo):  # a random UNet hardly listens
        pair = Pair(photo, photo, np.ones((32, 32), bool), "artwork", {})
        glance = style_at_a_glance(reading_base, pair, read=True)
        return Adapter({}, {**glance.manifest, TOKENS: (30 * np.array(glance.manifest[TOKENS])).tolist()})

    one = strong(stitched_photo(32))
    other = strong(stitched_photo(32).transpose(Image.Transpose.ROTATE_90).convert("L").convert("RGB"))
    plain, first, second = (drawn(reading_base, adapter, guidance=guidance) for adapter in (None, one, other))
    assert not np.array_equal(first, plain)
    assert not np.array_equal(first, second)


def test_a_warm_start_is_shown_at_once_and_goes_with_the_style(reading_base):
    progress = Recorder()
    style = train_style(reading_base, SOURCE, replace(CONFIG, warm_start=True), progress)
    cold = train_style(reading_base, SOURCE, CONFIG)
    assert TOKENS in style.manifest
    assert TOKENS not in cold.manifest
    assert len(progress.previews) == 3  # before the first step and at steps 3 and 6
    adapter = Adapter.from_bytes(style.adapter)
    forgetful = Adapter(adapter.tensors, {k: v for k, v in adapter.manifest.items() if k != TOKENS})
    assert not np.array_equal(drawn(reading_base, adapter), drawn(reading_base, forgetful))


def test_only_a_base_that_reads_can_start_warm(base):
    with pytest.raises(ValueError, match="cannot read a style"):
        train_style(base, SOURCE, replace(CONFIG, warm_start=True))
