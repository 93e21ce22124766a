"""Designs shown in a style: one request, its variations."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class Render(Base):
    """`input` is the request as given and as resolved; `status` is the job's; `share_id` the link it came through."""

    __tablename__ = "renders"
    __table_args__ = (
        Index("ix_renders_shop_id_id", "shop_id", "id"),
        Index("ix_renders_style_id", "style_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    style_id: Mapped[str] = mapped_column(foreign_key("styles.id"))
    status: Mapped[str] = mapped_column(default="queued")
    input: Mapped[dict[str, Any]] = mapped_column(default=dict)
    variations: Mapped[int] = mapped_column(default=1)
    seed: Mapped[int] = mapped_column(BigInteger)
    preset: Mapped[str]
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    job_id: Mapped[str | None]
    # No foreign key: shares point at renders already, and a circle has no order to create or delete in.
    share_id: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    deleted_at: Mapped[datetime | None]
