"""A design as areas of ink: the one source that flat artwork and embroidery are both drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

SUPERSAMPLING = 2
"""Label maps, and the renderer's fields, have this many samples along each side of an output pixel."""


@dataclass(frozen=True)
class LabelMap:
    """A design as areas of ink.

    Attributes:
        labels: Ink of every sample, 0 is the ground; uint8 [S, S] with S = `SUPERSAMPLING` x the output size.
        palette: RGB in [0, 1] of every ink, float32 [K, 3], row 0 the ground's.
    """

    labels: npt.NDArray[np.uint8]
    palette: npt.NDArray[np.float32]


def flat_design(design: LabelMap) -> npt.NDArray[np.uint8]:
    """The design as clean flat artwork, uint8 RGB at the output size."""
    size = design.labels.shape[0] // SUPERSAMPLING
    picture = cv2.resize(design.palette[design.labels], (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray((picture * 255 + 0.5).clip(0, 255), np.uint8)
