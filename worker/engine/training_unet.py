"""A base's UNet as training needs it: what :meth:`worker.engine.bases.Base.predict` computes, at less cost.

Frozen weights are cast once, tensors stay channels-last, attention is :mod:`worker.engine.lora_attention`'s. What lies
before the first layer with a LoRA depends on the noisy latents alone, and what lies between it and the first style
block on nothing that routing or a step of theta_e changes: predictions on the same noisy latents share both.

Only the forward pass is written anew; topology and weights are those of the diffusers module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from worker.engine.adapter import TrainingLora
from worker.engine.bases import Base, Prompts
from worker.engine.control import Control, LiveControl, Residuals
from worker.engine.frozen_layers import Convolution, Dense, GatedDense, Residual, group_norm, plain_norm
from worker.engine.lora_attention import LoraAttention, LoraProjection, LoraUse, merged_layers


class Transformer:
    """diffusers' Transformer2DModel of BasicTransformerBlocks, its LoRA included.

    Raises:
        ValueError: it is not of SDXL's kind.
    """

    def __init__(self, module: Any, name: str, lora: TrainingLora, *, style: bool, dtype: torch.dtype) -> None:
        if not module.use_linear_projection:
            raise ValueError("training knows transformer blocks of SDXL's kind only")
        self.name, self.style, self.norm = name, style, module.norm
        self.proj_in, self.proj_out = Dense(module.proj_in, dtype), Dense(module.proj_out, dtype)

        def attention(path: str) -> LoraAttention:
            part = module.get_submodule(path)
            return LoraAttention(part, f"{name}.{path}", lora.parameters, style=style, dtype=dtype)

        self.layers = [
            (
                (layer.norm1, attention(f"transformer_blocks.{index}.attn1")),
                (layer.norm2, attention(f"transformer_blocks.{index}.attn2")),
                (layer.norm3, GatedDense(layer.ff, dtype)),
            )
            for index, layer in enumerate(module.transformer_blocks)
        ]

    @property
    def projections(self) -> list[LoraProjection]:
        """All its layers with a LoRA."""
        attentions = [attention for *both, _ in self.layers for _, attention in both]
        return [projection for one in attentions for projection in (*one.inner, one.out)]

    def __call__(self, x: Tensor, text: Tensor, use: LoraUse) -> Tensor:
        """``x`` ``[B, C, h, w]``, channels-last, and what its cross-attention reads, ``text`` ``[B, L, D]``."""
        batch, channels, height, width = x.shape
        normed = group_norm(x, self.norm, silu=False)
        h = self.proj_in(normed.permute(0, 2, 3, 1).reshape(batch, height * width, channels))  # a view: channels-last
        for (norm1, attention1), (norm2, attention2), (norm3, feed_forward) in self.layers:
            h = h + attention1(plain_norm(h, norm1), text, use)
            h = h + attention2(plain_norm(h, norm2), text, use)
            h = h + feed_forward(plain_norm(h, norm3))
        return x + self.proj_out(h).view(batch, height, width, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Midway:
    """A prediction on its way: ``x`` so far, the ``skips`` still to be read, the activated time embedding."""

    x: Tensor
    skips: tuple[Tensor, ...]
    time: Tensor


@dataclass(frozen=True)
class Reading:
    """What the layers of one prediction are told.

    Attributes:
        content, style: hidden states for the blocks and for the style blocks.
        use: of the LoRA.
        residuals: of control.
    """

    content: Tensor
    style: Tensor
    use: LoraUse
    residuals: Residuals | None = None


_State = TypeVar("_State")


class Recent(Generic[_State]):
    """The last two things that were made, by what they were made from: tensors, told by identity, and numbers.

    Two, for an iteration looks at noisy designs, at noisy embroideries and at the designs again.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[object, ...], _State]] = []

    def get(self, key: tuple[object, ...], make: Callable[[], _State]) -> _State:
        """What was made from ``key``, or else, without gradients, what ``make`` gives now."""

        def same(a: object, b: object) -> bool:
            return a is b if isinstance(a, Tensor) else a == b

        for known, state in self._kept:
            if all(map(same, known, key)):
                return state
        with torch.no_grad():
            state = make()
        self._kept = [*self._kept, (key, state)][-2:]
        return state

    def clear(self) -> None:
        """Forgets them."""
        self._kept = []


class TrainingUNet:
    """The UNet of ``base`` with ``lora`` on it; both stay as they are.

    Args:
        base: its style blocks are those of the time of this call.
        lora: on the base's UNet; inside :meth:`TrainingLora.off` it is off here too.
        checkpointing: activations inside residual and transformer blocks are not kept but computed anew in the
            backward pass: less memory, more time, the same numbers.

    Raises:
        ValueError: the UNet is not of SDXL's kind.
    """

    def __init__(self, base: Base, lora: TrainingLora, *, checkpointing: bool = False) -> None:
        self.base, self.lora, self.checkpointing = base, lora, checkpointing
        unet: Any = base.unet
        self.dtype = base.autocast_dtype or unet.dtype
        self.plan = _plan(unet, lora, base.routing.style_blocks, self.dtype)
        self.head = (unet.conv_norm_out, Convolution(unet.conv_out, self.dtype))
        transformers = [(at, layer) for at, (_, layer) in enumerate(self.plan) if isinstance(layer, Transformer)]
        self.groups = merged_layers((one for _, layer in transformers for one in layer.projections), self.dtype)
        self.first = transformers[0][0]
        self.first_style = next((at for at, layer in transformers if layer.style), self.first)
        self._stems: Recent[Midway] = Recent()
        self._trunks: Recent[Midway] = Recent()
        self._controls: Recent[Residuals] = Recent()

    def predict(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: Prompts,
        time_ids: Tensor,
        style: Tensor | None = None,
        residuals: Control | None = None,
    ) -> Tensor:
        """As :meth:`Base.predict`, but with ``style`` gradients reach theta_e only, which is all the method moves then.

        The tensors must not be changed in place between two predictions on them.
        """
        batch = len(latents)

        def full(tensor: Tensor) -> Tensor:
            return tensor.expand(batch, *tensor.shape[1:])

        told = prompts.each(full)
        key = (latents, timesteps, prompts.pooled, time_ids)
        if isinstance(residuals, LiveControl):
            live = residuals
            residuals = self._controls.get(
                (*key, prompts.hidden, live), lambda: self._control(live, latents, timesteps, told, full(time_ids))
            )
        content = told.hidden.to(self.dtype)
        use = self._use(routed=style is not None)
        reading = Reading(content, content if style is None else full(style).to(self.dtype), use, residuals)
        state = self._stems.get(key, lambda: self._stem(latents, timesteps, told.pooled, full(time_ids)))
        if use.moves:
            state = self._walk(state, self.first, self.first_style, reading)
        else:
            whole = (*key, prompts.hidden, use.on, self.lora.revisions[0])
            start = state
            state = self._trunks.get(whole, lambda: self._walk(start, self.first, self.first_style, reading))
        state = self._walk(state, self.first_style, len(self.plan), reading)
        norm, convolution = self.head
        return convolution(group_norm(state.x, norm)).float()

    def clear(self) -> None:
        """Forgets what was kept for further predictions on the same inputs."""
        for recent in (self._stems, self._trunks, self._controls):
            recent.clear()

    def _use(self, *, routed: bool) -> LoraUse:
        if not self.lora.active:
            return LoraUse()
        style_moves = torch.is_grad_enabled()
        moves = style_moves and not routed
        merged: dict[LoraProjection, Tensor] = {}
        for group in self.groups:
            merged |= group.merged(self.lora.revisions[group.style], moves=style_moves if group.style else moves)
        return LoraUse(on=True, moves=moves, style_moves=style_moves, merged=merged)

    def _control(
        self, live: LiveControl, latents: Tensor, timesteps: Tensor, prompts: Prompts, time_ids: Tensor
    ) -> Residuals:
        with self.base.precision():
            return live.at(latents, timesteps, prompts, time_ids)

    def _stem(self, latents: Tensor, timesteps: Tensor, pooled: Tensor, time_ids: Tensor) -> Midway:
        """Up to the first layer with a LoRA."""
        unet = self.base.unet
        added = {"text_embeds": pooled, "time_ids": time_ids}
        with self.base.precision():
            time = unet.time_embedding(unet.get_time_embed(sample=latents, timestep=timesteps))
            time = time + unet.get_aug_embed(emb=time, encoder_hidden_states=None, added_cond_kwargs=added)
        x = latents.to(self.dtype).contiguous(memory_format=torch.channels_last)
        blind = Reading(x, x, LoraUse())
        return self._walk(Midway(x, (), F.silu(time).to(self.dtype)), 0, self.first, blind)

    def _walk(self, state: Midway, begin: int, end: int, reading: Reading) -> Midway:
        for kind, layer in self.plan[begin:end]:
            x, skips = state.x, state.skips
            if kind == "residual":
                x = self._through(layer, x, state.time)
            elif kind == "transformer":
                text = reading.style if layer.style else reading.content
                x = self._through(partial(layer, use=reading.use), x, text)
            elif kind == "convolution":
                x = layer(x)
            elif kind == "upsample":
                x = layer(F.interpolate(x, scale_factor=2.0, mode="nearest"))
            elif kind == "keep":
                skips = (*skips, x)
            elif kind == "join":
                x, skips = torch.cat([x, skips[-1]], dim=1), skips[:-1]
            elif reading.residuals is not None:
                if kind == "control":
                    down = reading.residuals.down
                    skips = tuple(skip + part.to(self.dtype) for skip, part in zip(skips, down, strict=True))
                else:
                    x = x + reading.residuals.mid.to(self.dtype)
            state = replace(state, x=x, skips=skips)
        return state

    def _through(self, layer: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        if not self.checkpointing or not torch.is_grad_enabled():
            return layer(*inputs)
        return checkpoint(layer, *inputs, use_reentrant=False)  # type: ignore[no-any-return]


def _plan(unet: Any, lora: TrainingLora, style_blocks: Sequence[str], dtype: torch.dtype) -> list[tuple[str, Any]]:
    """The UNet as a list of steps: a kind, and a layer where it needs one."""

    def residual(block: Any, name: str, index: int) -> list[tuple[str, Any]]:
        """A residual block and the transformer block after it, where there is one."""
        steps: list[tuple[str, Any]] = [("residual", Residual(block.resnets[index], dtype))]
        attentions = getattr(block, "attentions", None) or ()
        if index < len(attentions):
            whole = f"{name}.attentions.{index}"
            style = whole in style_blocks
            steps.append(("transformer", Transformer(attentions[index], whole, lora, style=style, dtype=dtype)))
        return steps

    plan: list[tuple[str, Any]] = [("convolution", Convolution(unet.conv_in, dtype)), ("keep", None)]
    for level, block in enumerate(unet.down_blocks):
        for index in range(len(block.resnets)):
            plan += [*residual(block, f"down_blocks.{level}", index), ("keep", None)]
        for sampler in block.downsamplers or ():
            plan += [("convolution", Convolution(sampler.conv, dtype)), ("keep", None)]
    plan.append(("control", None))
    for index in range(len(unet.mid_block.resnets)):
        plan += residual(unet.mid_block, "mid_block", index)
    plan.append(("control_middle", None))
    for level, block in enumerate(unet.up_blocks):
        for index in range(len(block.resnets)):
            plan += [("join", None), *residual(block, f"up_blocks.{level}", index)]
        plan += [("upsample", Convolution(sampler.conv, dtype)) for sampler in block.upsamplers or ()]
    return plan
