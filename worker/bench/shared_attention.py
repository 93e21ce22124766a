"""Two methods that train nothing: self-attention looks at the reference while the design is drawn.

Both walk the reference's own way to noise, DDIM's inversion, back beside the drawing, so that at every step the
reference's queries, keys and values are there at the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from worker.atelier.evaluation.cases import Case
from worker.engine.bases import Base, image_to_tensor, tensor_to_image
from worker.engine.blocks import clean_and_noise, invert
from worker.engine.colour import Picture, lab_colour_fix, to_image
from worker.engine.config import RenderConfig
from worker.engine.control import Control, join_residuals
from worker.engine.pairs import Pair
from worker.engine.routing import attention_blocks
from worker.engine.sampling import control_of
from worker.engine.seeds import generator, normal

STEPS = 20
"""Of inversion and of drawing; both stop and begin at the strength that a design is dissolved by without stitches."""
GAMMA, TEMPERATURE = 0.75, 1.5
"""StyleID's share of the design's own queries, and by how much it sharpens attention (section 4 of the paper)."""


class SharedSelfAttention:
    """A self-attention layer's processor in which the last sample of a batch looks at the first, the reference."""

    def __init__(self, mix: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]) -> None:
        self.mix = mix

    def __call__(  # noqa: D102 - diffusers calls it
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,  # noqa: ARG002 - diffusers' signature
        attention_mask: Tensor | None = None,  # noqa: ARG002
        temb: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        def heads(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], attn.heads, -1).transpose(1, 2)

        query, key, value = (heads(part(hidden_states)) for part in (attn.to_q, attn.to_k, attn.to_v))
        others = F.scaled_dot_product_attention(query[:-1], key[:-1], value[:-1])
        own = F.scaled_dot_product_attention(*self.mix(query, key, value))
        mixed: Tensor = attn.to_out[0](torch.cat([others, own]).transpose(1, 2).flatten(-2))
        return mixed


def _style_id_mix(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values are the reference's, queries mostly the design's."""
    _, design, drawing = query.chunk(3)
    return TEMPERATURE * (GAMMA * design + (1 - GAMMA) * drawing), key[:1], value[:1]


def _style_aligned_mix(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The drawing sees itself and the reference, its queries and keys with the reference's statistics."""
    own, own_key = (_adain(x[-1:], x[:1], 2) for x in (query, key))
    return own, torch.cat([own_key, key[:1]], 2), torch.cat([value[-1:], value[:1]], 2)


def _adain(x: Tensor, like: Tensor, over: int | tuple[int, ...]) -> Tensor:
    """Mean and deviation of ``like`` (Huang and Belongie 2017, arXiv 1703.06868)."""
    scale = like.std(over, keepdim=True) / (x.std(over, keepdim=True) + 1e-5)
    return (x - x.mean(over, keepdim=True)) * scale + like.mean(over, keepdim=True)


@contextmanager
def _shared(unet: nn.Module, blocks: Sequence[str], processor: SharedSelfAttention) -> Iterator[None]:
    layers = [
        layer
        for name, block in attention_blocks(unet).items()
        if name in blocks
        for layer in block.transformer_blocks  # type: ignore[union-attr]
    ]
    before = [layer.attn1.processor for layer in layers]
    for layer in layers:
        layer.attn1.processor = processor
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.attn1.processor = own


def _trajectory(base: Base, latents: Tensor, residuals: Control | None, until: float) -> list[tuple[int, Tensor]]:
    """(timestep, latents) from the first step of the inversion to the last."""
    found: list[tuple[int, Tensor]] = []
    prompts = base.encode_prompts([""])
    for _ in invert(base, latents, prompts, STEPS, residuals, until=until, reached=lambda t, x: found.append((t, x))):
        pass
    return found


@torch.no_grad()
def _walk_back(
    base: Base,
    ways: Sequence[list[tuple[int, Tensor]]],
    residuals: Sequence[Control | None],
    start: Tensor,
) -> Tensor:
    """DDIM from the noisiest step, the drawing last in a batch after the ways beside it; clean latents [1, C, h, w]."""
    alphas = base.scheduler.alphas_cumprod.to(base.device)
    given = [one for one in residuals if one is not None]
    # The drawing, last in the batch, has the design's.
    control = join_residuals([*given[: len(ways)], given[-1]]) if given else None
    prompts, side = base.encode_prompts([""]), start.shape[-1] * base.downscale
    x = start
    steps = [t for t, _ in ways[0]]
    for index in range(len(steps) - 1, -1, -1):
        t = steps[index]
        batch = torch.cat([*(way[index][1] for way in ways), x])
        out = base.predict(
            batch, torch.full((len(batch),), t, device=base.device), prompts, base.time_ids(side), None, control
        )[-1:]
        clean, noise = clean_and_noise(base, x, out, alphas[t])
        after = alphas[steps[index - 1]] if index else torch.ones_like(alphas[t])
        x = after.sqrt() * clean + (1 - after).sqrt() * noise
    return x


def _finished(base: Base, latents: Tensor, design: Picture, config: RenderConfig) -> Picture:
    """As every other method's pictures are: in the design's colours, and evenly light."""
    picture = np.asarray(tensor_to_image(base.decode_latents(latents))[0])
    return lab_colour_fix(picture, design, float(config.colour_fix), config.hold_lightness)


def _latents(base: Base, picture: Image.Image) -> Tensor:
    return base.encode_images(image_to_tensor([picture]))


def style_id(base: Base, pair: Pair, config: RenderConfig) -> Callable[[Case, int], Picture]:
    """StyleID (Chung et al. 2024, arXiv 2312.09008) in the upper blocks, with the design's control."""
    until = max(config.strength, config.bare_strength)
    blocks = [name for name in attention_blocks(base.unet) if name.startswith("up_blocks")]
    control_e = control_of(base, [pair.design], config.control_tile, config.control_edge)
    reference = _trajectory(base, _latents(base, pair.embroidery), control_e, until)

    def draw(case: Case, _seed: int) -> Picture:
        control = control_of(base, [to_image(case.flat)], config.control_tile, config.control_edge)
        design = _trajectory(base, _latents(base, to_image(case.flat)), control, until)
        start = _adain(design[-1][1], reference[-1][1], (2, 3))
        with _shared(base.unet, blocks, SharedSelfAttention(_style_id_mix)):
            clean = _walk_back(base, [reference, design], [control_e, control], start)
        return _finished(base, clean, case.flat, config)

    return draw


def style_aligned(base: Base, pair: Pair, config: RenderConfig) -> Callable[[Case, int], Picture]:
    """StyleAligned (Hertz et al. 2024, arXiv 2312.02133) in all blocks, from the dissolved design under its control."""
    until = max(config.strength, config.bare_strength)
    control_e = control_of(base, [pair.design], config.control_tile, config.control_edge)
    reference = _trajectory(base, _latents(base, pair.embroidery), control_e, until)

    def draw(case: Case, seed: int) -> Picture:
        control = control_of(base, [to_image(case.flat)], config.control_tile, config.control_edge)
        clean = _latents(base, to_image(case.flat))
        alpha = base.scheduler.alphas_cumprod[reference[-1][0]].to(base.device)
        noise = normal(tuple(clean.shape), generator(seed, "render"), base.device)
        start = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        with _shared(base.unet, list(attention_blocks(base.unet)), SharedSelfAttention(_style_aligned_mix)):
            drawn = _walk_back(base, [reference], [control_e, control], start)
        return _finished(base, drawn, case.flat, config)

    return draw
