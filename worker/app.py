"""Celery, as a plain carrier of job ids: one message at a time in a pool process, nothing stored in the broker.

Recovery is not Celery's: a message is acknowledged when its job has come to some end, and a job whose worker died is
found by its lease (worker/reaper.py). Celery's results, retries and revocation are not used.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from billiard.process import active_children
from celery import Celery
from celery.signals import worker_init, worker_shutting_down

from backend.core.config import Settings, get_settings
from backend.core.queue import QUEUES, broker_options
from backend.core.telemetry import configure_logging
from worker.process import RELEASE_SIGNAL
from worker.reaper import Reaper

log = structlog.get_logger(__name__)

TASKS: Final = "worker.tasks"


def create_app(settings: Settings, tasks: str = TASKS) -> Celery:
    """Return the Celery application.

    Args:
        settings: where the broker is.
        tasks: module with the task `hoop.run_job`.
    """
    app = Celery("hoop", broker=settings.broker_url, include=[tasks])
    app.conf.update(
        # A job stays in the broker until it has come to an end, and a worker holds one and not the next as well.
        task_acks_late=True,
        # When the pool process dies the message goes; the row's lease is what brings the job back.
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        # CUDA does not survive a fork, and torch's threads do not either.
        worker_pool_start_method="spawn",
        # A fresh interpreter takes its time on a busy machine; by default Celery kills it after four seconds.
        worker_proc_alive_timeout=300.0,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        broker_transport_options=broker_options(),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A broker that went away for a moment must not make us drop the job at hand.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
    )
    return app


def run(queues: Sequence[str], settings: Settings | None = None, *, tasks: str = TASKS) -> int:
    """Work until told to stop; returns the exit code.

    Raises:
        ValueError: an unknown queue.
    """
    settings = settings or get_settings()
    if unknown := [queue for queue in queues if queue not in QUEUES]:
        raise ValueError(f"unknown queue {unknown[0]!r}; there are {', '.join(QUEUES)}")
    configure_logging(settings)
    # The pool process is a fresh interpreter, which reads its settings anew: it plans its memory by what it will do.
    os.environ["HOOP_QUEUES"] = ",".join(queues)
    app = create_app(settings, tasks)
    worker = app.Worker(
        hostname=f"{'-'.join(queues)}-{os.getpid()}@{socket.gethostname()}",
        queues=list(queues),
        loglevel=settings.log_level,
        # Workers need to know nothing of each other.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        optimization="fair",
        quiet=True,
    )
    reaper = Reaper(settings)
    reaper.start()
    try:
        worker.start()
    finally:
        reaper.stop()
    return int(worker.exitcode or 0)


@worker_init.connect  # type: ignore[untyped-decorator]
def _on_init(**_: Any) -> None:
    log.info("worker.started", pid=os.getpid())


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _on_shutting_down(**_: Any) -> None:
    """In the worker: the pool process gives its job back at the next step, and Celery waits for that."""
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, RELEASE_SIGNAL)
