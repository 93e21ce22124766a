"""A picture that someone gave us, decoded and re-encoded by us."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class Image(Base):
    """`purpose` is reference, artwork, design or garment; `key` names the object; `warnings` are {code, message}."""

    __tablename__ = "images"
    __table_args__ = (Index("ix_images_shop_id_id", "shop_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    purpose: Mapped[str]
    sha256: Mapped[str]
    key: Mapped[str]
    content_type: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    bytes: Mapped[int]
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    deleted_at: Mapped[datetime | None]
