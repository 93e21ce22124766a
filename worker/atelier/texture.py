"""How textured a prediction is, and how: a loss for what the mean square does not see.

The mean square asks for the mean of all stitches that the noise may hide, which is none at all: a prediction is smooth
until the noise has nearly gone, and what the prompt or a reference says about stitches helps so little that a small
network does not learn to listen. This loss asks that a prediction have the true picture's local energy in each of many
directions and widths, wherever the stitches themselves may lie. (The mean square is likewise replaced by a distance of
features in Lin and Yang 2024, arXiv 2401.00110, and local energies of a filter bank are what texture models match:
Portilla and Simoncelli 2000.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FILTERS = 64
WINDOW, STRIDE = 12, 6
"""Cells a side of the windows in which energy counts, and from one to the next."""
FLOOR = 0.05
"""Added to root mean squares of latents, whose standard deviation is about 1: flat areas are no matter of decibels."""


class TextureLoss(nn.Module):
    """Mean absolute difference of log energies of fixed random filters in overlapping windows, at two scales.

    Filters are 3 x 3 over all channels and sum to zero in each, so that colours do not count.

    Args:
        channels: of the latents.
        seed: of the filters.
    """

    def __init__(self, channels: int, seed: int = 0) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        filters = torch.randn(FILTERS, channels, 3, 3, generator=source)
        filters -= filters.mean((2, 3), keepdim=True)
        self.filters: Tensor
        self.register_buffer("filters", filters / filters.flatten(1).norm(dim=1)[:, None, None, None])

    def energies(self, latents: Tensor) -> list[Tensor]:
        """Log root mean squares ``[B, FILTERS, windows, windows]`` of latents ``[B, C, h, w]``, at both scales."""
        found = []
        for halvings in range(2):
            scaled = functional.avg_pool2d(latents, 2) if halvings else latents
            response = functional.conv2d(scaled, self.filters)
            # Windows cover as much of the picture at either scale.
            window, stride = (side >> halvings for side in (WINDOW, STRIDE))
            energy = functional.avg_pool2d(response.square(), min(window, response.shape[-1]), stride)
            found.append(torch.log((energy + 1e-8).sqrt() + FLOOR))
        return found

    def forward(self, predicted: Tensor, clean: Tensor) -> Tensor:
        """One number for clean latents and their prediction, float32 ``[B, C, h, w]``, at least 8 cells a side."""
        with torch.no_grad():
            wanted = self.energies(clean)
        parts = [(mine - true).abs().mean() for mine, true in zip(self.energies(predicted), wanted, strict=True)]
        return torch.stack(parts).mean()
