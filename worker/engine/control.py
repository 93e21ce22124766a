"""Control: what holds a design's layout and colours in place while the UNet paints the stitches.

A :class:`ControlBranch` looks at one style-neutral map of the design (blurred flat colours, or edges) and adds a
residual to every skip connection of the UNet and to its middle block, at the places where ControlNet (Zhang et al.
2023, arXiv 2302.05543) adds its own. Unlike a ControlNet it does not see the noisy latents or the timestep, so it
runs once an image instead of once a step. ControlNets themselves, of bases of SDXL's size, run in every step:
:class:`LiveControl`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from diffusers import ControlNetModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from worker.engine.prompts import Prompts


@dataclass(frozen=True)
class Residuals:
    """What control adds to a UNet: one tensor for every skip connection, in the order the UNet makes them.

    ``down`` is ``[conv_in, block 0 layers, block 0 downsample, block 1 layers, ...]``, each ``[B, C_i, h_i, w_i]``;
    ``mid`` is ``[B, C_last, h_last, w_last]``. A batch of one broadcasts over the UNet's batch.
    """

    down: tuple[Tensor, ...]
    mid: Tensor

    @property
    def batch(self) -> int:
        """How many items it was made for."""
        return len(self.mid)

    def each(self, change: Callable[[Tensor], Tensor]) -> Residuals:
        """The residuals with ``change`` applied to every tensor."""
        return Residuals(tuple(change(tensor) for tensor in self.down), change(self.mid))

    def repeat(self, count: int) -> Residuals:
        """Each item of the batch ``count`` times in a row: ``[a, a, b, b]``."""
        return self.each(lambda tensor: tensor.repeat_interleave(count, dim=0))

    def item(self, index: int) -> Residuals:
        """One item of the batch, as a batch of one."""
        return self.each(lambda tensor: tensor[index : index + 1])

    def crop(self, top: int, left: int, size: int) -> Residuals:
        """A square window, in cells of the finest level; must be divisible by the coarsest level's stride."""
        finest = self.down[0].shape[-1]

        def window(tensor: Tensor) -> Tensor:
            stride = finest // tensor.shape[-1]
            y, x, side = top // stride, left // stride, size // stride
            return tensor[..., y : y + side, x : x + side]

        return self.each(window)


def add_residuals(parts: Iterable[tuple[Residuals, float]]) -> Residuals | None:
    """The weighted sum of several branches' residuals; ``None`` when there is nothing to add."""
    total: Residuals | None = None
    for residuals, weight in parts:
        scaled = residuals.each(lambda tensor, weight=weight: tensor * weight)  # type: ignore[misc]
        if total is None:
            total = scaled
        else:
            total = Residuals(
                tuple(a + b for a, b in zip(total.down, scaled.down, strict=True)), total.mid + scaled.mid
            )
    return total


@dataclass(frozen=True, eq=False)
class LiveControl:
    """Maps with the ControlNets that read them; what :class:`Residuals` are of a control branch.

    Attributes:
        nets: one a map.
        maps: ``[B, 3, H, W]`` in [0, 1], at pixel size; a batch of one broadcasts over the latents' batch.
        scales: weight of each net's residuals.
        downscale: pixels to a latent cell.
    """

    nets: tuple[ControlNetModel, ...]
    maps: tuple[Tensor, ...]
    scales: tuple[float, ...]
    downscale: int

    @property
    def batch(self) -> int:
        """How many items it was made for."""
        return len(self.maps[0])

    def each(self, change: Callable[[Tensor], Tensor]) -> LiveControl:
        """The same with ``change``, which works on the batch, applied to every map."""
        return replace(self, maps=tuple(change(one) for one in self.maps))

    def repeat(self, count: int) -> LiveControl:
        """Each item of the batch ``count`` times in a row: ``[a, a, b, b]``."""
        return self.each(lambda one: one.repeat_interleave(count, dim=0))

    def item(self, index: int) -> LiveControl:
        """One item of the batch, as a batch of one."""
        return self.each(lambda one: one[index : index + 1])

    def crop(self, top: int, left: int, size: int) -> LiveControl:
        """A square window, in latent cells."""
        y, x, side = (cells * self.downscale for cells in (top, left, size))
        return self.each(lambda one: one[..., y : y + side, x : x + side])

    def at(self, latents: Tensor, timesteps: Tensor, prompts: Prompts, time_ids: Tensor) -> Residuals:
        """The residuals for noisy latents ``[B, C, h, w]`` at ``timesteps`` ``[B]``; all arguments have batch B."""
        parts = []
        for net, image, scale in zip(self.nets, self.maps, self.scales, strict=True):
            down, mid = net(
                latents.to(net.dtype),
                timesteps,
                encoder_hidden_states=prompts.hidden.to(net.dtype),
                controlnet_cond=image.expand(len(latents), *image.shape[1:]).to(latents.device, net.dtype),
                added_cond_kwargs={
                    "text_embeds": prompts.pooled.to(net.dtype),
                    "time_ids": time_ids.to(net.dtype),
                },
                return_dict=False,
            )
            parts.append((Residuals(tuple(down), mid), scale))
        total = add_residuals(parts)
        if total is None:
            raise ValueError("a live control has at least one net")
        return total


Control = Residuals | LiveControl
"""What steers a drawing: made once for all steps, or in each anew."""


def join_residuals(parts: Sequence[Control]) -> Control:
    """Several controls of equal shapes and the same nets as one batch.

    Raises:
        ValueError: they are of different kinds.
    """
    first = parts[0]
    if isinstance(first, LiveControl):
        live = [part for part in parts if isinstance(part, LiveControl)]
        if len(live) != len(parts):
            raise ValueError("controls of different kinds cannot be joined")
        return replace(first, maps=tuple(torch.cat(maps) for maps in zip(*(part.maps for part in live), strict=True)))
    made = [part for part in parts if isinstance(part, Residuals)]
    if len(made) != len(parts):
        raise ValueError("controls of different kinds cannot be joined")
    down = tuple(torch.cat(level) for level in zip(*(part.down for part in made), strict=True))
    return Residuals(down, torch.cat([part.mid for part in made]))


def _convs(inner: int, outer: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride=stride, padding=1),
        nn.SiLU(),
        nn.Conv2d(outer, outer, 3, padding=1),
        nn.SiLU(),
    )


class ControlBranch(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """One map at pixel size to residuals for every skip of a UNet of SDXL's topology and for its middle block.

    Args:
        conditioning_channels: channels of the map: 3 for a tile (RGB), 1 for edges. Values in [0, 1].
        downscale: pixels to one latent cell, the autoencoder's factor; the map's sides must be divisible by
            ``downscale * 2 ** (len(block_out_channels) - 1)``.
        hidden: width of the stem, which works at latent size.
        block_out_channels, layers_per_block: as in the UNet's own configuration.

    The 1x1 output convolutions start at zero, so a new branch changes nothing.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        conditioning_channels: int = 3,
        downscale: int = 4,
        hidden: int = 48,
        block_out_channels: Sequence[int] = (64, 128, 192),
        layers_per_block: int = 2,
    ) -> None:
        super().__init__()
        widths = list(block_out_channels)
        self.unshuffle = nn.PixelUnshuffle(downscale)
        self.stem = _convs(conditioning_channels * downscale**2, hidden)
        self.levels = nn.ModuleList(
            [_convs(hidden, widths[0])] + [_convs(inner, outer, stride=2) for inner, outer in pairwise(widths)]
        )
        # (features' level, features' channels, skip's channels) of every skip, in the order in which the UNet makes
        # them: a downsampler keeps its block's channels but its output already has the next level's size.
        skips = [(0, widths[0], widths[0])]
        for level, width in enumerate(widths):
            skips += [(level, width, width)] * layers_per_block
            if level + 1 < len(widths):
                skips.append((level + 1, widths[level + 1], width))
        self.skip_levels = [level for level, _, _ in skips]
        self.down_outs = nn.ModuleList([nn.Conv2d(inner, outer, 1) for _, inner, outer in skips])
        self.mid_out = nn.Conv2d(widths[-1], widths[-1], 1)
        for out in [*self.down_outs, self.mid_out]:
            for parameter in out.parameters():
                nn.init.zeros_(parameter)

    def forward(self, conditioning: Tensor) -> tuple[list[Tensor], Tensor]:
        """Residuals for the map ``[B, conditioning_channels, H, W]``: (one for every skip, one for the middle)."""
        features = []
        x = self.stem(self.unshuffle(conditioning))
        for level in self.levels:
            x = level(x)
            features.append(x)
        down = [out(features[level]) for level, out in zip(self.skip_levels, self.down_outs, strict=True)]
        return down, self.mid_out(features[-1])
