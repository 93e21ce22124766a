"""The same migrations and sessions on PostgreSQL, where HOOP_TEST_POSTGRESQL names an empty database."""

import os
import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select

from backend.core.db import Base, Database
from backend.core.migrate import _config, is_current
from backend.models import Job, JobEvent, Shop

URL = os.environ.get("HOOP_TEST_POSTGRESQL", "")
pytestmark = pytest.mark.skipif(not URL, reason="HOOP_TEST_POSTGRESQL names no database")


@pytest.fixture
def postgresql():
    # Three at once, as when several containers start: one migrates, the others wait.
    env = {**os.environ, "HOOP_DATABASE_URL": URL, "HOOP_S3_ENDPOINT": ""}
    started = [subprocess.Popen([sys.executable, "-m", "backend", "migrate"], env=env) for _ in range(3)]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    database = Database(URL.replace("postgresql://", "postgresql+psycopg://"))
    yield database
    config = _config()
    config.attributes["engine"] = database.engine
    command.downgrade(config, "base")
    assert not is_current(database.engine)
    database.close()


def test_migrations_make_what_the_models_say(postgresql):
    assert is_current(postgresql.engine)
    with postgresql.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_rows_of_one_transaction_may_come_in_any_order(postgresql):
    with postgresql.session() as session:
        session.add(JobEvent(job_id="job_1", type="status", data={"status": "queued"}))
        session.flush()
        session.add(Job(id="job_1", shop_id="shp_1", kind="train", queue="train", target_id="sty_1"))
        session.add(Shop(id="shp_1", slug="one", name="One"))
    with postgresql.read() as session:
        event = session.scalars(select(JobEvent)).one()
        assert event.data == {"status": "queued"}
        assert event.created_at.tzinfo is not None
