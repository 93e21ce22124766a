"""Reading and counting a shop's days."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.models import UsageDay


def days(session: Session, shop_id: str, first: date, last: date) -> Sequence[UsageDay]:
    """The days on which something was used, both ends included, oldest first."""
    return session.scalars(
        select(UsageDay)
        .where(UsageDay.shop_id == shop_id, UsageDay.day >= first, UsageDay.day <= last)
        .order_by(UsageDay.day)
    ).all()


def count(session: Session, shop_id: str, day: date, *, renders: int = 0, trainings: int = 0) -> None:
    """Count on a shop's day, without a lost update when two requests do so at once."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    row = insert(UsageDay).values(
        shop_id=shop_id, day=day, gpu_seconds=0.0, renders=renders, trainings=trainings, storage_bytes=0
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=[UsageDay.shop_id, UsageDay.day],
            set_={"renders": UsageDay.renders + renders, "trainings": UsageDay.trainings + trainings},
        )
    )
