"""Several requests at once, each in its own style: their drawings, sorted into batches.

Where it pays: on a GPU that one picture does not fill, for the previews that wait for a worker (worker/together.py) and
for a shop's page of several styles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from worker.engine.adapter import Adapter
from worker.engine.bases import Base
from worker.engine.batch import one_style, reading_of, styles_on, told
from worker.engine.config import RenderConfig
from worker.engine.drawing import Drawing, draw
from worker.engine.few_steps import FewSteps
from worker.engine.progress import Progress
from worker.engine.render_work import BATCH, RenderWork


@dataclass(frozen=True)
class Order:
    """A request's work in its style.

    Attributes:
        adapter: the style, if any.
        work: what is drawn.
        speed_up: that its drawings are made with.
    """

    adapter: Adapter | None
    work: RenderWork
    speed_up: FewSteps | None = None


@dataclass(frozen=True)
class _Item:
    """One drawing of one order, and where its picture goes."""

    order: Order
    drawing: Drawing
    place: tuple[int, int]


def patches_of_many(
    base: Base, orders: Sequence[Order], progress: Progress, batch: int = BATCH
) -> list[list[Image.Image]]:
    """Every order's pictures, RGB, as :meth:`RenderWork.patches` gives them to an order alone.

    Args:
        base: the base.
        orders: on this base.
        progress: told about runs of the UNet, those of all orders together; there are no previews.
        batch: drawings of the base's size that are made at once; of larger pictures as many as have those pixels.

    Raises:
        AdapterError: a style belongs to another base.
        Canceled: the caller's progress asked to stop.
    """
    total, done = sum(order.work.total for order in orders), 0

    def report(items: Sequence[_Item]) -> Callable[[int, int, Tensor], None]:
        before = done
        weight = sum(item.order.work.windows(item.drawing.config) for item in items)
        return lambda step, _steps, _clean: progress.update("diffuse", before + weight * step, total)

    def drawn(items: Sequence[_Item]) -> dict[tuple[int, int], Image.Image]:
        nonlocal done
        pictures: dict[tuple[int, int], Image.Image] = {}
        for part in _batches(base, items, batch):
            pictures.update(zip((item.place for item in part), _draw(base, part, report(part)), strict=True))
            steps = part[0].drawing.runs
            done += steps * sum(item.order.work.windows(item.drawing.config) for item in part)
        return pictures

    drafts = drawn(
        [
            _Item(order, drawing, (index, number))
            for index, order in enumerate(orders)
            for number, drawing in enumerate(order.work.draft_of(order.work.drafted))
        ]
    )
    finals = drawn(
        [
            _Item(order, order.work.final_of(seed, drafts[index, 0 if order.work.finer else number]), (index, number))
            for index, order in enumerate(orders)
            if order.work.twice
            for number, seed in enumerate(order.work.seeds)
        ]
    )
    return [
        [(finals if order.work.twice else drafts)[index, number] for number in range(len(order.work.seeds))]
        for index, order in enumerate(orders)
    ]


def at_once(base: Base, size: int | None, batch: int = BATCH) -> int:
    """Drawings of ``size`` pixels a side (``None``: the base's) made at once where it is ``batch`` of the base's size.

    As many as have no more pixels; 1 at least.
    """
    larger = ((size or base.info.resolution) / base.info.resolution) ** 2
    return max(1, int(batch / max(1.0, larger)))


def _draw(base: Base, items: Sequence[_Item], on_step: Callable[[int, int, Tensor], None]) -> list[Image.Image]:
    adapters = [item.order.adapter for item in items]
    drawings = [item.drawing for item in items]
    speed_up = items[0].order.speed_up
    alike = one_style(adapters) and len({one.content for one in drawings}) == 1
    with styles_on(base, adapters, [] if speed_up is None else [speed_up.layers]):
        prompts = None if alike else told(base, adapters, [one.content for one in drawings], _as_drawn(drawings[0]))
        return draw(base, drawings, on_step, prompts)


def _as_drawn(drawing: Drawing) -> RenderConfig:
    """The numbers that :func:`worker.engine.drawing.sew` words its prompts by."""
    bare = drawing.design is not None and drawing.laid is None and drawing.draft is None
    return drawing.config.without_stitches() if bare else drawing.config


def _batches(base: Base, items: Sequence[_Item], batch: int) -> Iterator[list[_Item]]:
    kinds: dict[tuple[object, ...], list[_Item]] = {}
    for item in items:
        drawing, order = item.drawing, item.order
        kind = (drawing.kind, reading_of(base, order.adapter, drawing.config), order.speed_up is None)
        kinds.setdefault(kind, []).append(item)
    for alike in kinds.values():
        count = at_once(base, alike[0].drawing.config.size, batch)
        for begin in range(0, len(alike), count):
            yield alike[begin : begin + count]
