"""A random Stable Diffusion 3 with two ControlNets, small enough for a test, in the folder that fetching makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3ControlNetModel, SD3Transformer2DModel
from transformers import CLIPTextModelWithProjection

from tests.engine.tiny_base import _tokenizer, text_config

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 64
FIRST, SECOND = 16, 24
"""Widths of the two text encoders; side by side and with zeros behind, as wide as the third's, which is left out."""
T5 = 48


def save_tiny_sd3(folder: Path, seed: int = 0, *, described: bool = True) -> Path:
    """Writes it: autoencoder of 16 channels and f = 8, flow matching, ControlNets that take a latent of their map."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = SD3Transformer2DModel(
            sample_size=SIDE // 8,
            patch_size=2,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=T5,
            caption_projection_dim=32,
            pooled_projection_dim=FIRST + SECOND,
            out_channels=16,
            pos_embed_max_size=16,
        )
        transformer.save_pretrained(folder / "transformer")
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=1,
            latent_channels=16,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
            sample_size=SIDE,
        ).save_pretrained(folder / "vae")
        tokenizer = _tokenizer()
        for name, width in (("", FIRST), ("_2", SECOND)):
            tokenizer.save_pretrained(folder / f"tokenizer{name}")
            text = text_config(tokenizer, width)
            CLIPTextModelWithProjection(text).save_pretrained(folder / f"text_encoder{name}")
        FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
        for name in ("tile", "edge"):
            net = SD3ControlNetModel.from_transformer(transformer, num_layers=1, num_extra_conditioning_channels=0)
            for out in [*net.controlnet_blocks, net.pos_embed_input.proj]:
                torch.nn.init.normal_(out.weight, std=0.3)  # a zero net would hide mistakes
            net.save_pretrained(folder / f"control_{name}")
    if described:
        (folder / "hoop.json").write_text(json.dumps({"name": "tiny-sd3", "licence": "none", "resolution": SIDE}))
    return folder
