"""Checkpoints of one file in SDXL's original layout, as fine-tunes are published, to a base's folder.

Names of weights are translated by diffusers; what it needs to know of the network stands in the folder already, in the
configurations of a base of the same topology.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

PARTS: Final = ("unet", "vae", "text_encoder", "text_encoder_2")
_TELLING: Final = ("model.diffusion_model.", "conditioner.embedders.1.")
"""Beginnings of names that every checkpoint of SDXL has."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why, for people."""


def unpack_single_file(file: Path, folder: Path) -> None:
    """Writes the weights of a checkpoint's parts into a base's folder; a part that has weights there is left alone.

    Args:
        file: ``.safetensors``.
        folder: has ``model_index.json``, the tokenizers, and each part's ``config.json``.

    Raises:
        CheckpointError: the file cannot be read, or is no checkpoint of this topology.
    """
    missing = [part for part in PARTS if not list((folder / part).glob("*.safetensors"))]
    if not missing:
        return
    try:
        with safe_open(file, "pt") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file.name} cannot be read. A checkpoint has to be one whole .safetensors file; older .ckpt files can "
            "hold programs and are not opened."
        ) from error
    if not all(any(name.startswith(telling) for name in names) for telling in _TELLING):
        raise CheckpointError(
            f"{file.name} is no checkpoint of Stable Diffusion XL: it lacks the UNet or the second text encoder that "
            "those have. Checkpoints of Stable Diffusion 1 and 2, of Flux, and LoRA files cannot be bases."
        )
    try:
        pipeline = StableDiffusionXLPipeline.from_single_file(str(file), config=str(folder), local_files_only=True)
        weights = {part: _weights(getattr(pipeline, part)) for part in missing}
    except (KeyError, ValueError, RuntimeError, OSError, AttributeError) as error:
        raise CheckpointError(
            f"{file.name} is of another kind than the base that it is said to be like: {str(error)[:300]}"
        ) from error
    for part, tensors in weights.items():
        name = "model.safetensors" if part.startswith("text") else "diffusion_pytorch_model.safetensors"
        fresh = folder / part / f"{name}.new"
        save_file(tensors, fresh, {"format": "pt"})
        fresh.replace(folder / part / name)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights in 16 bits, as fine-tunes are published.

    Raises:
        ValueError: some were not in the checkpoint.
    """
    found = model.state_dict()
    # diffusers leaves without data what it found no weights for.
    if lacking := [name for name, value in found.items() if value.is_meta]:
        raise ValueError(f"it lacks {len(lacking)} weights, {lacking[0]} among them")
    return {
        name: value.to(torch.float16 if value.is_floating_point() else value.dtype).contiguous().clone()
        for name, value in found.items()
    }


def write_index(folder: Path, pipeline: str = "StableDiffusionXLPipeline") -> None:
    """Writes ``model_index.json`` by what the parts' configurations say, so that stock diffusers opens the folder."""
    index: dict[str, Any] = {"_class_name": pipeline, "force_zeros_for_empty_prompt": True}
    for part in ("unet", "vae", "text_encoder", "text_encoder_2", "scheduler"):
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        config = json.loads((folder / part / name).read_text(encoding="utf-8"))
        kind = config.get("_class_name") or config["architectures"][0]
        index[part] = ["transformers" if part.startswith("text") else "diffusers", kind]
    index |= {name: ["transformers", "CLIPTokenizer"] for name in ("tokenizer", "tokenizer_2")}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
