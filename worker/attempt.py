"""One attempt at a job: claim it, let a handler do it, publish the result, or say why there is none.

A message may come twice, late, or for a job that has ended; the claim sorts that out. Whatever goes wrong ends in a row
that says so, never in an exception for Celery to deal with.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.core.errors import HoopError, StorageUnavailable
from backend.jobs import lifecycle, problems
from backend.jobs.lifecycle import Claim, LeaseLost
from backend.jobs.outcomes import Result
from worker.checkpoints import ObjectCheckpoints
from worker.engine.progress import Canceled
from worker.handlers import Handler, Work
from worker.process import Process
from worker.publish import Publisher, tidy
from worker.reporting import LeaseGone, Reporter, Stopped

log = structlog.get_logger(__name__)

T = TypeVar("T")

_DATABASE_WAITS: Final = (0.2, 1.0, 3.0, 10.0)
_PAUSE_BEFORE_RETRY: Final = 2.0
"""Seconds, times the attempt: what failed by chance gets a moment to recover."""
_GAVE_UP: Final = 70
"""Exit code of a pool process whose engine did not react."""


def execute(job_id: str, here: Process, handlers: Mapping[str, Handler]) -> None:
    """Do one job in this process.

    Args:
        job_id: from the message.
        here: settings, connections and warm models.
        handlers: what does the work, by kind of job.
    """
    lease = timedelta(seconds=here.timing.lease)
    held = _written(here, lambda session: lifecycle.claim(session, job_id, here.name, lease=lease))
    if held is None:
        log.info("job.skipped", job=job_id)
        return
    with structlog.contextvars.bound_contextvars(job=held.job_id, kind=held.kind, attempt=held.attempt):
        log.info("job.started")
        reporter = Reporter(
            here.database,
            here.store,
            held,
            timing=here.timing,
            stopping=here.stopping,
            give_up=lambda reason: _give_up(here, held, reason),
        )
        with reporter:
            _attempt(here, held, reporter, handlers[held.kind])


def _attempt(here: Process, held: Claim, reporter: Reporter, handler: Handler) -> None:
    work = Work(
        held=held,
        reporter=reporter,
        objects=Publisher(here.store, held, reporter.pause),
        checkpoints=ObjectCheckpoints(here.store, held, reporter.check),
        runtime=here.runtime,
        settings=here.settings,
    )
    try:
        try:
            result = handler(work)
            _written(here, partial(_publish, held=held, here=here, reporter=reporter, result=result))
        except Stopped:
            _written(here, _giving_back(held, reporter, spent=False))
            log.info("job.given_back")
            return
        except (LeaseGone, LeaseLost):
            raise
        except Canceled:
            _written(here, lambda s: lifecycle.cancel(s, held, compute_seconds=reporter.take_seconds()))
            log.info("job.canceled")
        except Exception as error:
            if not _settle(here, held, reporter, error):
                return
        else:
            log.info("job.succeeded")
            tidy(here.store, held.shop_id, held.job_id, keep_attempt=held.attempt)
            return
        tidy(here.store, held.shop_id, held.job_id)
    except (LeaseGone, LeaseLost):
        # Another worker has the job, or the reaper: what we made stays unseen, under keys of our own attempt.
        log.warning("job.lease_lost")
    except SQLAlchemyError:
        # The row still says that we work on it; when the lease runs out, the reaper gives it to another worker.
        log.exception("job.unwritten")


def _publish(session: Session, *, held: Claim, here: Process, reporter: Reporter, result: Result) -> None:
    lease = timedelta(seconds=here.timing.lease)
    # Locks the row as well, so no wish to cancel can slip in between here and the commit.
    if lifecycle.renew(session, held, lease=lease).cancel_requested:
        raise Canceled(f"{held.job_id} was canceled at the last moment")
    metrics = {"device": _device(), "peak_memory_bytes": _peak_memory()}
    lifecycle.finish(session, held, result, metrics=metrics, compute_seconds=reporter.take_seconds())


def _settle(here: Process, held: Claim, reporter: Reporter, error: Exception) -> bool:
    """Decide what an error means: another attempt, or the end; returns whether the job has ended."""
    log.error("job.error", exc_info=error)
    final = _final(error)
    if final is None and not held.last_attempt:
        if _is_out_of_memory(error):
            here.runtime.unload()
        try:
            reporter.pause(_PAUSE_BEFORE_RETRY * held.attempt)
        except Stopped:
            pass
        except Canceled:
            _written(here, lambda s: lifecycle.cancel(s, held, compute_seconds=reporter.take_seconds()))
            return True
        _written(here, _giving_back(held, reporter, spent=True))
        return False
    problem = final or _reason(error, held.attempt)
    _written(here, lambda s: lifecycle.fail(s, held, problem, compute_seconds=reporter.take_seconds()))
    return True


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
    return problems.not_enough_memory(attempts) if _is_out_of_memory(error) else problems.broken(attempts)


def _is_out_of_memory(error: Exception) -> bool:
    # torch's has this name, on every device; importing torch for it would be a high price.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "not enough memory" in str(error)


def _giving_back(held: Claim, reporter: Reporter, *, spent: bool) -> Callable[[Session], object]:
    return lambda session: lifecycle.requeue(session, held, spent=spent, compute_seconds=reporter.take_seconds())


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


def _give_up(here: Process, held: Claim, reason: str) -> None:
    """End an attempt whose engine does not react, and this process with it; runs in the heartbeat thread."""
    log.error("job.hung", reason=reason)
    try:
        with here.database.session() as session:
            if reason == "canceled":
                lifecycle.cancel(session, held)
            elif held.last_attempt:
                lifecycle.fail(session, held, problems.stalled(held.attempt))
            else:
                lifecycle.requeue(session, held, spent=True)
    except (LeaseLost, SQLAlchemyError):
        log.exception("job.unwritten")
    # Python cannot end a thread that is stuck in native code. The worker starts a fresh process.
    os._exit(_GAVE_UP)


def _device() -> str:
    torch: Any = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"


def _peak_memory() -> int:
    """Most memory that this process has used, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
