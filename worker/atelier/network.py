"""The bundled base's networks: SDXL's topology in small, plus two control branches.

Everything is a stock diffusers or transformers class but the control branches, so that
`StableDiffusionXLPipeline.from_pretrained` loads the folder.
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from worker.atelier.text import STYLE_WORD, TEXT_WIDTHS, load_text
from worker.engine.base_info import BaseInfo
from worker.engine.control import ControlBranch
from worker.engine.reader import ReferenceReader

CHANNELS = (64, 128, 160)
LATENT_CHANNELS = 8
RESOLUTION = 256
SHARD_SIZE = "12MB"
"""Most of a weights file: they live in the repository, whose hosts refuse large files."""

INFO = BaseInfo(
    name="hoop-mini",
    version="2",
    licence="Apache-2.0",
    resolution=RESOLUTION,
    style_word=STYLE_WORD,
    # Sigma 2 at 256 px: strong enough that no stitch of a badly made design gets through.
    tile_kernel=48,
    edge_thresholds=(50, 100),
    split_prompts=True,
    crop_conditioning=True,
    draws_words=False,
)


def build_unet() -> UNet2DConditionModel:
    """An untrained UNet of 13.1 M parameters with exactly SDXL's block names."""
    return UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=CHANNELS,
        layers_per_block=2,
        # diffusers' name for the number of heads: 32 channels each, as measured.
        attention_head_dim=[max(1, width // 32) for width in CHANNELS],
        transformer_layers_per_block=1,
        cross_attention_dim=sum(TEXT_WIDTHS),
        use_linear_projection=True,
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=TEXT_WIDTHS[1] + 6 * 16,
    )


def build_scheduler() -> DDIMScheduler:
    """v-prediction with zero terminal signal (Lin et al. 2024, arXiv 2305.08891)."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


@dataclass
class Network:
    """All trainable parts together, and the tokenizer both text encoders share."""

    unet: UNet2DConditionModel
    text: tuple[CLIPTextModel, CLIPTextModelWithProjection]
    tile: ControlBranch
    edge: ControlBranch
    reader: ReferenceReader
    tokenizer: CLIPTokenizer

    @classmethod
    def new(cls, text_folder: Path) -> Network:
        """An untrained network around the distilled text encoders of `text_folder`."""
        tokenizer, text = load_text(text_folder)
        tile, edge = (ControlBranch(c, downscale=4, hidden=48, block_out_channels=CHANNELS) for c in (3, 1))
        reader = ReferenceReader(latent_channels=LATENT_CHANNELS, token_width=sum(TEXT_WIDTHS))
        return cls(build_unet(), text, tile, edge, reader, tokenizer)

    @classmethod
    def load(cls, folder: Path) -> Network:
        """The network of a base folder, in single precision."""
        tokenizer, text = load_text(folder)
        return cls(
            UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32),
            text,
            ControlBranch.from_pretrained(folder / "control_tile", torch_dtype=torch.float32),
            ControlBranch.from_pretrained(folder / "control_edge", torch_dtype=torch.float32),
            ReferenceReader.from_pretrained(folder / "reference_reader", torch_dtype=torch.float32),
            tokenizer,
        )

    def modules(self) -> tuple[Any, ...]:
        """Every part that is trained."""
        return (self.unet, *self.text, self.tile, self.edge, self.reader)

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """All weights with names, in a fixed order."""
        names = ("unet", "text", "text_2", "tile", "edge", "reader")
        return [
            (f"{part}.{name}", parameter)
            for part, module in zip(names, self.modules(), strict=True)
            for name, parameter in module.named_parameters()
        ]

    def save(self, folder: Path, vae_folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        """Writes a complete base folder in half precision; the live weights keep theirs.

        The folder is whole at every moment: parts are written beside it and moved in.
        """
        copies = [copy.deepcopy(module).to("cpu", dtype) for module in self.modules()]
        unet, first, second, tile, edge, reader = copies
        fresh = folder.with_name(folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        StableDiffusionXLPipeline(
            vae=AutoencoderTiny.from_pretrained(vae_folder, torch_dtype=dtype),
            text_encoder=first,
            text_encoder_2=second,
            tokenizer=self.tokenizer,
            tokenizer_2=self.tokenizer,
            unet=unet,
            scheduler=build_scheduler(),
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        ).save_pretrained(fresh, max_shard_size=SHARD_SIZE)
        for name, module in (("control_tile", tile), ("control_edge", edge), ("reference_reader", reader)):
            module.save_pretrained(fresh / name)
        INFO.write(fresh)
        folder.mkdir(parents=True, exist_ok=True)
        for part in fresh.iterdir():
            target = folder / part.name
            if target.is_dir():
                shutil.rmtree(target)
            part.replace(target)
        fresh.rmdir()
