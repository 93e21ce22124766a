"""Child processes that are never lost, not even when the parent is killed.

Every child holds a lock on a file (flock, inherited through exec). Whoever comes later, after a kill -9 of the parent
for instance, knows from the lock that the child is still alive, so that the pid in the file is really the child's, and
can end it. It needs no /proc, so it works on macOS too.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LOG_KEEP_BYTES = 10_000_000


class CannotStart(Exception):
    """Something stands in the way of starting; the message is one or two sentences for the person who starts it."""


class Lock:
    """An exclusive lock on a file, held until `release` or the end of the process. The file says who holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether we hold it."""
        return self._descriptor is not None

    def acquire(self, note: str) -> bool:
        """Take the lock and write `note` into the file; False when someone else holds it."""
        descriptor = _locked(self.path)
        if descriptor is None:
            return False
        _write(descriptor, note)
        self._descriptor = descriptor
        return True

    def holder(self) -> str:
        """Return what the holder wrote."""
        with suppress(OSError):
            return self.path.read_text().strip()
        return ""

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass
class Child:
    """A child process with its own session, so that Ctrl-C reaches only the parent, which then stops it in order.

    Attributes:
        name: what people call it; also names its pid and log file.
        argv: the command.
        pid_folder: where its pid file lies; shared by all runs on the same data.
        log: where its output goes, appended.
        env: its whole environment.
        folder: its working folder.
        stop_signal: what asks it to end.
        grace: seconds it gets to end before it is killed.
    """

    name: str
    argv: Sequence[str]
    pid_folder: Path
    log: Path
    env: Mapping[str, str] | None = None
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    started_at: float = field(default=0.0, init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid_file(self) -> Path:
        """Lock and pid in one."""
        return self.pid_folder / f"{self.name}.pid"

    def start(self) -> None:
        """Start it, after ending what an earlier run left.

        Raises:
            CannotStart: an earlier one does not end, or the program cannot be run.
        """
        end_leftover(self.pid_file, self.name)
        descriptor = _locked(self.pid_file)
        if descriptor is None:
            raise CannotStart(f"{self.name} is being started by someone else at this moment. Please try again.")
        _rotate(self.log)
        try:
            with self.log.open("ab") as output:
                self.process = subprocess.Popen(
                    list(self.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if self.env is None else dict(self.env),
                    cwd=self.folder,
                    start_new_session=True,
                    pass_fds=(descriptor,),
                )
            _write(descriptor, str(self.process.pid))
        except OSError as error:
            raise CannotStart(f"{self.name} cannot be started: {error.strerror or error}.") from error
        finally:
            # From here on the child alone holds the lock.
            os.close(descriptor)
        self.started_at = time.monotonic()

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Send the stop signal; `wait_stopped` waits for the end."""
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(self.stop_signal)

    def wait_stopped(self, grace: float | None = None) -> None:
        """Wait for the end, and kill it and what it started when the time is up."""
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(self.grace if grace is None else grace)
        # The whole group: a worker's own children must not outlive it.
        _kill_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, with all that it started."""
        if self.process is not None:
            _kill_group(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop it and wait."""
        self.ask_to_stop()
        self.wait_stopped()

    def last_words(self, lines: int = 8) -> str:
        """Return the end of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def end_leftover(pid_file: Path, name: str, grace: float = 8.0) -> bool:
    """End a child of an earlier run that is still alive; returns whether there was one.

    Raises:
        CannotStart: it is alive and cannot be ended.
    """
    if not pid_file.exists() or not _is_held(pid_file):
        return False
    try:
        pid = int(pid_file.read_text())
    except ValueError:
        raise CannotStart(f"An earlier {name} is still running, and {pid_file} does not say which.") from None
    for wanted, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 3.0)):
        try:
            _kill_group(pid, wanted)
        except PermissionError:
            raise CannotStart(
                f"An earlier {name} (process {pid}) of another user still runs on this data folder."
            ) from None
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not _is_held(pid_file):
                _kill_group(pid, signal.SIGKILL)
                return True
            time.sleep(0.05)
    raise CannotStart(f"An earlier {name} (process {pid}) is still running and does not end.")


def _kill_group(pid: int, wanted: signal.Signals) -> None:
    # Children lead their own group. macOS answers EPERM for a group of zombies.
    try:
        os.killpg(pid, wanted)
    except ProcessLookupError:
        pass
    except PermissionError:
        if wanted != signal.SIGKILL:
            raise


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _locked(path: Path) -> int | None:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_held(path: Path) -> bool:
    descriptor = _locked(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _write(descriptor: int, note: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, note.encode(), 0)


def _rotate(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_KEEP_BYTES:
            log.replace(log.with_suffix(".log.1"))
