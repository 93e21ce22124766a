"""Base models: where they lie, how they are loaded, and the one interface the engine sees of them.

A base folder is a stock diffusers ``StableDiffusionXLPipeline`` folder (``unet``, ``vae``, ``text_encoder``,
``text_encoder_2``, ``tokenizer``, ``tokenizer_2``, ``scheduler``, ``model_index.json``) with some additions:
``control_tile/`` and ``control_edge/`` hold a :class:`~worker.engine.control.ControlBranch` or a ControlNet each,
``reference_reader/`` (not in every base) a :class:`~worker.engine.reader.ReferenceReader`, and ``hoop.json`` says what
no diffusers file says (:class:`BaseInfo`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.utils.logging import disable_progress_bar as disable_diffusers_bar
from diffusers.utils.logging import set_verbosity_error
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils.logging import disable_progress_bar

from worker.engine.base_info import PAPER_STYLE_BLOCKS, BaseError, BaseInfo
from worker.engine.control import Control, ControlBranch, LiveControl, Residuals, add_residuals
from worker.engine.prompts import Prompts, embed_prompts
from worker.engine.reader import ReferenceReader
from worker.engine.routing import PromptRouting
from worker.engine.swap import WeightSwap

if TYPE_CHECKING:
    from worker.engine.few_steps import FewSteps
    from worker.engine.latent_preview import LatentMap

__all__ = [
    "PAPER_STYLE_BLOCKS",
    "Base",
    "BaseError",
    "BaseInfo",
    "Prompts",
    "embed_prompts",
    "image_to_tensor",
    "load_base",
    "tensor_to_image",
]


class Base:
    """A frozen base model. All tensors it takes and gives are float32 on ``device``.

    Not safe for two threads at once: adapters and routing are state of the UNet. A worker computes in one.

    Attributes:
        folder: where it was loaded from, if anywhere.
        swap: what puts styles on the UNet's weights.
        latent_map: what previews are made with (:mod:`worker.engine.latent_preview`), once it has been fitted.
        few_steps: what speeds it up (:mod:`worker.engine.few_steps`), once it has been read.
    """

    def __init__(
        self,
        info: BaseInfo,
        unet: UNet2DConditionModel,
        vae: AutoencoderTiny | AutoencoderKL,
        tokenizers: Sequence[CLIPTokenizer],
        text_encoders: Sequence[nn.Module],
        scheduler: DDIMScheduler,
        controls: dict[str, ControlBranch | ControlNetModel],
        autocast: torch.dtype | None = None,
        reader: ReferenceReader | None = None,
        savings: Sequence[str] = (),
    ) -> None:
        self.info = info
        self.unet = unet
        self.vae = vae
        self.tokenizers = tuple(tokenizers)
        self.text_encoders = tuple(text_encoders)
        self.scheduler = scheduler
        self.controls = controls
        self.autocast_dtype = autocast
        self.reader = reader
        self.savings = frozenset(savings)
        self.modules = (unet, vae, *self.text_encoders, *controls.values(), *([] if reader is None else [reader]))
        for module in self.modules:
            module.requires_grad_(False).eval()
        # torch keeps convolutions' outputs in the weights' layout: measured 1.3-2 times faster on CPU at these sizes.
        unet.to(memory_format=torch.channels_last)
        self.routing = PromptRouting(unet, info.style_blocks)
        self.swap = WeightSwap(unet)
        self.folder: Path | None = None
        self.latent_map: LatentMap | None = None
        self.few_steps: FewSteps | None = None
        self._prompt_cache: dict[str, Prompts] = {}
        self._reference: Tensor | None = None
        if "vae_tiling" in self.savings and isinstance(vae, AutoencoderKL):
            vae.enable_tiling()
            vae.enable_slicing()

    def to(self, device: str) -> None:
        """Moves to ``device`` everything that is not kept aside to save memory there."""
        self.swap.release()
        aside: set[nn.Module] = set()
        if "text_encoders_aside" in self.savings:
            aside.update(self.text_encoders)
        if "controls_aside" in self.savings:
            aside.update(self.controls.values())
        for module in self.modules:
            module.to("cpu" if module in aside else device)

    @property
    def device(self) -> torch.device:
        """Where the base computes."""
        device: torch.device = next(self.unet.parameters()).device
        return device

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.unet.config.in_channels)

    @property
    def prediction_type(self) -> str:
        """``epsilon`` or ``v_prediction``."""
        return str(self.scheduler.config.prediction_type)

    @property
    def downscale(self) -> int:
        """Pixels to one latent cell, along each side."""
        blocks = self.vae.config.get("encoder_block_out_channels") or self.vae.config.block_out_channels
        return int(2 ** (len(blocks) - 1))

    @property
    def size_multiple(self) -> int:
        """Images' sides must be divisible by this many pixels."""
        return int(self.downscale * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @contextmanager
    def precision(self) -> Iterator[None]:
        """The autocast under which the UNet runs."""
        with (
            torch.autocast(self.device.type, self.autocast_dtype) if self.autocast_dtype is not None else nullcontext()
        ):
            yield

    @contextmanager
    def style_blocks(self, blocks: Sequence[str]) -> Iterator[None]:
        """Inside, prompts are routed by these style blocks instead of the base's own.

        Raises:
            ValueError: the UNet has no block of that name.
        """
        if tuple(blocks) == self.routing.style_blocks:
            yield
            return
        before, self.routing = self.routing, PromptRouting(self.unet, blocks)
        try:
            yield
        finally:
            self.routing.remove()
            self.routing = before

    # Text

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Prompts:
        """Embeddings of texts; remembered, because a job asks for the same few again and again."""
        missing = [text for text in dict.fromkeys(prompts) if text not in self._prompt_cache]
        if missing:
            if len(self._prompt_cache) > 256:
                self._prompt_cache.clear()
                missing = list(dict.fromkeys(prompts))
            # One text at a time: a text's embedding must not depend on what else was asked for.
            with self._brought("text_encoders_aside", self.text_encoders):
                for text in missing:
                    self._prompt_cache[text] = embed_prompts(self.tokenizers, self.text_encoders, [text]).each(
                        lambda tensor: tensor.float().to(self.device)
                    )
        return Prompts.join([self._prompt_cache[text] for text in prompts])

    @contextmanager
    def _brought(self, saving: str, modules: Sequence[nn.Module]) -> Iterator[None]:
        """Inside, modules that are kept aside to save memory are on the device."""
        aside = saving in self.savings
        for module in modules if aside else ():
            module.to(self.device)
        try:
            yield
        finally:
            for module in modules if aside else ():
                module.to("cpu")

    def style_hidden(self, content: str) -> Tensor:
        """What the style blocks read of ``content`` in the learnt style: words or a reference, ``[1, L, C]``."""
        if self._reference is not None:
            return self._reference
        return self.encode_prompts([self.info.style_prompt(content)]).hidden

    @torch.no_grad()
    def read_reference(self, latents: Tensor) -> Tensor:
        """Style tokens ``[1, R, C]`` of an embroidery's latents ``[1, C, h, w]``.

        Raises:
            ValueError: this base has no reader.
        """
        if self.reader is None:
            raise ValueError(f"{self.info.name} cannot read a style from a reference")
        tokens: Tensor = self.reader(latents.to(self.device, self.reader.dtype))
        return tokens.float()

    @contextmanager
    def reference_tokens(self, tokens: Tensor | None) -> Iterator[None]:
        """Inside, :meth:`style_hidden` gives these, from :meth:`read_reference`."""
        before, self._reference = self._reference, None if tokens is None else tokens.to(self.device)
        try:
            yield
        finally:
            self._reference = before

    # Images

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in [-1, 1] to scaled latents ``[B, C, H/f, W/f]``, the distribution's mode."""
        out = self.vae.encode(images.to(self.device, self.vae.dtype))
        latents = (out.latents if hasattr(out, "latents") else out.latent_dist.mode()).float()
        mean, std, scale = self._latent_statistics()
        scaled: Tensor = (latents - mean) * scale / std
        return scaled

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents to images ``[B, 3, H, W]`` in [-1, 1]."""
        mean, std, scale = self._latent_statistics()
        images: Tensor = self.vae.decode((latents * std / scale + mean).to(self.vae.dtype)).sample
        return images.float().clamp(-1, 1)

    def _latent_statistics(self) -> tuple[Tensor, Tensor, float]:
        config = self.vae.config

        def channelwise(name: str, default: float) -> Tensor:
            values = config.get(name) or [default]
            return torch.tensor(values, device=self.device).view(1, -1, 1, 1)

        return channelwise("latents_mean", 0.0), channelwise("latents_std", 1.0), float(config.scaling_factor)

    # Control

    @torch.no_grad()
    def control_residuals(
        self, tile: Tensor | None, edge: Tensor | None, tile_scale: float = 1.0, edge_scale: float = 1.0
    ) -> Control | None:
        """Control by maps at pixel size: ``tile`` ``[B, 3, H, W]``, ``edge`` ``[B, 1, H, W]``, both in [0, 1].

        A branch that is absent from the base, has no map or weighs nothing is skipped; ``None`` when none is left.
        """
        used = [
            (self.controls[name], conditioning, scale)
            for name, conditioning, scale in (("tile", tile, tile_scale), ("edge", edge, edge_scale))
            if name in self.controls and conditioning is not None and scale != 0
        ]
        self.bring_controls([net for net, _, _ in used])
        live = [(net, one, scale) for net, one, scale in used if isinstance(net, ControlNetModel)]
        if live:
            nets, maps, scales = zip(*live, strict=True)
            colour = tuple(one.expand(-1, 3, -1, -1).to(self.device) for one in maps)
            return LiveControl(nets, colour, scales, self.downscale)
        parts = []
        for branch, conditioning, scale in used:
            down, mid = branch(conditioning.to(self.device, branch.dtype))
            parts.append((Residuals(tuple(tensor.float() for tensor in down), mid.float()), scale))
        return add_residuals(parts)

    def bring_controls(self, wanted: Sequence[nn.Module] = ()) -> None:
        """Of control that is kept aside to save memory, has these on the device and no others."""
        if "controls_aside" in self.savings:
            for net in self.controls.values():
                net.to(self.device if net in wanted else "cpu")

    # Denoising

    def time_ids(self, size: int, top: int = 0, left: int = 0, whole: int = 0) -> Tensor:
        """SDXL's size conditioning ``[1, 6]`` for a square of ``size`` pixels cut from a whole image at (top, left).

        Args:
            size: pixels of its side.
            top: its first row in the whole image.
            left: its first column.
            whole: its side. One that is larger than the base's resolution is told as if it were of that: numbers
                beyond it were never seen in training.
        """
        full = self.info.resolution
        if not self.info.crop_conditioning:
            top, left, size, whole = 0, 0, full, full
        scale = full / max(whole, full)
        told = [full, full, top * scale, left * scale, size * scale, size * scale]
        return torch.tensor([told], dtype=torch.float32, device=self.device)

    def predict(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: Prompts,
        time_ids: Tensor,
        style: Tensor | None = None,
        residuals: Control | None = None,
    ) -> Tensor:
        """The UNet's output for noisy latents ``[B, C, h, w]``, in the base's own prediction type.

        Args:
            latents: ``[B, C, h, w]``.
            timesteps: ``[B]``, integers in [0, 1000).
            prompts: what all blocks see; batch B or 1.
            time_ids: ``[B, 6]`` or ``[1, 6]``.
            style: hidden states ``[B, L, C]`` or ``[1, L, C]`` for the style blocks' cross-attention; ``None``: they
                see ``prompts`` like the rest.
            residuals: batch B or 1.
        """
        batch = len(latents)

        def full(tensor: Tensor) -> Tensor:
            return tensor.expand(batch, *tensor.shape[1:])

        told = Prompts(full(prompts.hidden), full(prompts.pooled))
        if isinstance(residuals, LiveControl):
            with torch.no_grad(), self.precision():
                residuals = residuals.at(latents, timesteps, told, full(time_ids))
        with self.precision(), self.routing.style_prompt(None if style is None else full(style)):
            out = self.unet(
                latents.contiguous(memory_format=torch.channels_last),
                timesteps,
                encoder_hidden_states=told.hidden,
                added_cond_kwargs={"text_embeds": told.pooled, "time_ids": full(time_ids)},
                down_block_additional_residuals=None if residuals is None else residuals.down,
                mid_block_additional_residual=None if residuals is None else residuals.mid,
                return_dict=False,
            )[0]
        return out.float()  # type: ignore[no-any-return]


def image_to_tensor(images: Sequence[Image.Image]) -> Tensor:
    """RGB pictures of one size to ``[B, 3, H, W]`` in [-1, 1]."""
    arrays = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) for image in images])
    return torch.from_numpy(arrays / 127.5 - 1).permute(0, 3, 1, 2).contiguous()


def tensor_to_image(images: Tensor) -> list[Image.Image]:
    """``[B, 3, H, W]`` in [-1, 1] to RGB pictures."""
    arrays = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def load_base(
    folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, savings: Sequence[str] = ()
) -> Base:
    """Loads a base folder.

    Args:
        folder: as described at the top of this module.
        device: ``cpu`` or ``cuda``.
        dtype: of the stored weights in memory. On a CPU keep float32: bfloat16 is used inside by autocast where the
            machine has instructions for it.
        savings: what is done to need less of the device's memory, see :data:`worker.engine.memory.SAVINGS`.

    Raises:
        BaseError: the folder is missing, incomplete or damaged.
    """
    info = BaseInfo.read(folder)
    quiet_libraries()
    options: dict[str, Any] = {"torch_dtype": dtype}
    try:
        base = Base(
            info=info,
            unet=UNet2DConditionModel.from_pretrained(folder / "unet", **options),
            vae=_load_vae(folder / "vae", dtype),
            tokenizers=[CLIPTokenizer.from_pretrained(folder / name) for name in ("tokenizer", "tokenizer_2")],
            text_encoders=[
                CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype),
                CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2", dtype=dtype),
            ],
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
            controls={
                name: _class_in(folder / f"control_{name}", ControlNetModel, ControlBranch).from_pretrained(
                    folder / f"control_{name}", **options
                )
                for name in ("tile", "edge")
                if (folder / f"control_{name}").is_dir()
            },
            autocast=fast_dtype(device),
            reader=ReferenceReader.from_pretrained(folder / "reference_reader", **options)
            if (folder / "reference_reader").is_dir()
            else None,
            savings=savings,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BaseError(f"the base in {folder} cannot be loaded: {error}") from error
    base.folder = folder
    base.to(device)
    return base


def _load_vae(folder: Path, dtype: torch.dtype) -> AutoencoderTiny | AutoencoderKL:
    kind = _class_in(folder, AutoencoderKL, AutoencoderTiny)
    # SDXL's own autoencoder overflows in half precision and says so; its repaired copy does not.
    overflows = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("force_upcast", False)
    return kind.from_pretrained(folder, torch_dtype=torch.float32 if overflows else dtype)


def _class_in(folder: Path, *known: Any) -> Any:
    """Which of some classes a part's configuration names.

    Raises:
        ValueError: none of them.
    """
    name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_class_name")
    found = next((kind for kind in known if kind.__name__ == name), None)
    if found is None:
        raise ValueError(f"{folder.name} is a {name}, not one of {', '.join(kind.__name__ for kind in known)}")
    return found


def quiet_libraries() -> None:
    """No bars of diffusers' and transformers' own: they would draw over the caller's."""
    disable_progress_bar()
    disable_diffusers_bar()
    # It warns of a field that AutoencoderTiny itself writes.
    set_verbosity_error()


def fast_dtype(device: str) -> torch.dtype | None:
    """bfloat16 where the machine multiplies it natively; emulated bfloat16 is slower than float32."""
    if device != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None  # noqa: SLF001 - torch has no public way to ask
