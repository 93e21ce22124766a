"""Pictures larger than the base's side, drawn tile by tile: the UNet sees windows of the size it was trained on.

In every step each tile's prediction is made on its own and the predictions are averaged under a smooth window
(MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113); the sampler then takes one step of the whole picture. Where
tiles overlap they therefore never part, and no seam is left to hide afterwards.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor

OVERLAP = 0.25
"""Overlap of neighbouring tiles, share of the base's side."""

LARGEST = 1.25
"""Tiles may be so much larger than the base's side: at twice the side 4 tiles do what would take 9 of just the side,
in 0.58 of the time."""


@dataclass(frozen=True)
class Tiling:
    """Square windows over a square of latents; all numbers in latent cells.

    Attributes:
        side: of the picture.
        tile: of a tile; the picture's own side when one tile is enough.
        starts: first row, and column, of the tiles.
    """

    side: int
    tile: int
    starts: tuple[int, ...]

    @classmethod
    def over(cls, side: int, trained: int, unit: int = 1) -> Tiling:
        """The fewest equal tiles of about the trained size.

        Args:
            side: of the picture, a multiple of ``unit``.
            trained: side that the UNet was trained on.
            unit: starts and tiles are multiples of it, so that they are whole cells on the UNet's coarsest level.
        """
        limit = max(unit, math.floor(LARGEST * trained / unit) * unit)
        if side <= limit:
            return cls(side, side, (0,))
        for count in itertools.count(2):
            tile = math.ceil((side + (count - 1) * OVERLAP * trained) / count / unit) * unit
            starts = tuple(round(k * (side - tile) / (count - 1) / unit) * unit for k in range(count))
            # Rounding may leave two tiles side by side where a tile has few units; of one unit they cannot overlap.
            if tile <= limit and all(b - a < max(tile, unit + 1) for a, b in pairwise(starts)):
                return cls(side, tile, starts)
        raise AssertionError("enough tiles overlap")

    def __len__(self) -> int:
        return len(self.starts) ** 2

    def blend(self, x: Tensor, predict: Callable[[Tensor, int, int], Tensor]) -> Tensor:
        """The average of the tiles' predictions, ``[B, C, side, side]`` like ``x``.

        Args:
            x: ``[B, C, side, side]``.
            predict: (window of x, its top, its left) to a prediction of the window's shape. Called for one tile after
                the other, so that memory does not grow with the picture.
        """
        if len(self) == 1:
            return predict(x, 0, 0)
        ramp = torch.sin(math.pi * (torch.arange(self.tile, device=x.device) + 0.5) / self.tile).square()
        window = ramp[:, None] * ramp
        total, weight = torch.zeros_like(x), torch.zeros_like(x[0, 0])
        for top, left in product(self.starts, self.starts):
            area = (..., slice(top, top + self.tile), slice(left, left + self.tile))
            total[area] += window * predict(x[area], top, left)
            weight[area] += window
        return total / weight
