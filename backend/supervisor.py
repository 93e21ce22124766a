"""`hoop up`: everything on one machine. Starts the services, the API and the workers, and keeps them running."""

import importlib.util
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from backend.core.config import ROOT, Settings
from backend.core.db import Database
from backend.core.embedded import EmbeddedServices, wait_until
from backend.core.gpus import FREE_NOTE, visible_gpus, workers_for
from backend.core.migrate import migrate
from backend.core.processes import CannotStart, Child, end_leftover
from backend.core.storage import ObjectStore
from backend.shops.demo import Demo, seed_demo

_LOOK_EVERY = 0.5
_LONG_ENOUGH = 60.0
_MAX_PAUSE = 30.0


def check_port(host: str, port: int) -> None:
    """Make sure that nobody listens on our port.

    Raises:
        CannotStart: with a free port to use instead.
    """
    if _answers(host, port) or not _can_bind(host, port):
        other = next((p for p in range(port + 1, min(port + 100, 65_536)) if _can_bind(host, p)), port + 1)
        raise CannotStart(f"Port {port} is used by another program. Choose another one: PORT={other} make run")


def _answers(host: str, port: int) -> bool:
    # Also over IPv6: browsers try it first for "localhost", and would end up with the other program.
    addresses = (
        [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)] if host in _LOCAL else [(host, socket.AF_INET)]
    )
    for address, family in addresses:
        try:
            with socket.socket(family) as probe:
                probe.settimeout(0.5)
                if probe.connect_ex((address, port)) == 0:
                    return True
        except OSError:
            continue  # no IPv6 on this machine
    return False


def _can_bind(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


_LOCAL = {"127.0.0.1", "localhost", "0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to


@dataclass
class _Watched:
    """A child that is started again when it ends, after a pause that grows while it keeps ending."""

    child: Child
    failures: int = 0
    due: float | None = None

    def look(self, say: Callable[[str], None]) -> None:
        """Start it again when it has ended and its pause is over."""
        child = self.child
        if child.is_running():
            return
        now = time.monotonic()
        if self.due is None:
            code = child.process.returncode if child.process else None
            child.wait_stopped(0)
            self.failures = 1 if now - child.started_at > _LONG_ENOUGH else self.failures + 1
            pause = 0.0 if self.failures == 1 else min(2.0**self.failures, _MAX_PAUSE)
            self.due = now + pause
            say(f"{child.name} ended ({_reason(code)}); it is started again. Its log: {child.log}")
        if now >= self.due:
            self.due = None
            try:
                child.start()
            except CannotStart as error:
                say(str(error))


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


class Supervisor:
    """One run of everything. Ctrl-C, SIGTERM and a closed terminal end it; a second Ctrl-C does not wait.

    Args:
        settings: as given.
        say: prints a line for the person at the terminal.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._given = settings
        self._say = say
        self._interrupts = 0
        self._children: list[Child] = []
        self._services = EmbeddedServices(settings, interrupted=lambda: self._interrupts > 0)

    def run(self) -> None:
        """Start everything, say that it is ready, and watch over it until told to stop.

        Raises:
            CannotStart: with a sentence that says what to do; everything is stopped by then.
        """
        with self._signals():
            try:
                watched = self._start()
                while not self._interrupts:
                    for one in watched:
                        one.look(self._say)
                    time.sleep(_LOOK_EVERY)
            except KeyboardInterrupt:
                pass
            finally:
                self._stop()

    def _start(self) -> list[_Watched]:
        given = self._given
        self._services.hold()
        run = given.data_dir / "run"
        # An earlier run may have had other workers: there were more GPUs, or none.
        for path in [*sorted(run.glob("worker-*.pid")), run / "api.pid"]:
            if end_leftover(path, path.stem):
                self._say(f"Ended {path.stem}, which an earlier run had left.")
        check_port(given.host, given.port)
        settings = self._services.start()
        demo = self._prepare(settings)
        # Two workers share the cores. By default OpenMP's threads spin while they wait for each other, and two programs
        # that spin on the same cores slow each other down tenfold (measured); waiting asleep, each gets its half.
        waiting = {"OMP_WAIT_POLICY": "passive"}
        env = {**waiting, **os.environ, **settings.to_env(), "PYTHONUNBUFFERED": "1"}
        api = self._child("api", ["api"], env)
        api.start()
        wait_until(api, lambda: _is_healthy(settings), interrupted=lambda: self._interrupts > 0)
        # After the API: loading torch twice would make the page wait on a small machine.
        for worker in self._workers(env):
            worker.start()
        self._announce(settings, demo)
        return [_Watched(child) for child in (*self._services.children, *self._children)]

    def _prepare(self, settings: Settings) -> Demo:
        database = Database(settings.database)
        try:
            migrate(database.engine)
            return seed_demo(database, ObjectStore(settings), settings)
        finally:
            database.close()

    def _workers(self, env: dict[str, str]) -> Iterator[Child]:
        missing = [name for name in ("torch", "diffusers") if importlib.util.find_spec(name) is None]
        if missing:
            self._say(
                f"Styles cannot be learnt or rendered: {', '.join(missing)} is missing. "
                "Install the workers' packages with `make setup` (or pip install -e '.[worker]')."
            )
            return
        gpus = visible_gpus(self._given.cuda_visible_devices)
        (self._given.data_dir / FREE_NOTE).unlink(missing_ok=True)  # an earlier run's
        if len(gpus) > 1:
            self._say(f"One worker for each of {len(gpus)} GPUs.")
        for name, (queues, own) in workers_for(gpus, self._given.training_gpus).items():
            yield self._child(name, ["worker", "--queues", queues], env | own)

    def _child(self, name: str, arguments: list[str], env: dict[str, str]) -> Child:
        folder = self._given.data_dir
        argv = [sys.executable, "-m", "backend", *arguments]
        child = Child(name, argv, folder / "run", folder / "logs" / f"{name}.log", env=env, folder=ROOT)
        self._children.append(child)
        return child

    def _announce(self, settings: Settings, demo: Demo) -> None:
        self._say("")
        self._say("Hoop is ready. Ctrl-C stops it.")
        self._say("")
        self._say(f"  Address     {settings.address}")
        self._say(f"  Log in      {settings.address}/login?token={demo.login_token}")
        self._say(f"  API key     {demo.api_key}")

    def _stop(self) -> None:
        if self._children:
            self._say("Stopping …")
        for child in self._children:
            child.ask_to_stop()
        for child in self._children:
            child.wait_stopped()
        # Last, so that workers can still write down where they are.
        self._services.stop()
        if self._children:
            self._say("Stopped. Everything is kept.")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            for child in self._children:
                child.kill()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_healthy(settings: Settings) -> bool:
    host = "127.0.0.1" if settings.host in _LOCAL else settings.host
    try:
        with urllib.request.urlopen(f"http://{host}:{settings.port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
