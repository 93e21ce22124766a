"""Sending jobs to workers. A message carries the job's id and nothing else; the row is the truth."""

from datetime import datetime
from functools import cache
from typing import Any

from celery import Celery
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import column, table, update

from backend.core.config import Settings, get_settings
from backend.core.db import Database, Outbox, UtcDateTime, utcnow

QUEUES = ("train", "render", "io")
TASK = "hoop.run_job"

# Recovery is the reaper's, on expired leases; a redelivery by the broker only wakes workers for nothing
# (celery issues 5935 and 3270), so it is put off for a day.
VISIBILITY_TIMEOUT = 24 * 3600

# redis-py tries again for seconds by itself; whoever asks here does so anyway, or must not wait.
ONE_TRY = Retry(NoBackoff(), 0)

# Only two columns: core knows no models.
_jobs = table("jobs", column("id"), column("sent_at", UtcDateTime()))


def broker_options() -> dict[str, Any]:
    """Return the broker's transport options, the same for whoever sends and whoever receives."""
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }


@cache
def _sender(broker_url: str) -> Celery:
    app = Celery("hoop", broker=broker_url, set_as_current=False)
    app.conf.update(
        broker_transport_options={**broker_options(), "socket_timeout": 5},
        task_ignore_result=True,
        # Three quick tries; what is still unsent then, the reaper sends.
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5},
    )
    return app


def send(job_id: str, queue: str, settings: Settings | None = None) -> None:
    """Send a job to the workers of a queue.

    Raises:
        ValueError: unknown queue.
        kombu.exceptions.OperationalError: the broker does not answer.
    """
    if queue not in QUEUES:
        raise ValueError(f"unknown queue {queue!r}")
    broker = (settings or get_settings()).broker_url
    _sender(broker).send_task(TASK, args=[job_id], queue=queue, ignore_result=True)


def send_outbox(database: Database, outbox: Outbox, settings: Settings | None = None) -> None:
    """Send jobs whose rows are committed, and note the time in the rows that left. `Database(send=…)` calls this."""
    sent: list[str] = []
    now: datetime = utcnow()
    try:
        for job_id, queue in outbox:
            send(job_id, queue, settings)
            sent.append(job_id)
    finally:
        if sent:
            with database.session() as session:
                session.execute(update(_jobs).where(_jobs.c.id.in_(sent)).values(sent_at=now))


def redis_url(broker_url: str) -> str:
    """Return a broker address in the form that redis-py takes: kombu writes unix sockets ``redis+socket://``."""
    if broker_url.startswith("redis+socket://"):
        return "unix://" + broker_url.removeprefix("redis+socket://").replace("virtual_host=", "db=")
    return broker_url


def check_broker(settings: Settings) -> None:
    """Raise redis.RedisError or OSError when the broker cannot be reached."""
    with Redis.from_url(
        redis_url(settings.broker_url), retry=ONE_TRY, socket_connect_timeout=2, socket_timeout=2
    ) as client:
        client.ping()
