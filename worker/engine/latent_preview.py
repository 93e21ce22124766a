"""Pictures to look at while the sampler runs, without an autoencoder's decoder.

A KL autoencoder's decoder takes longer than a step of the sampler. Its latents are nearly a picture already: at an
eighth of the size, red, green and blue are each about a weighted sum of the channels. The weights are fitted once for a
base, by least squares on drawings of our own, which takes its encoder alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from worker.engine.bases import Base, image_to_tensor, tensor_to_image
from worker.engine.drawings import draw_designs

_PICTURES = 8
"""Drawings the map is fitted on."""
_SIDE = 256
"""Their pixels a side: together they are half of one picture of SDXL's."""
_GROUNDS = ((236, 232, 224), (40, 42, 50))
_RIDGE = 1e-4
"""Added to the variance of every channel, so that channels which say nothing get no weight."""


@dataclass(frozen=True)
class LatentMap:
    """Latents to pixels of an eighth of the size: ``rgb = weight @ latent + bias``.

    Attributes:
        weight: ``[3, C]``.
        bias: ``[3]``; pictures are in [-1, 1].
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def fitted(cls, latents: Tensor, pictures: Tensor) -> LatentMap:
        """The least squares map.

        Args:
            latents: ``[B, C, h, w]``.
            pictures: ``[B, 3, H, W]`` in [-1, 1], of which they are.
        """
        small = F.interpolate(pictures.float(), latents.shape[-2:], mode="area")
        x, y = (one.double().transpose(0, 1).flatten(1) for one in (latents, small))
        mean_x, mean_y = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
        x, y = x - mean_x, y - mean_y
        spread = x @ x.T + _RIDGE * x.shape[1] * torch.eye(len(x), dtype=x.dtype, device=x.device)
        weight = torch.linalg.solve(spread, x @ y.T).T
        return cls(weight.float(), (mean_y - weight @ mean_x)[:, 0].float())

    def __call__(self, latents: Tensor, scale: int) -> Tensor:
        """``[B, C, h, w]`` to pictures ``[B, 3, scale * h, scale * w]`` in [-1, 1]."""
        weight, bias = (one.to(latents.device) for one in (self.weight, self.bias))
        small = torch.einsum("rc,bchw->brhw", weight, latents.float()) + bias[:, None, None]
        return F.interpolate(small, scale_factor=scale, mode="bilinear", align_corners=False).clamp(-1, 1)


def preview(base: Base, latents: Tensor) -> list[Image.Image]:
    """Pictures of clean latents ``[B, C, h, w]``, RGB at full size, as good as can be had at once.

    A tiny autoencoder, made for this, decodes; in a KL autoencoder's place stands its :class:`LatentMap`.
    """
    if not isinstance(base.vae, AutoencoderKL):
        return tensor_to_image(base.decode_latents(latents))
    if base.latent_map is None:
        base.latent_map = _fitted_for(base)
    return tensor_to_image(base.latent_map(latents, base.downscale))


def _fitted_for(base: Base) -> LatentMap:
    side = max(base.size_multiple, min(_SIDE, base.info.resolution) // base.size_multiple * base.size_multiple)
    pictures: Sequence[Image.Image] = [
        drawn.picture
        for seed, ground in enumerate(_GROUNDS)
        for drawn in draw_designs(_PICTURES // len(_GROUNDS), side, ground, seed)
    ]
    tensors = [image_to_tensor([picture]) for picture in pictures]
    latents = torch.cat([base.encode_images(one) for one in tensors])
    return LatentMap.fitted(latents, torch.cat(tensors).to(latents.device))
