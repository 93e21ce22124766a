"""LPIPS and CLIP score, the papers' own figures, where their weights are on this machine; nothing is downloaded.

LPIPS (Zhang et al. 2018, arXiv 1801.03924) wants the packages ``lpips`` and ``torchvision`` and, in torch's cache, the
weights of AlexNet. CLIP score (Hessel et al. 2021, arXiv 2104.08718) wants a folder of a CLIP model in transformers'
format, such as a copy of ``openai/clip-vit-base-patch16``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from worker.engine.bases import image_to_tensor
from worker.engine.colour import Picture, to_image

ALEXNET = "alexnet-owt-7be5be79.pth"
"""As torchvision calls the weights that LPIPS stands on."""


def lpips_distance() -> Callable[[Picture, Picture], float] | None:
    """LPIPS between two pictures of one size, 0 for the same; ``None`` where packages or weights are missing."""
    weights = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if importlib.util.find_spec("lpips") is None or not weights.exists():
        return None
    network: Any = importlib.import_module("lpips").LPIPS(net="alex", verbose=False).eval()

    @torch.no_grad()
    def distance(one: Picture, other: Picture) -> float:
        first, second = (image_to_tensor([to_image(picture)]) for picture in (one, other))
        return float(network(first, second))

    return distance


def clip_score(folder: Path) -> Callable[[Picture, str], float]:
    """100 times the cosine of a picture's and a text's embedding, at least 0.

    Args:
        folder: of a CLIP model in transformers' format.

    Raises:
        ValueError: there is none.
    """
    from transformers import CLIPModel, CLIPProcessor  # noqa: PLC0415 - seconds, and seldom wanted

    try:
        model: Any = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
        processor: Any = CLIPProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no CLIP model in {folder}: {error}") from error

    @torch.no_grad()
    def score(picture: Picture, text: str) -> float:
        given = processor(text=[text], images=to_image(picture), return_tensors="pt", padding=True, truncation=True)
        out = model(**given)
        return 100 * max(0.0, float(functional.cosine_similarity(out.image_embeds, out.text_embeds)))

    return score
