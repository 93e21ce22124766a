"""One attempt at a job: claim it, let a handler do it, publish the result, or say why there is none.

A message may come twice, late, or for a job that has ended; the claim sorts that out. Whatever goes wrong ends in a row
that says so, never in an exception for Celery to deal with.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.core.errors import HoopError, StorageUnavailable
from backend.jobs import lifecycle, problems
from backend.jobs.lifecycle import Claim, LeaseLost
from backend.jobs.outcomes import Result
from backend.jobs.states import Status
from backend.models import Job
from worker.checkpoints import ObjectCheckpoints
from worker.engine.progress import Canceled
from worker.handlers import Handler, Work
from worker.meter import Meter
from worker.process import Process
from worker.publish import Publisher, tidy
from worker.reporting import LeaseGone, Reporter, Stopped
from worker.runtime import is_out_of_memory

log = structlog.get_logger(__name__)

T = TypeVar("T")

_DATABASE_WAITS: Final = (0.2, 1.0, 3.0, 10.0)
_PAUSE_BEFORE_RETRY: Final = 2.0
"""Seconds, times the attempt: what failed by chance gets a moment to recover."""
_GAVE_UP: Final = 70
"""Exit code of a pool process whose engine did not react."""


class Attempt:
    """A claim of this process, and the one end that it comes to; a context manager, inside which its lease is held.

    Args:
        here: settings, connections and warm models.
        held: the claim.
        meter: that its computing time is taken from; one of its own when left out.

    Attributes:
        over: it has come to its end, whatever that was.
        neighbours: attempts that are worked at in this process at the same time.
    """

    def __init__(self, here: Process, held: Claim, meter: Meter | None = None) -> None:
        self.here, self.held = here, held
        self.over = False
        self.neighbours: Sequence[Attempt] = ()
        self.reporter = Reporter(
            here.database,
            here.store,
            held,
            timing=here.timing,
            stopping=here.stopping,
            give_up=self._give_up,
            meter=meter,
        )
        self.work = Work(
            held=held,
            reporter=self.reporter,
            objects=Publisher(here.store, held, self.reporter.pause),
            checkpoints=ObjectCheckpoints(here.store, held, self.reporter.check),
            runtime=here.runtime,
            settings=here.settings,
        )

    def __enter__(self) -> Self:
        with self._named():
            log.info("job.started")
        self.reporter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reporter.__exit__(kind, error, trace)

    def run(self, handler: Handler) -> None:
        """Let a handler do the job, and publish what it gives."""
        self.finish(partial(handler, self.work))

    def finish(self, make: Callable[[], Result]) -> None:
        """Publish what `make` gives; whatever goes wrong is the attempt's end."""
        with self._named():
            try:
                self._write(partial(self._publish, make()))
            except Exception as error:
                self._end(error)
                return
            self._close()
            log.info("job.succeeded")
            tidy(self.here.store, self.held.shop_id, self.held.job_id, keep_attempt=self.held.attempt)

    def tries(self, act: Callable[[], T]) -> T | None:
        """Do a part of the job; whatever goes wrong is the attempt's end, and then None is returned."""
        with self._named():
            try:
                return act()
            except Exception as error:
                self._end(error)
        return None

    def give_back(self) -> bool:
        """Leave the job to the queue, the attempt unspent; returns whether it waits there now."""
        left = None if self.over else self.tries(partial(self._leave, spent=False))
        return left is not None and left.status == Status.QUEUED

    def _publish(self, result: Result, session: Session, seconds: float) -> None:
        lease = timedelta(seconds=self.here.timing.lease)
        # Locks the row as well, so no wish to cancel can slip in between here and the commit.
        if lifecycle.renew(session, self.held, lease=lease).cancel_requested:
            raise Canceled(f"{self.held.job_id} was canceled at the last moment")
        metrics = {"device": _device(), "peak_memory_bytes": _peak_memory()}
        lifecycle.finish(session, self.held, result, metrics=metrics, compute_seconds=seconds)

    def _end(self, error: Exception) -> None:
        try:
            self._settle(error)
        except (LeaseGone, LeaseLost):
            # Another worker has the job, or the reaper: what we made stays unseen, under keys of our own attempt.
            log.warning("job.lease_lost")
        except SQLAlchemyError:
            # The row still says that we work on it; when the lease runs out, the reaper gives it to another worker.
            log.exception("job.unwritten")
        finally:
            self._close()

    def _settle(self, error: Exception) -> None:
        """Decide what an error means: the end, another attempt, or that the job is no longer ours."""
        if isinstance(error, LeaseGone | LeaseLost):
            raise error
        if isinstance(error, Stopped):
            self._leave(spent=False)
            log.info("job.given_back")
        elif isinstance(error, Canceled):
            self._cancel()
        else:
            log.error("job.error", exc_info=error)
            self._fail_or_retry(error)

    def _fail_or_retry(self, error: Exception) -> None:
        held, final = self.held, _final(error)
        if final is None and not held.last_attempt:
            if is_out_of_memory(error):
                self.here.runtime.unload()
            try:
                self.reporter.pause(_PAUSE_BEFORE_RETRY * held.attempt)
            except Stopped:
                pass
            except Canceled:
                self._cancel()
                return
            self._leave(spent=True)
            return
        problem = final or _reason(error, held.attempt)
        self._write(lambda session, seconds: lifecycle.fail(session, held, problem, compute_seconds=seconds))
        tidy(self.here.store, held.shop_id, held.job_id)

    def _cancel(self) -> None:
        held = self.held
        self._write(lambda session, seconds: lifecycle.cancel(session, held, compute_seconds=seconds))
        log.info("job.canceled")
        tidy(self.here.store, held.shop_id, held.job_id)

    def _leave(self, *, spent: bool) -> Job:
        left = self._write(
            lambda session, seconds: lifecycle.requeue(session, self.held, spent=spent, compute_seconds=seconds)
        )
        self._close()
        return left

    def _write(self, write: Callable[[Session, float], T]) -> T:
        """Write the attempt's end, and charge what it has not paid for yet."""
        with self.reporter.last_seconds() as seconds:
            return _written(self.here, lambda session: write(session, seconds))

    def _close(self) -> None:
        self.over = True
        self.reporter.close()

    def _give_up(self, reason: str) -> None:
        """End an attempt whose engine does not react, and this process with it; runs in the heartbeat thread."""
        if self.over:
            return
        held = self.held
        log.error("job.hung", job=held.job_id, reason=reason)
        if reason == "canceled":
            self._last_word(lambda session: lifecycle.cancel(session, held))
        elif held.last_attempt:
            self._last_word(lambda session: lifecycle.fail(session, held, problems.stalled(held.attempt)))
        else:
            self._last_word(lambda session: lifecycle.requeue(session, held, spent=True))
        for other in self.neighbours:
            if not (other is self or other.over):
                # Whoever it was that hung: it costs them no attempt, and the next one is theirs alone.
                self._last_word(partial(lifecycle.requeue, held=other.held, spent=False))
        # Python cannot end a thread that is stuck in native code. The worker starts a fresh process.
        os._exit(_GAVE_UP)

    def _last_word(self, write: Callable[[Session], object]) -> None:
        try:
            with self.here.database.session() as session:
                write(session)
        except (LeaseLost, SQLAlchemyError):
            log.exception("job.unwritten")

    def _named(self) -> AbstractContextManager[None]:
        """Inside, what is logged says of which job."""
        held = self.held
        return structlog.contextvars.bound_contextvars(job=held.job_id, kind=held.kind, attempt=held.attempt)


Company = Callable[[Attempt, Handler], Sequence[str]]
"""Does a job, and others that wait; returns those that it gave back, to be done alone (worker/together.py)."""


def execute(
    job_id: str, here: Process, handlers: Mapping[str, Handler], company: Mapping[str, Company] | None = None
) -> None:
    """Do one job in this process, and where that is worth it others that wait with it.

    Args:
        job_id: from the message.
        here: settings, connections and warm models.
        handlers: what does the work, by kind of job.
        company: what does it with others of its kind; each by itself where there is nothing.
    """
    lease = timedelta(seconds=here.timing.lease)
    held = _written(here, lambda session: lifecycle.claim(session, job_id, here.name, lease=lease))
    if held is None:
        log.info("job.skipped", job=job_id)
        return
    handler = handlers[held.kind]
    # What has been tried before may have taken a process down, or a batch: it is alone with its next attempt.
    together = (company or {}).get(held.kind) if held.attempt == 1 else None
    given_back: Sequence[str] = ()
    with Attempt(here, held) as attempt:
        if together is None:
            attempt.run(handler)
        else:
            given_back = together(attempt, handler)
    for other in given_back:
        if not here.stopping.is_set():
            execute(other, here, handlers)


def _final(error: Exception) -> dict[str, str] | None:
    """The problem to show when trying again cannot help, because the input is what it is; else None."""
    if isinstance(error, HoopError) and not isinstance(error, StorageUnavailable):
        return problems.stored(error)
    # The engine knows no problem documents; its refusals are ValueErrors that it raises itself, with a sentence.
    if isinstance(error, ValueError) and _raised_in(error).startswith("worker.engine"):
        return problems.stored(problems.CannotBeUsed(str(error)))
    return None


def _raised_in(error: Exception) -> str:
    """Name of the module whose code raised an error: a ValueError of torch's is no refusal of ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))


def _reason(error: Exception, attempts: int) -> dict[str, str]:
    if isinstance(error, StorageUnavailable):
        return problems.stored(error)
    return problems.not_enough_memory(attempts) if is_out_of_memory(error) else problems.broken(attempts)


def _written(here: Process, write: Callable[[Session], T]) -> T:
    """Run a write in a transaction of its own; try again when the database is away for a moment."""
    for seconds in _DATABASE_WAITS:
        try:
            with here.database.session() as session:
                return write(session)
        except SQLAlchemyError:
            log.warning("database.waiting", seconds=seconds, exc_info=True)
            time.sleep(seconds)
    with here.database.session() as session:
        return write(session)


def _device() -> str:
    torch: Any = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"


def _peak_memory() -> int:
    """Most memory that this process has used, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
