"""What the webhook endpoints take and give."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from backend.models import WebhookDelivery, WebhookEndpoint
from backend.web.schemas import Id, Request, Showable

EventName = Literal[
    "style.ready", "style.failed", "render.succeeded", "render.failed", "render.canceled", "share.approved"
]
ALL_EVENTS: list[EventName] = [
    "style.ready",
    "style.failed",
    "render.succeeded",
    "render.failed",
    "render.canceled",
    "share.approved",
]


class WebhookIn(Request):
    """An address that wants to hear of what happens."""

    url: Annotated[str, StringConstraints(min_length=9, max_length=2000), Showable] = Field(
        description="https only; the host must have public addresses.", examples=["https://shop.example/hooks/hoop"]
    )
    events: Annotated[list[EventName], Field(min_length=1, max_length=6)] = Field(
        default=ALL_EVENTS, description="All of them when left out."
    )


class WebhookOut(BaseModel):
    """A webhook."""

    id: str
    url: str
    events: list[EventName]
    secret: str | None = Field(description="`whsec_…`; shown once, when it is made or rotated; null ever after.")
    disabled_at: datetime | None = Field(description="Set when the address answered 410 Gone.")
    created_at: datetime

    @classmethod
    def of(cls, endpoint: WebhookEndpoint, secret: str | None = None) -> "WebhookOut":
        """Show a row; `secret` only when it is new."""
        return cls.model_validate(
            {
                "id": endpoint.id,
                "url": endpoint.url,
                "events": endpoint.events,
                "secret": secret,
                "disabled_at": endpoint.disabled_at,
                "created_at": endpoint.created_at,
            }
        )


class DeliveryOut(BaseModel):
    """One event for one webhook, and how sending it went."""

    id: str
    message_id: str = Field(description="The header webhook-id: the same over all attempts and redeliveries.")
    event: EventName
    payload: dict[str, Any]
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: datetime | None
    response_status: int | None
    response_excerpt: str | None
    error: str | None
    duration_ms: int | None
    created_at: datetime
    delivered_at: datetime | None

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> "DeliveryOut":
        """Show a row."""
        return cls.model_validate({name: getattr(delivery, name) for name in cls.model_fields})


class RedeliverIn(Request):
    """Send an event again."""

    delivery: Id
