"""A shop: the tenant that owns everything else."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, utcnow


class Shop(Base):
    """One shop. `quotas` overrides the defaults, for example ``{"gpu_seconds": 3600, "storage_bytes": 10**9}``."""

    __tablename__ = "shops"

    id: Mapped[str] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    quotas: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
