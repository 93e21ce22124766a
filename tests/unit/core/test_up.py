"""`hoop up` as a person uses it: start, stop, start again, and what stands in the way."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("HOOP_") and name not in {"PORT", "DATA_DIR"}
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Run:
    """One `hoop up`; reads until the last line that it prints when it is ready."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        env = {**CLEAN, "DATA_DIR": str(folder), "PORT": str(port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "backend", "up"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.strip().startswith("API key"):
                break

    @property
    def key(self) -> str:
        return self.lines[-1].split()[-1]

    @property
    def link(self) -> str:
        return self.lines[-2].split()[-1]

    def get(self, path: str, **more) -> httpx.Response:
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {self.key}"}, timeout=60, **more)

    def stop(self, wanted: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(wanted)
        self.process.stdout.read()
        return self.process.wait(120)


@pytest.fixture
def folder(short_tmp):
    folder = short_tmp / "up"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pids(folder: Path) -> dict[str, int]:
    return {path.stem: int(path.read_text()) for path in (folder / "run").glob("*.pid")}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_start_stop_kill_and_start_again(folder):
    port = free_port()
    run = Run(folder, port)
    assert run.process.poll() is None, "\n".join(run.lines)
    assert run.lines[-3].split() == ["Address", f"http://localhost:{port}"]
    assert (folder / "demo-key").read_text().strip() == run.key
    assert run.get("/v1/me").json()["shop"]["slug"] == "demo"
    assert run.get("/readyz").json()["ready"]

    # The login link works once.
    token = run.link.split("token=")[1]
    with httpx.Client(base_url=run.url, timeout=60) as browser:
        answer = browser.get("/login", params={"token": token})
        assert answer.status_code in {302, 303}
        assert browser.get("/v1/me").status_code == 200
    assert httpx.get(run.url + "/login", params={"token": token}, timeout=60).status_code in {401, 302, 303}
    with httpx.Client(base_url=run.url, timeout=60) as second:
        second.get("/login", params={"token": token})
        assert second.get("/v1/me").status_code == 401

    # Another one on the same data, or on the same port, is told so and harms nothing.
    assert "already running on the data folder" in "\n".join(Run(folder, free_port()).lines)
    other = folder.with_name("up-other")
    assert f"Port {port} is used by another program. Choose another one: PORT=" in "\n".join(Run(other, port).lines)
    shutil.rmtree(other)

    # A child that dies is started again.
    api = pids(folder)["api"]
    os.kill(api, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if run.get("/healthz").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.3)
    assert pids(folder)["api"] != api

    # From a second terminal.
    env = {**CLEAN, "DATA_DIR": str(folder), "PORT": str(port)}
    made = subprocess.run(
        [sys.executable, "-m", "backend", "key", "create"], env=env, capture_output=True, text=True, check=True
    )
    key = made.stdout.strip()
    assert httpx.get(run.url + "/v1/me", headers={"Authorization": f"Bearer {key}"}, timeout=60).status_code == 200

    # Killed, so nobody cleans up: the next start does.
    run.process.kill()
    run.process.wait()
    left = pids(folder)
    assert {"api", "valkey", "seaweedfs"} <= set(left)
    again = Run(folder, port)
    assert again.process.poll() is None, "\n".join(again.lines)
    assert again.key == run.key
    assert not [name for name, pid in left.items() if is_alive(pid)]

    running = pids(folder)
    assert again.stop(signal.SIGTERM) == 0
    assert not [name for name, pid in running.items() if is_alive(pid)]
    assert pids(folder) == {}


def test_settings_that_are_wrong_are_told_in_a_sentence():
    env = {**CLEAN, "PORT": "eighty"}
    answer = subprocess.run(
        [sys.executable, "-m", "backend", "up"], env=env, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "PORT" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unwritable_folder_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    env = {**CLEAN, "DATA_DIR": str(tmp_path / "file" / "data")}
    answer = subprocess.run(
        [sys.executable, "-m", "backend", "up"], env=env, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "cannot be written" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_half_installed_environment_is_told_in_a_sentence():
    code = (
        "import sys; sys.modules['celery'] = None; sys.argv = ['hoop', 'up']; from backend.__main__ import main; main()"
    )
    answer = subprocess.run([sys.executable, "-c", code], env=CLEAN, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "half installed: the package 'celery' is missing" in answer.stderr
