"""The block analysis."""

from dataclasses import replace

import pytest
import torch

from tests.engine.test_train import CONFIG, SOURCE
from worker.engine.adapter import Adapter
from worker.engine.blocks import SEGMENTS, BlockSimilarity, block_similarity, invert, likeness
from worker.engine.train import train_style


def latents(seed, count=1):
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_equal_pictures_are_alike_everywhere(base):
    found = block_similarity(base, latents(0), latents(0), base.encode_prompts(["a"]), steps=10)
    assert len(found.blocks) == 11
    assert all(len(row) == SEGMENTS and min(row) > 0.9999 for row in found.similarity)


def test_different_pictures_are_less_alike_and_late_segments_come_first(base):
    prompts = base.encode_prompts(["a"])
    found = block_similarity(base, latents(0), latents(1), prompts, steps=20)
    assert all(score < 0.9999 for score in found.scores().values())
    assert list(invert(base, latents(0), prompts, 20))[:3] == [9, 9, 8]
    assert list(invert(base, latents(0), prompts, 10, until=0.5)) == [9, 8, 7, 6, 5]
    assert found.as_json()["blocks"][0] == "down_blocks.1.attentions.0"


def test_inversion_ends_in_noise_that_leads_back(base):
    """Deterministic steps with one and the same prediction type: clean in, finite noise out."""
    steps = 10
    seen = list(invert(base, latents(0), base.encode_prompts(["a"]), steps))
    assert seen == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_likeness_ranks_the_same_picture_first(base):
    made = torch.cat([latents(3), latents(0), latents(2)])
    found = likeness(base, made, latents(0), base.encode_prompts(["a"]), steps=10)
    assert found.shape == (3,)
    assert int(found.argmax()) == 1
    assert float(found[1]) == pytest.approx(1, abs=1e-4)


def test_automatic_choices():
    scores = {"a": 0.9, "b": 0.2, "c": 0.3, "d": 0.25, "e": 0.8, "f": 0.95, "g": 0.85, "h": 0.9}
    found = BlockSimilarity(tuple(scores), tuple((0.0,) * 5 + (score,) * 5 for score in scores.values()))
    assert found.scores() == pytest.approx(scores)
    assert found.choose("lowest:2") == ("b", "d")
    assert found.choose("gap") == ("b", "c", "d")
    for rule in ("best", "lowest:x", "lowest:0", "lowest:99"):
        with pytest.raises(ValueError, match="no rule"):
            found.choose(rule)


def test_soft_weights_by_hand():
    found = BlockSimilarity(("a", "b", "c"), ((0.2,) * 10, (0.9,) * 10, (0.55,) * 10))
    assert found.weights() == pytest.approx({"a": 1.0, "b": 0.0, "c": 0.5})


def test_a_soft_choice_keeps_of_every_block_by_its_weight(base):
    config = replace(CONFIG, block_choice="soft", analysis_steps=10)
    soft = Adapter.from_bytes(train_style(base, SOURCE, config).adapter)
    whole = Adapter.from_bytes(train_style(base, SOURCE, replace(config, block_choice="all")).adapter)
    weights = soft.manifest["block_weights"]
    assert len(weights) == len(soft.manifest["style_blocks"]) == 11
    for block, weight in weights.items():
        for name in (n for n in soft.tensors if n.startswith(f"unet.{block}.") and "lora_B" in n):
            wanted = whole.tensors[name] * weight
            assert torch.allclose(soft.tensors[name], wanted, atol=1e-4 * float(whole.tensors[name].abs().max()))
    named = replace(config, block_choice="mid_block.attentions.0,up_blocks.0.attentions.1")
    assert train_style(base, SOURCE, named).manifest["style_blocks"] == named.block_choice.split(",")
    with pytest.raises(ValueError, match="no rule"):
        train_style(base, SOURCE, replace(config, block_choice="nonsense"))
