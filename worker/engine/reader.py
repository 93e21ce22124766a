"""A style read at a glance: tokens for the style blocks from the latents of one photograph.

Trained with the base on pictures that share a style and nothing else: the reader sees one of them while the base draws
another, so what helps is how it is sewn and not what it shows. Style blocks read its tokens instead of words. They are
a start, not a style: a contrastive LoRA learns more from the same photograph in minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class _Level(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inner, outer, 3, stride=stride, padding=1)
        self.inside = nn.Conv2d(outer, outer, 3, padding=1)
        self.norm = nn.GroupNorm(8, outer)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.enter(x))
        mixed: Tensor = x + nn.functional.silu(self.inside(self.norm(x)))
        return mixed


class ReferenceReader(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Latents of a reference to style tokens.

    Channel statistics over the whole picture at three scales, as in texture synthesis and in instance-normalised style
    transfer (Huang and Belongie 2017, arXiv 1703.06868), and a small perceptron on them. Each statistic is standardised
    over training's references: what all of them share would drown what tells them apart, and a base then learns that
    there is a reference and not what it shows (docs/hoop-mini.md).

    Args:
        latent_channels: of the autoencoder.
        widths: channels at full, half and quarter latent size; divisible by 8.
        tokens: how many tokens it gives.
        token_width: the UNet's cross-attention dimension.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 8,
        widths: Sequence[int] = (48, 80, 112),
        tokens: int = 4,
        token_width: int = 192,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _Level(inner, outer, 1 if index == 0 else 2)
            for index, (inner, outer) in enumerate(zip([latent_channels, *widths[:-1]], widths, strict=True))
        )
        statistics = 2 * sum(widths)
        self.standardise = nn.BatchNorm1d(statistics, momentum=0.02, affine=False)
        self.enter = nn.Linear(statistics, 256)
        self.leave = nn.Linear(256, tokens * token_width)
        self.norm = nn.LayerNorm(token_width)
        self.tokens, self.token_width = tokens, token_width

    def forward(self, latents: Tensor) -> Tensor:
        """Tokens ``[B, tokens, token_width]`` for latents ``[B, C, h, w]`` of any size from 8 cells on."""
        x, statistics = latents, []
        for level in self.levels:
            x = level(x)
            wide = x.float()
            mean, variance = wide.mean((2, 3)), wide.var((2, 3), correction=0)
            statistics += [mean, (variance + 1e-5).sqrt()]
        told = self.standardise(torch.cat(statistics, 1).to(self.enter.weight.dtype))
        hidden = nn.functional.silu(self.enter(told))
        tokens: Tensor = self.norm(self.leave(hidden).view(-1, self.tokens, self.token_width))
        return tokens
