"""Styles on a UNet's own weights: put on in place, exchanged for one another, and taken off again bit for bit.

A LoRA beside the weights would cost every step; merged, W = W0 + B A costs one product a layer, once. W0 is kept, on
the same device, as long as a style may be asked for next, so that going from one style to another writes every layer
once and reads no file. Weights keep their place in memory: CUDA graphs and compiled code stay valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Layers = Mapping[str, tuple[Tensor, Tensor]]
"""A LoRA: layer name to A ``[r, in]`` and B ``[out, r]``, alpha = r; of a convolution ``in`` is channels times taps."""

Part = tuple[Layers, float]
"""A LoRA and how much of it."""


class AdapterError(ValueError):
    """A file that is no style adapter, or one for another base."""


class WeightSwap:
    """What lies on the weights of one UNet.

    Args:
        unet: nothing else may write its weights while a style is on it.

    Attributes:
        keeps: a style stays on the weights when its context is left, until another is asked for or none; for a worker
            whose next job is likely to want it again. Otherwise weights are plain, and nothing is kept, outside of
            contexts.
    """

    def __init__(self, unet: nn.Module) -> None:
        self.unet = unet
        self.keeps = False
        self._at_hand: tuple[Part, ...] = ()
        self._depth = 0
        self._weights: dict[str, Tensor] = {}
        self._originals: dict[str, Tensor] = {}
        self._changed: set[str] = set()

    @contextmanager
    def on(self, *parts: Part) -> Iterator[None]:
        """Inside, the weights are W0 plus these LoRAs, and nothing else; with none they are W0.

        Afterwards they are what they were in the context around, and without one what ``keeps`` says.

        Raises:
            AdapterError: the UNet has no such layers or they have other sizes.
        """
        before = self._at_hand if self._depth else ()
        self._depth += 1
        try:
            self.put(*parts)
            yield
        finally:
            self._depth -= 1
            if self._depth:
                self.put(*before)
            elif not self.keeps:
                self.release()

    @torch.no_grad()
    def put(self, *parts: Part) -> None:
        """Makes the weights W0 plus these LoRAs; does nothing when they are that already.

        Two LoRAs are the same when they are the same object.

        Raises:
            AdapterError: as :meth:`on`; the weights are then what they were.
        """
        wanted = tuple((layers, scale) for layers, scale in parts if layers and scale)
        if _same(wanted, self._at_hand):
            return
        planned = self._planned(wanted)
        for name in planned.keys() - self._originals.keys():
            self._originals[name] = self._weights[name].clone()
        try:
            for name in self._changed - planned.keys():
                self._weights[name].copy_(self._originals[name])
            self._changed &= planned.keys()
            for name, halves in planned.items():
                self._changed.add(name)
                _write(self._weights[name], self._originals[name], halves)
        except BaseException:
            self._restore()
            raise
        self._at_hand = wanted

    def release(self) -> None:
        """Makes the weights W0 and gives back the memory of what was kept for other styles."""
        self._restore()
        self._weights.clear()
        self._originals.clear()

    @property
    def kept_bytes(self) -> int:
        """Memory that W0 takes beside the weights."""
        return sum(one.nbytes for one in self._originals.values())

    @torch.no_grad()
    def _restore(self) -> None:
        for name in self._changed:
            self._weights[name].copy_(self._originals[name])
        self._changed.clear()
        self._at_hand = ()

    def _planned(self, parts: Sequence[Part]) -> dict[str, list[tuple[Tensor, Tensor, float]]]:
        planned: dict[str, list[tuple[Tensor, Tensor, float]]] = {}
        for layers, scale in parts:
            for name, (a, b) in layers.items():
                weight = self._weights.get(name)
                if weight is None:
                    weight = self._weights[name] = weight_of(self.unet, name)
                must_fit(name, weight, a, b)
                planned.setdefault(name, []).append((a, b, scale))
        return planned


def weight_of(unet: nn.Module, name: str) -> Tensor:
    """The weight of a layer of the UNet, below a live LoRA.

    Raises:
        AdapterError: there is no such layer.
    """
    try:
        layer: Any = unet.get_submodule(name)
    except AttributeError:
        raise AdapterError(f"the style belongs to another base: it has no layer {name}") from None
    weight: Tensor = getattr(layer, "base_layer", layer).weight
    return weight.data


def must_fit(name: str, weight: Tensor, a: Tensor, b: Tensor) -> None:
    """Raises :class:`AdapterError` unless B A has the weight's size."""
    if (weight.shape[0], weight[0].numel()) != (b.shape[0], a.shape[1]):
        raise AdapterError(f"the style belongs to another base: its layer {name} has another size")


def _same(some: Sequence[Part], others: Sequence[Part]) -> bool:
    return len(some) == len(others) and all(
        one[0] is other[0] and one[1] == other[1] for one, other in zip(some, others, strict=True)
    )


def _write(weight: Tensor, original: Tensor, halves: Sequence[tuple[Tensor, Tensor, float]]) -> None:
    """Makes a weight its original plus the sum of scale B A, in place, by one product however many there are."""

    def here(half: Tensor) -> Tensor:
        return half.to(weight.device, non_blocking=True)

    if len(halves) == 1:
        a, b, scale = here(halves[0][0]), here(halves[0][1]), halves[0][2]
    else:
        a = torch.cat([here(a).float() for a, _, _ in halves])
        b, scale = torch.cat([here(b).float() * scale for _, b, scale in halves], dim=1), 1.0
    a, b = a.to(weight.dtype), b.to(weight.dtype)
    if weight.ndim == 2:
        torch.addmm(original, b, a, alpha=scale, out=weight)
    else:
        torch.add(original, (b @ a).view(weight.shape), alpha=scale, out=weight)
