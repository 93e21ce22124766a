"""A whole Hoop as `hoop up` starts it, and a real Chromium that looks at it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180
"""`hoop up` is ready in ten; a machine that also trains a model takes its time."""

# Two cores that also train a model answer late; what is wrong stays wrong for longer than this.
expect.set_options(timeout=30_000)

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@dataclass(frozen=True)
class Stack:
    """A running Hoop."""

    address: str
    login_link: str
    api_key: str
    environment: dict[str, str]
    data_dir: Path

    def hoop(self, *arguments: str) -> str:
        """Run a command of `hoop` beside it; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "backend", *arguments],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def logs(self) -> str:
        """The last lines of every log, for a failure's report."""
        parts = []
        for path in sorted((self.data_dir / "logs").glob("*.log")):
            parts.append(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:]))
        return "\n".join(parts)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(port: int, data_dir: Path) -> dict[str, str]:
    # Other tests put the addresses of their own services into the environment; this Hoop starts its own.
    # And it may use every core, as a shop's does.
    kept = {n: value for n, value in os.environ.items() if not n.startswith("HOOP_") and n != "OMP_NUM_THREADS"}
    own = {"PORT": str(port), "DATA_DIR": str(data_dir), "HOOP_STYLE_PRESET": "short", "PYTHONUNBUFFERED": "1"}
    # Another base than the bundled one: a larger one to see more, or a tiny random one to see only the page.
    base = os.environ.get("HOOP_E2E_BASE_DIR")
    return {**kept, **own, **({"HOOP_BASE_DIR": base} if base else {})}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Hoop on a free port with a data folder of its own, training with the short preset."""
    # Under /tmp and short: the broker's unix socket lies in it.
    folder = Path(tempfile.mkdtemp(prefix="hoop-e2e-", dir="/tmp"))
    port = _free_port()
    environment = _environment(port, folder / "data")
    output = folder / "up.log"
    with output.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend", "up"], env=environment, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        found = _wait_until_ready(process, output)
        yield Stack(found["Address"], found["Log in"], found["API key"], environment, folder / "data")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(process: subprocess.Popen[bytes], output: Path) -> dict[str, str]:
    """Read the lines that `hoop up` ends with: what it is called -> value."""
    names = ("Address", "Log in", "API key")
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        found = {}
        for line in output.read_text().splitlines():
            for name in names:
                if line.strip().startswith(name):
                    found[name] = line.strip().removeprefix(name).strip()
        if len(found) == len(names):
            return found
        if process.poll() is not None:
            pytest.fail(f"hoop up ended with {process.returncode}:\n{output.read_text()}")
        time.sleep(0.2)
    pytest.fail(f"hoop up was not ready after {START_SECONDS} s:\n{output.read_text()}")


def _chromium(playwright: Playwright) -> str:
    """Debian's Chromium, another one on the path, or the one that playwright brought along."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    if Path(playwright.chromium.executable_path).exists():
        return playwright.chromium.executable_path
    pytest.skip("no Chromium: neither /usr/bin/chromium nor playwright's own is installed")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        # Root, as in a container, cannot have Chromium's sandbox; the only pages it opens are ours.
        running = playwright.chromium.launch(executable_path=_chromium(playwright), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def signed_in(stack: Stack, browser: Browser) -> dict[str, object]:
    """Cookies of a member of staff, got through the login link that `hoop up` printed."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(stack.login_link)
    page.get_by_role("heading", name="Styles", exact=True).wait_for()
    state = context.storage_state()
    context.close()
    return dict(state)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What pages complained about: errors in scripts, and what the Content-Security-Policy refused. None, at the end."""
    said: list[str] = []
    yield said
    assert said == []


@pytest.fixture
def open_page(browser: Browser, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens pages in contexts of their own; the keywords are those of `Browser.new_context`."""
    contexts: list[BrowserContext] = []

    def open_(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))

        def on_console(message) -> None:
            if message.type == "error" and "Content Security Policy" in message.text:
                complaints.append(message.text)

        page.on("console", on_console)
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def staff(stack: Stack, signed_in: dict[str, object], open_page: Callable[..., Page]) -> Page:
    """A page of a member of staff, not yet anywhere."""
    return open_page(storage_state=signed_in, base_url=stack.address)
