"""The paper's builder: a diffusion model draws the design, held by a tile map and soft edges.

What draws is handed in: the style's own base (:mod:`worker.engine.pairs.base_designs`) or Stable Diffusion 3, the
paper's choice (:mod:`worker.engine.pairs.sd3`). Numbers: appendix of arXiv 2509.18948. No torch is needed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Float, lightness, to_float
from worker.engine.control_maps import tile_map
from worker.engine.metrics.orientation import structure_tensor

__all__ = ["DesignConfig", "DesignModel", "DesignRequest", "DiffusionUnavailableError", "draw_design", "soft_edges"]

_LETTERING: Final = re.compile(
    r"[\"“”„«»]|\b(?:monogram|initials?|letters?|lettering|text|names?|words?|slogan|saying)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class DesignConfig:
    """Numbers of one design; the defaults are the paper's.

    Attributes:
        steps: of the sampler, from noise.
        guidance: classifier-free guidance.
        control_edge: weight of the edge ControlNet, fed with soft edges.
        control_edge_lettering: the same where the caption speaks of lettering, whose outlines are the motif.
        control_tile: weight of the tile ControlNet, fed with the blurred embroidery.
        tile_kernel: Gaussian kernel of that blur, in pixels at a side of 1024.
        prompt: words for what a clean design looks like; the caption is added, in place of the paper's WD14 tags.
        negative_prompt: what guidance leads away from.
    """

    steps: int = 28
    guidance: float = 4.0
    control_edge: float = 0.2
    control_edge_lettering: float = 0.3
    control_tile: float = 0.8
    tile_kernel: float = 15
    prompt: str = "flat design, vector illustration, cartoon, clean shapes, solid colors, plain background"
    negative_prompt: str = (
        "embroidery, stitches, threads, yarn, knitting, fabric texture, photo, realistic, noise, blurry"
    )

    def prompt_for(self, caption: str) -> str:
        """The prompt for a motif; "" is one that nothing is known of."""
        return f"{self.prompt}, {caption.strip()}" if caption.strip() else self.prompt

    def for_motif(self, caption: str) -> DesignConfig:
        """The same with the weights for what the caption speaks of."""
        return replace(self, control_edge=self.control_edge_lettering) if _LETTERING.search(caption) else self


@dataclass(frozen=True, slots=True)
class DesignRequest:
    """One design to draw.

    Attributes:
        tile: the embroidery's colours without its stitches, side x side x 3 in 0..1.
        edges: its outlines without its stitches, side x side in 0..1.
        prompt: with the caption.
        seed: of the noise.
        config: the numbers, with this motif's weights.
        on_step: called after each step with (steps done, of how many); may raise to stop.
    """

    tile: Float
    edges: Float
    prompt: str
    seed: int
    config: DesignConfig
    on_step: Callable[[int, int], None] = lambda _step, _total: None

    def maps(self, side: int) -> tuple[Float, Float]:
        """Tile and edges at another side, in pixels: what the model was trained for."""
        if len(self.tile) == side:
            return self.tile, self.edges
        how = cv2.INTER_AREA if side < len(self.tile) else cv2.INTER_CUBIC
        tile, edges = (
            np.clip(cv2.resize(one, (side, side), interpolation=how), 0, 1) for one in (self.tile, self.edges)
        )
        return tile, edges


class DesignModel(Protocol):
    """Draws designs."""

    @property
    def name(self) -> str:
        """Of the model, for reports."""

    def __call__(self, request: DesignRequest) -> Image.Image:
        """The design, RGB, square, of any side."""


class DiffusionUnavailableError(ValueError):
    """The base model cannot draw designs."""


def draw_design(
    embroidery: Image.Image,
    model: DesignModel | None,
    seed: int,
    caption: str = "",
    config: DesignConfig | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Image.Image, dict[str, Any]]:
    """Let a model draw the design of an embroidery.

    Args:
        embroidery: square, RGB.
        model: what draws.
        seed: of its noise; the paper's is 42.
        caption: what the embroidery shows; may be empty.
        config: every number; the paper's when left out.
        on_step: see :class:`DesignRequest`.

    Returns:
        The design, of the embroidery's size, and ``model`` and ``numbers`` for the pair's report.

    Raises:
        DiffusionUnavailableError: no model was given.
    """
    if model is None:
        raise DiffusionUnavailableError(
            "The installed base model cannot draw the flat design by itself. Please upload the artwork, or let the "
            'design be drawn from the photo (builder "flatten").'
        )
    config = (config or DesignConfig()).for_motif(caption)
    # The blur alone, as published: the guided filter that maps of flat designs get would be led by the stitches.
    tile = tile_map(embroidery, config.tile_kernel, guided=False)
    request = DesignRequest(tile, soft_edges(embroidery), config.prompt_for(caption), seed, config)
    if on_step is not None:
        request = replace(request, on_step=on_step)
    design = model(request).convert("RGB").resize(embroidery.size, Image.Resampling.LANCZOS)
    numbers = asdict(config) | {"prompt": request.prompt, "seed": seed}
    del numbers["control_edge_lettering"]
    return design, {"model": model.name, "numbers": numbers}


def soft_edges(picture: Image.Image) -> Float:
    """Edges of areas as a soft map, taken at half the size so that stitches are lost on the way (paper, appendix).

    Returns:
        H x W ``float32`` in 0..1.
    """
    array = to_float(picture)
    height, width = array.shape[:2]
    small = cv2.resize(array, (max(8, width // 2), max(8, height // 2)), interpolation=cv2.INTER_AREA)
    plane = cv2.GaussianBlur(lightness(small), (0, 0), 1.5)
    _, _, energy = structure_tensor(plane, 1.0)
    edges = np.sqrt(energy)
    edges = np.clip(edges / max(float(np.percentile(edges, 99)), 1e-3), 0, 1)
    soft: Float = cv2.resize(edges, (width, height), interpolation=cv2.INTER_LINEAR)
    return soft
