"""Work that a worker does: the row is the truth, a queue's message only names it."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key, utcnow


class Job(Base):
    """A job: training a style, a render, or the preview of a pair.

    `target_id` is the style, render or pair it works for. `fencing_token` grows with every claim; a write that carries
    an older one is refused. `sent_at` is null until the message has left: the row is also the outbox. `input` is
    fully resolved, seed included, so that a second attempt does the same work.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_shop_id_id", "shop_id", "id"),
        Index("ix_jobs_status_queue", "status", "queue"),
        Index("ix_jobs_target_id", "target_id"),
        Index(
            "ix_jobs_unsent",
            "created_at",
            sqlite_where=text("sent_at IS NULL"),
            postgresql_where=text("sent_at IS NULL"),
        ),
        CheckConstraint("kind in ('train', 'render', 'pair')", name="kind"),
        CheckConstraint(
            "status in ('queued', 'starting', 'processing', 'succeeded', 'failed', 'canceled', 'expired')",
            name="status",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    shop_id: Mapped[str] = mapped_column(foreign_key("shops.id"))
    kind: Mapped[str]
    queue: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued")
    target_id: Mapped[str]
    priority: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=3)
    fencing_token: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    stage: Mapped[str | None]
    step: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    eta_s: Mapped[float | None]
    preview_key: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    input: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
