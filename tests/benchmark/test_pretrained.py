"""The papers' own figures: taken where the weights are, and only there."""

import numpy as np
import pytest
import torch

from tests.engine.tiny_base import _tokenizer
from worker.bench import pretrained
from worker.bench.measures import Scene, extra_measures, measure
from worker.bench.pretrained import clip_score, lpips_distance


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = _tokenizer()
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "eos_token_id": tokenizer.eos_token_id,
        **shape,
    }
    config = CLIPConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **shape}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def test_clip_score_is_the_models_cosine(clip_folder):
    from transformers import CLIPModel, CLIPProcessor

    score = clip_score(clip_folder)
    picture = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)
    model, processor = CLIPModel.from_pretrained(clip_folder), CLIPProcessor.from_pretrained(clip_folder)
    given = processor(text=["a fox"], images=picture, return_tensors="pt", padding=True)
    with torch.no_grad():
        out = model(**given)
    cosine = float(torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds))
    assert score(picture, "a fox") == pytest.approx(max(0.0, 100 * cosine), abs=1e-3)


def test_without_a_model_it_is_said(tmp_path):
    with pytest.raises(ValueError, match="no CLIP model"):
        clip_score(tmp_path)


def test_extra_figures_join_the_others(clip_folder, monkeypatch):
    monkeypatch.setattr(
        "worker.bench.measures.lpips_distance", lambda: lambda one, other: float(np.abs(one - other).mean())
    )
    extra = extra_measures(clip_folder)
    assert {"lpips", "clip"} <= set(extra)
    rng = np.random.default_rng(1)
    flat, truth = (rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(2))
    mask = np.zeros((64, 64), bool)
    mask[8:56, 8:56] = True
    found = measure(flat, Scene(flat, mask, truth, truth, mask, "a fox"), {k: extra[k] for k in ("lpips", "clip")})
    assert found["lpips"] == 0
    assert "clip" in found
    assert "texture" in found


def test_lpips_needs_its_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained.torch.hub, "get_dir", lambda: str(tmp_path))
    assert lpips_distance() is None
