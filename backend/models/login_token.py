"""The one-time token in a login link."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key


class LoginToken(Base):
    """Works once, until it expires. Only its SHA-256 is kept."""

    __tablename__ = "login_tokens"

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(foreign_key("users.id"), index=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
