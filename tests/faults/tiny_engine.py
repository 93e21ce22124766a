"""A worker with a very small engine: real leases, checkpoints, uploads and rows, but the "training" is a chain of hashes.

Each step hashes the state of the step before, so a result proves that every step was done once and in order. Only a
worker that is started with this module as its tasks, never a setting, has the tiny engine in the place of the real one.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from celery import shared_task
from PIL import Image

from backend.core.queue import TASK
from backend.jobs.outcomes import RenderedPicture, RenderResult, TrainResult
from worker import process
from worker.attempt import execute
from worker.batches import Renders
from worker.engine.progress import Progress
from worker.handlers import Work
from worker.together import work_together


def expected(seed: int, steps: int) -> bytes:
    """What an unbroken training gives."""
    state = str(seed).encode()
    for step in range(steps):
        state = hashlib.sha256(state + str(step).encode()).digest()
    return state


def train(work: Work) -> TrainResult:
    """Hash `steps` times, `pause` seconds each, with a checkpoint after every step."""
    given = work.input
    step, state = 0, str(given["seed"]).encode()
    saved = work.checkpoints.load("state")
    if saved is not None:
        step, state = int.from_bytes(saved[:4], "big"), saved[4:]
    begun_at = step
    while step < given["steps"]:
        work.reporter.update("stage_one", step, given["steps"])
        time.sleep(given["pause"])
        if step == given.get("deaf_at"):
            time.sleep(3600)
        state = hashlib.sha256(state + str(step).encode()).digest()
        step += 1
        work.checkpoints.save("state", step.to_bytes(4, "big") + state)
        work.reporter.preview(Image.new("RGB", (64, 64), (step, 0, 0)))
    work.reporter.update("stage_one", step, given["steps"])
    picture = work.objects.write_png("embroidery", Image.new("RGB", (8, 8)))
    adapter = work.objects.write("adapter.safetensors", state, "application/octet-stream")
    return TrainResult(
        embroidery_key=picture.key,
        design_key=picture.key,
        adapter_key=adapter.key,
        adapter_sha256=adapter.sha256,
        adapter_bytes=adapter.size,
        adapter_rank=1,
        blocks=[],
        report={"begun_at": begun_at},
    )


def render(work: Work) -> RenderResult:
    """Upload one picture; fail as asked."""
    work.reporter.update("diffuse", 0, 1)
    if work.input.get("error") == "memory":
        raise MemoryError
    if work.input.get("error"):
        raise RuntimeError(work.input["error"])
    return rendered(work, 1)


def rendered(work: Work, together: int) -> RenderResult:
    """One picture, and how many jobs it was drawn with."""
    patch = work.objects.write_png("patch-0", Image.new("RGBA", (8, 8)))
    return RenderResult(
        outputs=[RenderedPicture(index=0, seed=1, patch_key=patch.key, width=8, height=8, sha256=patch.sha256)],
        warnings=[{"code": "together", "message": str(together)}],
    )


class Drafts(Renders):
    """Renders that ask for it, up to four at once: as many steps as each wants, `pause` seconds each."""

    room = 4

    @contextmanager
    def open(self, work: Work) -> Iterator["Drafts | None"]:
        yield self if "steps" in work.input else None

    def prepare(self, work: Work) -> dict:
        return work.input

    def draw(self, prepared: list[dict], progress: Progress) -> list[int]:
        given = prepared[0]
        for step in range(given["steps"]):
            progress.update("diffuse", step, given["steps"])
            time.sleep(given["pause"])
            if step == given.get("deaf_at"):
                time.sleep(3600)
        progress.update("diffuse", given["steps"], given["steps"])
        return [len(prepared)] * len(prepared)

    def result(self, work: Work, prepared: dict, drawn: int) -> RenderResult:
        return rendered(work, drawn)


@shared_task(name=TASK, ignore_result=True, acks_late=True)
def run_job(job_id: str) -> None:
    here = process.current()
    impatient = replace(here, timing=replace(here.timing, cancel_grace=1.0))
    execute(job_id, impatient, {"train": train, "render": render}, {"render": partial(work_together, Drafts())})
