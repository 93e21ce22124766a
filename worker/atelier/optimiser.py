"""Muon for the matrices, AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) makes each matrix's step orthogonal, so that rare
directions are learnt as fast as common ones. A convolution is a matrix of its windows. torch has it for matrices alone:
here it works on views of the convolutions' weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ADAM_SHARE = 0.4
"""AdamW's rate as a share of Muon's."""


def _as_matrix(weight: Tensor) -> Tensor:
    """[out, in] of a matrix or a convolution; a view where the weight lies in channels-last order."""
    return weight if weight.ndim == 2 else weight.permute(0, 2, 3, 1).flatten(1)


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Hidden matrices; layers that enter and leave a network, and the words', step as AdamW says."""
    ends = name.startswith("text") or "conv_in" in name or "conv_out" in name
    lies_well = parameter.ndim == 2 or (
        parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    )
    return lies_well and not ends


class TwoOptimisers:
    """One optimiser to its user.

    Args:
        named: Parameters with names.
        eagerness: What multiple of the rate a name learns at.
        rate: Highest rate of Muon, whose steps are scaled to the size that AdamW's would have.
        fused: AdamW's fused kernel.
    """

    def __init__(
        self, named: list[tuple[str, nn.Parameter]], eagerness: Callable[[str], float], rate: float, *, fused: bool
    ) -> None:
        matrices = [(name, p) for name, p in named if _is_matrix(name, p)]
        chosen = {name for name, _ in matrices}
        self.sources = [p for _, p in matrices]
        views = [(name, nn.Parameter(_as_matrix(p.detach()))) for name, p in matrices]
        self.views = [view for _, view in views]
        for source, view in zip(self.sources, self.views, strict=True):
            if source.data_ptr() != view.data_ptr():
                raise ValueError("a view of a weight became a copy of it")
        self.muon = torch.optim.Muon(_groups(views, eagerness), rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        self.adam = torch.optim.AdamW(
            _groups([(n, p) for n, p in named if n not in chosen], eagerness),
            rate,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            fused=fused,
        )

    def set_rate(self, rate: float) -> None:
        """The rate of the next steps, before each group's own eagerness."""
        for optimiser, share in ((self.muon, 1.0), (self.adam, ADAM_SHARE)):
            for group in optimiser.param_groups:
                group["lr"] = rate * share * group["eagerness"]

    def step(self) -> None:
        """Steps every parameter that has a gradient."""
        for source, view in zip(self.sources, self.views, strict=True):
            view.grad = None if source.grad is None else _as_matrix(source.grad)
        self.muon.step()  # type: ignore[no-untyped-call]
        self.adam.step()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        self.adam.zero_grad(set_to_none=True)
        for source in self.sources:
            source.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def _groups(named: list[tuple[str, nn.Parameter]], eagerness: Callable[[str], float]) -> list[dict[str, Any]]:
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named:
        groups.setdefault(eagerness(name), []).append(parameter)
    return [{"params": group, "eagerness": factor} for factor, group in groups.items()]
