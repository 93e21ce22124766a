"""`hoop doctor`: what this machine and this installation have, and what they lack."""

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version

from sqlalchemy.exc import SQLAlchemyError

from backend.core.config import Settings
from backend.core.db import Database
from backend.core.embedded import check_data_dir, seaweedfs_program, valkey_program
from backend.core.migrate import is_current
from backend.core.processes import CannotStart
from backend.core.storage import ObjectStore
from backend.core.telemetry import readiness
from backend.supervisor import check_port


def examine(settings: Settings, say: Callable[[str], None]) -> bool:
    """Say what is found, a line each; returns whether Hoop can run."""
    fine = True
    for name, check in _CHECKS.items():
        try:
            say(f"  ok      {name}: {check(settings)}")
        except CannotStart as error:
            fine = False
            say(f"  NOT OK  {name}: {error}")
    say("Everything is in place." if fine else "Something is missing; see above.")
    return fine


def _python(_settings: Settings) -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _packages(extra: str | None) -> Callable[[Settings], str]:
    def check(_settings: Settings) -> str:
        names = []
        for line in requires("hoop") or []:
            wanted, _, marker = line.partition(";")
            belongs = re.search(r'extra == "(\w+)"', marker)
            # Other markers speak of platforms; what they bring is asked for by "services".
            if (belongs.group(1) if belongs else None) == extra and (belongs or not marker.strip()):
                names.append(re.split(r"[<>=!~\[ ]", wanted.strip())[0])
        missing = [name for name in names if not _is_installed(name)]
        if missing:
            raise CannotStart(f"{', '.join(missing)} missing. Install with `make setup`.")
        return f"all {len(names)} installed"

    return check


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _data(settings: Settings) -> str:
    check_data_dir(settings.data_dir)
    free = shutil.disk_usage(settings.data_dir).free
    return f"{settings.data_dir}, {free / 1e9:.1f} GB free"


def _services(settings: Settings) -> str:
    valkey = settings.broker_url.split("@")[-1] or valkey_program()
    objects = settings.s3_endpoint or seaweedfs_program()
    return f"{valkey}; {objects}"


def _base(settings: Settings) -> str:
    if not (settings.base_dir / "model_index.json").exists():
        raise CannotStart(f"There is no base model in {settings.base_dir}; styles cannot be learnt or rendered.")
    return str(settings.base_dir)


def _device(_settings: Settings) -> str:
    if importlib.util.find_spec("torch") is None:
        raise CannotStart("torch is not installed.")
    # In a process of its own: the service never loads torch.
    asked = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise CannotStart(f"torch cannot be loaded: {(asked.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return asked.stdout.strip()


_ASK_TORCH = """
import torch
print("torch", torch.__version__, "on", torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU")
"""


def _running(settings: Settings) -> str:
    if not (settings.broker_url and settings.s3_endpoint):
        check_port(settings.host, settings.port)
        return f"no; port {settings.port} is free"
    database = Database(settings.database)
    try:
        if not is_current(database.engine):
            raise CannotStart("The database is of another version; run `hoop migrate`.")
        found = readiness(database, ObjectStore(settings), settings)
    except SQLAlchemyError as error:
        raise CannotStart(f"The database does not answer ({error}).") from error
    finally:
        database.close()
    silent = [name for name, check in found["checks"].items() if not check["ok"]]
    if silent:
        raise CannotStart(f"{', '.join(silent)} does not answer.")
    return "yes, database, broker and object store answer"


_CHECKS: dict[str, Callable[[Settings], str]] = {
    "python": _python,
    "packages": _packages(None),
    "worker packages": _packages("worker"),
    "services": _services,
    "data folder": _data,
    "base model": _base,
    "device": _device,
    "running": _running,
}
