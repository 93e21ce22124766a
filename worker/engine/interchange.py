"""Style adapters to and from the other files in use for LoRAs of SDXL.

Read are diffusers' and peft's names, old and new, and those of kohya-ss, which A1111 and ComfyUI share, by SDXL's
original layout or by diffusers'; :mod:`worker.engine.layer_names` has the table. An import keeps the blocks that carry
style: the paper's authors publish LoRAs of the whole UNet, of which the style is four blocks' part (section 4.1 of
arXiv 2509.18948). What a style adapter cannot hold is left out and said so, or refused where a style would come out
otherwise than it was learnt.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import safetensors.torch
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import pad

from worker.engine.adapter import Adapter, AdapterError
from worker.engine.base_info import BaseInfo
from worker.engine.layer_names import KOHYA_PREFIX, block_of, from_dotted, from_kohya, is_original, to_kohya
from worker.engine.lora_file import RawLora, Strengths
from worker.engine.notices import Notice
from worker.engine.routing import attention_blocks
from worker.engine.version import STYLE_FORMAT, hoop_version

Layout = Literal["diffusers", "kohya", "kohya-diffusers"]
"""``kohya`` is by SDXL's original layout, ``kohya-diffusers`` by diffusers'."""

_MANIFEST: Final = "hoop"
_WIDTHS = {"down_blocks.1": 640, "down_blocks.2": 1280, "mid_block": 1280, "up_blocks.0": 1280, "up_blocks.1": 640}
_TEXT_WIDTH = 2048

_SKIPPED = {
    "text_encoder": "Left out: text encoders' layers ({}). A style here changes how things are drawn, not how words "
    "are read; if this one needs them, it will look weaker.",
    "convolution": "Left out: convolutions ({}). A style here holds linear layers only.",
    "elsewhere": "Left out: layers outside of the attention blocks ({}).",
    "other_blocks": "Left out: layers of blocks that do not carry the style ({}).",
}


@dataclass(frozen=True)
class Imported:
    """A LoRA that was read.

    Attributes:
        layers: by layer name A ``[r, in]`` and B ``[out, r]``, alpha = r, in the file's precision, or in float32 where
            another alpha went into B; r may differ between layers.
        layout: whose names the file uses.
        skipped: layers that were left out, by kind: ``text_encoder``, ``convolution``, ``elsewhere``, ``other_blocks``.
        values: manifest and swatch of a file that Hoop wrote; empty for others.
        made_for: the base model as the file names it, if it does.
        strength_known: false where alpha is in a second file that was not given.
    """

    layers: dict[str, tuple[Tensor, Tensor]]
    layout: str
    skipped: dict[str, int] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    made_for: str = ""
    strength_known: bool = True

    @property
    def blocks(self) -> tuple[str, ...]:
        """The attention blocks it has layers for."""
        return tuple(dict.fromkeys(block_of(name) for name in self.layers))

    @property
    def rank(self) -> int:
        """The largest rank."""
        return max(a.shape[0] for a, _ in self.layers.values())

    @property
    def notices(self) -> list[Notice]:
        """What its owner should know."""
        told = [Notice(kind, _SKIPPED[kind].format(count)) for kind, count in self.skipped.items()]
        if not self.strength_known:
            told.append(
                Notice(
                    "strength_unknown",
                    "How strong this LoRA is stands in a file adapter_config.json, which did not lie beside it; Hoop "
                    "took the usual strength.",
                )
            )
        return told

    def only(self, blocks: Collection[str]) -> Imported:
        """The part of it that lies in these attention blocks.

        Args:
            blocks: named as in :func:`worker.engine.routing.attention_blocks`.

        Raises:
            AdapterError: nothing does.
        """
        kept = {name: halves for name, halves in self.layers.items() if block_of(name) in blocks}
        if not kept:
            raise AdapterError(
                f"This LoRA changes nothing in the blocks that were to be kept: it has {', '.join(self.blocks)}."
            )
        left = len(self.layers) - len(kept) + self.skipped.get("other_blocks", 0)
        return replace(self, layers=kept, skipped=self.skipped | ({"other_blocks": left} if left else {}))

    def adapter(self, manifest: Mapping[str, Any]) -> Adapter:
        """The style adapter. The swatch is the file's own, if it has one.

        All layers get the largest rank, zeros filling the smaller: their change stays the same, the manifest's ``rank``
        is true, and programs that take one alpha for the whole file read it right.
        """
        rank, tensors = self.rank, {}
        for name, (a, b) in self.layers.items():
            more = rank - a.shape[0]
            tensors[f"unet.{name}.lora_A.weight"] = pad(a, (0, 0, 0, more)) if more else a
            tensors[f"unet.{name}.lora_B.weight"] = pad(b, (0, more)) if more else b
        own = {key: value for key, value in self.values.items() if key == "swatch"}
        return Adapter.from_values(tensors, {**manifest, **own})


def read_lora(data: bytes, peft_config: Mapping[str, Any] | None = None) -> Imported:
    """Reads a LoRA of another program, or a style adapter in any layout.

    Args:
        data: the safetensors file.
        peft_config: ``adapter_config.json`` of a file that peft wrote, where alpha stands.

    Raises:
        AdapterError: it cannot be read, it is another kind of adapter, or nothing of it lies in attention blocks.
    """
    raw = RawLora.from_bytes(data)
    strengths = Strengths.read(raw.metadata, peft_config)
    skipped: Counter[str] = Counter({"text_encoder": len(raw.text)} if raw.text else {})
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    layouts: dict[str, None] = {}  # a set that keeps its order
    for name, part in raw.layers.items():
        layer = from_kohya(name) if name.startswith(KOHYA_PREFIX) else from_dotted(name)
        if part.convolution or layer is None:
            skipped["convolution" if part.convolution else "elsewhere"] += 1
            continue
        layouts[_layout_of(name)] = None
        if layer in layers:
            raise AdapterError(f"This LoRA is damaged: it holds the layer “{layer}” twice, under different names.")
        a, b = part.halves(name)
        scale = strengths.scale(layer, a.shape[0], part.alpha)
        layers[layer] = (a, b) if scale == 1 else (a.float(), b.float() * scale)
    made_for = raw.metadata.get("ss_base_model_version") or raw.metadata.get("modelspec.architecture") or ""
    if not layers:
        said = f" It says that it was made for “{made_for}”." if made_for else ""
        raise AdapterError(
            "This LoRA has no attention layers of a UNet like SDXL's, so it belongs to another kind of model, or it is "
            f"one of text encoders only.{said}"
        )
    from_peft = any(name.startswith("base_model.model.") for name in raw.layers)
    return Imported(
        layers=layers,
        layout=" + ".join(layouts),
        skipped={kind: skipped[kind] for kind in _SKIPPED if skipped[kind]},
        values=_own_values(raw.metadata),
        made_for=made_for,
        strength_known=strengths.known or not from_peft or any(part.alpha is not None for part in raw.layers.values()),
    )


def write_lora(adapter: Adapter, layout: Layout, *, title: str = "", swatch: bool = True) -> bytes:
    """A file that the programs of this layout load: diffusers; or kohya-ss, A1111 and ComfyUI.

    Our manifest and the swatch stay inside, under ``hoop`` in the metadata, so that nothing is lost on the way back.

    Args:
        adapter: the style adapter.
        layout: whose names to use.
        title: what the programs show; the manifest's name when empty.
        swatch: keep the sample's stitches, some hundred kilobytes of metadata.

    Raises:
        AdapterError: a layer has no name in this layout, or the adapter is incomplete.
    """
    tensors: dict[str, Tensor] = {}
    for name, (a, b) in adapter.layers.items():
        if layout == "diffusers":
            tensors |= {f"unet.{name}.lora_A.weight": a, f"unet.{name}.lora_B.weight": b}
            continue
        try:
            key = to_kohya(name, original=layout == "kohya")
        except ValueError as error:
            raise AdapterError(f"This style cannot be written by kohya's names: {error}.") from error
        alpha = torch.tensor(float(a.shape[0]))
        tensors |= {f"{key}.lora_down.weight": a, f"{key}.lora_up.weight": b, f"{key}.alpha": alpha}
    values = adapter.values if swatch else adapter.manifest
    metadata = {"format": "pt", _MANIFEST: json.dumps(values), **_modelspec(adapter, layout, title)}
    if layout != "diffusers":
        metadata |= _kohya_metadata(adapter, title)
    contiguous = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    return _ordered(safetensors.torch.save(contiguous, metadata=metadata))


def is_sdxl(adapter: Adapter) -> bool:
    """Whether its layers have the widths of SDXL's UNet, so that SDXL's programs can use it."""
    for name, (a, b) in adapter.layers.items():
        if ".attn" not in name:
            continue
        reads_text = ".attn2.to_k" in name or ".attn2.to_v" in name
        width = _WIDTHS.get(name.split(".attentions.")[0])
        if b.shape[0] != width or a.shape[1] != (_TEXT_WIDTH if reads_text else width):
            return False
    return True


def outline(folder: Path) -> UNet2DConditionModel:
    """The UNet of a base's folder without its weights: names and sizes, no memory.

    Raises:
        AdapterError: the folder has none.
    """
    try:
        config = UNet2DConditionModel.load_config(folder / "unet")
    except (OSError, ValueError) as error:
        raise AdapterError(f"{folder} holds no UNet that a style could be for: {error}") from error
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config)


def for_base(imported: Imported, info: BaseInfo, unet: nn.Module, source: Mapping[str, Any], **changes: Any) -> Adapter:
    """The style adapter for a base, with the manifest that rendering reads.

    A file that Hoop wrote keeps its manifest as it is, unless something differs now.

    Args:
        imported: what was read.
        info: of the base.
        unet: of the base, :func:`outline` will do.
        source: where it comes from, for the manifest: ``file`` and ``sha256``.
        changes: entries of the manifest that were asked for, such as ``style_word`` and ``name``.

    Raises:
        AdapterError: it was made for another base, or for another version of this one.
    """
    _must_fit(imported, info, unet)
    own = {key: value for key, value in imported.values.items() if key != "swatch"}
    base, learnt_on = {"name": info.name, "version": info.version}, own.get("base")
    if isinstance(learnt_on, dict) and learnt_on.get("name") == info.name and learnt_on != base:
        raise AdapterError(
            f"This style was learnt with version {learnt_on.get('version')} of the base model {info.name}, and version "
            f"{info.version} is in use now. Please let Hoop learn it again from its photo."
        )
    blocks = [name for name in attention_blocks(unet) if name in imported.blocks]
    told = {"base": base, "rank": imported.rank, **changes}
    if not own or set(own.get("style_blocks", ())) != set(blocks):
        told["style_blocks"] = blocks
    if all(own.get(key) == value for key, value in told.items()):
        return imported.adapter(own)
    fresh = {"caption": "", "style_word": info.style_word}
    written = {"format": STYLE_FORMAT, "hoop_version": hoop_version()}
    origin = {"source": {**source, "layout": imported.layout, "skipped": imported.skipped}}
    return imported.adapter(fresh | own | written | told | origin)


def _layout_of(name: str) -> str:
    if name.startswith(KOHYA_PREFIX):
        return "kohya" if is_original(name) else "kohya-diffusers"
    return "original" if is_original(name) else "diffusers"


def _own_values(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Manifest and swatch of a file that Hoop wrote."""
    if _MANIFEST not in metadata:
        return {}
    try:
        values = json.loads(metadata[_MANIFEST])
        manifest_format = str(values.get("format", ""))
    except (ValueError, AttributeError) as error:
        raise AdapterError(f"What Hoop wrote into this style about itself is damaged: {error}.") from error
    if manifest_format and manifest_format != STYLE_FORMAT:
        raise AdapterError(f"This style was written by a newer Hoop, in the form “{manifest_format}”. Please update.")
    return dict(values) if manifest_format else {}


def _must_fit(imported: Imported, info: BaseInfo, unet: nn.Module) -> None:
    said = f" The file says that it was made for “{imported.made_for}”." if imported.made_for else ""
    sizes = {name: tuple(module.weight.shape) for name, module in unet.named_modules() if isinstance(module, nn.Linear)}
    for name, (a, b) in imported.layers.items():
        if name not in sizes:
            raise AdapterError(f"This LoRA belongs to another base than {info.name}, which has no layer {name}.{said}")
        if sizes[name] != (b.shape[0], a.shape[1]):
            raise AdapterError(
                f"This LoRA belongs to another base than {info.name}: its layer {name} has another size.{said}"
            )


def _title(adapter: Adapter, title: str) -> str:
    return title or str(adapter.manifest.get("name") or adapter.manifest.get("caption") or "Hoop style")


def _base_name(adapter: Adapter) -> str:
    return str(adapter.manifest.get("base", {}).get("name", "unknown"))


def _modelspec(adapter: Adapter, layout: Layout, title: str) -> dict[str, str]:
    """The entries that the Stability AI model metadata standard wants of every file."""
    architecture = "stable-diffusion-xl-v1-base" if is_sdxl(adapter) else _base_name(adapter)
    original = "https://github.com/Stability-AI/generative-models"
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": original if layout == "kohya" else "diffusers",
        "modelspec.title": _title(adapter, title),
    }


def _kohya_metadata(adapter: Adapter, title: str) -> dict[str, str]:
    """What kohya-ss writes and A1111 reads; a base that is not SDXL is named, or A1111 would offer it for SDXL."""
    ranks = {a.shape[0] for a, _ in adapter.layers.values()}
    rank = str(ranks.pop()) if len(ranks) == 1 else "Dynamic"
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_base_model_version": "sdxl_base_v1-0" if is_sdxl(adapter) else _base_name(adapter),
        "ss_output_name": _title(adapter, title),
    }


def _ordered(data: bytes) -> bytes:
    """The same safetensors file with its metadata in alphabetical order: the library's is chance."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
