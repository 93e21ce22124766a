"""A key for programs."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class ApiKey(Base):
    """Shown once, kept as SHA-256. `prefix` is what lists show, so that people can tell keys apart."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    key_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
