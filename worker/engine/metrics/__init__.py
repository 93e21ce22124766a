"""Figures that say how good a rendering is; NumPy and OpenCV only, deterministic, aware of a mask.

Every metric works on L* or Lab of sRGB pictures and takes an optional mask (H x W bool, True where it counts): an
embroidery is judged where stitches are, not on the cloth around it.

A high-frequency ratio alone misleads: a flat design has one too, from its edges. Read it beside the others.
"""

from worker.engine.metrics.colours import histogram_distance
from worker.engine.metrics.edges import EdgeAgreement, edge_agreement
from worker.engine.metrics.frequency import (
    high_frequency_difference,
    high_frequency_energy,
    high_frequency_ratio,
    local_contrast,
)
from worker.engine.metrics.orientation import orientation_distance, orientation_histogram
from worker.engine.metrics.patches import sliced_wasserstein
from worker.engine.metrics.texture import TextureStatistics, log_gabor_distance, log_gabor_statistics

__all__ = [
    "EdgeAgreement",
    "TextureStatistics",
    "edge_agreement",
    "high_frequency_difference",
    "high_frequency_energy",
    "high_frequency_ratio",
    "histogram_distance",
    "local_contrast",
    "log_gabor_distance",
    "log_gabor_statistics",
    "orientation_distance",
    "orientation_histogram",
    "sliced_wasserstein",
]
