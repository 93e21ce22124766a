"""The embedded services: what they refuse, what they remember, what they clean up."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import httpx
import pytest

from backend.core import embedded
from backend.core.config import Settings
from backend.core.embedded import EmbeddedServices, check_data_dir
from backend.core.processes import CannotStart, Child, Lock, end_leftover
from backend.core.storage import ObjectStore


@pytest.fixture
def folder(short_tmp, request):
    folder = short_tmp / f"t{abs(hash(request.node.name)) % 10**8}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def fresh(folder, **more):
    return Settings(data_dir=folder, broker_url="", s3_endpoint="", s3_access_key="", s3_secret_key="", **more)


def test_data_and_credentials_outlive_a_stop_and_a_taken_port(folder):
    with EmbeddedServices(fresh(folder)) as first:
        ObjectStore(first).put("a", b"kept", "text/plain")
        assert stat.S_IMODE((folder / "run.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        # Neither without a password nor from another machine.
        assert httpx.get(f"{first.s3_endpoint}/media/a").status_code == 403
    assert "settings" not in json.loads((folder / "run.json").read_text())
    port = int(first.s3_endpoint.rsplit(":", 1)[1])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        with EmbeddedServices(fresh(folder)) as second:
            assert second.s3_endpoint != first.s3_endpoint
            assert second.broker_url == first.broker_url
            assert ObjectStore(second).get("a") == b"kept"


KILLED = """
import os, signal, sys
from pathlib import Path
from backend.core.config import Settings
from backend.core.embedded import EmbeddedServices
with EmbeddedServices(Settings(data_dir=Path(sys.argv[1]), broker_url="", s3_endpoint="")) as settings:
    print(settings.s3_endpoint, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_ended_and_started_again(folder):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = {name: int((folder / "run" / f"{name}.pid").read_text()) for name in ("valkey", "seaweedfs")}
    for pid in left.values():
        os.kill(pid, 0)
    with EmbeddedServices(fresh(folder)) as settings:
        # The remembered ports are free again, so addresses stay.
        assert settings.s3_endpoint == killed.stdout.strip()
        for name, pid in left.items():
            assert int((folder / "run" / f"{name}.pid").read_text()) != pid
    for pid in left.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_run_at_a_time(services):
    with pytest.raises(CannotStart, match=rf"already running.*process {os.getpid()}"):
        EmbeddedServices(services.model_copy(update={"broker_url": "", "s3_endpoint": ""})).start()


def test_an_interrupt_while_starting_leaves_nothing(folder):
    services = EmbeddedServices(fresh(folder), interrupted=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        services.start()
    assert services.children == []
    assert list((folder / "run").glob("*.pid")) == []


def test_a_service_that_ends_at_once_shows_its_log(folder, monkeypatch):
    monkeypatch.setattr(embedded, "valkey_program", lambda: "/bin/false")
    with pytest.raises(CannotStart, match="valkey ended right after its start"):
        EmbeddedServices(fresh(folder)).start()
    # Everything was stopped, so the next try works.
    monkeypatch.undo()
    with EmbeddedServices(fresh(folder)):
        pass


def test_a_long_data_folder_gets_its_socket_elsewhere(short_tmp):
    folder = short_tmp / ("long, and with spaces " * 6)
    given = fresh(folder)
    path = embedded._socket_path(folder)
    assert len(str(path)) < 104
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with EmbeddedServices(given) as settings:
        ObjectStore(settings).put("a", b"x", "text/plain")
        assert ObjectStore(settings).get("a") == b"x"
    shutil.rmtree(path.parent)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match=r"cannot be written .*DATA_DIR="):
        check_data_dir(tmp_path / "file" / "data")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotStart, match="cannot be written"):
        check_data_dir(tmp_path)


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9 - 5_000_000, 5_000_000)
    )
    with pytest.raises(CannotStart, match="almost full: 5 MB are free"):
        check_data_dir(tmp_path)


def test_damaged_notes_are_named(folder):
    folder.mkdir()
    (folder / "run.json").write_text("{")
    with pytest.raises(CannotStart, match=r"run\.json cannot be read"):
        EmbeddedServices(fresh(folder)).start()


def test_children_of_a_child_do_not_outlive_it(tmp_path):
    code = "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    child = Child("parent", [sys.executable, "-c", code], tmp_path, tmp_path / "log", grace=5)
    child.start()
    deadline = time.monotonic() + 30
    while not (words := child.last_words()) and time.monotonic() < deadline:
        time.sleep(0.05)
    grandchild = int(words)
    child.stop()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(grandchild)], capture_output=True, text=True, check=False
        )
        if not state.stdout.strip() or state.stdout.strip().startswith("Z"):
            return
        time.sleep(0.05)
    pytest.fail("the grandchild still runs")


def test_a_stale_pid_of_someone_else_is_left_alone(tmp_path):
    # The number belongs to a process that is not ours, as after a restart of the machine: nobody holds the lock.
    other = subprocess.Popen(["sleep", "30"], start_new_session=True)
    pid_file = tmp_path / "x.pid"
    pid_file.write_text(str(other.pid))
    assert not end_leftover(pid_file, "x")
    assert other.poll() is None
    other.kill()
    other.wait()


def test_locks(tmp_path):
    one, two = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert one.acquire("first")
    assert not two.acquire("second")
    assert two.holder() == "first"
    one.release()
    assert two.acquire("second")
    two.release()
