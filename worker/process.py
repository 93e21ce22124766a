"""What one worker process has: its settings, its connections, its warm models, and the wish that it may stop."""

import os
import signal
import socket
import threading
from dataclasses import dataclass, field
from functools import cache
from types import FrameType
from typing import Any, Final

from celery.signals import setup_logging, worker_process_init

from backend.core.config import Settings, get_settings
from backend.core.db import Database
from backend.core.queue import send_outbox
from backend.core.storage import ObjectStore
from backend.core.telemetry import configure_logging
from worker.reporting import Timing
from worker.runtime import Runtime

RELEASE_SIGNAL: Final = signal.SIGUSR2
"""Sent by a worker that is being stopped to its pool process: give the job back at the next step."""

stopping: Final = threading.Event()


@dataclass(frozen=True)
class Process:
    """Everything that tasks of one process share."""

    settings: Settings
    database: Database
    store: ObjectStore
    runtime: Runtime
    timing: Timing
    stopping: threading.Event = field(default_factory=lambda: stopping)

    @property
    def name(self) -> str:
        """Who claims jobs, for people to read."""
        return f"{socket.gethostname()}:{os.getpid()}"


@cache
def current() -> Process:
    """The one of this process, made on first use."""
    settings = get_settings()
    return Process(
        settings=settings,
        database=open_database(settings),
        store=ObjectStore(settings),
        runtime=Runtime(settings),
        timing=Timing(lease=settings.lease_seconds, heartbeat=settings.heartbeat_seconds),
    )


def open_database(settings: Settings) -> Database:
    """A database whose jobs are sent after the commit."""
    return Database(settings.database, send=lambda database, outbox: send_outbox(database, outbox, settings))


# These are connected here and not beside the application, because this module is the one that the pool process, a fresh
# interpreter, imports with the task.


@setup_logging.connect  # type: ignore[untyped-decorator]
def _on_setup_logging(**_: Any) -> None:
    """Keep our logging: a receiver here is what stops Celery from setting up its own."""


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _on_process_init(**_: Any) -> None:
    """In the pool process: log as we do everywhere, and listen for the wish to stop."""
    configure_logging(current().settings)

    def on_release(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(RELEASE_SIGNAL, on_release)
