"""Designs drawn by Stable Diffusion 3 medium with ControlNets for edges and tile, the paper's own design model.

A folder as ``hoop base fetch sd3`` makes it: ``transformer``, ``vae``, ``text_encoder``, ``text_encoder_2``,
``tokenizer``, ``tokenizer_2``, ``scheduler``, ``control_tile``, ``control_edge`` and ``hoop.json``. The third text
encoder, T5 XXL, is used where ``text_encoder_3`` and ``tokenizer_3`` are there too. SD3 was trained to do without it,
which saves 9.5 GB: it matters for written words and long prompts (Esser et al. 2024, arXiv 2403.03206, on flexible text
encoders), and here the maps hold the motif.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3ControlNetModel,
    SD3MultiControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3ControlNetPipeline,
)
from PIL import Image
from transformers import AutoTokenizer, CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel

from worker.engine.base_info import BaseError, BaseInfo
from worker.engine.bases import quiet_libraries
from worker.engine.colour import to_image
from worker.engine.memory import DECODER_BYTES, SPARE, WORKSPACE, weights_of
from worker.engine.pairs.diffusion import DesignRequest
from worker.engine.seeds import generator

__all__ = ["DesignPlan", "Sd3Designs", "design_plan", "load_sd3"]

_T5: Final = ("text_encoder_3", "tokenizer_3")
_ACTIVATIONS: Final = 1e9
"""Bytes of the transformer's inner values at 1024 px, both halves of guidance, 16 bits a value."""


@dataclass(frozen=True, slots=True)
class DesignPlan:
    """How a folder is loaded on a device.

    Attributes:
        need: bytes with every part on the device.
        free: bytes that there are.
    """

    need: float
    free: float

    @property
    def offload(self) -> bool:
        """Whether parts wait in the computer's memory and come over one after the other."""
        return self.need > self.free * SPARE

    def describe(self) -> str:
        """For people, a sentence."""
        how = "; to save memory, its parts come over one after the other" if self.offload else ""
        return f"{self.need / 1e9:.1f} GB of {self.free / 1e9:.1f} GB free{how}."


def design_plan(folder: Path, free: float, dtype: torch.dtype) -> DesignPlan:
    """Whether a folder's models fit into ``free`` bytes side by side.

    Args:
        folder: as this module says.
        free: bytes of the device's memory.
        dtype: of the weights there.

    Raises:
        BaseError: the folder is no base model.
    """
    side = BaseInfo.read(folder).resolution
    weights = sum(weights_of(part) for part in folder.iterdir() if part.is_dir()) * dtype.itemsize
    return DesignPlan(weights + max(_ACTIVATIONS, side**2 * DECODER_BYTES) + WORKSPACE, free)


@dataclass(frozen=True, slots=True)
class Sd3Designs:
    """A :class:`~worker.engine.pairs.diffusion.DesignModel`; ``resolution``: pixels of a design's side."""

    name: str
    pipeline: StableDiffusion3ControlNetPipeline
    resolution: int

    def __call__(self, request: DesignRequest) -> Image.Image:
        """From noise, at the model's resolution; the same seed gives the same design on one device."""
        config = request.config
        tile, edges = request.maps(self.resolution)

        def told(_pipeline: Any, step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            request.on_step(step + 1, config.steps)
            return values

        cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(cuda):
            # The pipeline samples the maps' latents from the global source, whatever generator it is given.
            torch.manual_seed(request.seed)
            made = self.pipeline(
                prompt=request.prompt,
                negative_prompt=config.negative_prompt,
                control_image=[to_image(np.repeat(edges[..., None], 3, axis=2)), to_image(tile)],
                controlnet_conditioning_scale=[config.control_edge, config.control_tile],
                num_inference_steps=config.steps,
                guidance_scale=config.guidance,
                height=self.resolution,
                width=self.resolution,
                generator=generator(request.seed, "design"),
                callback_on_step_end=told,
            )
        design: Image.Image = made.images[0]
        return design


def load_sd3(
    folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, *, offload: bool = False
) -> Sd3Designs:
    """Loads a folder.

    Args:
        folder: as this module says.
        device: ``cpu`` or ``cuda``.
        dtype: of the weights in memory.
        offload: parts wait in the computer's memory and come to the device one after the other.

    Raises:
        BaseError: the folder is missing, incomplete or damaged.
    """
    info = BaseInfo.read(folder)
    quiet_libraries()
    try:
        given: dict[str, Any] = {
            name: CLIPTextModelWithProjection.from_pretrained(folder / name, dtype=dtype)
            for name in ("text_encoder", "text_encoder_2")
        }
        given |= {name: CLIPTokenizer.from_pretrained(folder / name) for name in ("tokenizer", "tokenizer_2")}
        given |= dict.fromkeys(_T5)
        if all((folder / part).is_dir() for part in _T5):
            given["text_encoder_3"] = T5EncoderModel.from_pretrained(folder / "text_encoder_3", dtype=dtype)
            given["tokenizer_3"] = AutoTokenizer.from_pretrained(folder / "tokenizer_3")
        nets = [
            SD3ControlNetModel.from_pretrained(folder / f"control_{name}", torch_dtype=dtype)
            for name in ("edge", "tile")
        ]
        pipeline = StableDiffusion3ControlNetPipeline(
            transformer=SD3Transformer2DModel.from_pretrained(folder / "transformer", torch_dtype=dtype),
            vae=AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype),
            scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
            controlnet=SD3MultiControlNetModel(nets),
            **given,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BaseError(f"the design model in {folder} cannot be loaded: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    if offload and device != "cpu":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return Sd3Designs(info.name, pipeline, info.resolution)
