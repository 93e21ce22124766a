"""The training corpus: drafts sewn and painted on the training's device, kept in its memory.

Worker processes make drafts and render them to sheets; the pool only keeps what comes. Rendering in the training's own
process is slower than one would think on a GPU too: its thousands of small kernels are launched by the same Python that
the training needs (measured: 26 designs a second, and the training at a third of its speed).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from worker.atelier.domains import paint
from worker.atelier.drafts import CHUNK, VIEWS, WORDINGS, Draft, Drafts
from worker.atelier.loop import save_atomically
from worker.atelier.network import RESOLUTION
from worker.atelier.stitches import SUPERSAMPLING, Plans, render_batch
from worker.atelier.stitches.fields import groups

KEPT = ("pictures", "tile", "edge", "tokens")
"""What a pool holds of its sheets."""


@dataclass
class Sheet:
    """Rendered designs on the CPU.

    Attributes:
        pictures: uint8 [N, V, 3, S, S].
        tile, edge, tokens, names: As in `Draft`.
    """

    pictures: Tensor
    tile: Tensor
    edge: Tensor
    tokens: Tensor
    names: list[str]


class Sheets(Dataset[Sheet]):
    """Drafts, rendered on `device`."""

    def __init__(self, drafts: Drafts, device: str = "cpu") -> None:
        self.drafts, self.device = drafts, device

    def __len__(self) -> int:
        return len(self.drafts)

    @torch.no_grad()
    def __getitem__(self, chunk: int) -> Sheet:
        draft = self.drafts[chunk]
        plans = Plans.of(draft.plans, self.device)
        generator = torch.Generator(self.device).manual_seed(self.drafts.seed * 1_000_003 + chunk)
        views = [(view.clamp(0, 1) * 255 + 0.5).to("cpu", torch.uint8) for view in _views(draft, plans, generator)]
        return Sheet(torch.stack(views, 1), draft.tile, draft.edge, draft.tokens, draft.names)


def _views(draft: Draft, plans: Plans, generator: torch.Generator) -> Iterator[Tensor]:
    labels = draft.labels.to(plans.region.device)
    yield functional.avg_pool2d(plans.colours_of(labels.long()), SUPERSAMPLING)
    side = labels.shape[-1] // SUPERSAMPLING
    painted = torch.empty(len(labels), 3, side, side, device=labels.device)
    for domain, _, index in groups(draft.domains, labels.device):
        painted[index] = paint(domain, labels[index], plans.palette[index], generator)
    yield painted
    for styles in draft.styles:
        yield render_batch(plans, styles)


def _only(sheets: list[Sheet]) -> Sheet:
    """The only sheet of a list: what `DataLoader` hands over, without stacking."""
    return sheets[0]


def _loader(sheets: Sheets, workers: int) -> DataLoader[Sheet]:
    return DataLoader(
        sheets,
        batch_size=1,
        collate_fn=_only,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_alone,
        # A forked process cannot use its parent's GPU.
        multiprocessing_context="spawn" if workers and sheets.device != "cpu" else None,
    )


def _alone(_: int) -> None:
    """There is a process for each core already."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


class Pool:
    """Rendered designs in the memory of the training's device; it may grow while it is read.

    Attributes:
        count: Designs that are ready.
        pictures: uint8 [capacity, V, 3, S, S].
        tile: uint8 [capacity, 3, S, S].
        edge: uint8 [capacity, S, S].
        tokens: int16 [capacity, V, K, 2, L].
        latents: float16 [capacity, V, C, s, s] once `encode_with` was called, else empty.
    """

    def __init__(self, capacity: int, tokens: int, size: int = RESOLUTION, device: str = "cpu") -> None:
        capacity -= capacity % CHUNK
        self.capacity, self.size, self.device, self.count = capacity, size, device, 0
        views = len(VIEWS)

        def room(*shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
            return torch.empty(capacity, *shape, dtype=dtype, device=device)

        self.pictures, self.tile, self.edge = room(views, 3, size, size), room(3, size, size), room(size, size)
        self.tokens = room(views, WORDINGS, 2, tokens, dtype=torch.int16)
        self.latents = torch.empty(0)
        self.names: list[str] = []
        self.failure: BaseException | None = None
        self._encode: Callable[[Tensor], Tensor] | None = None
        self._encoded = 0
        self._lock = threading.Lock()

    def add(self, sheet: Sheet) -> None:
        """Appends rendered designs."""
        place = slice(self.count, self.count + len(sheet.pictures))
        for name in KEPT:
            getattr(self, name)[place] = getattr(sheet, name).to(self.device, non_blocking=True)
        self.names += sheet.names
        self.count = place.stop
        with self._lock:
            self._catch_up()

    def encode_with(self, encode: Callable[[Tensor], Tensor], channels: int, factor: int) -> None:
        """From now on keeps latents too. `encode` takes pictures [B, 3, S, S] in [-1, 1]."""
        cells = self.size // factor
        with self._lock:
            self.latents = torch.empty(
                self.capacity, len(VIEWS), channels, cells, cells, dtype=torch.float16, device=self.device
            )
            self._encode, self._encoded = encode, 0
            self._catch_up()

    @torch.no_grad()
    def _catch_up(self) -> None:
        while self._encode is not None and self._encoded < self.count:
            part = slice(self._encoded, min(self.count, self._encoded + 4))
            pictures = self.pictures[part].flatten(0, 1).float().div(127.5).sub(1)
            self.latents[part] = self._encode(pictures).half().view_as(self.latents[part])
            self._encoded = part.stop

    @property
    def ready(self) -> int:
        """Designs with latents."""
        return self._encoded

    def grow(self, drafts: Drafts, workers: int, report: Callable[[int], object] | None = None) -> None:
        """Fills the pool.

        Args:
            drafts: What to render.
            workers: Processes that draft and render; 0 does it here.
            report: Told how many designs are ready.
        """
        self._take(iter(_loader(Sheets(drafts, self.device), workers)), report)

    def grow_aside(self, drafts: Drafts, workers: int) -> threading.Thread:
        """`grow` in a thread; `failure` holds what went wrong."""
        # Worker processes start here: forking beside a thread that compiles or computes may lock up.
        sheets = iter(_loader(Sheets(drafts, self.device), workers))

        def work() -> None:
            try:
                self._take(sheets, None)
            except BaseException as error:
                self.failure = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _take(self, sheets: Iterator[Sheet], report: Callable[[int], object] | None) -> None:
        for sheet in sheets:
            self.add(sheet)
            if report:
                report(self.count)
            if self.count >= self.capacity:
                return

    def save(self, path: Path) -> None:
        """Writes what is ready, without latents."""
        ready = {name: getattr(self, name)[: self.count].cpu() for name in KEPT}
        save_atomically({**ready, "names": self.names}, path)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Pool:
        """Reads a saved pool.

        Raises:
            FileNotFoundError: there is none yet.
        """
        if not path.exists():
            raise FileNotFoundError(f"No corpus at {path}: run `hoop atelier corpus` first.")
        kept = torch.load(path, weights_only=True, mmap=True)
        count, _, _, size, _ = kept["pictures"].shape
        pool = cls(count, kept["tokens"].shape[-1], size, device)
        for name in KEPT:
            getattr(pool, name).copy_(kept[name])
        pool.names, pool.count = kept["names"], count
        return pool
