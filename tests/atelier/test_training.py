"""The base's training on a handful of designs: prompts are split, references match, a stopped training goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from diffusers.models.attention_processor import AttnProcessor2_0
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from worker.atelier import network, recipe
from worker.atelier.autoencoder import build_autoencoder, encoder_of, normalise_latents
from worker.atelier.base import Phase, Trainer, draw_batch, split_prompts
from worker.atelier.corpus import Pool
from worker.atelier.drafts import CHUNK, LANES, SEWN, VIEWS, WEARERS, Drafts, partner, style_number, style_of
from worker.atelier.evaluation.bench import digest_of
from worker.atelier.loop import Averaged, warmup_decay
from worker.atelier.network import INFO, LATENT_CHANNELS, build_unet
from worker.atelier.stitches import HELD_OUT_FAMILIES
from worker.atelier.text import PROMPT_TOKENS, TEXT_WIDTHS, build_tokenizer
from worker.engine.bases import load_base
from worker.engine.routing import PromptRouting

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 64


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    tokenizer = build_tokenizer(["a red fox in [emb] style"] * 20)
    for kind, name, width in (
        (CLIPTextModel, "text_encoder", TEXT_WIDTHS[0]),
        (CLIPTextModelWithProjection, "text_encoder_2", TEXT_WIDTHS[1]),
    ):
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        kind(config).save_pretrained(folder / name)
    for name in ("tokenizer", "tokenizer_2"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def pool(text: Path) -> Pool:
    pool = Pool(2 * CHUNK, PROMPT_TOKENS, SIZE)
    pool.grow(Drafts(None, text, 2, SIZE, seed=3), workers=0)
    torch.manual_seed(0)
    pool.encode_with(encoder_of(build_autoencoder().eval(), "cpu"), LATENT_CHANNELS, 4)
    return pool


def test_a_draft_follows_from_its_number(text: Path) -> None:
    one, again, other = (Drafts(None, text, 9, SIZE, seed=3)[n] for n in (5, 5, 6))
    assert torch.equal(one.labels, again.labels)
    assert one.styles == again.styles
    assert torch.equal(one.tokens, again.tokens)
    assert not torch.equal(one.labels, other.labels)


def test_every_view_is_rendered(pool: Pool) -> None:
    assert pool.count == pool.ready == 2 * CHUNK
    assert len(pool.names) == pool.count
    flat, domain, first, second = (pool.pictures[:, view].float() for view in range(len(VIEWS)))
    for one, other in ((flat, domain), (flat, first), (first, second)):
        assert float((one - other).abs().mean()) > 2
    assert torch.isfinite(pool.latents).all()


def test_neighbours_wear_one_style_and_held_out_families_are_worn_by_none() -> None:
    designs = torch.arange(2 * WEARERS * LANES)
    for view in SEWN:
        for step in range(1, WEARERS):
            others = partner(designs, torch.full_like(designs, view), torch.full_like(designs, step))
            for design, other in zip(designs.tolist(), others.tolist(), strict=True):
                assert other != design
                assert style_of(other, view) == style_of(design, view)
    assert not {style_number(n, 0).family for n in range(200)} & set(HELD_OUT_FAMILIES)


def test_style_words_never_reach_the_content_prompt(pool: Pool) -> None:
    torch.manual_seed(4)
    batch = draw_batch(pool, 64, SIZE // 2)
    assert batch.latents.shape == (64, LATENT_CHANNELS, 8, 8)
    assert batch.tile.shape == (64, 3, SIZE // 2, SIZE // 2)
    assert batch.edge.shape == (64, 1, SIZE // 2, SIZE // 2)
    assert set(batch.time_ids[:, 4].tolist()) == {SIZE // 2}
    assert batch.tile_kept.float().mean() > batch.edge_kept.float().mean() - 0.3
    assert 0 < int((~batch.tile_kept & ~batch.edge_kept).sum()) < 40
    same = (batch.content == batch.style).all(1)
    # Flat artwork is called the same by all; embroidery never is.
    assert 0 < int(same.sum()) < 40
    # The tests' small vocabulary spells words out, so a few captions leave no room for the style behind them.
    assert int((same & batch.read).sum()) < 0.25 * int(batch.read.sum())


def test_split_prompts_equal_the_engines_routing() -> None:
    torch.manual_seed(0)
    split, routed = build_unet().eval(), build_unet().eval()
    routed.load_state_dict(split.state_dict())
    routed.set_attn_processor(AttnProcessor2_0())
    split_prompts(split, 4)
    content, style, reference = (torch.randn(2, n, sum(TEXT_WIDTHS)) for n in (PROMPT_TOKENS, PROMPT_TOKENS, 4))
    common = {
        "sample": torch.randn(2, LATENT_CHANNELS, 8, 8),
        "timestep": torch.tensor([10, 700]),
        "added_cond_kwargs": {"text_embeds": torch.randn(2, TEXT_WIDTHS[1]), "time_ids": torch.rand(2, 6) * 200},
        "return_dict": False,
    }
    routing = PromptRouting(routed, INFO.style_blocks)
    for shown in (0.0, 1.0):
        mask = torch.cat([torch.ones(2, 2 * PROMPT_TOKENS), torch.full((2, 4), shown)], 1)
        tokens = torch.cat([content, style, reference], 1)
        with torch.no_grad(), routing.style_prompt(torch.cat([style, reference], 1) if shown else style):
            ours = split(**common, encoder_hidden_states=tokens, encoder_attention_mask=mask)[0]
            theirs = routed(**common, encoder_hidden_states=content)[0]
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_crops_are_blurred_by_as_many_pixels_as_whole_pictures() -> None:
    def sigma(kernel: float, side: int) -> float:
        return (0.3 * ((kernel - 1) * 0.5 - 1) + 0.8) * side / 1024

    assert sigma(INFO.tile_kernel_at(128), 128) == pytest.approx(sigma(INFO.tile_kernel_at(256), 256))


def test_latents_come_out_normalised(pool: Pool) -> None:
    torch.manual_seed(0)
    model = build_autoencoder().eval()
    pictures = pool.pictures[:, 2].float() / 127.5 - 1
    with torch.no_grad():
        model.encoder.layers[-1].weight.mul_(0.01)
        before = model.encoder(pictures)
        normalise_latents(model, pool)
        after = model.encoder(pictures)
    assert before.std() < 0.1 * after.std()
    assert 0.3 < float(after.std()) < 3


def test_a_stopped_training_goes_on_and_its_folder_is_a_base(pool: Pool, text: Path, tmp_path: Path) -> None:
    folder, work = tmp_path / "base", tmp_path / "work"
    build_autoencoder().save_pretrained(folder / "vae")
    trainer = Trainer(folder, work, text)
    before = trainer.network.unet.conv_in.weight.detach().clone()
    trainer.run(pool, 0.03, [Phase(1.0, {SIZE // 2: 1.0}, 2)], report=lambda _: None)
    assert trainer.step >= 1
    assert not torch.equal(before, trainer.network.unet.conv_in.weight)
    again = Trainer(folder, work, text)
    assert (again.step, again.seen) == (trainer.step, trainer.seen)
    for mine, theirs in zip(trainer.parameters, again.parameters, strict=True):
        assert torch.equal(mine, theirs)
    embeddings = dict(trainer.network.named_parameters())["text.embeddings.token_embedding.weight"]
    assert not embeddings.requires_grad
    base = load_base(folder)
    assert (base.info.name, base.downscale, base.latent_channels) == ("hoop-mini", 4, LATENT_CHANNELS)
    with torch.no_grad():
        out = base.predict(
            torch.zeros(1, LATENT_CHANNELS, 32, 32),
            torch.tensor([500]),
            base.encode_prompts(["a boat"]),
            base.time_ids(128),
        )
    assert out.shape == (1, LATENT_CHANNELS, 32, 32)


def test_a_saved_corpus_is_read_again(pool: Pool, tmp_path: Path) -> None:
    pool.save(tmp_path / "pool.pt")
    again = Pool.load(tmp_path / "pool.pt")
    assert torch.equal(again.pictures, pool.pictures[: pool.count])
    assert again.names == pool.names
    with pytest.raises(FileNotFoundError, match="hoop atelier corpus"):
        Pool.load(tmp_path / "nothing.pt")


def test_the_recipe_makes_a_base_from_nothing(
    pool: Pool, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "phases", lambda batch: [Phase(1.0, {SIZE // 2: 1.0}, batch)])
    pool.save(tmp_path / "pool.pt")
    lines: list[str] = []
    budget = recipe.Budget(autoencoder=0.02, base=0.02, batch=1, crops=2)
    trainer = recipe.make_base(tmp_path / "base", tmp_path, text, budget, report=lines.append)
    assert trainer.step >= 1
    assert load_base(tmp_path / "base").info.version == network.INFO.version
    assert any("designs encoded" in line for line in lines)

    # The UNet has learnt these latents: from now on the decoder alone is trained.
    before = AutoencoderTiny.from_pretrained(tmp_path / "base" / "vae")
    unet = digest_of(sorted((tmp_path / "base" / "unet").iterdir()))
    recipe.make_base(tmp_path / "base", tmp_path, text, replace(budget, base=0), report=lines.append)
    after = AutoencoderTiny.from_pretrained(tmp_path / "base" / "vae")
    assert all(map(torch.equal, before.encoder.parameters(), after.encoder.parameters()))
    assert not any(map(torch.equal, before.decoder.parameters(), after.decoder.parameters()))
    assert digest_of(sorted((tmp_path / "base" / "unet").iterdir())) == unet


def test_a_failing_renderer_stops_the_training(pool: Pool, text: Path, tmp_path: Path) -> None:
    build_autoencoder().save_pretrained(tmp_path / "base" / "vae")
    trainer = Trainer(tmp_path / "base", tmp_path, text)
    pool.failure = OSError("no space left")
    try:
        with pytest.raises(RuntimeError, match="could not be rendered"):
            trainer.run(pool, 0.1, [Phase(1.0, {SIZE // 2: 1.0}, 1)], report=lambda _: None)
    finally:
        pool.failure = None


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


def test_styles_are_drawn_alike_for_a_number() -> None:
    assert style_number(12, 0) == style_number(12, 0) != style_number(13, 0)
    assert np.isfinite(style_number(12, 0).px_per_mm)
