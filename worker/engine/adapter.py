"""The LoRA that is trained (theta_a) and the part of it that is kept, the style adapter (theta_e).

A style adapter is one safetensors file with diffusers' key names, ``unet.<layer>.lora_A.weight`` ``[r, in]`` and
``unet.<layer>.lora_B.weight`` ``[out, r]``, so that any SDXL pipeline of the same base loads it by
``load_lora_weights``; alpha equals the rank. Its manifest, JSON, is in the file's metadata under ``hoop``, and in it
the sample's own stitches, to be laid on designs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from worker.engine.bases import Base
from worker.engine.checkpoint import Snapshot
from worker.engine.quilt import Swatch
from worker.engine.swap import AdapterError, Layers, WeightSwap

__all__ = [
    "TARGETS",
    "TOKENS",
    "Adapter",
    "AdapterError",
    "TrainingLora",
    "applied",
    "blocks_of",
    "style_on",
    "style_read",
    "training_lora",
]

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers of every attention layer that get a LoRA."""

TOKENS = "reference_tokens"
"""Manifest entry: what a base's reader made of the reference, ``[R][C]``; style blocks read it instead of words."""

_SWATCH = "swatch"
_ADAPTER = "default"
_KEY = re.compile(r"unet\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True)
class Adapter:
    """A style adapter: ``tensors`` by diffusers' key names, ``manifest`` as JSON values, ``swatch`` of the sample."""

    tensors: dict[str, Tensor]
    manifest: dict[str, Any]
    swatch: Swatch | None = None

    def to_bytes(self) -> bytes:
        """The safetensors file."""
        # One entry of metadata: the order of several is chance, and the same style must give the same file.
        return Snapshot(self.tensors, self.values).to_bytes()

    @property
    def values(self) -> dict[str, Any]:
        """Manifest and swatch, as the file's metadata holds them."""
        return self.manifest | ({} if self.swatch is None else {_SWATCH: self._packed_swatch})

    @cached_property
    def _packed_swatch(self) -> dict[str, Any] | None:
        return None if self.swatch is None else self.swatch.as_json()

    @classmethod
    def from_bytes(cls, data: bytes) -> Adapter:
        """Reads a file.

        Raises:
            AdapterError: it is no style adapter.
        """
        try:
            snapshot = Snapshot.from_bytes(data)
        except ValueError as error:
            raise AdapterError(f"this file is no style adapter: {error}") from error
        adapter = cls.from_values(snapshot.tensors, snapshot.values)
        if not adapter.tensors or not all(_KEY.fullmatch(key) for key in adapter.tensors):
            raise AdapterError("this file is no style adapter: it holds other weights than a LoRA of a UNet")
        return adapter

    @classmethod
    def from_values(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Adapter:
        """The adapter of these tensors and :attr:`values`.

        Raises:
            AdapterError: the swatch is damaged.
        """
        manifest = {name: value for name, value in values.items() if name != _SWATCH}
        packed = values.get(_SWATCH)
        try:
            adapter = cls(tensors, manifest, None if packed is None else Swatch.from_json(packed))
        except ValueError as error:
            raise AdapterError(f"this file is no style adapter: {error}") from error
        if packed is not None:
            # Packed anew, its larger picture would lose a little each time a file is read and written.
            adapter.__dict__["_packed_swatch"] = packed
        return adapter

    @cached_property
    def layers(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer name to (A, B).

        Raises:
            AdapterError: half of a layer is missing.
        """
        names = dict.fromkeys(match["layer"] for key in self.tensors if (match := _KEY.fullmatch(key)))
        try:
            return {
                name: (self.tensors[f"unet.{name}.lora_A.weight"], self.tensors[f"unet.{name}.lora_B.weight"])
                for name in names
            }
        except KeyError as error:
            raise AdapterError(f"the style adapter is incomplete: it lacks {error}") from error

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


@contextmanager
def applied(unet: nn.Module, adapter: Adapter | None, scale: float = 1.0) -> Iterator[None]:
    """Inside, the UNet's weights are W + scale * B A; afterwards they are bit for bit what they were.

    Raises:
        AdapterError: the UNet has no such layers or they have other sizes.
    """
    with WeightSwap(unet).on(*([] if adapter is None else [(adapter.layers, scale)])):
        yield


@contextmanager
def style_on(base: Base, adapter: Adapter | None, also: Sequence[Layers] = ()) -> Iterator[None]:
    """Inside, the base draws in the adapter's style, its prompts routed to the adapter's own style blocks.

    Args:
        base: whose :attr:`~worker.engine.bases.Base.swap` says whether the style stays on the weights afterwards.
        adapter: the style; ``None``: the plain base.
        also: further LoRAs that lie on the weights beside it.

    Raises:
        AdapterError: the style belongs to another base, or to another version of this one.
    """
    parts = [(layers, 1.0) for layers in ([] if adapter is None else [adapter.layers]) + [*also]]
    with style_read(base, adapter), base.style_blocks(blocks_of(base, adapter)), base.swap.on(*parts):
        yield


def blocks_of(base: Base, adapter: Adapter | None) -> tuple[str, ...]:
    """The style blocks of a style, or the base's."""
    return (
        base.info.style_blocks
        if adapter is None
        else tuple(adapter.manifest.get("style_blocks", base.info.style_blocks))
    )


@contextmanager
def style_read(base: Base, adapter: Adapter | None) -> Iterator[None]:
    """Inside, the base words its prompts as the style wants them, without the style's being on the weights.

    Raises:
        AdapterError: the style belongs to another version of this base.
    """
    manifest = {} if adapter is None else adapter.manifest
    learnt_on, info = manifest.get("base", {}), base.info
    if learnt_on.get("name") == info.name and learnt_on.get("version", info.version) != info.version:
        raise AdapterError(
            f"This style was learnt with version {learnt_on['version']} of the base model {info.name}, and version "
            f"{info.version} is in use now. Please let Hoop learn it again from its photo; the old one is kept."
        )
    tokens = manifest.get(TOKENS)
    # A style from elsewhere may go by another word than the base's own.
    base.info = replace(info, style_word=manifest.get("style_word", info.style_word))
    try:
        with base.reference_tokens(None if tokens is None else torch.tensor([tokens])):
            yield
    finally:
        base.info = info


class TrainingLora:
    """theta_a on a UNet: a rank-r LoRA, float32, on every attention layer, gaussian init; see :func:`training_lora`.

    Attributes:
        parameters: all of it, by name, in the UNet's order.
        style: the names of theta_e.
        revisions: how often what is outside of theta_e and how often theta_e was changed.
    """

    def __init__(self, unet: nn.Module, style_blocks: Sequence[str]) -> None:
        layers = {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}
        # All layers share one list of active adapters: emptying it makes theta_0 out of theta_0 + theta_a everywhere,
        # without walking the modules.
        self._active = [_ADAPTER]
        self.parameters: dict[str, nn.Parameter] = {}
        for name, layer in layers.items():
            layer.set_adapter(self._active)
            if layer.active_adapter is not self._active:
                raise RuntimeError("peft no longer keeps the list of active adapters it is given")
            for side in ("A", "B"):
                weight = getattr(layer, f"lora_{side}")[_ADAPTER].weight
                weight.data = weight.data.float()
                self.parameters[f"{name}.lora_{side}.weight"] = weight
        prefixes = tuple(f"{block}." for block in style_blocks)
        self.style = tuple(name for name in self.parameters if name.startswith(prefixes))
        self.revisions = [0, 0]

    def changed(self, *, style_only: bool) -> None:
        """To be told of every change to the parameters: what was made from them is stale now."""
        self.revisions[1] += 1
        self.revisions[0] += not style_only

    @property
    def style_parameters(self) -> list[nn.Parameter]:
        """theta_e."""
        return [self.parameters[name] for name in self.style]

    @property
    def active(self) -> bool:
        """False inside :meth:`off`."""
        return bool(self._active)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, the UNet is the plain theta_0."""
        self._active.clear()
        try:
            yield
        finally:
            self._active.append(_ADAPTER)

    def style_adapter(self, manifest: dict[str, Any], swatch: Swatch | None = None) -> Adapter:
        """theta_e as it is now, to keep."""
        tensors = {f"unet.{name}": self.parameters[name].detach().cpu().clone() for name in self.style}
        return Adapter(tensors, manifest, swatch)

    def state(self) -> dict[str, Tensor]:
        """theta_a as it is now."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Takes theta_a from :meth:`state`."""
        for name, parameter in self.parameters.items():
            parameter.copy_(state[name])
        self.changed(style_only=False)


@contextmanager
def training_lora(unet: Any, style_blocks: Sequence[str], rank: int, seed: int) -> Iterator[TrainingLora]:
    """Puts a new LoRA on a UNet and takes it off again, whatever happens inside; the base's weights never change."""
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            unet.add_adapter(
                LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(TARGETS)),
                adapter_name=_ADAPTER,
            )
        yield TrainingLora(unet, style_blocks)
    finally:
        unet.unload_lora()
