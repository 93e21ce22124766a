"""A random base of SDXL's topology, small enough for a test: what the engine does must not need a trained one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from worker.engine.bases import BaseInfo
from worker.engine.control import ControlBranch

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = (16, 32, 32)
TEXT = 16


def _tokenizer() -> CLIPTokenizer:
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        model_max_length=24,
        pad_token="<|endoftext|>",
    )


def text_config(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    """A text encoder of two layers, for the tokenizer."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def save_tiny_base(folder: Path, prediction_type: str = "v_prediction", seed: int = 0) -> Path:
    """Writes a random base (256-letter vocabulary, f = 4 autoencoder, 32 px) and returns its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _save(folder, prediction_type)


def _save(folder: Path, prediction_type: str) -> Path:
    tokenizer = _tokenizer()
    text = text_config(tokenizer, TEXT)
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=CHANNELS,
        layers_per_block=2,
        attention_head_dim=[width // 8 for width in CHANNELS],
        transformer_layers_per_block=1,
        cross_attention_dim=2 * TEXT,
        use_linear_projection=True,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=TEXT + 6 * 8,
    )
    vae = AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16),
        decoder_block_out_channels=(16, 16, 16),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        rescale_betas_zero_snr=prediction_type == "v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)
    for name, channels in (("tile", 3), ("edge", 1)):
        branch = ControlBranch(channels, downscale=4, hidden=8, block_out_channels=CHANNELS)
        for out in [*branch.down_outs, branch.mid_out]:
            torch.nn.init.normal_(out.weight, std=0.05)  # a zero branch would hide mistakes in what is added where
        branch.save_pretrained(folder / f"control_{name}")
    BaseInfo(name="tiny", resolution=32, style_word="emb", split_prompts=True).write(folder)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "StableDiffusionXLPipeline"
    return folder
