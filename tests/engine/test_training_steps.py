"""One iteration of both stages: what moves, what stays, and what the losses are."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from worker.engine.adapter import training_lora
from worker.engine.config import train_config
from worker.engine.sampling import control_of
from worker.engine.seeds import generator
from worker.engine.stage_one import (
    TrainingPair,
    Updates,
    Wording,
    draw_batch,
    modulation_steps,
    motif_windows,
    prediction_loss,
)
from worker.engine.stage_two import adapter_changes, contrastive_loss, contrastive_step

CONFIG = train_config("paper", rank=4, timesteps_per_step=2, learning_rate=1e-3)


def make_pair(base, seed=0, *, control=True, side=8):
    source = torch.Generator().manual_seed(seed)
    picture = Image.fromarray((torch.rand(32, 32, 3, generator=source).numpy() * 255).astype(np.uint8))
    return TrainingPair(
        design=torch.randn(1, 4, 8, 8, generator=source),
        embroidery=torch.randn(1, 4, 8, 8, generator=source),
        residuals=control_of(base, [picture], 1.0, 1.0) if control else None,
        named=Wording.of(base, "a fox"),
        unnamed=Wording.of(base, ""),
        windows=motif_windows(None, 8, side, 4),
        side=side,
    )


@pytest.fixture
def lora(base):
    with training_lora(base.unet, base.info.style_blocks, CONFIG.rank, 0) as lora:
        for name, parameter in lora.parameters.items():
            if "lora_B" in name:  # away from zero, so that every parameter has a gradient
                parameter.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
        yield lora


def batch_of(base, config=CONFIG, pairs=1, **kinds):
    chosen = [(make_pair(base, 0, **kinds), 1.0), (make_pair(base, 1, **kinds), 0.1)][:pairs]
    return draw_batch(base, chosen, config, generator(0, "test"))


def snapshot(lora, updates):
    return {name: value.clone() for name, value in {**lora.state(), **updates.state()}.items()}


def moved(before, after):
    return {name for name, value in after.items() if name not in before or not torch.equal(before[name], value)}


def of_style(lora, name):
    return any(name == style or f"/{style}/" in name for style in lora.style)


def test_design_and_embroidery_share_noise_and_timestep(base):
    batch = batch_of(base, replace(CONFIG, timesteps_per_step=1))
    t = batch.timesteps
    a = base.scheduler.alphas_cumprod[t].sqrt()
    s = (1 - base.scheduler.alphas_cumprod[t]).sqrt()
    pair = make_pair(base, 0)
    noise = (batch.designs[0] - a * pair.design) / s
    assert torch.allclose(noise, (batch.embroideries[0] - a * pair.embroidery) / s, atol=1e-4)
    assert torch.allclose(batch.designs[1], a * noise - s * pair.design, atol=1e-4)  # v-prediction's target


def test_some_steps_name_no_content(base):
    named = batch_of(base)
    assert torch.equal(named.content.hidden[0], base.encode_prompts(["a fox"]).hidden[0])
    assert torch.equal(named.style[0], base.encode_prompts(["a fox in emb style"]).hidden[0])
    unnamed = batch_of(base, replace(CONFIG, unnamed_share=1.0))
    assert torch.equal(unnamed.content.pooled[1], base.encode_prompts([""]).pooled[0])
    assert torch.equal(unnamed.style[1], base.encode_prompts(["in emb style"]).hidden[0])


def test_epsilon_bases_predict_the_noise(epsilon_base):
    batch = batch_of(epsilon_base)
    assert torch.equal(batch.designs[1], batch.embroideries[1])
    assert prediction_loss(epsilon_base, batch, of_embroidery=True).isfinite()


def test_the_loss_is_the_weighted_mean_square(base):
    batch = batch_of(base, pairs=2)
    assert batch.weights.tolist() == pytest.approx([0.5, 0.5, 0.05, 0.05])
    with torch.no_grad():
        out = base.predict(
            batch.embroideries[0], batch.timesteps, batch.content, batch.time_ids, batch.style, batch.residuals
        )
        errors = [float(((out - batch.embroideries[1])[i] ** 2).mean()) for i in range(4)]
        expected = (errors[0] + errors[1]) / 2 + 0.1 * (errors[2] + errors[3]) / 2
        assert float(prediction_loss(base, batch, of_embroidery=True)) == pytest.approx(expected, rel=1e-5)


def test_windows_show_the_motif():
    mask = np.zeros((64, 64), bool)
    mask[32:, 32:] = True
    assert motif_windows(mask, 16, 8, 4) == ((4, 8), (8, 4), (8, 8))
    assert motif_windows(np.zeros((64, 64), bool), 16, 8, 4)  # nothing to see: any window will do
    assert motif_windows(mask, 8, 8, 4) == ((0, 0),)


def test_cropped_steps_run_and_carry_their_place(base):
    batch = batch_of(base, side=4)
    assert batch.designs[0].shape == (2, 4, 4, 4)
    assert batch.residuals.down[0].shape[-1] == 4


@pytest.mark.parametrize("optimiser", ["paper", "separate"])
def test_step_one_moves_everything_step_two_only_theta_e(base, lora, optimiser):
    updates = Updates(lora, replace(CONFIG, optimiser=optimiser))
    batch = batch_of(base)
    start = snapshot(lora, updates)
    updates.step("design", prediction_loss(base, batch, of_embroidery=False))
    first = snapshot(lora, updates)
    assert {name for name in moved(start, first) if "/" not in name} == set(lora.parameters)
    updates.step("embroidery", prediction_loss(base, batch, of_embroidery=True))
    second = snapshot(lora, updates)
    changed = moved(first, second)
    assert set(lora.style) <= changed
    assert all(of_style(lora, name) for name in changed)  # values, moments and step counts


@pytest.mark.parametrize("optimiser", ["paper", "separate"])
def test_step_three_moves_only_theta_e(base, lora, optimiser):
    updates = Updates(lora, replace(CONFIG, optimiser=optimiser))
    batch = batch_of(base, pairs=2)
    modulation_steps(base, updates, batch)
    before = snapshot(lora, updates)
    contrastive_step(base, lora, updates, batch, CONFIG.contrastive_weight)
    changed = moved(before, snapshot(lora, updates))
    assert set(lora.style) <= changed
    assert all(of_style(lora, name) for name in changed)


def test_a_shared_optimiser_moves_theta_e_with_the_moments_of_step_one(base, lora):
    """The paper's AdamW is one: with a zero gradient step two still moves theta_e, by momentum and decay."""
    updates = Updates(lora, CONFIG)
    batch = batch_of(base)
    updates.step("design", prediction_loss(base, batch, of_embroidery=False))
    before = snapshot(lora, updates)
    updates.step("embroidery", 0 * prediction_loss(base, batch, of_embroidery=True))
    assert set(lora.style) <= moved(before, snapshot(lora, updates))


def test_the_first_adamw_step_is_the_textbooks(base, lora):
    """theta - lr (sign-like g / (|g| + eps) + decay theta), for a step from empty moments."""
    updates = Updates(lora, CONFIG)
    batch = batch_of(base)
    name = lora.style[0]
    theta = lora.parameters[name].detach().clone()
    (gradient,) = torch.autograd.grad(prediction_loss(base, batch, of_embroidery=False), [lora.parameters[name]])
    updates.step("design", prediction_loss(base, batch, of_embroidery=False))
    lr, decay, eps = CONFIG.learning_rate, CONFIG.weight_decay, CONFIG.epsilon
    expected = theta * (1 - lr * decay) - lr * gradient / (gradient.abs() + eps)
    assert torch.allclose(lora.parameters[name].detach(), expected, atol=1e-6)


def test_contrastive_loss_by_hand():
    e1, e2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    diagonal = torch.tensor([[3.0, 3.0]])
    # s(style, style) = 1; both negatives 0: -log(e / (1 + 1))
    assert float(contrastive_loss(e1, 5 * e1, e2, e2)) == pytest.approx(-math.log(math.e / 2))
    # s(e1, diagonal) = r; s(e1, content_gen = e1) = 1; s(content_ref = e2, diagonal) = r, r = 1 / sqrt(2)
    r = 1 / math.sqrt(2)
    expected = -math.log(math.exp(r) / (math.exp(1) + math.exp(r)))
    assert float(contrastive_loss(e1, diagonal, e2, e1)) == pytest.approx(expected, rel=1e-6)
    # a batch is averaged
    both = contrastive_loss(
        torch.cat([e1, e1]), torch.cat([5 * e1, diagonal]), torch.cat([e2, e2]), torch.cat([e2, e1])
    )
    assert float(both) == pytest.approx((-math.log(math.e / 2) + expected) / 2, rel=1e-6)


def test_adapter_changes_are_differences_to_the_plain_base(base, lora):
    batch = batch_of(base, pairs=2)
    content, style = adapter_changes(base, lora, batch)
    assert style.requires_grad
    assert not content.requires_grad
    noisy = batch.designs[0]

    def out(hidden):
        with torch.no_grad():
            return base.predict(noisy, batch.timesteps, batch.content, batch.time_ids, hidden, batch.residuals)

    with lora.off():
        plain, plain_style = out(None), out(batch.style)
    assert torch.allclose(content, out(None) - plain, atol=1e-5)
    assert torch.allclose(style.detach(), out(batch.style) - plain_style, atol=1e-5)


def test_optimiser_state_survives_the_round_trip(base, lora):
    for optimiser in ("paper", "separate"):
        config = replace(CONFIG, optimiser=optimiser)
        updates = Updates(lora, config)
        batch = batch_of(base, pairs=2)
        modulation_steps(base, updates, batch)
        again = Updates(lora, config)
        again.load(updates.state())
        assert not moved(updates.state(), again.state())


def test_late_bias_looks_at_little_noise_oftener(base):
    def mean(bias):
        return float(batch_of(base, replace(CONFIG, late_bias=bias, timesteps_per_step=256)).timesteps.float().mean())

    assert 440 < mean(0.0) < 560
    assert 200 < mean(2.0) < 300  # 1000 times the mean of u^3


def test_the_rate_falls_at_the_end_only():
    config = train_config("short", learning_rate=1e-3, rate_decay=0.5, total_steps=10)
    assert [round(1e3 * config.rate_at(step), 3) for step in (0, 5, 6, 9)] == [1.0, 1.0, 0.8, 0.2]
    assert train_config("paper").rate_at(599) == 1e-4


def test_the_rate_reaches_the_optimisers(base, lora):
    updates = Updates(lora, CONFIG)
    before = {name: value.clone() for name, value in lora.state().items()}
    updates.set_rate(0.0)
    modulation_steps(base, updates, batch_of(base))
    assert all(torch.equal(value, before[name]) for name, value in lora.state().items())
    updates.set_rate(1e-3)
    modulation_steps(base, updates, batch_of(base))
    assert not any(torch.equal(value, before[name]) for name, value in lora.state().items())
