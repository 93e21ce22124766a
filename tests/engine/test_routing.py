"""Prompt routing: the style blocks read one prompt, the rest another, and nothing else changes."""

import pytest
import torch

from worker.engine.bases import PAPER_STYLE_BLOCKS
from worker.engine.routing import PromptRouting, attention_blocks

PLAIN, STYLED = "a fox", "a fox in emb style"


def predict(base, prompt=PLAIN, style=None, **more):
    source = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=source)
    hidden = None if style is None else base.encode_prompts([style]).hidden
    with torch.no_grad():
        return base.predict(
            latents, torch.tensor([100, 700]), base.encode_prompts([prompt]), base.time_ids(32), hidden, **more
        )


def test_blocks_have_the_names_of_sdxl(base):
    assert set(PAPER_STYLE_BLOCKS) < set(attention_blocks(base.unet))
    assert len(attention_blocks(base.unet)) == 11


def test_equal_prompts_give_the_plain_unet_bit_for_bit(base):
    assert torch.equal(predict(base, PLAIN, style=PLAIN), predict(base, PLAIN))


def test_without_hooks_the_unet_gives_the_same(base):
    with_hooks = predict(base)
    base.routing.remove()
    try:
        assert torch.equal(predict(base), with_hooks)
    finally:
        base.routing = PromptRouting(base.unet, base.info.style_blocks)


def test_a_style_prompt_reaches_the_style_blocks_only(base):
    seen = {}

    def note(name):
        return lambda _module, _args, kwargs: seen.__setitem__(name, kwargs["encoder_hidden_states"])

    hooks = [
        layer.attn2.register_forward_pre_hook(note(name), with_kwargs=True)
        for name, block in attention_blocks(base.unet).items()
        for layer in block.transformer_blocks
    ]
    predict(base, PLAIN, style=STYLED)
    for hook in hooks:
        hook.remove()
    for name, hidden in seen.items():
        prompt = STYLED if name in base.info.style_blocks else PLAIN
        assert torch.equal(hidden[0], base.encode_prompts([prompt]).hidden[0]), name


def test_routing_changes_the_output_and_ends_with_the_call(base):
    plain = predict(base)
    assert not torch.equal(predict(base, PLAIN, style=STYLED), plain)
    assert torch.equal(predict(base), plain)


def test_other_style_blocks_for_a_while(base):
    blocks = ("mid_block.attentions.0",)
    usual = predict(base, style=STYLED)
    with base.style_blocks(blocks):
        assert base.routing.style_blocks == blocks
        assert not torch.equal(predict(base, style=STYLED), usual)
    assert torch.equal(predict(base, style=STYLED), usual)


def test_unknown_blocks_are_named(base):
    with pytest.raises(ValueError, match=r"down_blocks\.7"), base.style_blocks(("down_blocks.7.attentions.0",)):
        pass
