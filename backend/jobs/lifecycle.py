"""Moving a job through its states, safely, with several workers and a crash at any point.

The rules, all of them enforced by conditional UPDATEs that PostgreSQL and SQLite run atomically:

* A worker owns a job by a *lease*. It gets one from :func:`claim`, prolongs it with :func:`renew`, and whoever finds a
  lease that has run out may take the job from it.
* Every claim hands out a new *fencing token*. Every later write of the worker carries it, so a worker that lost its
  lease (a long pause, a network split) cannot write over its successor's work: it gets :class:`LeaseLost`.
* A status is only written by :func:`_move`, which asks the table in :mod:`backend.jobs.states`. The target of the job
  (style, render, pair) and the event that the page sees change in the same transaction.

Nothing here commits; the caller's session does. Times are the caller's clock: hosts that share a database keep theirs
within a few seconds of each other, which is small against a lease of a minute.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from backend.core.db import send_after_commit, utcnow
from backend.jobs import outcomes, problems, repository
from backend.jobs.outcomes import Result
from backend.jobs.states import ACTIVE, TERMINAL, Event, Status, sources, target
from backend.models import Job

__all__ = [
    "Claim",
    "LeaseLost",
    "Renewal",
    "begin",
    "cancel",
    "claim",
    "expire_late",
    "fail",
    "finish",
    "preview",
    "progress",
    "recover_abandoned",
    "renew",
    "request_cancel",
    "requeue",
]


class LeaseLost(Exception):
    """Another worker, or the reaper, has taken the job; whatever this worker holds must be thrown away."""

    def __init__(self, job_id: str, fencing_token: int) -> None:
        super().__init__(f"the lease with token {fencing_token} on {job_id} is lost")
        self.job_id = job_id
        self.fencing_token = fencing_token


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker needs to know about the job it owns."""

    job_id: str
    shop_id: str
    kind: str
    queue: str
    target_id: str
    attempt: int
    max_attempts: int
    fencing_token: int
    input: dict[str, Any]

    @property
    def last_attempt(self) -> bool:
        """Whether a failure now is final."""
        return self.attempt >= self.max_attempts


@dataclass(frozen=True, slots=True)
class Renewal:
    """Answer to a heartbeat."""

    lease_expires_at: datetime
    cancel_requested: bool


def claim(session: Session, job_id: str, worker: str, *, lease: timedelta, now: datetime | None = None) -> Claim | None:
    """Take a job that waits, or one whose worker's lease has run out; `worker` is a name for people to read.

    Returns:
        The claim, or None when there is nothing to do: the job is gone, finished, canceled, late, or owned by another
        worker. A message that was delivered twice ends here.
    """
    now = now or utcnow()
    job = _move(
        session,
        Event.CLAIM,
        Job.id == job_id,
        Job.attempt < Job.max_attempts,
        Job.cancel_requested.is_(False),
        or_(Job.status == Status.QUEUED, Job.lease_expires_at < now),
        # Late only matters before the first attempt: work that was begun is finished.
        or_(Job.expires_at.is_(None), Job.expires_at > now, Job.attempt > 0),
        attempt=Job.attempt + 1,
        worker=worker,
        fencing_token=Job.fencing_token + 1,
        lease_expires_at=now + lease,
        heartbeat_at=now,
    )
    if job is None:
        return None
    if job.started_at is None:
        job.started_at = now
    return Claim(
        job_id=job.id,
        shop_id=job.shop_id,
        kind=job.kind,
        queue=job.queue,
        target_id=job.target_id,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        fencing_token=job.fencing_token,
        input=dict(job.input),
    )


def renew(
    session: Session, held: Claim, *, lease: timedelta, compute_seconds: float = 0.0, now: datetime | None = None
) -> Renewal:
    """Prolong the lease, charge the time worked since the last call, and learn whether the job should stop.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    now = now or utcnow()
    job = _touch(session, held, lease_expires_at=now + lease, heartbeat_at=now)
    _charge(session, job, compute_seconds, now)
    return Renewal(lease_expires_at=now + lease, cancel_requested=job.cancel_requested)


def begin(session: Session, held: Claim) -> None:
    """The first step of real work: starting becomes processing."""
    if _move(session, Event.BEGIN, *_owned(held)) is None:
        raise LeaseLost(held.job_id, held.fencing_token)


def progress(session: Session, held: Claim, *, stage: str, step: int, total: int, eta_s: float | None) -> None:
    """Write where the work stands (`step` of `total` in `stage`) and tell those who watch.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    job = _touch(session, held, stage=stage, step=step, total=total, eta_s=eta_s)
    repository.record_event(session, job.id, "progress", {"stage": stage, "step": step, "total": total, "eta_s": eta_s})


def preview(session: Session, held: Claim, *, key: str) -> None:
    """Point to an intermediate picture in the object store.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    job = _touch(session, held, preview_key=key)
    # The address is signed when it is sent: a stored one would have run out by the time of a replay.
    repository.record_event(session, job.id, "preview", {"key": key})


def finish(
    session: Session,
    held: Claim,
    result: Result,
    *,
    metrics: dict[str, Any],
    compute_seconds: float = 0.0,
    now: datetime | None = None,
) -> None:
    """Publish: the job has succeeded and its target shows the result, in one step.

    Raises:
        LeaseLost: the job is no longer this worker's, or someone asked to cancel it; nothing is written.
    """
    now = now or utcnow()
    job = _move(
        session,
        Event.SUCCEED,
        *_owned(held),
        # Who pressed "cancel" does not want to find the thing there a second later.
        Job.cancel_requested.is_(False),
        result=result,
        lease_expires_at=None,
        finished_at=now,
        error=None,
        eta_s=0.0,
    )
    if job is None:
        raise LeaseLost(held.job_id, held.fencing_token)
    job.metrics = {**(job.metrics or {}), **metrics}
    _charge(session, job, compute_seconds, now)


def fail(
    session: Session,
    held: Claim,
    error: dict[str, str],
    *,
    compute_seconds: float = 0.0,
    now: datetime | None = None,
) -> None:
    """The job has failed for good; `error` is {type, title, detail} in the words of a shop owner.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    _end(session, held, Event.FAIL, error=error, compute_seconds=compute_seconds, now=now)


def cancel(session: Session, held: Claim, *, compute_seconds: float = 0.0, now: datetime | None = None) -> None:
    """The worker stopped because it was asked to.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    _end(session, held, Event.CANCEL, error=None, compute_seconds=compute_seconds, now=now)


def requeue(
    session: Session,
    held: Claim,
    *,
    spent: bool,
    compute_seconds: float = 0.0,
    now: datetime | None = None,
) -> Job:
    """Give the job back to the queue; it goes on from its checkpoint. One that should be canceled is.

    `spent` says whether the attempt counts. It does not when the worker was merely told to stop: then one more is
    allowed, because attempts are never counted down (object keys carry their number).

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    now = now or utcnow()
    values: dict[str, Any] = (
        {"lease_expires_at": None}
        if spent
        else {
            "lease_expires_at": None,
            "max_attempts": Job.max_attempts + 1,
        }
    )
    job = _move(session, Event.REQUEUE, *_owned(held), Job.cancel_requested.is_(False), sent_at=None, **values)
    if job is not None:
        send_after_commit(session, job.id, job.queue)
    else:
        job = _move(session, Event.CANCEL, *_owned(held), finished_at=now, **values)
    if job is None:
        raise LeaseLost(held.job_id, held.fencing_token)
    _charge(session, job, compute_seconds, now)
    return job


def request_cancel(session: Session, job_id: str, *, now: datetime | None = None) -> None:
    """Ask a job to stop: at once when it waits, at its worker's next step when it runs, no effect when it has ended."""
    now = now or utcnow()
    if _move(session, Event.CANCEL, Job.id == job_id, Job.status == Status.QUEUED, finished_at=now) is not None:
        return
    asked = (
        update(Job)
        .where(Job.id == job_id, Job.status.in_(ACTIVE), Job.cancel_requested.is_(False))
        .values(cancel_requested=True)
        .returning(Job)
    )
    job = session.scalars(asked, execution_options=_FRESH).one_or_none()
    if job is not None:
        repository.record_event(session, job.id, "status", outcomes.status_data(job))


def recover_abandoned(session: Session, *, now: datetime | None = None, limit: int = 100) -> list[Job]:
    """Deal with the jobs whose worker has gone silent: requeued, or canceled, or failed after the last attempt.

    Returns:
        The jobs that were moved. Requeued ones go out with the session's outbox.
    """
    now = now or utcnow()
    gone = (
        select(Job)
        .where(Job.status.in_(ACTIVE), Job.lease_expires_at < now)
        .order_by(Job.lease_expires_at)
        .limit(limit)
        # Several reapers share the work on PostgreSQL; SQLite has one writer anyway.
        .with_for_update(skip_locked=True)
    )
    moved = []
    for job in session.scalars(gone, execution_options=_FRESH).all():
        still = (Job.id == job.id, Job.fencing_token == job.fencing_token, Job.lease_expires_at < now)
        if job.cancel_requested:
            done = _move(session, Event.CANCEL, *still, lease_expires_at=None, finished_at=now)
        elif job.attempt >= job.max_attempts:
            error = problems.worker_lost(job.attempt)
            done = _move(session, Event.FAIL, *still, lease_expires_at=None, finished_at=now, error=error)
        else:
            done = _move(session, Event.REQUEUE, *still, lease_expires_at=None, sent_at=None)
            if done is not None:
                send_after_commit(session, done.id, done.queue)
        if done is not None:
            moved.append(done)
    return moved


def expire_late(session: Session, *, now: datetime | None = None, limit: int = 100) -> list[Job]:
    """End the jobs that nobody began before their time was over."""
    now = now or utcnow()
    late = (
        select(Job.id)
        .where(Job.status.in_(sources(Event.EXPIRE)), Job.attempt == 0, Job.expires_at <= now)
        .limit(limit)
    )
    moved = []
    for job_id in session.scalars(late).all():
        job = _move(
            session,
            Event.EXPIRE,
            Job.id == job_id,
            Job.attempt == 0,
            finished_at=now,
            error=problems.expired(),
        )
        if job is not None:
            moved.append(job)
    return moved


# The rows that RETURNING brings must replace what the session remembers of them.
_FRESH = {"populate_existing": True, "synchronize_session": False}


def _owned(held: Claim) -> tuple[ColumnElement[bool], ...]:
    # The status too: a job that was given back keeps its token until the next claim, and is nobody's till then.
    return (Job.id == held.job_id, Job.fencing_token == held.fencing_token, Job.status.in_(ACTIVE))


def _move(
    session: Session,
    event: Event,
    *where: ColumnElement[bool],
    result: Result | None = None,
    **values: Any,
) -> Job | None:
    """Let `event` happen to the one job that matches `where` if its state allows; None when it does not.

    The only place that writes a status.
    """
    statement = (
        update(Job).where(Job.status.in_(sources(event)), *where).values(status=target(event), **values).returning(Job)
    )
    job = session.scalars(statement, execution_options=_FRESH).one_or_none()
    if job is None:
        return None
    repository.record_event(session, job.id, "status", outcomes.status_data(job))
    outcomes.follow(session, job, result)
    if job.status in TERMINAL:
        repository.record_event(session, job.id, "done", outcomes.status_data(job))
    return job


def _touch(session: Session, held: Claim, **values: Any) -> Job:
    """Write something else than the status of a job that this worker owns."""
    statement = update(Job).where(*_owned(held)).values(**values).returning(Job)
    job = session.scalars(statement, execution_options=_FRESH).one_or_none()
    if job is None:
        raise LeaseLost(held.job_id, held.fencing_token)
    return job


def _end(
    session: Session,
    held: Claim,
    event: Event,
    *,
    error: dict[str, str] | None,
    compute_seconds: float,
    now: datetime | None,
) -> None:
    now = now or utcnow()
    job = _move(session, event, *_owned(held), lease_expires_at=None, finished_at=now, error=error)
    if job is None:
        raise LeaseLost(held.job_id, held.fencing_token)
    _charge(session, job, compute_seconds, now)


def _charge(session: Session, job: Job, seconds: float, now: datetime) -> None:
    """Book computing time on the job and on the shop's day."""
    if seconds <= 0:
        return
    metrics = dict(job.metrics or {})
    metrics["compute_seconds"] = round(metrics.get("compute_seconds", 0.0) + seconds, 3)
    job.metrics = metrics
    repository.add_compute_seconds(session, job.shop_id, now.date(), seconds)
