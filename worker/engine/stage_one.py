"""Stage one: LoRA block modulation (section 4.1 of arXiv 2509.18948).

Every iteration noises the design D and the embroidery E with the same noise at the same timestep, then

1. all blocks read the content prompt, the target is D's noise: the whole LoRA theta_a moves;
2. the style blocks read the style prompt, the target is E's noise: only theta_e, the style blocks' part, moves.

What D and E share ends up everywhere, what only E has ends up in theta_e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from worker.engine.adapter import TrainingLora
from worker.engine.bases import Base, Prompts
from worker.engine.config import TrainConfig
from worker.engine.control import Control, join_residuals
from worker.engine.seeds import normal

MOTIF_SHARE = 0.35
"""Windows with less of the motif than this teach the cloth, not the stitches."""


class Denoiser(Protocol):
    """What a step asks for predictions: a base as it is, or a :class:`~worker.engine.training_unet.TrainingUNet`."""

    def predict(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: Prompts,
        time_ids: Tensor,
        style: Tensor | None = None,
        residuals: Control | None = None,
    ) -> Tensor:
        """As :meth:`worker.engine.bases.Base.predict`."""


@dataclass(frozen=True)
class Wording:
    """One way to name a pair: ``content`` embeds c_des, batch 1; ``style`` ``[1, L, C]`` is what style blocks read."""

    content: Prompts
    style: Tensor

    @classmethod
    def of(cls, base: Base, caption: str) -> Wording:
        """c_des is ``caption``; "" names the style alone."""
        return cls(base.encode_prompts([caption]), base.style_hidden(caption))


@dataclass(frozen=True)
class TrainingPair:
    """What training needs of one pair, computed once.

    Attributes:
        design, embroidery: scaled latents ``[1, C, h, w]``.
        residuals: of the design's control maps, batch 1; shared by D and E. ``None`` trains without control.
        named: the pair's prompts.
        unnamed: prompts without content.
        windows: top left corners, in latent cells, of the windows a step may look at.
        side: their side in latent cells.
    """

    design: Tensor
    embroidery: Tensor
    residuals: Control | None
    named: Wording
    unnamed: Wording
    windows: tuple[tuple[int, int], ...]
    side: int


def motif_windows(
    mask: npt.NDArray[np.bool_] | None, cells: int, side: int, stride: int
) -> tuple[tuple[int, int], ...]:
    """Corners of the square windows of ``side`` cells that show enough of the motif.

    Args:
        mask: true on the motif, ``[H, W]`` at any size; ``None``: all windows count.
        cells: side of the whole picture in latent cells.
        side: side of a window in latent cells.
        stride: corners are multiples of it, so that every level of the UNet is cut between cells.
    """
    if side >= cells:
        return ((0, 0),)
    corners = [(top, left) for top in range(0, cells - side + 1, stride) for left in range(0, cells - side + 1, stride)]
    if mask is None:
        return tuple(corners)
    scale = mask.shape[0] / cells

    def share(corner: tuple[int, int]) -> float:
        top, left = (int(c * scale) for c in corner)
        reach = int(side * scale)
        return float(mask[top : top + reach, left : left + reach].mean())

    shares = [share(corner) for corner in corners]
    needed = min(MOTIF_SHARE, max(shares))
    return tuple(corner for corner, found in zip(corners, shares, strict=True) if found >= needed)


@dataclass(frozen=True)
class Batch:
    """Noised windows of one or two pairs, ``B = pairs * timesteps_per_step``, pair by pair.

    ``designs`` and ``embroideries`` are (noisy latents, target) ``[B, C, side, side]``; D and E share noise and
    timestep. ``weights`` ``[B]`` sum to each pair's weight in the loss.
    """

    designs: tuple[Tensor, Tensor]
    embroideries: tuple[Tensor, Tensor]
    timesteps: Tensor
    time_ids: Tensor
    content: Prompts
    style: Tensor
    residuals: Control | None
    weights: Tensor


def draw_batch(
    base: Base, pairs: Sequence[tuple[TrainingPair, float]], config: TrainConfig, source: torch.Generator
) -> Batch:
    """Draws timesteps, noise and windows for pairs with their weights in the loss."""
    count = config.timesteps_per_step
    clean: dict[str, list[Tensor]] = {"design": [], "embroidery": []}
    wordings = [
        pair.unnamed if torch.rand((), generator=source) < config.unnamed_share else pair.named for pair, _ in pairs
    ]
    noises, ids, residuals = [], [], []
    steps = base.scheduler.config.num_train_timesteps
    shape = (len(pairs) * count,)
    if config.late_bias:
        timesteps = (steps * torch.rand(shape, generator=source) ** (1 + config.late_bias)).long().to(base.device)
    else:
        timesteps = torch.randint(0, steps, shape, generator=source).to(base.device)
    for pair, _ in pairs:
        picks = torch.randint(0, len(pair.windows), (count,), generator=source).tolist()
        for top, left in (pair.windows[pick] for pick in picks):
            area = (..., slice(top, top + pair.side), slice(left, left + pair.side))
            clean["design"].append(pair.design[area])
            clean["embroidery"].append(pair.embroidery[area])
            noises.append(normal((1, base.latent_channels, pair.side, pair.side), source, base.device))
            f = base.downscale
            ids.append(base.time_ids(pair.side * f, top * f, left * f))
            if pair.residuals is not None:
                residuals.append(pair.residuals.crop(top, left, pair.side))
    noise = torch.cat(noises)

    def noised(latents: list[Tensor]) -> tuple[Tensor, Tensor]:
        x = torch.cat(latents)
        target = base.scheduler.get_velocity(x, noise, timesteps) if base.prediction_type == "v_prediction" else noise
        return base.scheduler.add_noise(x, noise, timesteps), target

    return Batch(
        designs=noised(clean["design"]),
        embroideries=noised(clean["embroidery"]),
        timesteps=timesteps,
        time_ids=torch.cat(ids),
        content=Prompts.join([wording.content for wording in wordings]).repeat(count),
        style=torch.cat([wording.style for wording in wordings]).repeat_interleave(count, dim=0),
        residuals=join_residuals(residuals) if residuals else None,
        weights=torch.tensor([weight / count for _, weight in pairs for _ in range(count)], device=base.device),
    )


class Updates:
    """The optimisers. ``paper`` shares one AdamW among all updates, ``separate`` keeps one for each.

    With the shared one an update of theta_e alone moves it by moments that theta_a's update filled too, as in the
    paper's code. Either way parameters outside an update have no gradient there, so AdamW skips them whole: value,
    moments and step count.
    """

    KINDS = ("design", "embroidery", "contrast")

    def __init__(self, lora: TrainingLora, config: TrainConfig) -> None:
        self._lora = lora
        self._names = {id(parameter): name for name, parameter in lora.parameters.items()}
        everything = list(lora.parameters.values())
        self._targets = {"design": everything, "embroidery": lora.style_parameters, "contrast": lora.style_parameters}

        def adamw(parameters: list[nn.Parameter]) -> torch.optim.AdamW:
            return torch.optim.AdamW(
                parameters,
                lr=config.learning_rate,
                betas=config.betas,
                weight_decay=config.weight_decay,
                eps=config.epsilon,
                fused=True,  # one kernel instead of ten a tensor: 170 small tensors are all overhead otherwise
            )

        if config.optimiser == "paper":
            shared = adamw(everything)
            self._optimisers = dict.fromkeys(self.KINDS, shared)
        else:
            self._optimisers = {kind: adamw(self._targets[kind]) for kind in self.KINDS}

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate

    def step(self, kind: str, loss: Tensor) -> float:
        """Moves what this kind of update may move, by the gradient of ``loss``; returns the loss."""
        torch.autograd.backward(loss, inputs=self._targets[kind])
        self.apply(kind)
        return float(loss.detach())

    def apply(self, kind: str) -> None:
        """Moves what has a gradient among what this kind of update may move, and forgets the gradients."""
        self._optimisers[kind].step()
        self._optimisers[kind].zero_grad(set_to_none=True)
        self._lora.changed(style_only=kind != "design")

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by ``kind/parameter/what``; a shared optimiser stands under ``design``."""
        return {
            f"{kind}/{self._names[id(parameter)]}/{what}": value
            for kind, optimiser in self._distinct().items()
            for parameter, values in optimiser.state.items()
            for what, value in values.items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes the optimisers back to :meth:`state`."""
        parameters = {self._names[id(p)]: p for p in self._targets["design"]}
        distinct = self._distinct()
        for key, value in state.items():
            kind, name, what = key.split("/")
            # A checkpoint is read on the CPU; a fused step wants everything where its parameter is.
            distinct[kind].state[parameters[name]][what] = value.to(parameters[name].device, copy=True)

    def _distinct(self) -> dict[str, torch.optim.AdamW]:
        seen: dict[int, str] = {}
        for kind in self.KINDS:
            seen.setdefault(id(self._optimisers[kind]), kind)
        return {kind: self._optimisers[kind] for kind in seen.values()}


def prediction_loss(denoiser: Denoiser, batch: Batch, *, of_embroidery: bool) -> Tensor:
    """Weighted mean squared error of the prediction; for E the style blocks read the style prompt."""
    noisy, target = batch.embroideries if of_embroidery else batch.designs
    out = denoiser.predict(
        noisy,
        batch.timesteps,
        batch.content,
        batch.time_ids,
        style=batch.style if of_embroidery else None,
        residuals=batch.residuals,
    )
    return ((out - target).square().mean(dim=(1, 2, 3)) * batch.weights).sum()


def modulation_steps(denoiser: Denoiser, updates: Updates, batch: Batch) -> dict[str, float]:
    """Steps 1 and 2 of an iteration; returns both losses."""
    return {
        "design": updates.step("design", prediction_loss(denoiser, batch, of_embroidery=False)),
        "embroidery": updates.step("embroidery", prediction_loss(denoiser, batch, of_embroidery=True)),
    }
