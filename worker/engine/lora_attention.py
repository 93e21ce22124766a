"""Attention with a LoRA in training, without what makes a generic LoRA layer slow on small matrices.

A LoRA beside a linear layer costs two small products, several casts and an addition forward, and as many again
backward. Here layers that read the same input are one product (q, k and v of a self-attention, k and v of a
cross-attention). Where the rank is not small against the width the product is with W + B A itself, which is made for
all layers of one size together: fewer operations than W x + B (A x), and the same mathematics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEPT_BYTES = 48 * 2**20
"""Layers with more attention probabilities than this do not keep them for the backward pass."""

_CACHED_BYTES = 4 * 2**20
"""As many heads are taken at a time as have probabilities of this size, so that those stay in the CPU's caches."""

_NARROW = 64
"""Below this many keys torch's bfloat16 softmax on a CPU is slower than its float32 one."""


def _heads_at_once(q: Tensor, k: Tensor) -> int:
    return max(1, _CACHED_BYTES // (q.shape[1] * k.shape[1] * q.element_size()))


def _softmax_into(out: Tensor, scores: Tensor) -> Tensor:
    if scores.shape[-1] < _NARROW:
        return out.copy_(torch.softmax(scores, -1, dtype=torch.float32))
    return torch.softmax(scores, -1, out=out)


def _softmax_backward(gradient: Tensor, p: Tensor) -> Tensor:
    if p.shape[-1] < _NARROW:
        g, wide = gradient.float(), p.float()
        return ((g - (g * wide).sum(-1, keepdim=True)) * wide).to(p.dtype)
    out: Tensor = torch.ops.aten._softmax_backward_data(gradient, p, -1, p.dtype)  # noqa: SLF001 - it has no other name
    return out


class KeptAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(d)) v, keeping the probabilities for the backward pass.

    torch's flash attention saves memory by making them twice; on a CPU, at a thousand tokens, that is a third of the
    time of a training step, and in bfloat16 its products are slower there than plain ones.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """``q`` ``[B * heads, N, d]``, ``k`` and ``v`` ``[B * heads, M, d]``."""
        some = _heads_at_once(q, k)
        keep = any(ctx.needs_input_grad)
        rows, columns = q.shape[1], k.shape[1]
        p, out = q.new_empty(len(q) if keep else some, rows, columns), torch.empty_like(q)
        scores, nothing = q.new_empty(some, rows, columns), q.new_empty(1, 1, 1)
        for begin in range(0, len(q), some):
            heads = slice(begin, begin + some)
            size = len(q[heads])
            torch.baddbmm(
                nothing, q[heads], k[heads].transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5, out=scores[:size]
            )
            part = _softmax_into(p[heads] if keep else p[:size], scores[:size])
            torch.bmm(part, v[heads], out=out[heads])
        ctx.save_for_backward(q, k, v, p)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of those inputs that want one."""
        q, k, v, p = ctx.saved_tensors
        scale: float = q.shape[-1] ** -0.5
        wanted = zip((q, k, v), ctx.needs_input_grad, strict=True)
        grads = [torch.empty_like(tensor) if wants else None for tensor, wants in wanted]
        nothing = q.new_empty(1, 1, 1)
        some = _heads_at_once(q, k)
        for heads in (slice(begin, begin + some) for begin in range(0, len(q), some)):
            grad_q, grad_k, grad_v = (None if grad is None else grad[heads] for grad in grads)
            if grad_v is not None:
                torch.bmm(p[heads].transpose(1, 2), gradient[heads], out=grad_v)
            if grad_q is None and grad_k is None:
                continue
            scores = _softmax_backward(torch.bmm(gradient[heads], v[heads].transpose(1, 2)), p[heads])
            if grad_q is not None:
                torch.baddbmm(nothing, scores, k[heads], beta=0, alpha=scale, out=grad_q)
            if grad_k is not None:
                torch.baddbmm(nothing, scores.transpose(1, 2), q[heads], beta=0, alpha=scale, out=grad_k)
        return grads[0], grads[1], grads[2]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of ``[B, heads, N, d]`` on ``[B, heads, M, d]``, the fastest way for these sizes on this device."""
    size = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * q.element_size()
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and size <= KEPT_BYTES:
        out: Tensor = KeptAttention.apply(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))  # type: ignore[no-untyped-call]
        return out.view(q.shape)
    return F.scaled_dot_product_attention(q, k, v)


@dataclass(frozen=True)
class LoraUse:
    """What one prediction does with the LoRA.

    Attributes:
        on: the UNet is theta_0 + theta_a, else the plain theta_0.
        moves: what lies outside of the style blocks gets gradients.
        style_moves: theta_e gets gradients.
        merged: W + B A ``[layers * out, in]`` of the projections for which it is cheaper.
    """

    on: bool = False
    moves: bool = False
    style_moves: bool = False
    merged: Mapping[LoraProjection, Tensor] = field(default_factory=dict)


class LoraProjection:
    """Frozen linear layers of one size that read the same input, each with its part of the LoRA, as one product.

    Args:
        layers: ``[out, in]`` each.
        a: ``[r, in]`` of each layer.
        b: ``[out, r]`` of each layer.
        style: their part belongs to theta_e.
        dtype: in which products are computed.
    """

    def __init__(
        self,
        layers: Sequence[nn.Linear],
        a: Sequence[nn.Parameter],
        b: Sequence[nn.Parameter],
        *,
        style: bool,
        dtype: torch.dtype,
    ) -> None:
        self.layers, self.a, self.b, self.style = tuple(layers), tuple(a), tuple(b), style
        self.weights = [layer.weight.detach().to(dtype) for layer in layers]
        biases: list[Tensor | None] = [layer.bias for layer in layers]
        self.biases = [None if bias is None else bias.detach().to(dtype) for bias in biases]
        self.plain: Tensor | None = None
        """All of W ``[layers * out, in]``, where W + B A is cheaper; set by :class:`MergedLayers`."""

    @property
    def merges(self) -> bool:
        """Whether W + B A costs less: T tokens * in * out more for its gradient, against 3 * T * r * (in + out)."""
        (outer, inner), rank = self.layers[0].weight.shape, len(self.a[0])
        return outer * inner < 3 * rank * (outer + inner) and (len(self.layers) == 1 or self.biases[0] is None)

    def __call__(self, x: Tensor, use: LoraUse) -> Tensor:
        """``[B, T, in]``, of this layer's dtype, to ``[B, T, layers * out]``."""
        whole = use.merged[self] if use.on and self in use.merged else None if use.on else self.plain
        if whole is not None:
            return F.linear(x, whole, self.biases[0])
        outs = [F.linear(x, weight, bias) for weight, bias in zip(self.weights, self.biases, strict=True)]
        if use.on:
            moves = use.style_moves if self.style else use.moves
            for index, (a, b) in enumerate(zip(self.a, self.b, strict=True)):
                inner, outer = (a, b) if moves else (a.detach(), b.detach())
                outs[index] = outs[index] + F.linear(F.linear(x, inner.to(x.dtype)), outer.to(x.dtype))
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=-1)


class MergedLayers:
    """W + B A of all projections whose layers have one size, in the style blocks or outside of them, made at once."""

    def __init__(self, projections: Sequence[LoraProjection], dtype: torch.dtype) -> None:
        self.projections, self.dtype, self.style = tuple(projections), dtype, projections[0].style
        self.a: list[Tensor] = [a for projection in projections for a in projection.a]
        self.b: list[Tensor] = [b for projection in projections for b in projection.b]
        # Of the whole precision: rounded before the sum, a small B A would drown in the rounding of W.
        self.weights = torch.stack([layer.weight.detach().float() for one in projections for layer in one.layers])
        self._frozen: tuple[int, dict[LoraProjection, Tensor]] = (-1, {})
        for projection, plain in self._parts(self.weights.to(dtype)).items():
            projection.plain = plain

    def _parts(self, weights: Tensor) -> dict[LoraProjection, Tensor]:
        parts = torch.split(weights, [len(projection.a) for projection in self.projections])
        return {one: part.flatten(0, 1) for one, part in zip(self.projections, parts, strict=True)}

    def _merge(self) -> dict[LoraProjection, Tensor]:
        a, b = torch.stack(self.a).to(self.dtype), torch.stack(self.b).to(self.dtype)
        return self._parts((self.weights + torch.bmm(b, a)).to(self.dtype))

    def merged(self, revision: int, *, moves: bool) -> dict[LoraProjection, Tensor]:
        """W + B A by projection.

        Args:
            revision: of the LoRA; weights without gradients serve all predictions until it changes.
            moves: gradients flow back to the LoRA.
        """
        if moves:
            return self._merge()
        if self._frozen[0] != revision:
            with torch.no_grad():
                self._frozen = revision, self._merge()
        return self._frozen[1]


def merged_layers(projections: Iterable[LoraProjection], dtype: torch.dtype) -> list[MergedLayers]:
    """Those projections for which it is cheaper, in groups of one size."""
    groups: dict[tuple[object, ...], list[LoraProjection]] = {}
    for projection in projections:
        if projection.merges:
            groups.setdefault((projection.style, *projection.layers[0].weight.shape), []).append(projection)
    return [MergedLayers(group, dtype) for group in groups.values()]


class LoraAttention:
    """One attention layer of a diffusers UNet with the LoRA on all four of its linear layers.

    Args:
        attention: diffusers' layer, its linear layers wrapped by peft.
        name: of the layer in the UNet.
        parameters: the LoRA by name.
        style: its part belongs to theta_e.
        dtype: in which it computes.
    """

    def __init__(
        self, attention: Any, name: str, parameters: dict[str, nn.Parameter], *, style: bool, dtype: torch.dtype
    ) -> None:
        self.heads = int(attention.heads)
        self.crossed = bool(attention.is_cross_attention)

        def projection(*targets: str) -> LoraProjection:
            layers = [attention.get_submodule(target).base_layer for target in targets]
            a, b = ([parameters[f"{name}.{target}.lora_{side}.weight"] for target in targets] for side in "AB")
            return LoraProjection(layers, a, b, style=style, dtype=dtype)

        inner = (("to_q",), ("to_k", "to_v")) if self.crossed else (("to_q", "to_k", "to_v"),)
        self.inner = [projection(*targets) for targets in inner]
        self.out = projection("to_out.0")

    def __call__(self, x: Tensor, text: Tensor, use: LoraUse) -> Tensor:
        """``x`` ``[B, N, C]``; a cross-attention reads ``text`` ``[B, L, D]``."""
        parts: list[Tensor] = []
        for project, source in zip(self.inner, [x, text], strict=False):
            out = project(source, use)
            # One copy makes each head's rows lie together; what follows are views.
            heads = out.view(*out.shape[:2], len(project.a), self.heads, -1).permute(2, 0, 3, 1, 4).contiguous()
            parts += heads.unbind(0)
        q, k, v = parts
        return self.out(attend(q, k, v).transpose(1, 2).flatten(2), use)
