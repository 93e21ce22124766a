"""Several jobs in one batch: claimed one by one, each with a lease of its own, drawn at once, and ended one by one.

Whoever has claimed a job looks for others that wait, are like it and go next, and claims as many as there is room for.
It waits for nobody. What happens to one of them (a cancel, a lost lease, a picture that cannot be read) ends that one;
its drawing goes on unseen. What happens to the batch is nobody's fault: the others are given back, their attempt
unspent, and all are done one at a time. So are jobs on their second attempt, since one that takes its process down
must not do so to the same neighbours again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from PIL import Image

from backend.jobs import lifecycle, repository
from worker.attempt import Attempt
from worker.batches import Batch, Together
from worker.engine.progress import Canceled
from worker.handlers import Handler

log = structlog.get_logger(__name__)

_LOOKED_AT: Final = 64
"""Waiting jobs that are looked at, those that go first: ones far behind must not overtake a whole queue."""


def work_together(kind: Together, lead: Attempt, alone: Handler) -> list[str]:
    """Do a job, and others that wait with it where there are some and it is worth it.

    Args:
        kind: how jobs of its kind are done at once.
        lead: the job; over when this returns.
        alone: how it is done by itself.

    Returns:
        Jobs that were claimed with it and given back, since the batch failed: to be done one at a time.
    """
    given_back = lead.tries(partial(_in_a_batch, kind, lead)) or []
    if not lead.over:
        lead.run(alone)
    return given_back


def _in_a_batch(kind: Together, lead: Attempt) -> list[str]:
    """Do the job with others; it is not over afterwards where there are none, or where the batch failed."""
    meter = lead.reporter.meter
    with kind.open(lead.work) as batch, ExitStack() as leases:
        others = [] if batch is None else [leases.enter_context(one) for one in _company(kind, lead, batch.room)]
        if batch is None or not others:
            return []
        group = [lead, *others]
        for one in group:
            one.neighbours = group
        log.info("jobs.together", jobs=[one.held.job_id for one in group])
        try:
            _do(kind, batch, group)
        except Canceled:
            log.info("batch.abandoned")
        except Exception:
            log.warning("batch.failed", exc_info=True)
        lead.neighbours = ()
        meter.charge({lead.held.job_id: 1.0})
        return [one.held.job_id for one in others if one.give_back()]


def _company(kind: Together, lead: Attempt, room: int) -> Iterator[Attempt]:
    """Claim what waits and may be drawn with a job, as far as there is room; those that go first, first."""
    here, held = lead.here, lead.held
    room -= kind.pictures(held.input)
    if room < 1 or here.stopping.is_set():
        return
    lease = timedelta(seconds=here.timing.lease)
    try:
        with here.database.read() as session:
            waiting = repository.waiting(session, held.queue, held.kind, _LOOKED_AT)
        for job_id, given in waiting:
            if not kind.alike(held.input, given) or (count := kind.pictures(given)) > room:
                continue
            with here.database.session() as session:
                claim = lifecycle.claim(session, job_id, here.name, lease=lease)
            # None: another worker was quicker, or it was canceled just now.
            if claim is not None:
                room -= count
                yield Attempt(here, claim, lead.reporter.meter)
    except Exception:
        # The job at hand does not need them; what may have been claimed unseen is found by its lease.
        log.warning("company.unknown", exc_info=True)


def _do(kind: Together, batch: Batch, group: Sequence[Attempt]) -> None:
    """Draw what can be drawn, and bring every attempt to its end that was.

    Raises:
        Canceled: nobody is left to draw for.
        Exception: the batch failed; those that are not over yet were not drawn.
    """
    progress, meter, count = _OfAll(group), group[0].reporter.meter, len(group)
    ready = []
    for number, one in enumerate(group):
        progress.update("prepare", number, count)
        if not one.over:
            meter.charge({one.held.job_id: 1.0})
            ready.append((one, one.tries(partial(batch.prepare, one.work))))
    progress.update("prepare", count, count)
    ready = [(one, prepared) for one, prepared in ready if not one.over]
    meter.charge({one.held.job_id: float(kind.pictures(one.held.input)) for one, _ in ready})
    drawn = batch.draw([prepared for _, prepared in ready], progress)
    for (one, prepared), pictures in zip(ready, drawn, strict=True):
        progress.wait_turn()
        if not one.over:
            meter.charge({one.held.job_id: 1.0})
            one.finish(partial(batch.result, one.work, prepared, pictures))


class _OfAll:
    """The engine's `Progress`, told to every attempt of a batch; one that has to end does, and the others go on."""

    def __init__(self, group: Sequence[Attempt]) -> None:
        self._group = group

    def update(self, stage: str, step: int, total: int) -> None:
        """Take note of a step of the batch.

        Raises:
            Canceled: nobody is left to draw for.
        """
        self._each(lambda one: one.reporter.update(stage, step, total))
        if all(one.over for one in self._group):
            raise Canceled("all jobs of the batch are over")

    def preview(self, image: Image.Image) -> None:
        """Nothing: a batch has none."""

    def wait_turn(self) -> None:
        """Others are being finished."""
        self._each(lambda one: one.reporter.wait_turn())

    def _each(self, act: Callable[[Attempt], None]) -> None:
        for one in self._group:
            if not one.over:
                one.tries(partial(act, one))
