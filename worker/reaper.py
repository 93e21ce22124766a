"""What nobody else does: recover jobs of dead workers, send what was left unsent, end what is late, deliver webhooks.

Every worker runs one. They may all run at once: jobs and deliveries move by conditional UPDATEs that let one of them
through, and a message that is sent twice does no harm.
"""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog
from redis import Redis, RedisError
from sqlalchemy import ColumnElement, or_, select

from backend.core.config import Settings
from backend.core.db import Database, Outbox, utcnow
from backend.core.queue import QUEUES, redis_url, send_outbox
from backend.core.storage import ObjectStore
from backend.jobs import lifecycle
from backend.jobs.states import ACTIVE, TERMINAL, Status
from backend.models import Job
from backend.uploads.service import remove_abandoned
from backend.webhooks.delivery import deliver_due
from worker.process import open_database
from worker.publish import tidy

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 3.0
UNSENT_AFTER: Final = timedelta(seconds=5)
"""A row this young is still being sent by whoever wrote it."""
LOST_AFTER: Final = timedelta(seconds=15)
"""A message this old that is in no queue, while its job waits, went down with a broker."""
_AT_ONCE: Final = 100


class Reaper:
    """Two threads: one for jobs, one for webhooks, whose receivers may be slow.

    Args:
        settings: where database, broker and objects are.
        every: seconds between two looks.
    """

    def __init__(self, settings: Settings, every: float = SWEEP_SECONDS) -> None:
        self._settings = settings
        # A short lease is noticed sooner, or it would not be short.
        self._every = min(every, settings.lease_seconds / 2)
        self._database = open_database(settings)
        self._store = ObjectStore(settings)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, args=(self._sweep,), name="reaper", daemon=True),
            threading.Thread(target=self._loop, args=(self._deliver,), name="webhooks", daemon=True),
        ]

    def start(self) -> None:
        """Begin to look after things."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, after the deed at hand."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _loop(self, act: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            try:
                act()
            except Exception:
                # Database, broker or store are away; they are tried again, and there is nobody to tell but the log.
                log.warning("reaper.failed", exc_info=True)
            self._stopped.wait(self._every)

    def _sweep(self) -> None:
        sweep(self._database, self._store, self._settings)

    def _deliver(self) -> None:
        deliver_due(self._database)
        remove_abandoned(self._database, self._store)


def sweep(database: Database, store: ObjectStore, settings: Settings) -> None:
    """Look once after all jobs."""
    now = utcnow()
    # Reading first: a writing session takes SQLite's only write lock, every few seconds, mostly for nothing.
    overdue = or_(
        Job.status.in_(ACTIVE) & (Job.lease_expires_at < now),
        (Job.status == Status.QUEUED) & (Job.attempt == 0) & (Job.expires_at <= now),
    )
    if _any(database, overdue):
        with database.session() as session:
            moved = [*lifecycle.recover_abandoned(session, now=now), *lifecycle.expire_late(session, now=now)]
        for job in moved:
            log.warning("job.recovered", job=job.id, status=job.status, attempt=job.attempt)
            if job.status in TERMINAL:
                tidy(store, job.shop_id, job.id)
    unsent = (Job.status == Status.QUEUED) & Job.sent_at.is_(None) & (Job.created_at < now - UNSENT_AFTER)
    lost = (Job.status == Status.QUEUED) & (Job.sent_at < now - LOST_AFTER)
    outbox = _waiting(database, unsent)
    if waiting := _waiting(database, lost):
        empty = empty_queues(settings)
        outbox += [(job_id, queue) for job_id, queue in waiting if queue in empty]
    if outbox:
        log.info("jobs.sent_again", jobs=[job_id for job_id, _ in outbox])
        send_outbox(database, outbox, settings)


def empty_queues(settings: Settings) -> list[str]:
    """The queues in which no message waits; none when the broker does not answer."""
    try:
        with Redis.from_url(redis_url(settings.broker_url), socket_connect_timeout=2, socket_timeout=2) as client:
            return [queue for queue in QUEUES if not client.llen(queue)]
    except (RedisError, OSError):
        return []


def _any(database: Database, where: ColumnElement[bool]) -> bool:
    with database.read() as session:
        return session.scalars(select(Job.id).where(where).limit(1)).first() is not None


def _waiting(database: Database, where: ColumnElement[bool]) -> Outbox:
    with database.read() as session:
        rows = session.execute(select(Job.id, Job.queue).where(where).order_by(Job.id).limit(_AT_ONCE)).all()
    return [(job_id, queue) for job_id, queue in rows]
