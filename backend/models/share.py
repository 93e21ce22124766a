"""A link that lets a customer see one style or one render."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class Share(Base):
    """Either `style_id` or `render_id`; `may` lists preview, brief, upload, approve. The token is kept as SHA-256.

    `approval` is what the customer said yes to: {render, index, name, note}.
    """

    __tablename__ = "shares"
    __table_args__ = (
        Index("ix_shares_shop_id_id", "shop_id", "id"),
        CheckConstraint("(style_id IS NULL) <> (render_id IS NULL)", name="one_target"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    style_id: Mapped[str | None] = mapped_column(foreign_key("styles.id"))
    render_id: Mapped[str | None] = mapped_column(foreign_key("renders.id"))
    may: Mapped[list[Any]] = mapped_column(default=list)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    approved_at: Mapped[datetime | None]
    approval: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
