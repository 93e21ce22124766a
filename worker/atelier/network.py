"""The bundled base's networks: SDXL's topology in small, plus two control branches.

Everything is a stock diffusers or transformers class but the control branches, so that
`StableDiffusionXLPipeline.from_pretrained` loads the folder.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from worker.engine.bases import BaseInfo
from worker.engine.control import ControlBranch

CHANNELS = (48, 96, 160)
TEXT_WIDTH = 64
PROMPT_TOKENS = 24
RESOLUTION = 256
SHARD_SIZE = "12MB"
"""Most of a weights file: they live in the repository, whose hosts refuse large files."""

INFO = BaseInfo(
    name="hoop-mini",
    version="1",
    licence="Apache-2.0",
    resolution=RESOLUTION,
    style_word="[emb]",
    # Sigma 2 at 256 px: strong enough that no stitch of a badly made design gets through.
    tile_kernel=48,
    edge_thresholds=(50, 100),
    split_prompts=True,
    crop_conditioning=True,
    draws_words=False,
)


def build_tokenizer(captions: list[str], size: int = 4096) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges are learnt from `captions`; any other word falls apart into pieces."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=size - 600, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator((c.lower() for c in captions), trainer)

    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)},
        merges=merges,
        model_max_length=PROMPT_TOKENS,
        pad_token="<|endoftext|>",  # noqa: S106 - a token, not a secret
    )


def build_unet() -> UNet2DConditionModel:
    """An untrained UNet of 10.6 M parameters with exactly SDXL's block names."""
    return UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=CHANNELS,
        layers_per_block=2,
        # diffusers' name for the number of heads: 32 channels each, as measured.
        attention_head_dim=[max(1, width // 32) for width in CHANNELS],
        transformer_layers_per_block=1,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * 16,
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
    tokenizer: CLIPTokenizer

    @classmethod
    def new(cls, tokenizer: CLIPTokenizer) -> Network:
        """An untrained network."""
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        text = (CLIPTextModel(config), CLIPTextModelWithProjection(config))
        for encoder in text:
            for module in encoder.modules():
                # CLIP's 0.02 leaves a cross-attention of this width nothing to tell words apart by at first.
                if isinstance(module, nn.Embedding):
                    nn.init.normal_(module.weight, std=0.3)
        tile, edge = (ControlBranch(c, downscale=4, hidden=48, block_out_channels=CHANNELS) for c in (3, 1))
        return cls(build_unet(), text, tile, edge, tokenizer)

    @classmethod
    def load(cls, folder: Path) -> Network:
        """The network of a base folder, in single precision."""
        return cls(
            UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32),
            (
                CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
                CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2", dtype=torch.float32),
            ),
            ControlBranch.from_pretrained(folder / "control_tile", torch_dtype=torch.float32),
            ControlBranch.from_pretrained(folder / "control_edge", torch_dtype=torch.float32),
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        )

    def modules(self) -> tuple[nn.Module, ...]:
        """Every part that is trained."""
        return (self.unet, *self.text, self.tile, self.edge)

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """All weights with names, in a fixed order."""
        names = ("unet", "text", "text_2", "tile", "edge")
        return [
            (f"{part}.{name}", parameter)
            for part, module in zip(names, self.modules(), strict=True)
            for name, parameter in module.named_parameters()
        ]

    def parameters(self) -> list[Tensor]:
        """All weights, in the order of their names."""
        return [parameter for _, parameter in self.named_parameters()]

    def save(self, folder: Path, vae_folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        """Writes a complete base folder in half precision; the live weights keep theirs."""
        copies = Network.new(self.tokenizer)
        for mine, copy in zip(self.modules(), copies.modules(), strict=True):
            copy.load_state_dict(mine.state_dict())
            copy.to(dtype)
        fresh = folder.with_name(folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        StableDiffusionXLPipeline(
            vae=AutoencoderTiny.from_pretrained(vae_folder, torch_dtype=dtype),
            text_encoder=copies.text[0],
            text_encoder_2=copies.text[1],
            tokenizer=self.tokenizer,
            tokenizer_2=self.tokenizer,
            unet=copies.unet,
            scheduler=build_scheduler(),
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        ).save_pretrained(fresh, max_shard_size=SHARD_SIZE)
        copies.tile.save_pretrained(fresh / "control_tile")
        copies.edge.save_pretrained(fresh / "control_edge")
        INFO.write(fresh)
        folder.mkdir(parents=True, exist_ok=True)
        for part in fresh.iterdir():
            target = folder / part.name
            if target.is_dir():
                shutil.rmtree(target)
            part.replace(target)
        fresh.rmdir()
