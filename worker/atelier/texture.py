"""How textured a prediction is, and how: a loss for what the mean square does not see.

The mean square asks for the mean of all stitches that the noise may hide, which is none at all: a prediction is smooth
until the noise has nearly gone, and what the prompt or a reference says about stitches helps so little that a small
network does not learn to listen. This loss asks that a prediction have the true picture's local energy in each of many
directions and widths, wherever the stitches themselves may lie. (The mean square is likewise replaced by a distance of
features in Lin and Yang 2024, arXiv 2401.00110.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worker.engine.reader import TextureEnergies


class TextureLoss(nn.Module):
    """Mean absolute difference of :class:`~worker.engine.reader.TextureEnergies`.

    Args:
        channels: of the latents.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.energies = TextureEnergies(channels)

    def forward(self, predicted: Tensor, clean: Tensor) -> Tensor:
        """One number for clean latents and their prediction, float32 ``[B, C, h, w]``, at least 8 cells a side."""
        with torch.no_grad():
            wanted = self.energies(clean)
        parts = [(mine - true).abs().mean() for mine, true in zip(self.energies(predicted), wanted, strict=True)]
        return torch.stack(parts).mean()
