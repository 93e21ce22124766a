"""Which GPUs this machine has, asked without loading torch, and which jobs each of them does."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

FREE_NOTE: Final = "run/gpu-free"
"""In DATA_DIR: bytes that were free on the GPU that workers share, before they loaded anything."""

_QUERY: Final = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")


def visible_gpus(chosen: str = "all") -> list[str]:
    """What CUDA calls the GPUs that it may use: numbers or UUIDs; none without NVIDIA's driver.

    Args:
        chosen: the setting `cuda_visible_devices`.
    """
    if chosen != "all":
        listed = [name.strip() for name in chosen.split(",") if name.strip()]
        # CUDA stops at the first one that it does not know; "-1" and "NoDevFiles" are used to say none.
        return [] if listed and not (listed[0].isdigit() or listed[0].startswith(("GPU-", "MIG-"))) else listed
    if shutil.which(_QUERY[0]) is None:
        return []
    try:
        found = subprocess.run(_QUERY, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]


def environment_of(gpu: str) -> dict[str, str]:
    """Environment variables that leave a process this one GPU."""
    return {"CUDA_VISIBLE_DEVICES": gpu}


def use_gpu(gpu: str) -> None:
    """Leaves this process and its children one GPU; only before anything has asked CUDA for its devices."""
    os.environ.update(environment_of(gpu))


def workers_for(gpus: list[str], training: int = 0) -> dict[str, tuple[str, dict[str, str]]]:
    """The worker processes of one machine: name to (queues, environment).

    Without a GPU, or with one, two processes share what there is, one for trainings and one for all else, so that a
    preview never waits for a training. With several there is one process a GPU: renders go to whichever is free, and
    trainings, each on one GPU, only to the first ``training`` of them.

    Two on one GPU are told so, since each plans its share of the memory (:func:`fair_share`).

    Args:
        gpus: as :func:`visible_gpus` lists them.
        training: how many do trainings too; 0 for half of them. One is always left to renders alone.
    """
    if len(gpus) < 2:
        shared = {"HOOP_GPU_WORKERS": "2"} if gpus else {}
        return {"worker-render": ("render,io", shared), "worker-train": ("train", shared)}
    share = min(training or len(gpus) // 2, len(gpus) - 1)
    return {
        f"worker-gpu-{number}": ("train,render,io" if number < share else "render,io", environment_of(gpu))
        for number, gpu in enumerate(gpus)
    }


def fair_share(note: Path, workers: int, *, free: float, total: float, own: float) -> float:
    """Bytes of a GPU that one of several workers may plan with: an equal part of what was free before any of them.

    What is free now does not tell that, since the others may have loaded their models already, or not yet. So the most
    that any of them found free is kept in a file; whoever comes first finds nothing of the others.

    Args:
        note: the file, the same for all workers of the GPU.
        workers: how many they are, this one included.
        free: bytes that are free now.
        total: bytes of the GPU.
        own: bytes that this worker holds.

    Returns:
        Bytes beside ``own``; never more than ``free``.
    """
    if workers == 1:
        return free
    try:
        noted = float(note.read_text())
    except (OSError, ValueError):
        noted = 0.0
    # A file may be of an earlier run, when another program had some of the memory, or of another GPU.
    most = min(max(noted, free + own), total)
    if most != noted:
        with suppress(OSError):  # without the file, each takes its part of what it finds
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = note.with_name(f"{note.name}.{os.getpid()}")
            fresh.write_text(str(most))
            fresh.replace(note)
    return max(0.0, min(free, most / workers - own))
