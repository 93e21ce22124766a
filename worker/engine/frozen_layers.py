"""A UNet's frozen layers in the dtype that products are computed in, channels-last, for gradients of inputs only."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution:
    """A frozen convolution."""

    def __init__(self, module: nn.Conv2d, dtype: torch.dtype) -> None:
        self.weight = module.weight.detach().to(dtype, memory_format=torch.channels_last)
        self.bias = None if module.bias is None else module.bias.detach().to(dtype)
        self.stride, self.padding = module.stride, module.padding

    def __call__(self, x: Tensor) -> Tensor:
        """``[B, C, h, w]``, channels-last."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class Dense:
    """A frozen linear layer, or some of its outputs."""

    def __init__(self, module: nn.Linear, dtype: torch.dtype, outputs: slice = slice(None)) -> None:
        self.weight = module.weight.detach()[outputs].to(dtype)
        bias: Tensor | None = module.bias
        self.bias = None if bias is None else bias.detach()[outputs].to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        return F.linear(x, self.weight, self.bias)


class FrozenGroupNorm(torch.autograd.Function):
    """Group norm with frozen weights, and SiLU after it if wanted.

    torch's backward of a bfloat16 group norm goes through its elements one by one on a CPU. Written with sums over the
    channels it is a few passes, three times as fast.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: nn.GroupNorm, silu: bool) -> Tensor:  # noqa: FBT001 - `apply` takes no keywords
        """``x`` ``[B, C, h, w]``, channels-last."""
        batch, channels, *size = x.shape
        normed, mean, inverse = torch.native_group_norm(
            x, norm.weight, norm.bias, batch, channels, size[0] * size[1], norm.num_groups, norm.eps
        )
        # The second is 1 / deviation. Without SiLU the backward pass has no use for the normed values.
        ctx.save_for_backward(x, normed if silu else None, mean.float(), inverse.float(), norm.weight)
        return F.silu(normed) if silu else normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of ``x``."""
        x, normed, mean, inverse, weight = ctx.saved_tensors
        batch, channels, height, width = x.shape
        groups = mean.shape[1]

        def rows(tensor: Tensor) -> Tensor:
            return tensor.permute(0, 2, 3, 1).reshape(batch, height * width, channels)

        def by_group(sums: Tensor) -> Tensor:
            total: Tensor = (sums * weight).view(batch, groups, -1).sum(-1)
            return total

        def by_channel(values: Tensor) -> Tensor:
            per = values[..., None].expand(batch, groups, channels // groups)
            return per.reshape(batch, 1, channels)

        g = rows(gradient if normed is None else torch.ops.aten.silu_backward(gradient, normed))
        x = rows(x)
        total, with_x = (by_group(t.sum(1, dtype=torch.float32)) for t in (g, g * x))
        # With x^ = (x - mean) / deviation and n elements in a group:
        # (weight g - sum(weight g) / n - x^ sum(weight g x^) / n) / deviation
        count = height * width * channels // groups
        slope = -(inverse**3) * (with_x - mean * total) / count
        offset = -inverse * total / count - mean * slope
        out = torch.addcmul(by_channel(offset).to(x.dtype), x, by_channel(slope).to(x.dtype))
        out = torch.addcmul(out, g, (by_channel(inverse) * weight).to(x.dtype))
        return out.view(batch, height, width, channels).permute(0, 3, 1, 2), None, None


def group_norm(x: Tensor, norm: nn.GroupNorm, *, silu: bool = True) -> Tensor:
    """The group norm of ``[B, C, h, w]``, channels-last, and SiLU after it."""
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:
        out: Tensor = FrozenGroupNorm.apply(x, norm, silu)  # type: ignore[no-untyped-call]
        return out
    normed = plain_norm(x, norm)
    return F.silu(normed) if silu else normed


def plain_norm(x: Tensor, norm: nn.GroupNorm | nn.LayerNorm) -> Tensor:
    """A norm of ``x`` in ``x``'s dtype, whatever dtype its weights have."""
    if x.device.type == "cpu" or norm.weight.dtype == x.dtype:
        return norm(x)  # type: ignore[no-any-return]
    # CUDA's kernels want one dtype; autocast takes float32 there.
    with torch.autocast(x.device.type, x.dtype):
        return norm(x).to(x.dtype)  # type: ignore[no-any-return]


class Residual:
    """diffusers' ResnetBlock2D.

    Raises:
        ValueError: it is not of SDXL's kind.
    """

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        if block.time_embedding_norm != "default" or block.upsample is not None or block.downsample is not None:
            raise ValueError("training knows residual blocks of SDXL's kind only")
        self.norms = (block.norm1, block.norm2)
        self.convolutions = (Convolution(block.conv1, dtype), Convolution(block.conv2, dtype))
        self.time = Dense(block.time_emb_proj, dtype)
        self.shortcut = None if block.conv_shortcut is None else Convolution(block.conv_shortcut, dtype)
        self.scale = float(block.output_scale_factor)

    def __call__(self, x: Tensor, time: Tensor) -> Tensor:
        """``x`` ``[B, C, h, w]``; ``time`` ``[B, T]`` is the activated time embedding."""
        h = self.convolutions[0](group_norm(x, self.norms[0])) + self.time(time)[:, :, None, None]
        h = self.convolutions[1](group_norm(h, self.norms[1]))
        h = (x if self.shortcut is None else self.shortcut(x)) + h
        return h if self.scale == 1 else h / self.scale


class GatedDense:
    """GEGLU and the linear layer after it, diffusers' FeedForward."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        gated, out = module.net[0].proj, module.net[2]
        half = gated.weight.shape[0] // 2
        # Two products: one would have to be cut in two, and its gradient put together again.
        self.value, self.gate = Dense(gated, dtype, slice(half)), Dense(gated, dtype, slice(half, None))
        self.out = Dense(out, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """``[B, N, C]`` to the same."""
        return self.out(self.value(x) * F.gelu(self.gate(x)))
