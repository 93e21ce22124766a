"""The base's training on a corpus of a few pictures: prompts are split, and a stopped training goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from worker.atelier import base as training
from worker.atelier.autoencoder import build_autoencoder, normalise_latents
from worker.atelier.base import Material, Trainer, draw_batch, style_prompt
from worker.atelier.corpus import Pairs, load_corpus
from worker.atelier.designs import label_map, procedural_design
from worker.atelier.loop import Averaged, warmup_decay
from worker.atelier.network import INFO, build_tokenizer
from worker.atelier.stitches import flat_design, render_embroidery, sample_style
from worker.engine.bases import load_base

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for size in (128, 256):
        designs, sewn, captions = [], [], []
        for family in ("fill", "satin", "sequin"):
            drawing, words = procedural_design(2 * size, rng)
            design = label_map(drawing, np.array([0.9, 0.9, 0.8], np.float32), 5, rng)
            style = sample_style(family, rng)
            designs.append(flat_design(design))
            sewn.append(render_embroidery(design, style))
            captions.append((words, family, style.words()))
        np.savez(
            folder / f"pairs-{size}-000.npz",
            designs=np.array(designs),
            embroideries=np.array(sewn),
            captions=json.dumps(captions),
        )
    return folder


@pytest.fixture
def material(corpus: Path) -> Material:
    return Material.make(corpus, 256, build_autoencoder(), "cpu")


def test_style_words_never_reach_the_content_prompt(material: Material) -> None:
    batch = draw_batch(material, 40, 128, np.random.default_rng(4))
    assert all("style" not in prompt for prompt in batch.content)
    sewn = [style for style in batch.style if "style" in style]
    generic = [style for style in sewn if "[emb]" in style]
    assert 0.3 < len(generic) / len(sewn) < 0.7
    assert batch.latents.shape == (40, 4, 32, 32)
    assert batch.tile.shape == (40, 3, 128, 128)
    assert batch.edge.shape == (40, 1, 128, 128)
    assert {int(v) for v in batch.time_ids[:, 4]} == {128}


def test_a_style_prompt_names_the_family_or_embroidery_in_general() -> None:
    rng = np.random.default_rng(0)
    prompts = {style_prompt("a boat", "satin", ["fine"], rng) for _ in range(30)}
    assert "a boat in [emb] style" in prompts
    assert any("satin" in prompt for prompt in prompts)


def test_crops_are_blurred_by_as_many_pixels_as_whole_pictures() -> None:
    def sigma(kernel: float, side: int) -> float:
        return (0.3 * ((kernel - 1) * 0.5 - 1) + 0.8) * side / 1024

    assert sigma(INFO.tile_kernel_at(128), 128) == pytest.approx(sigma(INFO.tile_kernel_at(256), 256))


def test_the_tokenizer_keeps_known_words_whole_and_spells_unknown_ones() -> None:
    tokenizer = build_tokenizer(["a red fox in satin style"] * 20)
    assert tokenizer.tokenize("red fox") == ["red</w>", "fox</w>"]
    assert len(tokenizer.tokenize("zebra")) > 1


def test_latents_come_out_normalised_and_pictures_unchanged(corpus: Path) -> None:
    torch.manual_seed(0)
    model = build_autoencoder().eval()
    pairs: Pairs = load_corpus(corpus, 256)
    picture = torch.from_numpy(pairs.embroideries[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        # The decoder squashes large latents softly; small ones pass as they are.
        model.encoder.layers[-1].weight.mul_(0.01)
        before = model.decoder(model.encoder(picture))
        latents = model.encoder(picture)
        normalise_latents(model, pairs)
        after = model.encoder(picture)
    assert latents.std() < 0.1 * after.std()
    assert 0.2 < float(after.std()) < 3
    assert before.shape == picture.shape


def test_a_stopped_training_goes_on_and_its_folder_is_a_base(
    corpus: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PEAK_RATE", 1e-4)
    folder, work = tmp_path / "base", tmp_path / "work"
    build_autoencoder().save_pretrained(folder / "vae")
    trainer = Trainer(folder, work, corpus)
    trainer.run([(1.0, material, 128)], 0.01, 4, report=lambda _: None)
    steps = trainer.step
    assert steps >= 1
    again = Trainer(folder, work, corpus)
    assert again.step == steps
    for mine, theirs in zip(trainer.parameters, again.parameters, strict=True):
        assert torch.equal(mine, theirs)
    base = load_base(folder)
    assert base.info.name == "hoop-mini"
    assert base.downscale == 4
    with torch.no_grad():
        prompts = base.encode_prompts(["a boat"])
        out = base.predict(torch.zeros(1, 4, 32, 32), torch.tensor([500]), prompts, base.time_ids(128))
    assert out.shape == (1, 4, 32, 32)


def test_averages_follow_quickly_at_first_and_swap_back() -> None:
    weight = torch.zeros(3)
    average = Averaged([weight], 0.99)
    weight += 1
    average.update()
    assert float(average.values[0][0]) > 0.5
    average.swap()
    average.swap()
    assert torch.equal(weight, torch.ones(3))


def test_the_rate_rises_holds_and_falls() -> None:
    assert warmup_decay(0, 0.0, warmup=10, decay_from=0.6) == pytest.approx(0.1)
    assert warmup_decay(100, 0.5, warmup=10, decay_from=0.6) == 1
    assert warmup_decay(100, 0.9, warmup=10, decay_from=0.6) == pytest.approx(0.25)
