"""What was answered to a request, so that the same request sent again gets the same answer."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class IdempotencyKey(Base):
    """One a shop and key for 24 hours. `status` is null while the first request is in flight.

    `request` is method and path, `response` the JSON answer, `headers` the ones worth repeating (Location).
    """

    __tablename__ = "idempotency_keys"

    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[str]
    body_sha256: Mapped[str]
    status: Mapped[int | None]
    response: Mapped[dict[str, Any] | None]
    headers: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
