"""Muon on views of matrices and convolutions, AdamW on the rest."""

import copy

import torch
from torch import nn

from worker.atelier.optimiser import ADAM_SHARE, TwoOptimisers


def small_network():
    torch.manual_seed(0)
    network = nn.Sequential()
    for name, layer in (
        ("conv_in", nn.Conv2d(3, 8, 3, padding=1)),
        ("norm", nn.GroupNorm(2, 8)),
        ("conv", nn.Conv2d(8, 8, 3, padding=1)),
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flat", nn.Flatten()),
        ("linear", nn.Linear(8, 4)),
    ):
        network.add_module(name, layer)
    return network.to(memory_format=torch.channels_last)


def optimiser_of(network, eagerness=lambda _: 1.0):
    return TwoOptimisers(list(network.named_parameters()), eagerness, 1e-2, fused=False)


def step(network, optimiser, seed):
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    network(x).square().mean().backward()
    optimiser.step()


def test_every_parameter_moves_and_hidden_matrices_move_evenly():
    network = small_network()
    before = copy.deepcopy(network.state_dict())
    step(network, optimiser_of(network), 0)
    moved = {name: value - before[name] for name, value in network.state_dict().items()}
    assert all(change.abs().max() > 0 for change in moved.values())
    # Muon makes the singular values of a step alike; the gradient's differ by orders of magnitude.
    step_sizes, slopes = (
        torch.linalg.svdvals(values.permute(0, 2, 3, 1).flatten(1))
        for values in (moved["conv.weight"], network.conv.weight.grad)
    )
    assert step_sizes.max() / step_sizes.median() < 0.3 * slopes.max() / slopes.median()


def test_rates_are_each_groups_own():
    optimiser = optimiser_of(small_network(), lambda name: 3.0 if name == "linear.weight" else 1.0)
    optimiser.set_rate(1e-2)
    assert {group["lr"] for group in optimiser.muon.param_groups} == {1e-2, 3e-2}
    assert {group["lr"] for group in optimiser.adam.param_groups} == {1e-2 * ADAM_SHARE}


def test_a_resumed_training_is_the_unbroken_one():
    whole = small_network()
    optimiser = optimiser_of(whole)
    for seed in range(4):
        step(whole, optimiser, seed)
    broken = small_network()
    first = optimiser_of(broken)
    for seed in range(2):
        step(broken, first, seed)
    resumed = small_network()
    resumed.load_state_dict(broken.state_dict())
    second = optimiser_of(resumed)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in range(2, 4):
        step(resumed, second, seed)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_forgotten_gradients_move_nothing():
    network = small_network()
    optimiser = optimiser_of(network)
    step(network, optimiser, 0)
    before = copy.deepcopy(network.state_dict())
    optimiser.zero_grad()
    optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
