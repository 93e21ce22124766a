"""From one embroidery to a pair: the embroidery and the same motif as a clean flat design (paper, pair construction).

Three builders stand behind :func:`build_pair`: ``artwork`` registers the shop's own artwork to the photo, ``flatten``
draws the design from the photo without any model, ``diffusion`` lets a diffusion model draw it.
"""

from worker.engine.pairs.build import BUILDERS, Builder, build_pair
from worker.engine.pairs.diffusion import DesignConfig, DesignModel, DiffusionUnavailableError
from worker.engine.pairs.pair import Pair

__all__ = ["BUILDERS", "Builder", "DesignConfig", "DesignModel", "DiffusionUnavailableError", "Pair", "build_pair"]
