"""Text embeddings, as SDXL's two text encoders make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Prompts:
    """Text embeddings: ``hidden`` ``[B, L, C]`` for cross-attention, ``pooled`` ``[B, P]`` for the time embedding."""

    hidden: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        return len(self.hidden)

    def each(self, change: Callable[[Tensor], Tensor]) -> Prompts:
        """Both tensors with ``change`` applied."""
        return Prompts(change(self.hidden), change(self.pooled))

    def repeat(self, count: int) -> Prompts:
        """Each item ``count`` times in a row: ``[a, a, b, b]``."""
        return self.each(lambda tensor: tensor.repeat_interleave(count, dim=0))

    def item(self, index: int) -> Prompts:
        """One item, as a batch of one."""
        return self.each(lambda tensor: tensor[index : index + 1])

    @staticmethod
    def join(parts: Sequence[Prompts]) -> Prompts:
        """Several batches as one."""
        return Prompts(torch.cat([part.hidden for part in parts]), torch.cat([part.pooled for part in parts]))


def embed_prompts(tokenizers: Sequence[Any], text_encoders: Sequence[nn.Module], prompts: Sequence[str]) -> Prompts:
    """Texts to embeddings as SDXL's pipeline makes them, differentiable."""
    return embed_tokens(text_encoders, [token_ids(tokenizer, prompts) for tokenizer in tokenizers])


def token_ids(tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """Texts as numbers ``[B, L]``, padded or cut to the tokenizer's own length."""
    ids: Tensor = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


def embed_tokens(text_encoders: Sequence[nn.Module], ids: Sequence[Tensor]) -> Prompts:
    """The penultimate layers of the encoders side by side, and the projected embedding of the last one.

    Raises:
        ValueError: there is no encoder.
    """
    hidden = []
    pooled = None
    for encoder, numbers in zip(text_encoders, ids, strict=True):
        out = encoder(numbers.to(next(encoder.parameters()).device), output_hidden_states=True)
        hidden.append(out.hidden_states[-2])
        pooled = out[0]
    if pooled is None:
        raise ValueError("a base needs at least one text encoder")
    return Prompts(torch.cat(hidden, dim=-1), pooled)
