"""What both trainings share: averaged weights, the rate's course, precision, checkpoints, one line of log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from worker.engine.bases import fast_dtype


class Averaged:
    """Exponential moving average of parameters, quick to follow at first."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters, self.decay, self.steps = list(parameters), decay, 0
        self.values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Follows the live weights by one step."""
        self.steps += 1
        follow = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], follow)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Overwrites the live weights."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            parameter.copy_(value)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges averaged and live weights; calling it twice restores both."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            live = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(live)


def save_state(folder: Path, average: Averaged, save: Callable[[], object]) -> None:
    """Calls `save` while the averaged weights are in the model."""
    folder.mkdir(parents=True, exist_ok=True)
    average.swap()
    try:
        save()
    finally:
        average.swap()


def save_atomically(value: object, path: Path) -> None:
    """`torch.save` that never leaves half a file."""
    temporary = path.with_suffix(".tmp")
    torch.save(value, temporary)
    temporary.replace(path)


def warmup_decay(step: int, done: float, warmup: int, decay_from: float) -> float:
    """Factor of the rate: up over `warmup` steps, down to 2 % from the share `decay_from` of the run on."""
    fall = 1.0 if done < decay_from else max(0.02, (1 - done) / (1 - decay_from))
    return min(1.0, (step + 1) / warmup) * fall


def autocast(device: str) -> AbstractContextManager[object]:
    """bfloat16 on GPUs and on CPUs that multiply it natively; elsewhere it would only be slower."""
    kind = device.split(":", maxsplit=1)[0]
    dtype = fast_dtype(kind)
    return nullcontext() if dtype is None else torch.autocast(kind, dtype)


def log_line(name: str, step: int, done: float, begin: float, samples: int, **figures: float) -> str:
    """One line of log: where the training stands, its figures and its speed."""
    speed = samples / max(1e-6, time.monotonic() - begin)
    shown = " ".join(f"{key} {value:.4f}" for key, value in figures.items())
    return f"{name} step {step} {100 * done:.1f} % {shown} {speed:.1f} samples/s"
