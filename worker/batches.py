"""What is drawn for several jobs at once: what `worker.handlers` is for one alone.

Like a handler, it knows no queue and writes no row (worker/together.py does); the engine is imported inside.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from backend.jobs.outcomes import RenderResult, Result
from worker.designs import free_memory
from worker.engine.progress import Progress
from worker.handlers import Work, render_asked, render_result
from worker.runtime import is_out_of_memory

if TYPE_CHECKING:
    from PIL import Image

    from worker.engine.infer import Begun, Renderer


class Batch(Protocol):
    """Jobs that are alike, with everything warm that they need.

    Each is prepared and finished by itself, so that what is wrong with one is wrong with that one alone.
    """

    @property
    def room(self) -> int:
        """Pictures that there is room for."""

    def prepare(self, work: Work) -> Any:
        """Get one job ready to be drawn; raises what its handler would."""

    def draw(self, prepared: Sequence[Any], progress: Progress) -> Sequence[Any]:
        """Draw all of them at once; `progress` is told about the whole. An error is nobody's in particular."""

    def result(self, work: Work, prepared: Any, drawn: Any) -> Result:
        """Make one job's result of what was drawn for it; raises what its handler would."""


class Together(Protocol):
    """A kind of job of which several can be done at once."""

    def pictures(self, given: Mapping[str, Any]) -> int:
        """How many pictures a job of this input takes."""

    def alike(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether jobs of these inputs may be in one batch."""

    def open(self, work: Work) -> AbstractContextManager[Batch | None]:
        """What a job can be drawn in with others; None where it is better alone.

        Raises:
            BaseUnavailable: there is nothing to draw with.
        """


_ALIKE: Final = (
    "base",
    "preset",
    "steps",
    "strength",
    "guidance",
    "few_steps",
    "control",
    "colour_fix",
    "quality",
    "size",
)


class Renders:
    """Drafts with the same numbers on one base, whoever's and in whatever styles.

    Others would be drawn one after the other all the same, and the first customer would wait for the last. So would
    those of finals: one of them has as many pixels as a batch of drafts, and shows its draft meanwhile.
    """

    def pictures(self, given: Mapping[str, Any]) -> int:
        """Its variations."""
        return int(given.get("variations") or 1)

    def alike(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether all numbers are the same, and both are of designs or both of words."""
        same = all(one.get(name) == other.get(name) for name in _ALIKE)
        return bool(same and one["input"]["type"] == other["input"]["type"])

    @contextmanager
    def open(self, work: Work) -> Iterator["RenderBatch | None"]:
        """The base, for a draft where several pictures are drawn at once; see `Runtime.together`."""
        given, runtime = work.input, work.runtime
        with runtime.importing():
            from worker.engine.infer import Renderer  # noqa: PLC0415
            from worker.engine.many import at_once  # noqa: PLC0415

            count = runtime.together
        if count == 1 or given.get("quality") == "final":
            yield None
            return
        with runtime.base(given["base"], styled=True) as base:
            batch = RenderBatch(Renderer(base), count, at_once(base, given.get("size"), count))
            yield batch
        if batch.fell_short:
            runtime.draw_fewer()
            free_memory()


class RenderBatch:
    """Drafts on a base that is warm.

    Args:
        renderer: on it.
        count: pictures of the base's size that are drawn at once.
        room: pictures of these drafts' size.

    Attributes:
        fell_short: memory ran out while it was drawn.
    """

    def __init__(self, renderer: "Renderer", count: int, room: int) -> None:
        self._renderer, self._count = renderer, count
        self.room = room
        self.fell_short = False

    def prepare(self, work: Work) -> "Begun":
        """Read a job's pictures and its style."""
        return self._renderer.begin(*render_asked(work, self._renderer.base))

    def draw(self, prepared: Sequence["Begun"], progress: Progress) -> "list[list[Image.Image]]":
        """Draw them, each in its own style."""
        try:
            return self._renderer.draw_many(prepared, progress, self._count)
        except Exception as error:
            self.fell_short = is_out_of_memory(error)
            raise

    def result(self, work: Work, prepared: "Begun", drawn: "Sequence[Image.Image]") -> RenderResult:
        """Place a job's pictures on its garment, if any, and upload them."""
        return render_result(work, self._renderer.finish(prepared, drawn, work.reporter))


TOGETHER: Final[dict[str, Together]] = {"render": Renders()}
