"""The one task that Celery carries: its message is a job's id, and the row is the truth."""

import threading
from functools import partial
from typing import Any, Final

from celery import shared_task
from celery.signals import worker_process_init

from backend.core.queue import TASK
from worker import process
from worker.attempt import Company, execute
from worker.batches import TOGETHER
from worker.handlers import HANDLERS
from worker.together import work_together

COMPANY: Final[dict[str, Company]] = {kind: partial(work_together, together) for kind, together in TOGETHER.items()}
WARM_AFTER: Final = 8.0
"""Seconds from the start until the base is loaded unasked: not while everything else starts on the same cores."""


@shared_task(name=TASK, ignore_result=True, acks_late=True)  # type: ignore[untyped-decorator]
def run_job(job_id: str) -> None:
    """Do one job, if it is there to be done, and what waits and can be done with it."""
    execute(job_id, process.current(), HANDLERS, COMPANY)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _on_process_init(**_: Any) -> None:
    """Have the base warm before the first render; a job that comes sooner loads it itself."""
    timer = threading.Timer(WARM_AFTER, process.current().runtime.warm)
    timer.daemon = True
    timer.start()
