"""The figures a picture gets, each a number to be read beside the others: one alone misleads.

Stitches are compared with the truth where the motif is; content and colours with the design; colours once more with the
truth, for shade and shine and the cloth between stitches belong to them, and with the reference, from which they must
be free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
from skimage.metrics import structural_similarity

from worker.atelier.evaluation.control import edge_agreement
from worker.atelier.evaluation.judge import JudgeUnavailableError, perceptual_distance
from worker.bench.pretrained import clip_score, lpips_distance
from worker.engine.colour import Bool, Picture, lightness
from worker.engine.metrics import (
    high_frequency_difference,
    histogram_distance,
    log_gabor_distance,
    log_gabor_statistics,
    orientation_distance,
    orientation_histogram,
    sliced_wasserstein,
)

__all__ = ["EXTRA", "MEASURES", "Extra", "Measure", "Scene", "extra_measures", "measure"]

_DROWNED = 2.5
"""Pixels of blur in which threads drown and outlines stay."""


@dataclass(frozen=True)
class Scene:
    """What a picture is compared with.

    Attributes:
        design: the flat design that was to be drawn.
        mask: true on its motif.
        truth: the design in the reference's style.
        reference: the reference embroidery.
        reference_mask: true on the reference's motif.
        words: what the design shows, in words.
    """

    design: Picture
    mask: Bool
    truth: Picture
    reference: Picture
    reference_mask: Bool
    words: str = ""


@dataclass(frozen=True)
class Measure:
    """One figure: its column's ``title``, whether less is ``lower`` = better, and how it is taken."""

    title: str
    lower: bool
    of: Callable[[Picture, Scene], float]


def _texture(picture: Picture, scene: Scene) -> float:
    return log_gabor_distance(log_gabor_statistics(picture, scene.mask), log_gabor_statistics(scene.truth, scene.mask))


def _directions(picture: Picture, scene: Scene) -> float:
    histograms = (orientation_histogram(one, scene.mask) for one in (picture, scene.truth))
    return orientation_distance(*histograms)


def _structure(picture: Picture, scene: Scene) -> float:
    soft = [cv2.GaussianBlur(lightness(one), (0, 0), _DROWNED) for one in (picture, scene.design)]
    return float(structural_similarity(*soft, data_range=100))  # type: ignore[no-untyped-call]


MEASURES: dict[str, Measure] = {
    "texture": Measure("log-Gabor to truth", True, _texture),
    "patches": Measure(
        "patches to truth", True, lambda picture, s: sliced_wasserstein(picture, s.truth, s.mask, s.mask)
    ),
    "directions": Measure("directions to truth, °", True, _directions),
    "edges": Measure("edges of design", False, lambda picture, s: edge_agreement(picture, s.design)),
    "structure": Measure("structure of design", False, _structure),
    "colour": Measure(
        "colours to design", True, lambda picture, s: histogram_distance(picture, s.design, s.mask, s.mask)
    ),
    "truth_colour": Measure(
        "colours to truth", True, lambda picture, s: histogram_distance(picture, s.truth, s.mask, s.mask)
    ),
    "freedom": Measure(
        "colours to reference",
        False,
        lambda picture, s: histogram_distance(picture, s.reference, s.mask, s.reference_mask),
    ),
    "hfrd": Measure(
        "HFRD, % points",
        True,
        lambda picture, s: high_frequency_difference(picture, s.reference, s.mask, s.reference_mask),
    ),
}
"""By name, in the table's order. Formulas: `worker.engine.metrics`, `worker.atelier.evaluation.control`."""

Extra = dict[str, Callable[[Picture, Scene], float]]
EXTRA = {
    "perceptual": ("network's distance to truth", True),
    "lpips": ("LPIPS to design", True),
    "clip": ("CLIP score", False),
}
"""Figures by trained networks: title, and whether less is better. There where the network's weights are."""


def extra_measures(clip: Path | None = None) -> Extra:
    """The figures by trained networks that can be taken on this machine.

    Args:
        clip: folder of a CLIP model in transformers' format.

    Raises:
        ValueError: there is no CLIP model in that folder.
    """
    found: Extra = {}
    try:
        network = perceptual_distance()
        found["perceptual"] = lambda picture, scene: network(picture, scene.truth)
    except JudgeUnavailableError:
        pass
    if (lpips := lpips_distance()) is not None:
        found["lpips"] = lambda picture, scene: lpips(picture, scene.design)
    if clip is not None:
        score = clip_score(clip)
        found["clip"] = lambda picture, scene: score(picture, scene.words)
    return found


def measure(picture: Picture, scene: Scene, extra: Extra | None = None) -> dict[str, float]:
    """Every figure of one picture, those of ``extra`` too."""
    found = {name: one.of(picture, scene) for name, one in MEASURES.items()}
    found |= {name: take(picture, scene) for name, take in (extra or {}).items()}
    return {name: round(float(value), 5) for name, value in found.items()}
