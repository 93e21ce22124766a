"""Checkpoints of one file in SDXL's original layout, as fine-tunes are published, to a base's folder.

Names of weights are translated by diffusers; what it needs to know of the network stands in the folder already, in the
configurations of a base of the same topology.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from worker.engine.base_info import INFO_FILE

_TELLING: Final = ("model.diffusion_model.", "conditioner.embedders.1.")
"""Beginnings of names that every checkpoint of SDXL has."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why, for people."""


def unpack_single_file(file: Path, folder: Path, places: Mapping[str, str]) -> None:
    """Writes the weights of a checkpoint's parts into a base's folder, in place of those that are there.

    Args:
        file: ``.safetensors``.
        folder: has ``model_index.json``, the tokenizers, and each part's ``config.json``. Its ``hoop.json`` goes as
            soon as weights change.
        places: where in the folder the weights of a part go, for each part that is wanted.

    Raises:
        CheckpointError: the file cannot be read, or is no checkpoint of this topology, or its weights cannot be
            written. The folder is as before.
    """
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
        # In 16 bits from the start: in 32, SDXL's are 14 GB of the computer's memory.
        pipeline = StableDiffusionXLPipeline.from_single_file(
            str(file), config=str(folder), local_files_only=True, torch_dtype=torch.float16
        )
        for part in places:
            _check_whole(getattr(pipeline, part))
    except (KeyError, ValueError, RuntimeError, OSError, AttributeError) as error:
        raise CheckpointError(
            f"{file.name} is of another kind than the base that it is said to be like: {str(error)[:300]}"
        ) from error
    fresh = {folder / place: folder / f"{place}.new" for place in places.values()}
    try:
        for part, path in zip(places, fresh.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(_weights(getattr(pipeline, part)), path, {"format": "pt"})
    except (SafetensorError, OSError) as error:
        for path in fresh.values():
            path.unlink(missing_ok=True)
        raise CheckpointError(f"The weights of {file.name} cannot be written to {folder}: {error}") from error
    (folder / INFO_FILE).unlink(missing_ok=True)
    for target, path in fresh.items():
        path.replace(target)


def _check_whole(model: nn.Module) -> None:
    """Raises :class:`ValueError` when some weights were not in the checkpoint."""
    # diffusers leaves without data what it found none for.
    if lacking := [name for name, value in model.state_dict().items() if value.is_meta]:
        raise ValueError(f"it lacks {len(lacking)} weights, {lacking[0]} among them")


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights in 16 bits, as fine-tunes are published."""
    return {
        name: value.to(torch.float16 if value.is_floating_point() else value.dtype).contiguous().clone()
        for name, value in model.state_dict().items()
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
