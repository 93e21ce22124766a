"""A browser that is logged in."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key


class LoginSession(Base):
    """An opaque session; the cookie holds the token, the row its SHA-256."""

    __tablename__ = "sessions"

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(foreign_key("users.id"), index=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    expires_at: Mapped[datetime]
