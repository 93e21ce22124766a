"""Models that draw flat designs for styles of another base: in memory only while they draw."""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from worker.engine.pairs import DesignModel
    from worker.engine.pairs.diffusion import DesignRequest


class DesignsOnDemand:
    """A design model that is loaded for each design and forgotten after it: the training that follows needs the memory.

    Args:
        name: of the model.
        load: gives it.
    """

    def __init__(self, name: str, load: "Callable[[], DesignModel]") -> None:
        self.name = name
        self._load = load

    def __call__(self, request: "DesignRequest") -> "Image.Image":
        """The model's design."""
        free_memory()
        try:
            return self._load()(request)
        finally:
            free_memory()


def free_memory() -> None:
    """Give back what nobody refers to any more, on the GPU too."""
    import torch  # noqa: PLC0415 - loaded already, or there would be nothing to give back

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
