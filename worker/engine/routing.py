"""Prompt routing: the style blocks read one prompt, all other blocks another (section 4.1 of arXiv 2509.18948).

Only cross-attention reads a prompt's hidden states, so it is enough to hand each style block other hidden states than
the UNet was called with. One forward pre-hook a style block does that; it is installed once and reads one attribute,
so routing costs nothing inside a training loop, and without a style prompt the UNet is exactly the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn


def attention_blocks(unet: nn.Module) -> dict[str, nn.Module]:
    """Every transformer block of the UNet by name, in the order of its forward pass.

    On SDXL: ``down_blocks.1.attentions.0`` ... ``mid_block.attentions.0`` ... ``up_blocks.1.attentions.2``.
    """
    groups: list[tuple[str, nn.Module]] = []
    for side in ("down_blocks", "mid_block", "up_blocks"):
        part = getattr(unet, side, None)
        if isinstance(part, nn.ModuleList):
            groups += [(f"{side}.{index}", block) for index, block in enumerate(part)]
        elif isinstance(part, nn.Module):
            groups.append((side, part))
    return {
        f"{name}.attentions.{index}": attention
        for name, block in groups
        for index, attention in enumerate(getattr(block, "attentions", None) or ())
    }


class PromptRouting:
    """Feeds the style blocks of one UNet another prompt.

    Args:
        unet: a diffusers UNet2DConditionModel.
        style_blocks: names as in :func:`attention_blocks`.

    Raises:
        ValueError: the UNet has no block of that name.
    """

    def __init__(self, unet: nn.Module, style_blocks: Sequence[str]) -> None:
        blocks = attention_blocks(unet)
        unknown = [name for name in style_blocks if name not in blocks]
        if unknown:
            raise ValueError(f"no such attention blocks: {', '.join(unknown)}; the UNet has {', '.join(blocks)}")
        self.style_blocks = tuple(style_blocks)
        self._style_hidden: Tensor | None = None
        self._hooks = [
            blocks[name].register_forward_pre_hook(partial(self._hand_over, name), with_kwargs=True)
            for name in self.style_blocks
        ]

    def _hand_over(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG002
        if self._style_hidden is None:
            return None
        return args, {**kwargs, "encoder_hidden_states": self._style_hidden}

    @contextmanager
    def style_prompt(self, hidden: Tensor | None) -> Iterator[None]:
        """Inside, style blocks read ``hidden`` ``[B, L, C]``; with ``None`` they read what everyone reads."""
        before, self._style_hidden = self._style_hidden, hidden
        try:
            yield
        finally:
            self._style_hidden = before

    def remove(self) -> None:
        """Takes the hooks off the UNet."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
