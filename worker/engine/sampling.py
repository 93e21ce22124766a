"""Drawing: from noise, or from a design that is dissolved into noise first, to clean latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
)
from PIL import Image
from torch import Tensor

from worker.engine.bases import Base, Prompts
from worker.engine.config import RenderConfig
from worker.engine.control import Control
from worker.engine.control_maps import edge_map, tile_map
from worker.engine.tiles import Tiling


@dataclass(frozen=True)
class Conditions:
    """What the UNet is told besides the noisy latents; every part has batch 1 or the latents' batch.

    Attributes:
        prompts: what all blocks read.
        style: hidden states for the style blocks; ``None``: they read ``prompts`` too.
        negative: what guidance leads away from; needed when guidance differs from 1.
        residuals: of control.
    """

    prompts: Prompts
    style: Tensor | None = None
    negative: Prompts | None = None
    residuals: Control | None = None

    def window(self, top: int, left: int, size: int) -> Conditions:
        """The same for a square window, in latent cells."""
        return self if self.residuals is None else replace(self, residuals=self.residuals.crop(top, left, size))


def join_conditions(parts: Sequence[Conditions]) -> Conditions:
    """Several items' as those of one batch, but for control, which is made of the whole batch's designs.

    Raises:
        ValueError: they are of different kinds, or their style prompts of different lengths.
    """
    styles = [part.style for part in parts if part.style is not None]
    negatives = [part.negative for part in parts if part.negative is not None]
    for some in (styles, negatives):
        if len(some) not in (0, len(parts)):
            raise ValueError("prompts of different kinds cannot be joined")
    if len({one.shape[1] for one in styles}) > 1:
        raise ValueError("a reference and words cannot be read in one batch")
    return Conditions(
        Prompts.join([part.prompts for part in parts]),
        torch.cat(styles) if styles else None,
        Prompts.join(negatives) if negatives else None,
    )


def conditions(
    base: Base, content: str, config: RenderConfig, residuals: Control | None = None, *, styled: bool = True
) -> Conditions:
    """Prompts for one content ("" for none) as the base was trained to read them."""
    plain = base.encode_prompts([content])
    negative = base.encode_prompts([config.negative_prompt]) if config.guidance != 1 else None
    if config.route:
        return Conditions(plain, base.style_hidden(content) if styled else plain.hidden, negative, residuals)
    prompt = base.encode_prompts([base.info.style_prompt(content)]) if styled else plain
    return Conditions(prompt, None, negative, residuals)


def control_of(base: Base, designs: Sequence[Image.Image], tile_scale: float, edge_scale: float) -> Control | None:
    """Control of flat designs of one size, with the maps the base was trained on."""
    arrays = [np.asarray(design.convert("RGB")) for design in designs]

    def stack(maps: list[npt.NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(maps))

    tile = edge = None
    if tile_scale:
        tile = stack([tile_map(array, kernel=base.info.tile_kernel_at(len(array))) for array in arrays]).permute(
            0, 3, 1, 2
        )
    if edge_scale:
        edge = stack([edge_map(array, *base.info.edge_thresholds) for array in arrays])[:, None]
    return base.control_residuals(tile, edge, tile_scale, edge_scale)


_SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "dpm": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "final_sigmas_type": "zero"}),
    "lcm": (LCMScheduler, {}),
    "tcd": (TCDScheduler, {}),
}
_NOISY = frozenset({"lcm", "tcd"})
"""Samplers that add noise again in every step but the last."""


def passes(config: RenderConfig) -> int:
    """Steps that are really made from a design, of which ``config.strength`` leaves a share."""
    return min(max(1, round(config.steps * config.strength)), config.steps)


def tiling(base: Base, cells: int) -> Tiling:
    """How a picture of so many latent cells a side is cut for the base."""
    return Tiling.over(cells, base.info.resolution // base.downscale, base.size_multiple // base.downscale)


@torch.no_grad()
def denoise(
    base: Base,
    noise: Tensor,
    given: Conditions,
    config: RenderConfig,
    start: Tensor | None = None,
    on_step: Callable[[int, int, Tensor], None] | None = None,
    sources: Sequence[torch.Generator] = (),
) -> Tensor:
    """Runs the sampler; what is larger than the base's side is predicted in tiles (:mod:`worker.engine.tiles`).

    Args:
        base: the base, with or without a style on it.
        given: prompts and control.
        config: steps, strength, guidance and sampler.
        noise: standard normal ``[B, C, h, w]``.
        start: clean latents of the design, batch 1 or B, to dissolve by ``config.strength``; ``None``: from noise.
        on_step: called after each step with (steps done, of how many, the latents the UNet now expects, clean).
        sources: on the CPU, one an item, of the noise that ``lcm`` and ``tcd`` add between steps.

    Returns:
        Clean latents ``[B, C, h, w]``.

    Raises:
        ValueError: such a sampler was given no sources.
    """
    noisy = {"generator": [*sources]} if config.sampler in _NOISY else {}
    if noisy and len(sources) != len(noise):
        raise ValueError(f"the sampler {config.sampler} needs a source of noise for every picture")
    kind, options = _SAMPLERS[config.sampler]
    sampler = kind.from_config(base.scheduler.config, **options)
    sampler.set_timesteps(config.steps, device=base.device)
    timesteps = sampler.timesteps
    if start is None:
        x = noise * sampler.init_noise_sigma
    else:
        first = len(timesteps) - min(passes(config), len(timesteps))
        timesteps = timesteps[first:]
        if hasattr(sampler, "set_begin_index"):
            sampler.set_begin_index(first)
        x = sampler.add_noise(start.expand_as(noise), noise, timesteps[:1].expand(len(noise)))
    cut = tiling(base, noise.shape[-1])
    for index, t in enumerate(timesteps):

        def predict(window: Tensor, top: int, left: int, t: Tensor = t) -> Tensor:
            part = given if len(cut) == 1 else given.window(top, left, cut.tile)
            time_ids = base.time_ids(*(cells * base.downscale for cells in (cut.tile, top, left, cut.side)))
            return _guided(base, window, t, part, config.guidance, time_ids)

        step = sampler.step(cut.blend(sampler.scale_model_input(x, t), predict), t, x, **noisy)
        x = step.prev_sample
        if on_step is not None:
            clean = getattr(step, "pred_original_sample", getattr(step, "denoised", None))
            on_step(index + 1, len(timesteps), x if clean is None else clean)
    return x  # type: ignore[no-any-return]


def _guided(base: Base, x: Tensor, t: Tensor, given: Conditions, guidance: float, time_ids: Tensor) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2021, arXiv 2207.12598); control steers both halves."""
    count = len(x)
    steps = t.expand(count)
    if given.negative is None or guidance == 1:
        return base.predict(x, steps, given.prompts, time_ids, given.style, given.residuals)

    def full(tensor: Tensor) -> Tensor:
        return tensor.expand(count, *tensor.shape[1:])

    negative, positive = given.negative.each(full), given.prompts.each(full)
    residuals = given.residuals
    if residuals is not None and residuals.batch > 1:
        residuals = residuals.each(lambda tensor: torch.cat([tensor, tensor]))
    if given.style is not None and given.style.shape[1] != negative.hidden.shape[1]:
        # A reference has fewer tokens than a prompt.
        away = base.predict(x, steps, negative, time_ids, None, given.residuals)
        towards = base.predict(x, steps, positive, time_ids, given.style, given.residuals)
        return away + guidance * (towards - away)
    style = None if given.style is None else torch.cat([negative.hidden, full(given.style)])
    out = base.predict(
        torch.cat([x, x]), steps.repeat(2), Prompts.join([negative, positive]), time_ids, style, residuals
    )
    away, towards = out.chunk(2)
    return away + guidance * (towards - away)
