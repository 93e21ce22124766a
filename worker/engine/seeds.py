"""Random numbers that follow from a seed and a purpose, not from what was drawn before.

Every draw has its own generator, so a resumed training needs no stored generator state to equal an unbroken one, a
preview in between changes nothing, and one variation of a render does not depend on how many were asked for.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

MAX_SEED = 2**32 - 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose, e.g. ``generator(42, "stage_one", 17)``."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def variation_seed(seed: int, index: int) -> int:
    """The seed of the ``index``-th variation; rendering it alone with that seed gives the same picture."""
    return (seed + index) % (MAX_SEED + 1)


def normal(shape: tuple[int, ...], source: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal noise, drawn on the CPU so that it is the same on every device."""
    return torch.randn(shape, generator=source).to(device)
