"""Several styles in one batch: every item has its own adapter, or none, and reads its own prompts.

Merged weights are one style's. Here the base's weights stay plain, and each item's low-rank change is added to what the
layers give: y_i = W x_i + B_i (A_i x_i), all items' in two batched products (as in S-LoRA, Sheng et al. 2023, arXiv
2311.03285). Smaller ranks are filled with zeros, which change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.adapter import TOKENS, Adapter, blocks_of, style_on, style_read
from worker.engine.bases import Base
from worker.engine.config import RenderConfig
from worker.engine.routing import PromptRouting, attention_blocks
from worker.engine.sampling import Conditions, conditions, join_conditions
from worker.engine.swap import Layers, must_fit, weight_of

__all__ = ["one_style", "reading_of", "styles_on", "told"]


@contextmanager
def styles_on(base: Base, adapters: Sequence[Adapter | None], also: Sequence[Layers] = ()) -> Iterator[None]:
    """Inside, item i of whatever the base predicts is in the style of ``adapters[i]``.

    A batch of several times as many items is read as that many rows of them, one row after the other, as guidance puts
    its two halves.

    Args:
        base: the base.
        adapters: one an item; ``None``: the plain base. Where all are the same one, its change is merged.
        also: LoRAs for all items, merged.

    Raises:
        AdapterError: a style belongs to another base, or to another version of this one.
    """
    if one_style(adapters):
        with style_on(base, adapters[0], also):
            yield
        return
    for adapter in adapters:
        with style_read(base, adapter):
            pass  # only whether it may be used with this base
    with (
        base.swap.on(*((layers, 1.0) for layers in also)),
        _routed(base, [blocks_of(base, adapter) for adapter in adapters]),
        _added(base.unet, adapters),
    ):
        yield


def one_style(adapters: Sequence[Adapter | None]) -> bool:
    """Whether all items are in the same style."""
    return all(adapter is adapters[0] for adapter in adapters)


def told(base: Base, adapters: Sequence[Adapter | None], contents: Sequence[str], config: RenderConfig) -> Conditions:
    """The prompts of a batch, each item's as its own style wants them, without control.

    Args:
        base: the base.
        adapters: one an item.
        contents: what each item shows; "" for nothing that is known.
        config: of all of them.

    Raises:
        AdapterError: a style belongs to another version of this base.
        ValueError: items of different :func:`reading_of` are in it.
    """
    parts = []
    for adapter, content in zip(adapters, contents, strict=True):
        with style_read(base, adapter):
            parts.append(conditions(base, content, config))
    return join_conditions(parts)


def reading_of(base: Base, adapter: Adapter | None, config: RenderConfig) -> tuple[object, ...]:
    """Items that agree in it can be one batch: a reference has fewer tokens than words, and they cannot be stacked."""
    tokens = None if adapter is None or not config.route else adapter.manifest.get(TOKENS)
    return () if tokens is None else (len(tokens), blocks_of(base, adapter))


class _MixedRouting(PromptRouting):
    """Routing by each item's own style blocks."""

    def __init__(self, unet: nn.Module, blocks: Sequence[Sequence[str]]) -> None:
        every = [name for name in attention_blocks(unet) if any(name in some for some in blocks)]
        known = {name for some in blocks for name in some}
        super().__init__(unet, [*every, *(known - set(every))])
        self._styled = {name: torch.tensor([name in some for some in blocks]) for name in every}

    def _hand_over(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        styled = self._styled[name]
        if self._style_hidden is None or bool(styled.all()):
            return super()._hand_over(name, module, args, kwargs)
        plain = kwargs["encoder_hidden_states"]
        chosen = styled.repeat(len(plain) // len(styled)).to(plain.device)
        hidden = torch.where(chosen[:, None, None], self._style_hidden, plain)
        return args, {**kwargs, "encoder_hidden_states": hidden}


@contextmanager
def _routed(base: Base, blocks: Sequence[Sequence[str]]) -> Iterator[None]:
    before, base.routing = base.routing, _MixedRouting(base.unet, blocks)
    try:
        yield
    finally:
        base.routing.remove()
        base.routing = before


class _Change:
    """What a linear layer's output gets: ``a`` ``[B, in, r]`` and ``b`` ``[B, r, out]``, zero where there is none."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self._rows = {1: (a, b)}

    def __call__(self, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        x: Tensor = args[0]
        a, b = self._rows[1]
        if (rows := len(x) // len(a)) != 1:
            if rows not in self._rows:
                self._rows[rows] = (a.repeat(rows, 1, 1), b.repeat(rows, 1, 1))
            a, b = self._rows[rows]
        return torch.baddbmm(output, torch.bmm(x, a), b)


@contextmanager
def _added(unet: nn.Module, adapters: Sequence[Adapter | None]) -> Iterator[None]:
    layers = [{} if adapter is None else adapter.layers for adapter in adapters]
    with ExitStack() as hooks:
        for name in dict.fromkeys(name for some in layers for name in some):
            weight = weight_of(unet, name)
            halves = [some.get(name) for some in layers]
            rank = max(len(both[0]) for both in halves if both is not None)
            a = weight.new_zeros(len(layers), weight.shape[1], rank)
            b = weight.new_zeros(len(layers), rank, weight.shape[0])
            for index, both in enumerate(halves):
                if both is not None:
                    must_fit(name, weight, *both)
                    own = len(both[0])
                    a[index, :, :own].copy_(both[0].T)
                    b[index, :own].copy_(both[1].T)
            hook = unet.get_submodule(name).register_forward_hook(_Change(a, b))
            hooks.callback(hook.remove)
        yield
