"""The texture loss sees stitches and nothing else."""

import torch

from worker.atelier.texture import TextureLoss


def stripes(angle, period=3.0, shift=0.0, size=32):
    """Latents of rows of stitches, one batch."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    angle = torch.tensor(angle)
    wave = torch.sin(2 * torch.pi * (x * angle.cos() + y * angle.sin()) / period + shift)
    return torch.stack([wave, 0.5 * wave, -wave, 0.2 * wave])[None]


loss = TextureLoss(4)


def test_the_same_picture_costs_nothing_and_colours_do_not_count():
    rows = stripes(0.3)
    assert loss(rows, rows) == 0
    assert loss(rows + torch.tensor([0.5, -1.0, 0.2, 2.0]).view(1, 4, 1, 1), rows) < 1e-4


def test_where_the_stitches_lie_hardly_counts_but_what_they_are_does():
    rows = stripes(0.3)
    moved = loss(stripes(0.3, shift=1.5), rows)
    assert loss(stripes(1.3), rows) > 4 * moved
    assert loss(stripes(0.3, period=5.0), rows) > 4 * moved
    assert loss(torch.zeros_like(rows), rows) > 10 * moved


def test_a_faint_texture_is_drawn_out():
    rows = stripes(0.3)
    strength = torch.tensor(0.2, requires_grad=True)
    loss(strength * rows, rows).backward()
    assert strength.grad < 0


def test_filters_are_the_same_every_time_and_any_size_of_picture_goes():
    assert torch.equal(TextureLoss(4).energies.filters, loss.energies.filters)
    assert loss(torch.zeros(2, 4, 8, 8), stripes(0.3, size=8).expand(2, -1, -1, -1)) > 0
