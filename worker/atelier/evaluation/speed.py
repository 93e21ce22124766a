"""How long the product's jobs take on this machine, and how much memory: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import torch

from worker.atelier.evaluation.bench import Bench, Figures
from worker.atelier.evaluation.cases import held_out_cases, held_out_styles
from worker.atelier.evaluation.probe import JOBS
from worker.engine.colour import to_image

PHOTO_SCALE = 2
"""The photo's side as a multiple of the base's: a shop's photos are larger than what is learnt from."""


def measure(bench: Bench) -> Figures:
    """Training of both presets from a photo alone, and one preview in both qualities.

    Returns:
        By job: ``seconds``, ``load_seconds`` (of the base, in a fresh process) and ``peak_mb``; and ``cores`` of the
        machine. Every job runs in a process of its own with this one's environment, threads included.
    """
    case = held_out_cases(bench.icons, 1, PHOTO_SCALE * bench.size)[0]
    bench.save(to_image(case.sewn(held_out_styles(("fill",), 1)[0])), "speed-photo.png")
    bench.save(to_image(case.flat), "speed-design.png")
    found: Figures = {"cores": os.cpu_count(), "threads": torch.get_num_threads()}
    for job in bench.track(JOBS, "speed: jobs"):
        picture = bench.out / ("speed-photo.png" if job.startswith("train") else "speed-design.png")
        command = [sys.executable, "-m", "worker.atelier.evaluation.probe", job, str(bench.folder), str(picture)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{job} failed: {done.stderr.strip()[-500:]}")
        found[job] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
