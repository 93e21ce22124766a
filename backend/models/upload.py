"""A large file on its way to us: a presigned POST that has not become an image yet."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class Upload(Base):
    """`key` is where the raw bytes land; they are never served. Completing it makes `image_id`."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"), index=True)
    purpose: Mapped[str]
    key: Mapped[str]
    content_type: Mapped[str]
    image_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
