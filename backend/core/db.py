"""Database: one engine, one session a request or a task, one commit, and what is sent after it.

Nobody commits in a service. `Database.session()` commits once at the end; job messages and wake-ups that were collected
on the way leave only after the commit, so no worker can see a job before its row is there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from sqlalchemy import JSON, DateTime, Dialect, Engine, ForeignKey, MetaData, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

log = structlog.get_logger(__name__)

Outbox = list[tuple[str, str]]
"""Jobs to send: (job id, queue)."""


def utcnow() -> datetime:
    """Return the present time, with its time zone, which is UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its time zone on both databases; SQLite stores it naive, in UTC.

    Raises:
        ValueError: on a naive datetime, which is always a mistake.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn any zone into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone was given to the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JsonType = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON on both databases; Python's None is SQL's NULL."""


def foreign_key(target: str, *, ondelete: str | None = None) -> ForeignKey:
    """Return a foreign key that is checked at commit, so that rows of one transaction may be written in any order."""
    return ForeignKey(target, ondelete=ondelete, deferrable=True, initially="DEFERRED")


class Base(DeclarativeBase):
    """Base of all tables."""

    # Named constraints, so that migrations can drop them on both databases.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's name and shape
        datetime: UtcDateTime,
        dict[str, Any]: JsonType,
        list[Any]: JsonType,
    }


def make_engine(url: str) -> Engine:
    """Create an engine for SQLite or PostgreSQL with the settings that Hoop relies on."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": 10})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling is off; `_on_begin` says which kind of BEGIN we want.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA busy_timeout = 10000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        # A deferred transaction that reads and then writes fails at once, without waiting, when another process wrote
        # in between. Taking the write lock first makes it wait its turn (busy_timeout) instead.
        read_only = connection.get_execution_options().get("hoop_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


class Database:
    """An engine and its sessions.

    Args:
        url: SQLAlchemy URL.
        send: sends jobs once their rows are committed; nothing is sent when left out (the reaper will).
    """

    def __init__(self, url: str, send: Callable[["Database", Outbox], None] | None = None) -> None:
        self.engine = make_engine(url)
        self._send = send
        self._writers = session_factory(self.engine)
        self._readers = session_factory(self.engine.execution_options(hoop_read_only=True))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that writes: committed once at the end, rolled back on any error, then the outbox is sent."""
        with self._writers() as session:
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise
            self._after_commit(session)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads. It takes no write lock on SQLite and never commits."""
        with self._readers() as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _after_commit(self, session: Session) -> None:
        outbox: Outbox = session.info.pop("outbox", [])
        callbacks: list[Callable[[], None]] = session.info.pop("after_commit", [])
        # The rows are safe by now: a broker that does not answer must not turn a success into an error. The reaper
        # sends what stays unsent.
        if outbox and self._send is not None:
            try:
                self._send(self, outbox)
            except Exception:
                log.warning("jobs.unsent", jobs=[job for job, _ in outbox], exc_info=True)
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.warning("after_commit.failed", exc_info=True)


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Return a maker of sessions whose objects stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


def send_after_commit(session: Session, job_id: str, queue: str) -> None:
    """Send a job to its queue once the session has been committed."""
    session.info.setdefault("outbox", []).append((job_id, queue))


def run_after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Call something once the session has been committed; never called when it was rolled back."""
    session.info.setdefault("after_commit", []).append(callback)


def get_database(request: Request) -> Database:
    """FastAPI dependency: the application's database (`app.state.database`)."""
    database: Database = request.app.state.database
    return database


def get_session(request: Request) -> Iterator[Session]:
    """FastAPI dependency: the request's session that writes. Use it as `WriteSession`."""
    with get_database(request).session() as session:
        yield session


def get_read_session(request: Request) -> Iterator[Session]:
    """FastAPI dependency: the request's session that only reads. Use it as `ReadSession`."""
    with get_database(request).read() as session:
        yield session


# scope="function": the commit happens before the answer leaves, so an answer never promises what the database refused.
WriteSession = Annotated[Session, Depends(get_session, scope="function")]
ReadSession = Annotated[Session, Depends(get_read_session, scope="function")]
DatabaseDep = Annotated[Database, Depends(get_database)]
