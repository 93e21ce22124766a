"""How long `hoop up` takes to be ready, the first and the second time, and how fast it answers then (`make bench`)."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

PORT = int(os.environ.get("PORT", "8765"))


def start(folder: Path) -> tuple[subprocess.Popen[str], float, str]:
    """Start Hoop and return its process, the seconds until it was ready, and its API key."""
    env = {**os.environ, "DATA_DIR": str(folder), "PORT": str(PORT)}
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "backend", "up"], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().startswith("API key"):
            return process, time.perf_counter() - begin, line.split()[-1]
    raise SystemExit(f"Hoop did not start (exit code {process.wait()}).")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="hoop-bench-", dir="/tmp"))
    try:
        for which in ("first", "second"):
            process, seconds, key = start(folder)
            print(f"ready, {which} time: {seconds:.1f} s")
            if which == "second":
                measure(key)
            begin = time.perf_counter()
            process.send_signal(signal.SIGINT)
            process.wait(60)
            print(f"stopped: {time.perf_counter() - begin:.1f} s")
    finally:
        shutil.rmtree(folder)


def measure(key: str) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", headers={"Authorization": f"Bearer {key}"}) as client:
        for path in ("/healthz", "/v1/me", "/v1/styles"):
            times = []
            for _ in range(50):
                begin = time.perf_counter()
                client.get(path).raise_for_status()
                times.append((time.perf_counter() - begin) * 1000)
            times.sort()
            print(f"GET {path}: median {statistics.median(times):.1f} ms, slowest of 50 {times[-1]:.1f} ms")


if __name__ == "__main__":
    main()
