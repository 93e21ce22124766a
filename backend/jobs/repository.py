"""Reading jobs and their events, and writing what is not a status."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.core import events
from backend.core.db import run_after_commit
from backend.core.errors import NotFound
from backend.jobs.states import OPEN, TERMINAL, Status
from backend.models import Job, JobEvent, UsageDay


class JobRepository:
    """The jobs of one shop. Those of another do not exist here."""

    def __init__(self, session: Session, shop_id: str) -> None:
        self._session = session
        self._shop_id = shop_id

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            NotFound: there is none, or it is another shop's.
        """
        job = self._session.scalars(self.select().where(Job.id == job_id)).one_or_none()
        if job is None:
            raise NotFound("There is no such job.")
        return job

    def select(self) -> Select[Job]:
        """All jobs of the shop, to be narrowed down, ordered and paged."""
        return select(Job).where(Job.shop_id == self._shop_id)

    def count_open(self, kind: str | None = None) -> int:
        """How many jobs of the shop (of one kind) wait or run."""
        statement = select(func.count()).where(Job.shop_id == self._shop_id, Job.status.in_(OPEN))
        if kind is not None:
            statement = statement.where(Job.kind == kind)
        return self._session.scalars(statement).one()


def queue_position(session: Session, job: Job) -> int | None:
    """How many jobs go first, plus one; None when the job does not wait."""
    if job.status != Status.QUEUED:
        return None
    ahead = select(func.count()).where(Job.queue == job.queue, Job.status == Status.QUEUED, Job.id < job.id)
    return session.scalars(ahead).one() + 1


def waiting(session: Session, queue: str, kind: str, limit: int) -> list[tuple[str, dict[str, Any]]]:
    """Jobs that wait for their first attempt and whose message has left, those that go first first: id and input.

    Only to look at: another worker may be quicker, and a claim refuses what is late.
    """
    statement = (
        select(Job.id, Job.input)
        .where(
            Job.status == Status.QUEUED,
            Job.queue == queue,
            Job.kind == kind,
            Job.attempt == 0,
            Job.sent_at.is_not(None),
        )
        .order_by(Job.id)
        .limit(limit)
    )
    return [(job_id, given) for job_id, given in session.execute(statement)]


def record_event(session: Session, job_id: str, type_: str, data: dict[str, Any]) -> int:
    """Append to a job's events; wakes those who watch once it is committed.

    Must follow a write to the job's row in the same transaction: that row's lock is what makes the ids of a job's
    events appear in order, so a reader that has seen one has seen all before it.
    """
    event = JobEvent(job_id=job_id, type=type_, data=data)
    session.add(event)
    session.flush()
    event_id = event.id
    run_after_commit(session, lambda: events.publish(job_id, event_id))
    return event_id


def events_after(session: Session, job_id: str, last_id: int, limit: int = 200) -> Sequence[JobEvent]:
    """The events that follow `last_id`, oldest first."""
    statement = (
        select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.id > last_id).order_by(JobEvent.id).limit(limit)
    )
    return session.scalars(statement).all()


def latest_events(session: Session, job_id: str) -> Sequence[JobEvent]:
    """The newest event of each type, oldest first: where the job stands, for someone who just arrived."""
    newest = select(func.max(JobEvent.id)).where(JobEvent.job_id == job_id).group_by(JobEvent.type)
    return session.scalars(select(JobEvent).where(JobEvent.id.in_(newest)).order_by(JobEvent.id)).all()


def is_over(session: Session, job_id: str) -> bool:
    """Whether a job has ended (or is gone)."""
    status = session.scalars(select(Job.status).where(Job.id == job_id)).one_or_none()
    return status is None or status in TERMINAL


def add_compute_seconds(session: Session, shop_id: str, day: date, seconds: float) -> None:
    """Book computing time on a shop's day, without a lost update when two workers do so at once."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    row = insert(UsageDay).values(
        shop_id=shop_id, day=day, gpu_seconds=seconds, renders=0, trainings=0, storage_bytes=0
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=[UsageDay.shop_id, UsageDay.day],
            set_={"gpu_seconds": UsageDay.gpu_seconds + row.excluded.gpu_seconds},
        )
    )
