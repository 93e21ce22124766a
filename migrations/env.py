"""How Alembic reaches the database; versions/ holds the migrations."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Engine, text

import backend.models  # noqa: F401 - fills the metadata
from backend.core.config import get_settings
from backend.core.db import Base, UtcDateTime, make_engine

# Any number, the same for all who migrate the same PostgreSQL database.
MIGRATION_LOCK = 8_613_540


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write plain SQLAlchemy types into migrations, so that old ones do not change with our code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type(item).__name__ == "JSON":
        autogen.imports.add("from sqlalchemy.dialects.postgresql import JSONB")
        return 'sa.JSON().with_variant(JSONB(), "postgresql")'
    return False


def run() -> None:
    """Run what is asked for on the engine that was handed over, or on the one of the settings."""
    given: Engine | None = context.config.attributes.get("engine")
    engine = given or make_engine(get_settings().database)
    with engine.connect() as connection:
        postgresql = connection.dialect.name == "postgresql"
        if postgresql:
            connection.execute(text("SELECT pg_advisory_lock(:id)"), {"id": MIGRATION_LOCK})
            # Rather fail and be run again than make a live service wait behind a migration that waits.
            connection.execute(text("SET lock_timeout = '4s'"))
            connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_item=render_item,
            render_as_batch=not postgresql,
            transactional_ddl=True,
            compare_type=True,
        )
        try:
            with context.begin_transaction():
                context.run_migrations()
        finally:
            if postgresql:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": MIGRATION_LOCK})
                connection.execute(text("RESET lock_timeout"))
                connection.commit()
    if given is None:
        engine.dispose()


run()
