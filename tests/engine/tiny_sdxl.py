"""A random base with SDXL's own classes and block names, and ControlNets, small enough for a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, ControlNetModel, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tests.engine.tiny_base import TEXT, _tokenizer, text_config
from worker.engine.base_info import BaseInfo
from worker.engine.single_file import write_index

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = (32, 64, 64)
SECOND = 24
"""Width of the second text encoder; as with SDXL, checkpoints are told apart by it."""
SIDE = 64


def save_tiny_sdxl(folder: Path, seed: int = 0, *, described: bool = True) -> Path:
    """Writes it as `hoop base fetch` does: KL autoencoder of f = 8, Euler's schedule, epsilon, two ControlNets."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=SIDE // 8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=CHANNELS,
            layers_per_block=2,
            attention_head_dim=[4, 8, 8],
            transformer_layers_per_block=[1, 1, 2],
            cross_attention_dim=TEXT + SECOND,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=SECOND + 6 * 8,
        )
        unet.save_pretrained(folder / "unet")
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=1,
            scaling_factor=0.13025,
            force_upcast=False,
            sample_size=SIDE,
        ).save_pretrained(folder / "vae")
        tokenizer = _tokenizer()
        for name in ("tokenizer", "tokenizer_2"):
            tokenizer.save_pretrained(folder / name)
        CLIPTextModel(text_config(tokenizer, TEXT)).save_pretrained(folder / "text_encoder")
        CLIPTextModelWithProjection(text_config(tokenizer, SECOND)).save_pretrained(folder / "text_encoder_2")
        EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        ).save_pretrained(folder / "scheduler")
        for name in ("tile", "edge"):
            net = ControlNetModel.from_unet(unet, conditioning_channels=3)
            for out in [*net.controlnet_down_blocks, net.controlnet_mid_block]:
                torch.nn.init.normal_(out.weight, std=0.05)  # a zero net would hide mistakes
            net.save_pretrained(folder / f"control_{name}")
    if described:
        write_index(folder)
        BaseInfo(name="tiny-sdxl", resolution=SIDE).write(folder)
    return folder


def single_file(folder: Path, file: Path) -> Path:
    """Writes the base's weights as one checkpoint in SDXL's original layout."""
    from safetensors.torch import load_file, save_file

    tensors: dict[str, torch.Tensor] = {}
    for part, rename in (("unet", _unet_name), ("vae", _vae_name)):
        for name, value in load_file(folder / part / "diffusion_pytorch_model.safetensors").items():
            old = rename(name)
            if part == "vae" and "attn_1" in old and value.ndim == 2:
                tensors[old] = value[:, :, None, None].contiguous()
                continue
            tensors[old] = value.contiguous()
    for name, value in load_file(folder / "text_encoder" / "model.safetensors").items():
        tensors[f"conditioner.embedders.0.transformer.{_with_text_model(name)}"] = value
    tensors |= _open_clip(load_file(folder / "text_encoder_2" / "model.safetensors"))
    save_file(tensors, file)
    return file


def _with_text_model(name: str) -> str:
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def _unet_name(name: str) -> str:
    """A UNet weight's name in the original layout of a UNet with two layers a block."""
    parts = name.split(".")
    head = "model.diffusion_model."
    embeddings = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    for new, old in embeddings.items():
        if name.startswith(f"{new}."):
            return head + name.replace(new, old, 1)
    if parts[0] == "mid_block":
        where, rest = {"resnets": 2 * int(parts[2]), "attentions": 1}[parts[1]], parts[3:]
        place = f"middle_block.{where}"
    else:
        block, kind, index = int(parts[1]), parts[2], int(parts[3])
        rest = parts[4:]
        if parts[0] == "down_blocks":
            number = 3 * block + 1 + (2 if kind == "downsamplers" else index)
            place = f"input_blocks.{number}.{1 if kind == 'attentions' else 0}"
            if kind == "downsamplers":
                rest = ["op", *rest[1:]]
        else:
            number = 3 * block + (2 if kind == "upsamplers" else index)
            within = {"resnets": 0, "attentions": 1, "upsamplers": 2 if block < 2 else 1}[kind]
            place = f"output_blocks.{number}.{within}"
    inner = ".".join(rest)
    for new, old in (
        ("norm1", "in_layers.0"),
        ("conv1", "in_layers.2"),
        ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"),
        ("conv2", "out_layers.3"),
        ("conv_shortcut", "skip_connection"),
    ):
        if inner.startswith(f"{new}.") and "attentions" not in parts:
            inner = inner.replace(new, old, 1)
    return f"{head}{place}.{inner}"


def _vae_name(name: str) -> str:
    """The autoencoder's, likewise."""
    count = 4
    parts = name.split(".")
    if parts[0] in ("quant_conv", "post_quant_conv"):
        return f"first_stage_model.{name}"
    side, rest = parts[0], parts[1:]
    if rest[0] in ("down_blocks", "up_blocks"):
        block, kind = int(rest[1]), rest[2]
        number = block if rest[0] == "down_blocks" else count - 1 - block
        sampler = "downsample" if rest[0] == "down_blocks" else "upsample"
        inner = [f"block.{rest[3]}", *rest[4:]] if kind == "resnets" else [sampler, *rest[4:]]
        place = f"{rest[0].removesuffix('_blocks')}.{number}.{'.'.join(inner)}"
    elif rest[0] == "mid_block":
        if rest[1] == "resnets":
            place = f"mid.block_{int(rest[2]) + 1}.{'.'.join(rest[3:])}"
        else:
            names = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
            last = rest[3:]
            last = [names[last[0]], *([*last[2:]] if last[0] == "to_out" else last[1:])]
            place = f"mid.attn_1.{'.'.join(last)}"
    else:
        place = ".".join(["norm_out" if rest[0] == "conv_norm_out" else rest[0], *rest[1:]])
    return f"first_stage_model.{side}.{place.replace('conv_shortcut', 'nin_shortcut')}"


def _open_clip(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    head = "conditioner.embedders.1.model."
    named = {_with_text_model(name): value for name, value in tensors.items()}
    found = {
        f"{head}positional_embedding": named.pop("text_model.embeddings.position_embedding.weight"),
        f"{head}token_embedding.weight": named.pop("text_model.embeddings.token_embedding.weight"),
        f"{head}ln_final.weight": named.pop("text_model.final_layer_norm.weight"),
        f"{head}ln_final.bias": named.pop("text_model.final_layer_norm.bias"),
        f"{head}text_projection": named.pop("text_projection.weight").T.contiguous(),
    }
    layers = sorted({int(name.split(".")[3]) for name in named if ".layers." in name})
    for layer in layers:
        old = f"text_model.encoder.layers.{layer}."
        new = f"{head}transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            found[f"{new}attn.in_proj_{kind}"] = torch.cat(
                [named.pop(f"{old}self_attn.{part}_proj.{kind}") for part in "qkv"]
            )
            for theirs, ours in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                found[f"{new}{theirs}.{kind}"] = named.pop(f"{old}{ours}.{kind}")
    assert not [name for name in named if "position_ids" not in name], json.dumps(list(named))
    return found
