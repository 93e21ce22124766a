"""Complementary pairs: embroideries of other content in the reference's style (section 4.2 of arXiv 2509.18948).

Stage two needs pairs that share the style and nothing else. The adapter of stage one makes them: N embroideries of
simple things in other colours. Of those the half whose self-attention features are most like the reference's
embroidery has caught its style; of that half the ones least like the reference's design differ most in content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from worker.engine.bases import Base, image_to_tensor, tensor_to_image
from worker.engine.blocks import likeness
from worker.engine.config import ComplementConfig, RenderConfig
from worker.engine.drawings import Colour, draw_designs
from worker.engine.quilt import Swatch, lay_stitches
from worker.engine.sampling import conditions, control_of, denoise
from worker.engine.seeds import generator, normal


@dataclass(frozen=True)
class GeneratedPair:
    """A complementary pair: ``caption`` is c_des, the pictures are RGB of the base's size."""

    caption: str
    embroidery: Image.Image
    design: Image.Image


@torch.no_grad()
def complementary_pairs(
    base: Base,
    reference: tuple[Tensor, Tensor],
    caption: str,
    config: ComplementConfig,
    *,
    ground: Colour,
    seed: int,
    build_design: Callable[[Image.Image], Image.Image],
    swatch: Swatch | None = None,
    on_step: Callable[[int, int], None] = lambda _step, _total: None,
) -> list[GeneratedPair]:
    """Generates and selects, with the LoRA of stage one on the UNet in all blocks.

    Args:
        base: the base, its training LoRA on.
        reference: latents ``[1, C, h, w]`` of E and of D.
        caption: c_des of the reference, under which features are compared.
        config: how many, how drawn, how compared.
        ground: RGB of the cloth that own designs are drawn on.
        seed: of designs and noise.
        build_design: the pair builder's way from an embroidery to its design, for pairs drawn from text.
        swatch: the reference, for a ``config.strength`` below 1.
        on_step: called with (pictures done, of how many).

    Returns:
        ``config.kept`` pairs, the most different content first.
    """
    embroidery, design = reference
    size = embroidery.shape[-1] * base.downscale
    drawn = draw_designs(config.count, size, ground, seed)
    captions = [f"a {item.words}" for item in drawn]
    controlled = config.source == "controlled"
    render = RenderConfig(
        steps=config.steps,
        guidance=config.guidance,
        strength=config.strength if swatch is not None and controlled else 1.0,
        route=base.info.split_prompts,
        negative_prompt="" if base.info.split_prompts else RenderConfig.negative_prompt,
    )
    latents = []
    for index, item in enumerate(drawn):
        residuals = control_of(base, [item.picture], 1.0, 1.0) if controlled else None
        noise = normal(tuple(embroidery.shape), generator(seed, "complement", index), base.device)
        start = None
        if swatch is not None and render.strength < 1:
            start = base.encode_images(image_to_tensor([lay_stitches(swatch, item.picture, seed=seed + index).picture]))
        latents.append(denoise(base, noise, conditions(base, captions[index], render, residuals), render, start))
        on_step(index + 1, config.count)

    chosen = list(range(config.count))
    if config.feature_steps:
        made = torch.cat(latents)
        prompts = base.encode_prompts([caption])
        style = likeness(base, made, embroidery, prompts, config.feature_steps)
        chosen = style.argsort(descending=True, stable=True)[: config.similar].tolist()
    pictures = {index: tensor_to_image(base.decode_latents(latents[index]))[0] for index in chosen}
    designs = {
        index: drawn[index].picture if controlled else build_design(pictures[index]).convert("RGB") for index in chosen
    }
    if config.feature_steps:
        flat = base.encode_images(image_to_tensor([designs[index] for index in chosen]))
        content = likeness(base, flat, design, prompts, config.feature_steps)
        chosen = [chosen[rank] for rank in content.argsort(stable=True).tolist()]
    return [GeneratedPair(captions[i], pictures[i], designs[i]) for i in chosen[: config.kept]]
