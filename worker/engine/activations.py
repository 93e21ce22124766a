"""What a run of a UNet keeps in memory, counted on torch's ``meta`` device, where tensors have shapes and no data."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_PROMPT: Final = 77
"""Tokens."""


def run(unet: Any, batch: int, cells: int) -> None:
    """One run on ``batch`` latents of ``cells`` a side, in bfloat16, where the UNet is."""
    config, dtype = unet.config, torch.bfloat16
    ids = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    unet(
        torch.empty(batch, config.in_channels, cells, cells, dtype=dtype),
        torch.empty(batch),
        encoder_hidden_states=torch.empty(batch, _PROMPT, config.cross_attention_dim, dtype=dtype),
        added_cond_kwargs={"text_embeds": torch.empty(batch, ids, dtype=dtype), "time_ids": torch.empty(batch, 6)},
    )


def _address(tensor: Tensor) -> int:
    """Of its storage, which views share."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - nothing public tells


def _tensors(of: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(of) if isinstance(leaf, Tensor)]


class Kept:
    """Inside, counts bytes of tensors that autograd keeps, each once, but for parameters; ``largest``: of one block."""

    def __init__(self, unet: nn.Module) -> None:
        self.bytes = self.largest = 0.0
        self._known = {_address(p) for p in unet.parameters()}
        self._seen: list[Tensor] = []
        self._blocks = [m for m in unet.modules() if isinstance(m, BasicTransformerBlock | ResnetBlock2D)]
        self._exits = ExitStack()

    def _pack(self, tensor: Tensor) -> Tensor:
        if _address(tensor) not in self._known:
            self._known.add(_address(tensor))
            self._seen.append(tensor)  # or another would come to lie at the same address
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor

    def __enter__(self) -> Self:
        before: list[float] = []

        def leave(*_: object) -> None:
            self.largest = max(self.largest, self.bytes - before.pop())

        for block in self._blocks:
            hooks = (
                block.register_forward_pre_hook(lambda *_: before.append(self.bytes)),
                block.register_forward_hook(leave),
            )
            for hook in hooks:
                self._exits.callback(hook.remove)
        self._exits.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor))
        self._exits.enter_context(_attention_is_fused())
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, counts bytes of the tensors that are made and not freed yet; ``peak``: the most at any time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = 0.0
        self._known: set[int] = set()
        self._exits = ExitStack()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_address(tensor) for tensor in _tensors((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            if _address(tensor) not in given | self._known:
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata  # noqa: SLF001 - as in _address
        size = storage.nbytes()

        def freed() -> None:
            self._known.discard(address)
            self.bytes -= size

        self._known.add(address)
        weakref.finalize(storage, freed)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)

    def __enter__(self) -> Self:
        self._exits.enter_context(_attention_is_fused())
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._exits.close()


@contextmanager
def _attention_is_fused() -> Iterator[None]:
    """Without data torch takes the way that writes all of the attention down, which no GPU does."""
    plain = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = _fused_attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = plain


class _FusedAttention(torch.autograd.Function):
    """Keeps what a fused attention keeps, and gives something of its output's shape."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out)
        return out


def _fused_attention(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> Tensor:
    out: Tensor = _FusedAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
    return out
