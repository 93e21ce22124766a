"""Logs, metrics and health: what people who run Hoop look at."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from redis import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.core.config import Settings
from backend.core.db import Database
from backend.core.errors import StorageUnavailable
from backend.core.queue import check_broker
from backend.core.storage import ObjectStore

REGISTRY = CollectorRegistry()

REQUESTS = Counter("hoop_requests_total", "Answered requests.", ["method", "route", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "hoop_request_seconds",
    "Time to answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
    registry=REGISTRY,
)
UPLOAD_BYTES = Counter("hoop_upload_bytes_total", "Bytes of uploaded pictures.", registry=REGISTRY)
JOBS_FINISHED = Counter("hoop_jobs_finished_total", "Jobs that ended.", ["kind", "status"], registry=REGISTRY)
JOB_SECONDS = Histogram(
    "hoop_job_seconds",
    "From claim to end.",
    ["kind"],
    buckets=(1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 3600),
    registry=REGISTRY,
)
JOBS = Gauge("hoop_jobs", "Jobs that have not ended, by queue and status.", ["queue", "status"], registry=REGISTRY)


def metrics() -> tuple[bytes, str]:
    """Return all metrics in Prometheus' text format, and its media type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the standard library's records to stderr, as JSON lines or for people to read."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.log_json:
        render: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain: the default shows the values of local variables, which hold keys and people's data.
        plain = structlog.dev.plain_traceback
        render = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    # One line a request is enough, and ours carries more; botocore's debug records would hold credentials.
    for noisy in ("uvicorn.access", "botocore", "boto3", "urllib3", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def readiness(database: Database, store: ObjectStore, settings: Settings) -> dict[str, Any]:
    """Ask every part that a request needs.

    Returns:
        {"ready": bool, "checks": {name: {"ok": bool, "ms": float}}}, with names database, broker and storage.
    """

    def ask_database() -> None:
        with database.read() as session:
            session.execute(text("SELECT 1"))

    checks = {
        "database": _timed(ask_database),
        "broker": _timed(lambda: check_broker(settings)),
        "storage": _timed(store.check),
    }
    return {"ready": all(check["ok"] for check in checks.values()), "checks": checks}


def _timed(check: Callable[[], None]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        check()
    except (SQLAlchemyError, RedisError, StorageUnavailable, OSError):
        # The reason stays in our logs: this answer is public.
        structlog.get_logger(__name__).warning("readiness.failed", exc_info=True)
        ok = False
    else:
        ok = True
    return {"ok": ok, "ms": round((time.perf_counter() - start) * 1000, 1)}
