"""LoRA files of other programs, as far as they need no names: which tensors belong together, and how strong they are.

A layer's change is ``alpha / r * B A`` with A ``[r, in]`` ("down") and B ``[out, r]`` ("up"). Where a file says alpha
differs: kohya-ss in a tensor beside the two, diffusers in the file's metadata, peft in a second file; a file that says
none means alpha = r.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from worker.engine.adapter import AdapterError

DIFFUSERS_METADATA: Final = "lora_adapter_metadata"
_KEPT = (torch.float32, torch.float16, torch.bfloat16)
_AGAIN = "Please download it again."

_HALF = re.compile(
    r"(?P<layer>.+?)(?:\.lora_|\.lora\.|_lora\.|\.lora_layer\.|\.lora_linear_layer\.)"
    r"(?P<half>A|B|down|up|mid)(?:\.[\w-]+)?\.weight"
)
_ALPHA = re.compile(r"(?P<layer>.+?)(?:_lora)?\.alpha")
_TEXT = re.compile(r"(?:base_model\.model\.)?(?:lora_te\d?_|text_encoder|text_model\.|te\d?\.|bundle_emb\.|clip_[lg]$)")
_OTHER_KINDS = {
    "DoRA": re.compile(r"dora_scale|lora_magnitude_vector"),
    "LoHa": re.compile(r"\.hada_"),
    "LoKr": re.compile(r"\.lokr_"),
    "OFT": re.compile(r"\.b?oft_|oft_blocks|oft_diag|\.oft\."),
}


@dataclass
class RawLayer:
    """One layer as the file has it, under the file's own name."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None
    convolution: bool = False

    def halves(self, name: str) -> tuple[Tensor, Tensor]:
        """A ``[r, in]`` and B ``[out, r]`` as the file has them, or float32 for a precision that is seldom.

        Convolutions of one pixel count as linear layers, which they are.

        Raises:
            AdapterError: one is missing, or they do not belong together.
        """
        if self.down is None or self.up is None:
            raise AdapterError(f"This LoRA is incomplete: one half of its layer “{name}” is missing. {_AGAIN}")
        a, b = (half.flatten(1) if half.ndim == 4 else half for half in (self.down, self.up))
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or not a.numel() or not b.numel():
            raise AdapterError(f"This LoRA is damaged: the halves of its layer “{name}” do not fit. {_AGAIN}")
        if not (a.is_floating_point() and b.is_floating_point()):
            raise AdapterError(f"This LoRA holds whole numbers in its layer “{name}”; Hoop reads fp32, fp16 and bf16.")
        a, b = (half if half.dtype in _KEPT else half.float() for half in (a, b))
        if not (a.isfinite().all() and b.isfinite().all()):
            raise AdapterError(f"This LoRA is damaged: its layer “{name}” holds values that are no numbers. {_AGAIN}")
        return a, b


@dataclass(frozen=True)
class RawLora:
    """A file of LoRA layers.

    Attributes:
        layers: by the file's names, without those of text encoders.
        metadata: of the file.
        text: layers of text encoders, which are not read.
    """

    layers: dict[str, RawLayer]
    metadata: dict[str, str]
    text: set[str] = field(default_factory=set)

    @classmethod
    def from_bytes(cls, data: bytes) -> RawLora:
        """Reads a safetensors file.

        Raises:
            AdapterError: it cannot be read, or it holds something else than a LoRA.
        """
        # A safetensors file begins with its header's length, which may be any bytes, and then the header, JSON.
        if data[8:9] != b"{" and (data[:2] == b"PK" or data[:1] == b"\x80"):
            raise AdapterError(
                "This is a PyTorch file, which could run a program when it is opened, so Hoop does not open it. Please "
                "ask for the LoRA as .safetensors."
            )
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            raw = cls({}, dict(header.get("__metadata__", {})))
            kinds = {key: raw._place(key) for key in header if key != "__metadata__"}
            tensors = safetensors.torch.load(data)
        except AdapterError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
            raise AdapterError(f"This is no .safetensors file, or it is damaged: {error}.") from error
        for key, place in kinds.items():
            if place is not None:
                raw._take(*place, tensors[key])
        if not raw.layers and not raw.text:
            raise AdapterError("This file is empty: it holds no LoRA.")
        return raw

    def _place(self, key: str) -> tuple[str, str] | None:
        """Layer and half of a tensor; ``None`` for what is not read."""
        found = _HALF.fullmatch(key)
        if _TEXT.match(key):
            self.text.add(found["layer"] if found else key.removesuffix(".alpha"))
            return None
        for kind, pattern in _OTHER_KINDS.items():
            if pattern.search(key):
                raise AdapterError(
                    f"This file holds a {kind}, another kind of adapter than a LoRA. Its changes cannot be written as "
                    "a LoRA's without loss, so Hoop does not read it. Please ask for it as a plain LoRA."
                )
        if found is not None:
            return found["layer"], {"A": "down", "B": "up"}.get(found["half"], found["half"])
        found = _ALPHA.fullmatch(key)
        if found is not None:
            return found["layer"], "alpha"
        raise AdapterError(
            f"This file holds more than a LoRA, or something else: Hoop cannot read “{key}”. A whole model, a "
            "file of several gigabytes, is no LoRA."
        )

    def _take(self, name: str, half: str, tensor: Tensor) -> None:
        layer = self.layers.setdefault(name, RawLayer())
        if half == "alpha":
            if tensor.numel() != 1:
                raise AdapterError(f"This LoRA is damaged: the strength of its layer “{name}” is no single number.")
            layer.alpha = float(tensor)
        elif half == "mid":
            layer.convolution = True
        else:
            layer.convolution |= tensor.ndim == 4 and tuple(tensor.shape[2:]) != (1, 1)
            setattr(layer, half, tensor)


@dataclass(frozen=True)
class Strengths:
    """alpha of every layer as peft's configuration says it."""

    alpha: float | None = None
    pattern: Mapping[str, float] = field(default_factory=dict)
    root: bool = False

    @classmethod
    def read(cls, metadata: Mapping[str, str], beside: Mapping[str, Any] | None = None) -> Strengths:
        """From a file's metadata as diffusers writes it, or from peft's ``adapter_config.json`` beside the file.

        Raises:
            AdapterError: it cannot be read, or it is another kind of adapter.
        """
        try:
            told: Mapping[str, Any] = json.loads(metadata.get(DIFFUSERS_METADATA) or "{}")
            config = {key.removeprefix("unet."): value for key, value in told.items() if key.startswith("unet.")}
            config = config or dict(beside or {})
            if config.get("use_dora") or config.get("peft_type", "LORA") != "LORA":
                kind = "DoRA" if config.get("use_dora") else config["peft_type"]
                raise AdapterError(f"This file holds a {kind}, another kind of adapter than a LoRA.")
            alpha = config.get("lora_alpha")
            pattern = {str(name): float(value) for name, value in (config.get("alpha_pattern") or {}).items()}
            return cls(None if alpha is None else float(alpha), pattern, bool(config.get("use_rslora")))
        except AdapterError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise AdapterError(f"This LoRA's own description of its strength cannot be read: {error}.") from error

    @property
    def known(self) -> bool:
        """Whether anything is said."""
        return self.alpha is not None or bool(self.pattern)

    def scale(self, layer: str, rank: int, own: float | None) -> float:
        """What B is multiplied by: alpha / r, or alpha / sqrt(r) where the file was trained so.

        Args:
            layer: the layer's path.
            rank: r.
            own: alpha of the tensor beside it, which goes before the configuration's.
        """
        if own is not None:
            return own / rank
        named = next((value for name, value in self.pattern.items() if f".{layer}".endswith(f".{name}")), self.alpha)
        return 1.0 if named is None else named / (sqrt(rank) if self.root else rank)
