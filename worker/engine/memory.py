"""How much memory a training or a rendering needs, before it is begun, and what is done where that is too much.

Nothing is allocated to find out: the UNet runs on torch's ``meta`` device, where tensors have shapes and no data, and
what autograd would keep of a training's run is counted, and what a rendering's holds at most
(:mod:`worker.engine.activations`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from safetensors import safe_open

from worker.engine.activations import Kept, Live, run
from worker.engine.adapter import TARGETS
from worker.engine.base_info import BaseInfo
from worker.engine.render_work import BATCH

SAVINGS: Final = {
    "text_encoders_aside": "text encoders wait in the computer's memory and come over for every new text",
    "vae_tiling": "the autoencoder works tile by tile",
    "checkpointing": "training computes the UNet's inner values twice instead of keeping them",
    "controls_aside": "control networks wait in the computer's memory until they are used",
}
"""What can be done to need less of a device's memory, each with what it means."""
_OF_TRAINING: Final = ("checkpointing",)
"""Those that a rendering gains nothing by."""

SPARE: Final = 0.92
"""Share of the free memory that is planned with: allocators lose some between blocks."""
WORKSPACE: Final = 600e6
"""Bytes for CUDA's context and libraries' workspaces."""
_OPTIMISER_COPIES: Final = 4
"""A float32 parameter, its gradient and AdamW's two moments."""
DECODER_BYTES: Final = 3_600.0
"""Bytes at the autoencoder's peak for every pixel that it decodes at once, 16 bits a value: three maps of 256 channels
at full size and convolutions' workspace."""
_TILE_SIDE: Final = 512
_AUTOCAST: Final = 1.4
"""What autocast adds to activations of 16 bits: norms and softmax give 32. Counted by hand for SDXL's blocks."""
_AUTOCAST_PEAK: Final = 1.7
"""The same at a run's peak, in the widest residual block: its norm and what follows have 32 bits, its input 16."""
_PAIR: Final = 2
"""Stage two steps on two pairs at once."""
_GUIDED: Final = 2
"""Guidance predicts every picture twice, in one batch."""


@dataclass(frozen=True)
class Need:
    """Bytes on the device, by what they are for; ``training`` is 0 where nothing is trained."""

    weights: float
    training: float
    rendering: float

    @property
    def total(self) -> float:
        """Trainings and renderings take turns."""
        return self.weights + max(self.training, self.rendering) + WORKSPACE


@dataclass(frozen=True)
class Plan:
    """How a base is loaded on a device.

    Attributes:
        savings: keys of :data:`SAVINGS`.
        need: with them.
        free: bytes that there are.
        trains: styles are learnt with it too; otherwise it only renders.
    """

    savings: tuple[str, ...]
    need: Need
    free: float
    trains: bool = True

    @property
    def fits(self) -> bool:
        """Whether that is enough."""
        return self.need.total <= self.free * SPARE

    def describe(self) -> str:
        """For people, a sentence or two."""
        done = "; ".join(SAVINGS[name] for name in self.savings)
        fits = "" if self.fits else " That is more than there is: it may fail, and smaller pictures need less."
        return (
            f"{self.need.total / 1e9:.1f} GB for {'training and rendering' if self.trains else 'rendering alone'}, "
            f"of {self.free / 1e9:.1f} GB free" + (f"; to save memory, {done}." if done else ".") + fits
        )


def plan(
    folder: Path,
    free: float,
    order: Sequence[str],
    dtype: torch.dtype,
    rank: int = 32,
    *,
    more: int = 0,
    trains: bool = True,
    batch: int = BATCH,
) -> Plan:
    """The savings of ``order`` with which a base fits into ``free`` bytes and without any of which it does not.

    Those at its beginning are preferred. Where it never fits, that is all of them.

    Args:
        folder: the base's.
        free: bytes of the device's memory.
        order: keys of :data:`SAVINGS`, the cheapest first.
        dtype: of the weights on the device.
        rank: of a training's LoRA.
        more: savings beyond what the estimate asks for, where it was too low before.
        trains: whether styles are learnt there too. Where they are not, only what rendering needs is counted, and
            nothing is done that saves a training's memory alone.
        batch: pictures of the base's size that are drawn at once.

    Raises:
        BaseError: the folder is no base.
    """
    if not trains:
        order = [saving for saving in order if saving not in _OF_TRAINING]
    sizes = {part.name: weights_of(part) * dtype.itemsize for part in folder.iterdir() if part.is_dir()}
    resolution = BaseInfo.read(folder).resolution
    # The original of whatever a style, or a speed-up of the whole UNet, may lie on (:mod:`worker.engine.swap`).
    originals = sizes["unet"] if "few_steps" in sizes else sizes["unet"] * _style_share(folder)

    drawing = _peak_of_rendering(folder, batch)

    @cache
    def training(*, checkpointing: bool) -> float:
        return _kept_by_training(folder, rank, checkpointing=checkpointing)

    def planned(savings: Sequence[str]) -> Plan:
        kept = training(checkpointing="checkpointing" in savings) if trains else 0.0
        need = _need(resolution, sizes, kept, drawing, originals, savings, batch)
        return Plan(tuple(savings), need, free, trains)

    for count in range(len(order) + 1):
        found = planned(order[:count])
        if found.fits:
            break
    if found.fits:
        # A later saving may do what earlier ones were tried for. The dearest of the others go first.
        for saving in reversed(found.savings):
            without = planned([one for one in found.savings if one != saving])
            found = without if without.fits else found
    beyond = [saving for saving in order if saving not in found.savings][:more]
    return planned([saving for saving in order if saving in (*found.savings, *beyond)]) if beyond else found


def _need(
    resolution: int,
    sizes: dict[str, float],
    training: float,
    drawing: float,
    originals: float,
    savings: Sequence[str],
    batch: int,
) -> Need:
    weights = sum(
        size
        for name, size in sizes.items()
        if not (name.startswith("text_encoder") and "text_encoders_aside" in savings)
        and not (name.startswith("control") and "controls_aside" in savings)
        and name != "few_steps"  # read from the computer's memory when it is put on the weights
    )
    controls = sum(size for name, size in sizes.items() if name.startswith("control"))
    # A batch of drafts is decoded at once, and one picture of twice the side has as many pixels; tiles, one by one.
    pixels = min(resolution, _TILE_SIDE) ** 2 if "vae_tiling" in savings else batch * resolution**2
    # The UNet's values are gone when the decoder begins.
    rendering = max(pixels * DECODER_BYTES, drawing) + (controls if "controls_aside" in savings else 0) + originals
    return Need(weights, training, rendering)


def _style_share(folder: Path) -> float:
    """Share of the UNet's weights that are attention's in its style blocks."""
    blocks = tuple(f"{block}." for block in BaseInfo.read(folder).style_blocks)
    with torch.device("meta"):
        unet = _unet(folder)
    counts = {name: parameter.numel() for name, parameter in unet.named_parameters()}
    style = sum(count for name, count in counts.items() if ".attn" in name and name.startswith(blocks))
    return float(style / sum(counts.values()))


def weights_of(folder: Path) -> float:
    """Values in a part's safetensors files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                count = 1
                for side in file.get_slice(name).get_shape():
                    count *= side
                total += count
    return total


def _kept_by_training(folder: Path, rank: int, *, checkpointing: bool) -> float:
    """Bytes that a training's LoRA, its optimiser and autograd keep, beside the weights, for a step on a pair."""
    cells = _cells(folder)
    with torch.device("meta"):
        unet = _unet(folder)
        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)))
        # Autocast hands the LoRA's products on in 16 bits too.
        unet.to(torch.bfloat16)
        trained = sum(p.numel() for p in unet.parameters() if p.requires_grad)
        with Kept(unet) as kept:
            run(unet, _PAIR, cells)
        activations = kept.bytes
        if checkpointing:
            unet.enable_gradient_checkpointing()
            with Kept(unet) as ends:
                run(unet, _PAIR, cells)
            # Going back, one block after the other is computed anew.
            activations = ends.bytes + kept.largest
    return 4.0 * _OPTIMISER_COPIES * float(trained) + _AUTOCAST * activations


def _peak_of_rendering(folder: Path, batch: int = BATCH) -> float:
    """Bytes of the UNet's inner values at most, for a batch of drafts with guidance under control."""
    skips = 0.0

    def count(_module: object, _inputs: object, out: Any) -> None:
        nonlocal skips
        kept = out[1] if isinstance(out, tuple) else (out,)
        skips += sum(tensor.untyped_storage().nbytes() for tensor in kept)

    with torch.device("meta"), torch.no_grad():
        unet = _unet(folder).to(torch.bfloat16)
        for part in (unet.conv_in, *unet.down_blocks):
            part.register_forward_hook(count)
        with Live() as live:
            run(unet, _GUIDED * batch, _cells(folder))
    # What control adds to the skips has their sizes and is there all the time.
    return _AUTOCAST_PEAK * live.peak + (skips if any(folder.glob("control*")) else 0.0)


def _unet(folder: Path) -> Any:
    return UNet2DConditionModel.from_config(json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8")))


def _cells(folder: Path) -> int:
    """Side of the base's latents."""
    config = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
    blocks = config.get("encoder_block_out_channels") or config["block_out_channels"]
    return BaseInfo.read(folder).resolution // int(2 ** (len(blocks) - 1))
