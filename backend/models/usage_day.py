"""What a shop used on one day (UTC)."""

from datetime import date

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key


class UsageDay(Base):
    """Sums of a day. `gpu_seconds` is time on the device that computes, a CPU included."""

    __tablename__ = "usage_days"

    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    gpu_seconds: Mapped[float] = mapped_column(default=0.0)
    renders: Mapped[int] = mapped_column(default=0)
    trainings: Mapped[int] = mapped_column(default=0)
    storage_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
