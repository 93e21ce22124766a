"""What tests stand on: the real embedded parts, started once a run, and a database made by the migrations."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Two cores are enough for everybody only when every test keeps to one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from sqlalchemy import event

from backend.core import queue
from backend.core.config import Settings, get_settings
from backend.core.db import Database
from backend.core.embedded import EmbeddedServices
from backend.core.ids import new_id
from backend.core.migrate import migrate
from backend.core.processes import Lock, end_leftover
from backend.core.storage import ObjectStore
from backend.models import Shop

ROOT = Path(__file__).resolve().parents[1]
TMP_PREFIX = "hoop-test-"
SHARED_DATA = Path(os.environ.get("HOOP_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Photos, designs and threads that are not ours to publish; tests that want them are skipped where they are not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no folder with further test data")
    return SHARED_DATA


def _end_killed_runs() -> None:
    """End the services of test runs that were killed, and remove their folders."""
    for folder in Path("/tmp").glob(f"{TMP_PREFIX}*"):
        run = folder / "data" / "run"
        lock = Lock(run / "hoop.lock")
        if run.is_dir() and lock.acquire("cleaning up"):
            for name in ("valkey", "seaweedfs"):
                end_leftover(run / f"{name}.pid", name)
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A folder with a short path, since a unix socket's has to fit in 104 bytes."""
    _end_killed_runs()
    folder = Path(tempfile.mkdtemp(prefix=TMP_PREFIX, dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def in_environment(settings: Settings) -> Iterator[None]:
    """Put settings into the environment, for code that asks for them itself, here and in processes of the tests."""
    kept = dict(os.environ)
    os.environ.update(settings.to_env())
    get_settings.cache_clear()
    yield
    for name in settings.to_env():
        os.environ.pop(name, None)
        if name in kept:
            os.environ[name] = kept[name]
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def services(short_tmp: Path) -> Iterator[Settings]:
    """A running Valkey and SeaweedFS, one each for the whole run; the settings that reach them."""
    given = Settings(
        data_dir=short_tmp / "data",
        style_preset="short",
        lease_seconds=3,
        heartbeat_seconds=0.5,
        secret_key="not a secret, only for tests",
    )
    with EmbeddedServices(given) as running, in_environment(running):
        yield running


@pytest.fixture(scope="session")
def migrated_file(short_tmp: Path) -> Path:
    """An empty SQLite database made by the migrations, to be copied."""
    path = short_tmp / "migrated.db"
    database = Database(f"sqlite:///{path}")
    migrate(database.engine)
    # Everything into the one file: copies take no write-ahead log along.
    with database.engine.connect() as connection:
        connection.rollback()
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture
def database(migrated_file: Path, tmp_path: Path) -> Iterator[Database]:
    """A fresh database that sends no jobs; `sent` on it lists what would have been sent."""
    path = tmp_path / "hoop.db"
    shutil.copy(migrated_file, path)
    sent: list[tuple[str, str]] = []
    made = Database(f"sqlite:///{path}", send=lambda _database, outbox: sent.extend(outbox))
    made.sent = sent  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture
def settings(services: Settings, migrated_file: Path, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a whole Hoop of one test's own: the shared services, but a database and a bucket nobody else uses."""
    path = tmp_path / "own.db"
    shutil.copy(migrated_file, path)
    own = services.model_copy(
        update={"database_url": f"sqlite:///{path}", "s3_bucket": f"test-{uuid.uuid4().hex[:12]}", "data_dir": tmp_path}
    )
    with in_environment(own):
        yield own


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    """The object store of `settings`, with its bucket."""
    store = ObjectStore(settings)
    store.ensure_bucket()
    return store


@pytest.fixture
def live_database(settings: Settings) -> Iterator[Database]:
    """The database of `settings`; jobs really go to the broker."""
    made = Database(settings.database, send=lambda database, outbox: queue.send_outbox(database, outbox, settings))
    yield made
    made.close()


@pytest.fixture
def shop_id(database: Database) -> str:
    """A shop in `database`."""
    with database.session() as session:
        shop = Shop(id=new_id("shp"), slug=f"shop-{uuid.uuid4().hex[:8]}", name="Test shop")
        session.add(shop)
        return shop.id


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """The SQL that `database` runs from here on."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)
