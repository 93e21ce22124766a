"""Addresses of other programs that want to hear of what happens, and what was sent to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class WebhookEndpoint(Base):
    """`secret` signs (Standard Webhooks); after a rotation the previous one signs too, until it expires."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"), index=True)
    url: Mapped[str]
    events: Mapped[list[Any]] = mapped_column(default=list)
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_expires_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class WebhookDelivery(Base):
    """One event for one endpoint: the outbox row and its log. `message_id` stays the same over all attempts."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
        Index("ix_webhook_deliveries_due", "status", "next_attempt_at"),
        CheckConstraint("status in ('pending', 'delivered', 'failed')", name="status"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    endpoint_id: Mapped[str] = mapped_column(foreign_key("webhook_endpoints.id", ondelete="CASCADE"))
    message_id: Mapped[str]
    event: Mapped[str]
    payload: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]
    response_status: Mapped[int | None]
    response_excerpt: Mapped[str | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    delivered_at: Mapped[datetime | None]
