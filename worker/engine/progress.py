"""What the engine tells its caller while it works, and how the caller stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from PIL import Image
    from rich.progress import TaskID

TrainStage = Literal["prepare", "pair", "stage_one", "complement", "stage_two", "samples"]
RenderStage = Literal["prepare", "diffuse", "decode", "place"]


class Canceled(Exception):
    """The caller asked to stop. Raised by :meth:`Progress.update`; nothing is left half changed."""


class Progress(Protocol):
    """Called from the engine's own thread, several times a second at most."""

    def update(self, stage: str, step: int, total: int) -> None:
        """``step`` of ``total`` of one stage is done. Raises :class:`Canceled` to stop."""

    def preview(self, image: Image.Image) -> None:
        """An intermediate picture."""


class NullProgress:
    """For callers who only want the result."""

    def update(self, stage: str, step: int, total: int) -> None:
        """Does nothing."""

    def preview(self, image: Image.Image) -> None:
        """Does nothing."""


class RichProgress:
    """Progress bars on a terminal, one a stage; a context manager."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.progress import Progress as Bars  # noqa: PLC0415

        self._bars = Bars(TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def update(self, stage: str, step: int, total: int) -> None:
        """Moves the stage's bar."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage.replace("_", " "), total=total)
        self._bars.update(self._tasks[stage], completed=step, total=total)

    def preview(self, image: Image.Image) -> None:
        """A terminal shows no pictures."""


class StageClock:
    """Seconds by stage; ``earlier`` is what a resumed training had spent before."""

    def __init__(self) -> None:
        self.earlier: dict[str, float] = {}
        self._spans: dict[str, tuple[float, float | None]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what is inside."""
        begin = time.perf_counter()
        self._spans[name] = (begin, None)
        try:
            yield
        finally:
            self._spans[name] = (begin, time.perf_counter())

    def seconds(self) -> dict[str, float]:
        """Until now, the running stage included."""
        now = time.perf_counter()
        spent = {name: (now if end is None else end) - begin for name, (begin, end) in self._spans.items()}
        return {name: round(value + self.earlier.get(name, 0.0), 2) for name, value in spent.items()}
