"""How much a shop may use: jobs at once, computing time a day, storage."""

from datetime import UTC, datetime, time, timedelta
from typing import Final, TypedDict

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.core.db import utcnow
from backend.core.errors import QuotaExceeded
from backend.models import Image, Job, Shop, Style, UsageDay

OPEN_STATUSES: Final = ("queued", "starting", "processing")


class Quotas(TypedDict):
    """What a shop may use. `Shop.quotas` overrides single values."""

    open_jobs: int
    gpu_seconds: float
    storage_bytes: int


DEFAULTS: Final[Quotas] = {"open_jobs": 50, "gpu_seconds": 86_400.0, "storage_bytes": 50_000_000_000}
"""Fifty jobs that wait or run; one device around the clock; 50 GB of pictures and adapters."""


def quotas_of(session: Session, shop_id: str) -> Quotas:
    """A shop's quotas."""
    shop = session.get(Shop, shop_id)
    own = shop.quotas if shop is not None else {}
    return {
        "open_jobs": int(own.get("open_jobs", DEFAULTS["open_jobs"])),
        "gpu_seconds": float(own.get("gpu_seconds", DEFAULTS["gpu_seconds"])),
        "storage_bytes": int(own.get("storage_bytes", DEFAULTS["storage_bytes"])),
    }


def check_jobs(session: Session, shop_id: str) -> None:
    """Raise QuotaExceeded when the shop may not start another job now."""
    quotas = quotas_of(session, shop_id)
    waiting = open_jobs(session, shop_id)
    if waiting >= quotas["open_jobs"]:
        raise QuotaExceeded(
            f"{waiting} of your jobs wait or run already, and {quotas['open_jobs']} may do so at once. "
            "Please wait until some are done.",
            headers={"Retry-After": "30"},
            quota="open_jobs",
        )
    now = utcnow()
    used = session.scalar(select(UsageDay.gpu_seconds).where(UsageDay.shop_id == shop_id, UsageDay.day == now.date()))
    if (used or 0.0) >= quotas["gpu_seconds"]:
        raise QuotaExceeded(
            f"Your shop has used its {_minutes(quotas['gpu_seconds'])} of computing time for today. "
            "It starts afresh at midnight (UTC).",
            headers={"Retry-After": str(_seconds_to_midnight(now))},
            quota="gpu_seconds",
        )


def check_storage(session: Session, shop_id: str, more: int) -> None:
    """Raise QuotaExceeded when `more` bytes do not fit any more."""
    quota = quotas_of(session, shop_id)["storage_bytes"]
    if stored_bytes(session, shop_id) + more > quota:
        raise QuotaExceeded(
            f"Your shop's storage of {quota / 1e9:.1f} GB is full. Please delete pictures that you no longer need.",
            quota="storage_bytes",
        )


def open_jobs(session: Session, shop_id: str) -> int:
    """Jobs that wait or run."""
    return session.scalar(select(func.count()).where(Job.shop_id == shop_id, Job.status.in_(OPEN_STATUSES))) or 0


def stored_bytes(session: Session, shop_id: str) -> int:
    """Bytes of pictures, equal ones once, and of adapters."""
    pictures = (
        select(Image.key, func.max(Image.bytes).label("bytes"))
        .where(Image.shop_id == shop_id, Image.deleted_at.is_(None))
        .group_by(Image.key)
        .subquery()
    )
    adapters = select(func.coalesce(func.sum(Style.adapter_bytes), 0)).where(
        Style.shop_id == shop_id, Style.deleted_at.is_(None)
    )
    return int(session.scalar(select(func.coalesce(func.sum(pictures.c.bytes), 0))) or 0) + int(
        session.scalar(adapters) or 0
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes"


def _seconds_to_midnight(now: datetime) -> int:
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return max(1, int((midnight - now).total_seconds()))
