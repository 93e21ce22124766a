"""What happened, written down for every webhook that wants to hear of it, in the transaction in which it happened."""

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.db import utcnow
from backend.core.ids import new_id
from backend.models import Job, Render, Style, WebhookDelivery, WebhookEndpoint
from backend.webhooks.schemas import EventName

_STYLE_EVENTS: Final[dict[str, EventName]] = {
    "succeeded": "style.ready",
    "failed": "style.failed",
    "expired": "style.failed",
}
_RENDER_EVENTS: Final[dict[str, EventName]] = {
    "succeeded": "render.succeeded",
    "failed": "render.failed",
    "expired": "render.failed",
    "canceled": "render.canceled",
}


def emit(session: Session, shop_id: str, event: EventName, data: dict[str, Any]) -> None:
    """Queue an event for the shop's webhooks that listen to it.

    Args:
        session: the one in which the thing happens; nothing is sent unless it is committed.
        shop_id: whose webhooks.
        event: what happened.
        data: ids and words, JSON values only. Whoever wants more asks the API: addresses of pictures would expire.
    """
    now = utcnow()
    endpoints = session.scalars(
        select(WebhookEndpoint).where(WebhookEndpoint.shop_id == shop_id, WebhookEndpoint.disabled_at.is_(None))
    )
    # Standard Webhooks: the same message has the same id for everyone who hears of it.
    message_id = new_id("msg")
    payload = {"type": event, "timestamp": now.isoformat(), "data": data}
    for endpoint in endpoints:
        if event in endpoint.events:
            session.add(
                WebhookDelivery(
                    id=new_id("whd"),
                    shop_id=shop_id,
                    endpoint_id=endpoint.id,
                    message_id=message_id,
                    event=event,
                    payload=payload,
                    status="pending",
                    attempts=0,
                    next_attempt_at=now,
                    created_at=now,
                )
            )


def announce_job(session: Session, job: Job) -> None:
    """Queue the event that a job's new status means, if it means one. Call it where the status is written."""
    if job.kind == "train":
        event = _STYLE_EVENTS.get(job.status)
        style = session.get(Style, job.target_id) if event else None
        if event and style is not None:
            emit(session, job.shop_id, event, _data(job, "style", style.id, style.meta, name=style.name))
    elif job.kind == "render":
        event = _RENDER_EVENTS.get(job.status)
        render = session.get(Render, job.target_id) if event else None
        if event and render is not None:
            emit(session, job.shop_id, event, _data(job, "render", render.id, render.meta, style=render.style_id))


def _data(job: Job, kind: str, target_id: str, meta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        kind: target_id,
        "job": job.id,
        "status": job.status,
        "error": job.error,
        "metadata": meta,
        **more,
    }
