"""House rules that are cheap to hold in every run; `make check` holds all of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_go_the_right_way():
    run(str(SCRIPTS / "lint-imports"), "--no-cache")


def test_the_linter_has_nothing_to_say():
    run(str(SCRIPTS / "ruff"), "check", ".")


@pytest.mark.parametrize("module", ["backend.app", "backend.cli", "backend.supervisor"])
def test_the_service_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'diffusers', 'cv2', 'scipy', 'worker') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_the_settings_read_the_environment():
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("backend", "worker")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"os\.getenv|environ\.get|environ\[[^]]+\](?! *=)", path.read_text())
    }
    assert readers == set()


def test_files_stay_short():
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("backend", "worker")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 450
    }
    assert long == {}
