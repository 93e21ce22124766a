"""Sessions, what leaves after a commit, times, and the migrations."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from backend.core.db import Base, Database, run_after_commit, send_after_commit, utcnow
from backend.core.ids import new_id
from backend.core.migrate import _config, is_current, migrate
from backend.models import Job, JobEvent, Shop


def make_job(shop_id: str) -> Job:
    return Job(id=new_id("job"), shop_id=shop_id, kind="train", queue="train", target_id=new_id("sty"))


def test_migrations_make_what_the_models_say(database):
    assert is_current(database.engine)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_migrations_can_be_taken_back(database):
    config = _config()
    config.attributes["engine"] = database.engine
    command.downgrade(config, "base")
    assert not is_current(database.engine)
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate(database.engine)
    assert is_current(database.engine)


def test_rows_of_one_transaction_may_come_in_any_order(database):
    with database.session() as session:
        job = make_job("shp_1")
        session.add(JobEvent(job_id=job.id, type="status", data={"status": "queued"}))
        session.flush()
        session.add(job)
        session.add(Shop(id="shp_1", slug="one", name="One"))
    with database.read() as session:
        assert session.scalars(select(JobEvent)).one().data == {"status": "queued"}


def test_a_missing_parent_is_refused_at_commit(database):
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(make_job("shp_none"))


def test_jobs_leave_after_the_commit(database, shop_id):
    with database.session() as session:
        job = make_job(shop_id)
        session.add(job)
        send_after_commit(session, job.id, "train")
        run_after_commit(session, lambda: database.sent.append(("woken", job.id)))
        session.flush()
        assert database.sent == []
    assert database.sent == [(job.id, "train"), ("woken", job.id)]


def test_nothing_leaves_after_a_rollback(database, shop_id):
    with pytest.raises(RuntimeError), database.session() as session:
        send_after_commit(session, "job_x", "train")
        raise RuntimeError
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(make_job("shp_none"))
        send_after_commit(session, "job_x", "train")
    assert database.sent == []


def test_a_broker_that_fails_does_not_undo_a_commit(migrated_file, tmp_path, shop_id, database):
    def fail(_database, _outbox):
        raise ConnectionError("no broker")

    unlucky = Database(str(database.engine.url), send=fail)
    reached = []
    with unlucky.session() as session:
        job = make_job(shop_id)
        session.add(job)
        send_after_commit(session, job.id, "train")
        run_after_commit(session, lambda: reached.append(1))
    unlucky.close()
    with database.read() as session:
        assert session.get(Job, job.id).sent_at is None
    assert reached == [1]


def test_times_keep_their_zone(database, shop_id):
    given = datetime(2026, 5, 1, 12, 0, tzinfo=timezone(timedelta(hours=5)))
    with database.session() as session:
        session.add(job := make_job(shop_id))
        job.started_at = given
    with database.read() as session:
        found = session.get(Job, job.id).started_at
        assert found == given
        assert found.tzinfo is UTC
        assert session.scalars(select(Job.id).where(Job.started_at < utcnow() + timedelta(days=3650))).all() == [job.id]


def test_a_time_without_zone_is_refused(database, shop_id):
    with pytest.raises(StatementError, match="time zone"), database.session() as session:
        session.add(job := make_job(shop_id))
        job.started_at = datetime(2026, 1, 1)


COUNT_UP = """
import sys
from sqlalchemy import select
from backend.core.db import Database
from backend.models import Shop

database = Database(sys.argv[1])
for _ in range(20):
    with database.session() as session:
        # Read, then write: the pattern that fails at once under a deferred transaction.
        shop = session.scalars(select(Shop)).one()
        shop.quotas = {"n": shop.quotas.get("n", 0) + 1}
"""


def test_writers_of_several_processes_wait_for_each_other(database, shop_id):
    url = str(database.engine.url)
    processes = [subprocess.Popen([sys.executable, "-c", COUNT_UP, url]) for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    with database.read() as session:
        assert session.get(Shop, shop_id).quotas == {"n": 40}


def test_readers_take_no_lock(database, shop_id):
    with database.read() as reader:
        assert reader.scalars(select(Shop.id)).all() == [shop_id]
        with database.session() as writer:
            writer.get(Shop, shop_id).name = "Renamed"
        # A snapshot: what this reader sees does not change under its feet.
        assert reader.scalar(select(Shop.name)) == "Test shop"
    with database.read() as reader:
        assert reader.scalar(select(Shop.name)) == "Renamed"


def test_pragmas(database):
    with database.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA busy_timeout")) == 10000


def test_ids_sort_by_time():
    made = [new_id("sty") for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert all(one.startswith("sty_") and len(one) == 36 for one in made)
