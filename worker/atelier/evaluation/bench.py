"""What every part of an evaluation is given, and how its results are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress, TaskID
from torch import Tensor

from worker.atelier.evaluation.cases import Case, held_out_cases
from worker.engine.adapter import Adapter, style_on
from worker.engine.bases import Base, image_to_tensor, load_base, tensor_to_image
from worker.engine.colour import Picture, to_image
from worker.engine.config import RenderConfig, TrainConfig, render_config, train_config
from worker.engine.drawing import lay, sew
from worker.engine.seeds import normal
from worker.engine.train import PairInput, TrainedStyle, train_style

Figures = dict[str, Any]
"""JSON values."""
_Item = TypeVar("_Item")


WORKER = Path(__file__).parents[2]
DRAWING = (
    *(WORKER / "atelier" / "stitches").glob("*.py"),
    *(
        WORKER / "atelier" / f"{name}.py"
        for name in ("colours", "designs", "held_out", "icons", "procedural", "shapes")
    ),
)
"""The code that true renders come from."""


def quiet(preset: str) -> TrainConfig:
    """A training without what only its own report would show, and without checkpoints: what was made is kept."""
    return train_config(preset, analysis_steps=0, sample_designs=0, preview_every=0, checkpoint_every=0)


def digest_of(paths: Iterable[Path], *also: object) -> str:
    """Sixteen hex digits that tell these files and values from others."""
    digest = hashlib.sha256(repr(also).encode())
    for path in sorted(paths):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass
class Bench:
    """One evaluation of one base.

    Attributes:
        folder: The base's.
        out: Gets one JSON file a part, pictures and tables.
        work: Things that belong to no base and may be used again, the icons among them.
        icons: Folder of the icon packages; None where they could not be had.
        photos: Folder of real photographs, or None.
        quick: A small cut, for minutes instead of an hour.
        progress: Where bars are shown.
        device: ``cpu`` or ``cuda``.
    """

    folder: Path
    out: Path
    work: Path
    icons: Path | None
    photos: Path | None
    quick: bool
    progress: Progress
    device: str = "cpu"

    @cached_property
    def base(self) -> Base:
        """The base that is measured."""
        return load_base(self.folder, self.device)

    @cached_property
    def fingerprint(self) -> str:
        """Of the base's files and of the code that draws and measures: what was found with others is found anew."""
        weights = sorted(path for path in self.folder.rglob("*") if path.is_file())
        code = (path for part in ("engine", "bench", "atelier/evaluation") for path in (WORKER / part).rglob("*.py"))
        painters = WORKER / "atelier" / "domains.py"
        return digest_of([*weights, *DRAWING, *code, painters], self.icons is not None)

    @property
    def size(self) -> int:
        """Pixels a side of everything that is drawn: the base's resolution."""
        return self.base.info.resolution

    def some(self, full: int, quick: int) -> int:
        """How many of something."""
        return quick if self.quick else full

    def cases(self, count: int) -> list[Case]:
        """The first held-out designs, at the base's resolution."""
        return held_out_cases(self.icons, count, self.size)

    def track(self, items: Sequence[_Item], words: str) -> Iterator[_Item]:
        """The items, with a bar."""
        yield from self.progress.track(items, description=words)

    @contextmanager
    def showing(self, words: str) -> Iterator[Shown]:
        """A bar for one of the engine's jobs, gone afterwards."""
        task = self.progress.add_task(words, total=None)
        try:
            yield Shown(self.progress, task, words)
        finally:
            self.progress.remove_task(task)

    def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A file made of this base once, and read again when a broken run goes on."""
        path = self.out / "kept" / self.fingerprint / name
        if not path.exists():
            data = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(data)
            fresh.replace(path)
        return path.read_bytes()

    def render(self, preset: str = "flat", **changes: Any) -> RenderConfig:
        """A render preset, as a customer's draft has it."""
        return render_config(preset, small=self.base.info.split_prompts, **{"preview_every": 0} | changes)

    def sew(self, design: Picture, adapter: Adapter | None, config: RenderConfig, seed: int = 0) -> Picture:
        """A design of the base's size in a style; without an adapter in the base's general one."""
        with style_on(self.base, adapter):
            designs = [to_image(design)]
            laid = lay(config, None if adapter is None else adapter.swatch, designs, [seed])
            return np.asarray(sew(self.base, designs, [seed], config, laid=laid)[0])

    def train(self, words: str, source: PairInput, preset: str) -> TrainedStyle:
        """A style by the product's own training, with a bar."""
        # What the maps and samples of a report would show is measured here in other ways.
        return self.trained(words, source, train_config(preset, analysis_steps=0, sample_designs=0, preview_every=0))

    def trained(self, words: str, source: PairInput, config: TrainConfig) -> TrainedStyle:
        """A style by the product's own training with any numbers, with a bar."""
        with self.showing(words) as progress:
            return train_style(self.base, source, config, progress)

    def encoded(self, picture: Picture) -> Tensor:
        """Latents [1, C, h, w] of a picture."""
        return self.base.encode_images(image_to_tensor([to_image(picture)]))

    def again(self, picture: Picture) -> Picture:
        """What the autoencoder makes of a picture: the most that any drawing of the base's can show of it."""
        return np.asarray(tensor_to_image(self.base.decode_latents(self.encoded(picture)))[0])

    def save(self, image: Image.Image, name: str) -> None:
        """Writes a picture to `out`."""
        self.out.mkdir(parents=True, exist_ok=True)
        image.save(self.out / name)

    # Results by part

    def remembered(self, part: str) -> Figures | None:
        """The part's figures, if they were taken of this base in this way before."""
        path = self.out / f"{part}.json"
        try:
            found: Figures = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found["figures"] if found.get("of") == self._identity() else None

    def remember(self, part: str, figures: Figures) -> None:
        """Keeps the part's figures."""
        write_json(self.out / f"{part}.json", {"of": self._identity(), "figures": figures})

    def _identity(self) -> dict[str, Any]:
        return {
            "base": self.base.info.name,
            "version": self.base.info.version,
            "made_of": self.fingerprint,
            "quick": self.quick,
            "icons": self.icons is not None,
        }


@dataclass(frozen=True)
class Shown:
    """The engine's progress as one of the bars."""

    bars: Progress
    task: TaskID
    words: str

    def update(self, stage: str, step: int, total: int) -> None:
        """Moves the bar."""
        self.bars.update(self.task, completed=step, total=total, description=f"{self.words}, {stage.replace('_', ' ')}")

    def preview(self, image: Image.Image) -> None:
        """A terminal shows no pictures."""


def write_json(path: Path, values: Any) -> None:
    """Writes a file that is whole at every moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)


def noise_like(shape: Sequence[int], seed: int, device: torch.device) -> Tensor:
    """Standard normal noise, the same on every device."""
    return normal(tuple(shape), torch.Generator().manual_seed(seed), device)


def mean(values: Iterable[float]) -> float:
    """The mean, rounded to five digits; 0 of nothing."""
    kept = list(values)
    return round(float(np.mean(kept)), 5) if kept else 0.0
