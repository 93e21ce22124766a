"""A worker in the tests' own process."""

import threading

from backend.core.config import Settings
from backend.core.db import Database
from backend.core.storage import ObjectStore
from worker.process import Process
from worker.reporting import Timing
from worker.runtime import Runtime


def worker_here(settings: Settings, store: ObjectStore, database: Database, heartbeat: float = 1) -> Process:
    """What its jobs share, with nothing loaded yet and a lease of a minute; `heartbeat` in seconds."""
    return Process(
        settings=settings,
        database=database,
        store=store,
        runtime=Runtime(settings),
        timing=Timing(lease=60, heartbeat=heartbeat),
        stopping=threading.Event(),
    )
