"""What other features ask of jobs: create one, cancel one, wait for one."""

from datetime import timedelta
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from backend.core.db import send_after_commit, utcnow
from backend.core.ids import new_id
from backend.jobs import lifecycle, outcomes, repository
from backend.jobs.states import Status
from backend.models import Job

__all__ = ["create_job", "queue_position", "request_cancel"]

Kind = Literal["train", "render", "pair"]
Queue = Literal["train", "render", "io"]

QUEUE_OF: Final[dict[Kind, Queue]] = {"train": "train", "render": "render", "pair": "io"}
PATIENCE: Final = timedelta(hours=24)
"""How long a job may wait before anyone begins it."""

queue_position = repository.queue_position


def create_job(
    session: Session,
    *,
    shop_id: str,
    kind: Kind,
    target_id: str,
    input: dict[str, Any],  # noqa: A002 - the column's and the contract's name
    queue: Queue | None = None,
    patience: timedelta = PATIENCE,
) -> Job:
    """Queue a job; its message leaves when the session has been committed.

    Args:
        session: the request's session, which also writes the target.
        shop_id: whose job it is.
        kind: "train", "render" or "pair".
        target_id: the style, render or pair it works for.
        input: fully resolved, seed included, so that a second attempt does the same work. JSON values only.
        queue: the kind's own when left out.
        patience: how long it may wait before anyone begins it.
    """
    now = utcnow()
    job = Job(
        id=new_id("job"),
        shop_id=shop_id,
        kind=kind,
        queue=queue or QUEUE_OF[kind],
        status=Status.QUEUED,
        target_id=target_id,
        attempt=0,
        cancel_requested=False,
        input=input,
        created_at=now,
        expires_at=now + patience,
    )
    session.add(job)
    session.flush()
    repository.record_event(session, job.id, "status", outcomes.status_data(job))
    send_after_commit(session, job.id, job.queue)
    return job


def request_cancel(session: Session, job: Job) -> None:
    """Ask a job to stop; asking again, or asking a job that has ended, changes nothing. `job` is brought up to date."""
    lifecycle.request_cancel(session, job.id)
    session.refresh(job)
