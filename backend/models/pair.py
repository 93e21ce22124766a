"""A pair to look at before training: the embroidery and the flat design that would have made it."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class Pair(Base):
    """Made by a job of kind "pair"; `status` is that job's."""

    __tablename__ = "pairs"
    __table_args__ = (Index("ix_pairs_shop_id_id", "shop_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    reference_image_id: Mapped[str] = mapped_column(foreign_key("images.id"))
    artwork_image_id: Mapped[str | None] = mapped_column(foreign_key("images.id"))
    builder: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued")
    embroidery_key: Mapped[str | None]
    design_key: Mapped[str | None]
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    job_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
