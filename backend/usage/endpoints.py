"""What a shop used."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from backend.core.db import ReadSession, utcnow
from backend.core.errors import InvalidInput
from backend.shops.auth import CurrentShop
from backend.usage import quotas, repository
from backend.usage.schemas import UsageDayOut, UsageNow, UsageOut

router = APIRouter(prefix="/v1/usage", tags=["usage"])

LONGEST = timedelta(days=366)


@router.get("", operation_id="getUsage")
def get_usage(
    caller: CurrentShop,
    session: ReadSession,
    since: Annotated[date | None, Query(description="First day; 30 days ago when left out.")] = None,
    until: Annotated[date | None, Query(description="Last day; today when left out.")] = None,
) -> UsageOut:
    """Say what the shop used day by day, what it uses now, and its quotas."""
    today = utcnow().date()
    last = until or today
    first = since or date.fromordinal(max(1, last.toordinal() - 30))
    if first > last or last - first > LONGEST:
        raise InvalidInput(
            "Please ask for a span of days of a year at most, the first before the last.",
            errors=[{"field": "query.since", "message": "is after `until`, or more than a year before it"}],
        )
    rows = repository.days(session, caller.shop_id, first, last)
    used_today = next(iter(repository.days(session, caller.shop_id, today, today)), None)
    allowed = quotas.quotas_of(session, caller.shop_id)
    return UsageOut(
        days=[
            UsageDayOut(day=row.day, gpu_seconds=row.gpu_seconds, renders=row.renders, trainings=row.trainings)
            for row in rows
        ],
        used=UsageNow(
            open_jobs=quotas.open_jobs(session, caller.shop_id),
            gpu_seconds=used_today.gpu_seconds if used_today else 0.0,
            storage_bytes=quotas.stored_bytes(session, caller.shop_id),
        ),
        quotas=UsageNow(**allowed),
    )
