"""Designs drawn by a style's own base: one of SDXL's topology that knows words and has ControlNets for its maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image
from torch import Tensor

from worker.engine.bases import Base, tensor_to_image
from worker.engine.colour import Float
from worker.engine.config import RenderConfig
from worker.engine.pairs.diffusion import DesignRequest
from worker.engine.sampling import Conditions, denoise
from worker.engine.seeds import generator, normal

__all__ = ["BaseDesigns", "designs_of"]


@dataclass(frozen=True, slots=True)
class BaseDesigns:
    """A :class:`~worker.engine.pairs.diffusion.DesignModel` that is a base; no adapter may be on its UNet."""

    base: Base

    @property
    def name(self) -> str:
        """The base's."""
        return self.base.info.name

    def __call__(self, request: DesignRequest) -> Image.Image:
        """From noise, at the base's resolution; ControlNets steer both halves of guidance, as in diffusers."""
        base, config = self.base, request.config
        multiple = base.size_multiple
        side = max(multiple, round(base.info.resolution / multiple) * multiple)
        tile, edges = request.maps(side)
        # The edge net was trained on Canny's lines; a low weight makes soft ones a hint.
        control = base.control_residuals(
            _planes(tile), _planes(edges[..., None]), config.control_tile, config.control_edge
        )
        given = Conditions(
            base.encode_prompts([request.prompt]), None, base.encode_prompts([config.negative_prompt]), control
        )
        cells = side // base.downscale
        noise = normal((1, base.latent_channels, cells, cells), generator(request.seed, "design"), base.device)
        latents = denoise(
            base,
            noise,
            given,
            RenderConfig(steps=config.steps, guidance=config.guidance),
            on_step=lambda done, total, _latents: request.on_step(done, total),
        )
        return tensor_to_image(base.decode_latents(latents))[0]


def designs_of(base: Base) -> BaseDesigns | None:
    """The base as a design model, or ``None``: it has to know words and to have a ControlNet for either map."""
    nets = (base.controls.get(name) for name in ("tile", "edge"))
    able = base.info.draws_words and all(isinstance(net, ControlNetModel) for net in nets)
    return BaseDesigns(base) if able else None


def _planes(array: Float) -> Tensor:
    """H x W x C to ``[1, C, H, W]``."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)[None]))
