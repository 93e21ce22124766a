"""Means over styles and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLINGS, SHARE = 4000, 0.95

Table = npt.NDArray[np.float64]
"""Figures of one method, [styles, designs]."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its bootstrap interval (Efron 1979), resampled over styles: another shop brings another style."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, table: Table) -> Estimate:
        """Of a method's figures; the same resamplings every time."""
        by_style = np.asarray(table, float).mean(1)
        chosen = np.random.default_rng(0).integers(len(by_style), size=(RESAMPLINGS, len(by_style)))
        low, high = np.quantile(by_style[chosen].mean(1), [(1 - SHARE) / 2, (1 + SHARE) / 2])
        return cls(float(by_style.mean()), float(low), float(high))


def difference(first: Table, second: Table) -> Estimate:
    """Of first - second, style by style: what both share does not count."""
    return Estimate.of(np.asarray(first, float) - np.asarray(second, float))


def separation(same: Sequence[float], changed: Sequence[float]) -> float:
    """Area under the ROC curve: how often a changed style lies farther away than the same one; ties count half."""
    near, far = np.asarray(same, float)[:, None], np.asarray(changed, float)[None]
    return float((far > near).mean() + 0.5 * (far == near).mean())
