"""One of the product's jobs in a process of its own, to be timed: `python -m worker.atelier.evaluation.probe`.

Arguments: job, folder of the base, a picture. Prints one line of JSON. Imports no more than a worker would.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from worker.engine.bases import Base, load_base
from worker.engine.config import render_config, train_config
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.train import PairInput, train_style

JOBS = ("train_short", "train_default", "preview_draft", "preview_final")


def peak_memory_mb() -> float:
    """The most memory this process ever held, MB: VmHWM where there is a /proc (Linux), else getrusage's maxrss."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    # macOS counts bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def run_job(job: str, base: Base, picture: Image.Image) -> None:
    """Learns a photo's style, or draws a design without one: an adapter costs a preview some milliseconds.

    Raises:
        ValueError: no such job.
    """
    if job not in JOBS:
        raise ValueError(f"no job {job!r}; there are {', '.join(JOBS)}")
    kind, _, which = job.partition("_")
    if kind == "train":
        train_style(base, PairInput(picture), train_config(which))
    else:
        config = render_config("flat", small=base.info.split_prompts, quality=which)
        Renderer(base).render(None, RenderRequest(design=picture, config=config))


def probe(job: str, folder: Path, picture: Path) -> dict[str, Any]:
    """Loads the base and runs the job: seconds of both, and the process's peak memory."""
    begin = time.perf_counter()
    base = load_base(folder)
    loaded = time.perf_counter()
    run_job(job, base, Image.open(picture).convert("RGB"))
    seconds = time.perf_counter() - loaded
    return {
        "seconds": round(seconds, 2),
        "load_seconds": round(loaded - begin, 2),
        "peak_mb": round(peak_memory_mb()),
    }


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))  # noqa: T201 - its only answer
