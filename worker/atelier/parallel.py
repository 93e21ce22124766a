"""One base trained by several processes, each on a GPU of its own, as `accelerate launch` starts them.

Every process draws its own batch; gradients are averaged before the step, so all keep the same weights. Alone, nothing
here is called on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce
from torch import Tensor


class Together:
    """The processes that train together.

    Attributes:
        count: how many.
        rank: which of them this is, from 0.
    """

    def __init__(self) -> None:
        self._state = PartialState(cpu=not torch.cuda.is_available())
        self.count, self.rank = int(self._state.num_processes), int(self._state.process_index)

    @property
    def is_first(self) -> bool:
        """Whether this process saves and speaks."""
        return self.rank == 0

    def device(self, asked: str) -> str:
        """This process's device: of several GPUs its own."""
        return f"cuda:{self._state.local_process_index}" if asked == "cuda" and self.count > 1 else asked

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Makes every process's gradients their mean; a parameter without a gradient in one has none in any."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        mean = reduce(joined, reduction="mean")
        for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def share(self, tensors: Sequence[Tensor]) -> None:
        """Gives every process the first one's values."""
        if self.count > 1:
            for tensor in tensors:
                tensor.copy_(broadcast(tensor.detach().clone(), from_process=0))

    def agree(self, value: float, device: str) -> float:
        """The first process's number: clocks differ, and all have to stop after the same step."""
        if self.count == 1:
            return value
        return float(broadcast(torch.tensor(value, device=device, dtype=torch.float64), from_process=0))

    def wait(self) -> None:
        """Returns when all processes are here."""
        if self.count > 1:
            self._state.wait_for_everyone()
