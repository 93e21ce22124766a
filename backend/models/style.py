"""A style learnt from one photo."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class Style(Base):
    """A style and its adapter.

    `more_image_ids` are further photos of the same style. `caption` is the one given, until the training says which it
    learnt with. `embroidery_key` and `design_key` are the pair it was learnt from. `report` holds quality figures and
    warnings, `samples` entries {prompt or design, key, width, height}, `blocks` the names of the style blocks.
    """

    __tablename__ = "styles"
    __table_args__ = (
        Index("ix_styles_shop_id_id", "shop_id", "id"),
        CheckConstraint("status in ('training', 'ready', 'failed', 'canceled')", name="status"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    name: Mapped[str]
    status: Mapped[str] = mapped_column(default="training")
    reference_image_id: Mapped[str] = mapped_column(foreign_key("images.id"))
    artwork_image_id: Mapped[str | None] = mapped_column(foreign_key("images.id"))
    more_image_ids: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    pair_builder: Mapped[str]
    preset: Mapped[str]
    base: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    caption: Mapped[str | None]
    embroidery_key: Mapped[str | None]
    design_key: Mapped[str | None]
    blocks: Mapped[list[Any]] = mapped_column(default=list)
    adapter_key: Mapped[str | None]
    adapter_sha256: Mapped[str | None]
    adapter_bytes: Mapped[int | None]
    adapter_rank: Mapped[int | None]
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    samples: Mapped[list[Any]] = mapped_column(default=list)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    job_id: Mapped[str | None]
    demo: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)
    deleted_at: Mapped[datetime | None]
