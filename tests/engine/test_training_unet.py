"""Training's own UNet: the same predictions and gradients as the base's, shared work, and nothing stale."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from tests.engine.test_training_steps import CONFIG, batch_of
from worker.engine import lora_attention
from worker.engine.adapter import training_lora
from worker.engine.control import LiveControl
from worker.engine.frozen_layers import FrozenGroupNorm
from worker.engine.heap import kept_heap
from worker.engine.lora_attention import KeptAttention
from worker.engine.stage_one import Updates, modulation_steps, prediction_loss
from worker.engine.stage_two import adapter_changes, contrastive_loss, contrastive_step
from worker.engine.training_unet import TrainingUNet


@pytest.fixture(params=[4, 8], ids=["beside", "merged"])
def lora(base, request):
    """Of a rank that is small against the width, so that W x + B (A x) is cheaper, and of one that is not."""
    with training_lora(base.unet, base.info.style_blocks, request.param, 0) as lora:
        for name, parameter in lora.parameters.items():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
        yield lora


def loss_of(denoiser, lora, batch, kind):
    if kind != "contrast":
        return prediction_loss(denoiser, batch, of_embroidery=kind == "embroidery")
    content, style = adapter_changes(denoiser, lora, batch)
    return contrastive_loss(*(style - content).chunk(2), *content.chunk(2))


def gradients(denoiser, lora, batch, kind):
    moving = lora.parameters if kind == "design" else {name: lora.parameters[name] for name in lora.style}
    loss = loss_of(denoiser, lora, batch, kind)
    return float(loss.detach()), dict(zip(moving, torch.autograd.grad(loss, list(moving.values())), strict=True))


def assert_alike(ours, theirs, tolerance):
    assert ours[0] == pytest.approx(theirs[0], rel=tolerance)
    assert list(ours[1]) == list(theirs[1])
    for name, gradient in theirs[1].items():
        assert torch.linalg.norm(ours[1][name] - gradient) <= tolerance * torch.linalg.norm(gradient) + 1e-7, name


@pytest.mark.parametrize("kind", ["design", "embroidery", "contrast"])
@pytest.mark.parametrize("control", [True, False])
def test_losses_and_gradients_are_the_plain_ones(base, lora, kind, control):
    batch = batch_of(base, pairs=2, control=control)
    assert_alike(gradients(TrainingUNet(base, lora), lora, batch, kind), gradients(base, lora, batch, kind), 1e-3)


def test_without_a_lora_it_is_the_plain_base(base, lora):
    batch = batch_of(base)
    asked = (batch.designs[0], batch.timesteps, batch.content, batch.time_ids, batch.style, batch.residuals)
    with torch.no_grad(), lora.off():
        assert torch.allclose(TrainingUNet(base, lora).predict(*asked), base.predict(*asked), atol=1e-5)


def test_in_bfloat16_it_is_as_near_to_float32_as_autocast_is(base, lora):
    """Losses and gradients; the way through bfloat16 has layers of its own, here with whole heads and with many keys."""
    batch = batch_of(base, pairs=2)
    exact = gradients(base, lora, batch, "design")
    base.autocast_dtype = torch.bfloat16
    try:
        theirs, ours = (gradients(one, lora, batch, "design") for one in (base, TrainingUNet(base, lora)))
    finally:
        base.autocast_dtype = None

    def error(found):
        return sum(float((found[1][name] - gradient).square().sum()) for name, gradient in exact[1].items()) ** 0.5

    assert ours[0] == pytest.approx(exact[0], rel=1e-2)
    assert error(ours) < 1.5 * error(theirs)


def test_predictions_on_the_same_latents_share_what_is_the_same(base, lora, monkeypatch):
    unet = TrainingUNet(base, lora)
    walked = []
    walk = TrainingUNet._walk

    def noting(self, state, begin, end, reading):
        walked.append((begin, end))
        return walk(self, state, begin, end, reading)

    monkeypatch.setattr(TrainingUNet, "_walk", noting)
    updates, batch = Updates(lora, CONFIG), batch_of(base, pairs=2)
    modulation_steps(unet, updates, batch)
    contrastive_step(unet, lora, updates, batch, CONFIG.contrastive_weight)
    stem, trunk, rest = (0, unet.first), (unet.first, unet.first_style), (unet.first_style, len(unet.plan))
    assert walked.count(stem) == 2  # designs and embroideries
    assert walked.count(trunk) == 4  # step 1, step 2, and step 3 with and without the LoRA
    assert walked.count(rest) == 6


@pytest.mark.parametrize("optimiser", ["paper", "separate"])
def test_several_iterations_stay_with_the_plain_loop(base, optimiser):
    """Nothing that was made before a step is used after it: stale weights would lead away at once."""
    config = replace(CONFIG, optimiser=optimiser, learning_rate=1e-2)
    histories = []
    for plain in (True, False):
        with training_lora(base.unet, base.info.style_blocks, 8, 0) as lora:
            updates, denoiser = Updates(lora, config), base if plain else TrainingUNet(base, lora)
            batch = batch_of(base, config, pairs=2)
            history = []
            for _ in range(4):  # on one batch, so that everything that may be shared is
                losses = modulation_steps(denoiser, updates, batch)
                losses |= contrastive_step(denoiser, lora, updates, batch, 1.0)
                history.append([losses[kind] for kind in Updates.KINDS])
            histories.append(torch.tensor(history))
    assert (histories[0][0] - histories[0][-1]).abs().min() > 1e-3  # it did learn
    assert torch.allclose(*histories, rtol=5e-3)


def test_loading_makes_nothing_stale(base, lora):
    batch, unet = batch_of(base), TrainingUNet(base, lora)
    asked = (batch.designs[0], batch.timesteps, batch.content, batch.time_ids)
    with torch.no_grad():
        before = unet.predict(*asked)
        lora.load({name: 2 * value for name, value in lora.state().items()})
        after = unet.predict(*asked)
        assert not torch.allclose(after, before, atol=1e-4)
        assert torch.allclose(after, base.predict(*asked), atol=1e-5)


def test_a_routed_prediction_moves_theta_e_only(base, lora):
    loss = prediction_loss(TrainingUNet(base, lora), batch_of(base), of_embroidery=True)
    loss.backward()
    assert {name for name, p in lora.parameters.items() if p.grad is not None} == set(lora.style)


@pytest.mark.parametrize("kind", ["design", "embroidery", "contrast"])
def test_checkpointing_changes_nothing(base, lora, kind):
    batch = batch_of(base, pairs=2)
    usual, saving = (
        gradients(TrainingUNet(base, lora, checkpointing=checkpointing), lora, batch, kind)
        for checkpointing in (False, True)
    )
    assert_alike(saving, usual, 1e-6)


def test_checkpointing_computes_anew_with_the_weights_of_its_own_prediction(base, lora):
    """Another prediction, with another use of the LoRA, comes before the backward pass."""
    batch, found = batch_of(base), []
    for checkpointing in (False, True):
        unet = TrainingUNet(base, lora, checkpointing=checkpointing)
        losses = [prediction_loss(unet, batch, of_embroidery=kind) for kind in (False, True)]
        with torch.no_grad(), lora.off():
            prediction_loss(unet, batch, of_embroidery=False)
        found.append(torch.autograd.grad(losses[0], list(lora.parameters.values())))
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*found, strict=True))


def test_checkpointing_keeps_less(base, lora):
    def kept(checkpointing):
        sizes = []
        unet, batch = TrainingUNet(base, lora, checkpointing=checkpointing), batch_of(base)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            prediction_loss(unet, batch, of_embroidery=False)
        return sum(sizes)

    assert kept(True) < kept(False) / 2


def test_live_control_is_asked_once_for_the_same_latents(base, lora, monkeypatch):
    batch = batch_of(base, pairs=2)
    asked = []
    monkeypatch.setattr(LiveControl, "at", lambda self, *told: asked.append(told) or batch.residuals)
    live = replace(batch, residuals=LiveControl((), (), (), 4))
    unet = TrainingUNet(base, lora)
    assert_alike(
        gradients(unet, lora, live, "contrast"), gradients(TrainingUNet(base, lora), lora, batch, "contrast"), 1e-6
    )
    assert len(asked) == 1


@pytest.mark.parametrize("keys", [5, 100])
def test_kept_attention_is_attention(monkeypatch, keys):
    monkeypatch.setattr(lora_attention, "_CACHED_BYTES", 8 * 7 * keys * 2)  # two heads at a time
    q, k, v = (
        torch.randn(4, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in (7, keys, keys)
    )
    assert torch.allclose(KeptAttention.apply(q, k, v), F.scaled_dot_product_attention(q, k, v), atol=1e-6)
    if keys > 64:  # below it softmax is in float32, too coarse for finite differences
        assert gradcheck(KeptAttention.apply, [x.requires_grad_() for x in (q, k, v)])


@pytest.mark.parametrize("silu", [True, False])
def test_the_gradient_of_a_group_norm(silu):
    source = torch.Generator().manual_seed(0)
    norm = torch.nn.GroupNorm(2, 6, dtype=torch.float64).requires_grad_(False)
    norm.weight.copy_(torch.randn(6, generator=source))
    norm.bias.copy_(torch.randn(6, generator=source))
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64, generator=source).to(memory_format=torch.channels_last)
    expected, found = (x.clone().requires_grad_() for _ in range(2))
    (F.silu(norm(expected)) if silu else norm(expected)).square().sum().backward()
    FrozenGroupNorm.apply(found, norm, silu).square().sum().backward()
    assert torch.allclose(found.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_the_heap_is_given_back():
    with kept_heap():
        assert torch.ones(1000).sum() == 1000
    with pytest.raises(RuntimeError, match="stop"), kept_heap():
        raise RuntimeError("stop")
