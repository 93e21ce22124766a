"""Real workers, killed, frozen, doubled and stopped in the middle; nothing may be lost or written twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from redis import Redis
from sqlalchemy import select

from backend.core import queue
from backend.core.config import Settings
from backend.core.db import Database, utcnow
from backend.core.ids import new_id
from backend.core.storage import ObjectStore
from backend.jobs import service
from backend.models import Job, JobEvent, Render, RenderOutput, Shop, Style, UsageDay
from tests.faults.tiny_engine import expected
from tests.rows import reference_photo, style_row

ROOT = Path(__file__).resolve().parents[2]
STEPS = 25
WORKER = "import sys; from worker import app; app.run(sys.argv[1].split(','), tasks='tests.faults.tiny_engine')"
PATIENCE = 90.0
"""Seconds; a worker is up in two, but not on a machine where everything runs at once."""

pytestmark = pytest.mark.slow


@dataclass
class Hoop:
    """A whole Hoop without the API."""

    settings: Settings
    database: Database
    store: ObjectStore
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(self, queues: str = "train,render") -> subprocess.Popen[bytes]:
        """Start a worker with the tiny engine, in a process group of its own."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-c", WORKER, queues],
                cwd=ROOT,
                env={**os.environ, **self.settings.to_env(), "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    def log(self, worker: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"worker-{self.workers.index(worker)}.log").read_text()

    def logs(self) -> str:
        return "\n".join(self.log(worker) for worker in self.workers)

    def train(self, *, steps: int = STEPS, pause: float = 0.06, **more: object) -> str:
        style_id = new_id("sty")
        with self.database.session() as session:
            session.add(style_row(style_id, "shp_1", seed=7))
            given = {"seed": 7, "steps": steps, "pause": pause, **more}
            return service.create_job(session, shop_id="shp_1", kind="train", target_id=style_id, input=given).id

    def render(self, **given: object) -> str:
        render_id = new_id("rnd")
        with self.database.session() as session:
            session.add(self.style("sty_0")) if session.get(Style, "sty_0") is None else None
            session.add(Render(id=render_id, shop_id="shp_1", style_id="sty_0", seed=1, preset="flat"))
            return service.create_job(session, shop_id="shp_1", kind="render", target_id=render_id, input=given).id

    @staticmethod
    def style(id_: str) -> Style:
        return style_row(id_, "shp_1", seed=7)

    def job(self, job_id: str) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def target(self, table: type, job_id: str):
        with self.database.read() as session:
            return session.get_one(table, self.job(job_id).target_id)

    def wait(self, job_id: str, until: Callable[[Job], bool], seconds: float = PATIENCE) -> Job:
        deadline = time.monotonic() + seconds
        while not until(job := self.job(job_id)):
            assert time.monotonic() < deadline, f"{job.status} at step {job.step}\n{self.logs()}"
            time.sleep(0.05)
        return job


def at_step(step: int) -> Callable[[Job], bool]:
    return lambda job: job.status == "processing" and job.step >= step


def ended(job: Job) -> bool:
    return job.finished_at is not None


def pool_process(worker: subprocess.Popen[bytes]) -> psutil.Process:
    """The process in which a worker's tasks run."""
    return next(child for child in psutil.Process(worker.pid).children() if "spawn_main" in " ".join(child.cmdline()))


@pytest.fixture
def hoop(settings: Settings, store: ObjectStore, live_database: Database, tmp_path: Path) -> Iterator[Hoop]:
    with Redis.from_url(queue.redis_url(settings.broker_url)) as broker:
        broker.delete(*queue.QUEUES)
    with live_database.session() as session:
        session.add(Shop(id="shp_1", slug="one", name="One"))
        session.add(reference_photo("shp_1"))
    timed = settings.model_copy(update={"lease_seconds": 4, "heartbeat_seconds": 0.5})
    hoop = Hoop(timed, live_database, store, tmp_path)
    yield hoop
    for worker in hoop.workers:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def test_the_pool_process_knows_what_its_worker_does(hoop: Hoop) -> None:
    """By that it plans its memory."""
    job_id = hoop.render()
    worker = hoop.worker("render,io")
    hoop.wait(job_id, ended)
    assert pool_process(worker).environ()["HOOP_QUEUES"] == "render,io"


def test_a_killed_training_goes_on_from_its_checkpoint(hoop: Hoop) -> None:
    job_id = hoop.train()
    first = hoop.worker()
    hoop.wait(job_id, at_step(8))
    os.killpg(first.pid, signal.SIGKILL)
    assert hoop.job(job_id).status == "processing"

    hoop.worker()
    job = hoop.wait(job_id, ended)

    assert (job.status, job.attempt, job.fencing_token) == ("succeeded", 2, 2)
    style = hoop.target(Style, job_id)
    assert style.status == "ready"
    assert style.report["begun_at"] >= 8
    assert hoop.store.get(style.adapter_key) == expected(7, STEPS)
    assert "/2/" in style.adapter_key
    # Checkpoints and the first attempt's pictures are gone, once it is over.
    deadline = time.monotonic() + 20
    prefix = f"shops/shp_1/jobs/{job_id}/"
    while any("/2/" not in key for key in hoop.store.list(prefix)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all("/2/" in key for key in hoop.store.list(prefix))
    with hoop.database.read() as session:
        events = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all()
        usage = session.scalars(select(UsageDay.gpu_seconds)).one()
    assert [event.data["status"] for event in events if event.type == "status"] == [
        "queued",
        "starting",
        "processing",
        "queued",
        "starting",
        "processing",
        "succeeded",
    ]
    assert events[-1].type == "done"
    assert any(event.type == "preview" for event in events)
    assert usage == pytest.approx(job.metrics["compute_seconds"], abs=0.01)
    assert usage > STEPS * 0.06 * 0.8


def test_the_worker_survives_when_only_its_pool_process_is_killed(hoop: Hoop) -> None:
    job_id = hoop.train()
    worker = hoop.worker()
    hoop.wait(job_id, at_step(5))
    pool_process(worker).kill()

    job = hoop.wait(job_id, ended)

    assert (job.status, job.attempt) == ("succeeded", 2)
    assert worker.poll() is None
    assert hoop.store.get(hoop.target(Style, job_id).adapter_key) == expected(7, STEPS)


def test_messages_that_come_twice_or_not_at_all_and_cancels_while_it_runs(hoop: Hoop) -> None:
    job_id, other = hoop.train(), hoop.train(steps=500)
    for _ in range(3):
        queue.send(job_id, "train", hoop.settings)
    # This one's message went down with the broker.
    lost = hoop.render()
    with Redis.from_url(queue.redis_url(hoop.settings.broker_url)) as broker:
        broker.delete("render")
    with hoop.database.session() as session:
        session.get_one(Job, lost).sent_at = utcnow() - timedelta(minutes=1)
    hoop.worker("train")
    hoop.worker("render")

    job = hoop.wait(job_id, ended)
    assert (job.status, job.attempt) == ("succeeded", 1)
    assert hoop.wait(lost, ended).status == "succeeded"
    with hoop.database.read() as session:
        assert len(session.scalars(select(RenderOutput)).all()) == 1

    hoop.wait(other, at_step(3))
    with hoop.database.session() as session:
        service.request_cancel(session, session.get_one(Job, other))
    asked = time.monotonic()
    job = hoop.wait(other, ended)
    assert time.monotonic() - asked < 20
    assert job.status == "canceled"
    assert hoop.target(Style, other).status == "canceled"
    with hoop.database.session() as session:
        service.request_cancel(session, session.get_one(Job, other))
        service.request_cancel(session, session.get_one(Job, job_id))
    assert hoop.job(job_id).status == "succeeded"
    # The doubled messages were taken and found nothing to do.
    assert hoop.job(job_id).attempt == 1

    # An engine that does not listen is ended with its process, and the worker goes on with a fresh one.
    deaf, last = hoop.train(deaf_at=2), hoop.train(steps=3)
    hoop.wait(deaf, at_step(0))
    with hoop.database.session() as session:
        service.request_cancel(session, session.get_one(Job, deaf))
    assert hoop.wait(deaf, ended).status == "canceled"
    assert hoop.wait(last, ended).status == "succeeded"


def drafts(hoop: Hoop, **given: object) -> list[str]:
    common = {"base": "tiny", "input": {"type": "image"}, "steps": 400, "pause": 0.05}
    return [hoop.render(**{**common, **given}) for _ in range(3)]


def drawn_with(hoop: Hoop, job_id: str) -> tuple[str, int, str]:
    """Status, attempt, and how many jobs it was drawn with."""
    job, (note,) = hoop.job(job_id), hoop.target(Render, job_id).warnings
    return job.status, job.attempt, note["message"]


def test_a_killed_worker_leaves_every_job_of_its_batch_to_be_drawn_alone(hoop: Hoop) -> None:
    jobs = drafts(hoop)
    first = hoop.worker("render")
    for job_id in jobs:
        hoop.wait(job_id, at_step(1))
    os.killpg(first.pid, signal.SIGKILL)
    with hoop.database.session() as session:
        for job_id in jobs:
            job = session.get_one(Job, job_id)
            assert (job.status, job.attempt, job.fencing_token) == ("processing", 1, 1)
            job.input = {**job.input, "steps": 2}

    hoop.worker("render")
    for job_id in jobs:
        hoop.wait(job_id, ended)
        assert drawn_with(hoop, job_id) == ("succeeded", 2, "1")
    with hoop.database.read() as session:
        keys = session.scalars(select(RenderOutput.patch_key)).all()
    assert sorted(keys) == sorted(f"shops/shp_1/jobs/{job_id}/2/patch-0.png" for job_id in jobs)


def test_a_batch_through_the_queue_and_one_that_hangs(hoop: Hoop) -> None:
    jobs, deaf = drafts(hoop, steps=4), drafts(hoop, steps=4, deaf_at=2, preset="other")
    worker = hoop.worker("render")
    for job_id in jobs:
        hoop.wait(job_id, ended)
        assert drawn_with(hoop, job_id) == ("succeeded", 1, "3")

    # An engine that does not listen to one's cancel is ended with its process; the others lose no attempt by it.
    for job_id in deaf:
        hoop.wait(job_id, at_step(0))
    with hoop.database.session() as session:
        service.request_cancel(session, session.get_one(Job, deaf[1]))
    assert hoop.wait(deaf[1], ended).status == "canceled"
    for job_id in (deaf[0], deaf[2]):
        job = hoop.wait(job_id, ended)
        assert drawn_with(hoop, job_id) == ("succeeded", 2, "1")
        assert job.max_attempts == 4
    assert worker.poll() is None
    # Messages of jobs that were drawn with another's were taken and found nothing to do.
    skipped = [line for line in hoop.log(worker).splitlines() if "job.skipped" in line]
    assert all(any(job_id in line for line in skipped) for job_id in jobs[1:])


def test_a_worker_that_lost_its_lease_cannot_write(hoop: Hoop) -> None:
    job_id = hoop.train()
    frozen = hoop.worker()
    hoop.wait(job_id, at_step(5))
    os.killpg(frozen.pid, signal.SIGSTOP)
    pool_process(frozen).suspend()
    hoop.worker()
    job = hoop.wait(job_id, lambda job: job.attempt == 2 and job.step >= 10)
    pool_process(frozen).resume()
    os.killpg(frozen.pid, signal.SIGCONT)

    job = hoop.wait(job_id, ended)
    deadline = time.monotonic() + 30
    while "job.lease_lost" not in hoop.log(frozen) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert "job.lease_lost" in hoop.log(frozen)
    assert (job.status, job.attempt) == ("succeeded", 2)
    style = hoop.target(Style, job_id)
    assert "/2/" in style.adapter_key
    assert hoop.store.get(style.adapter_key) == expected(7, STEPS)


def test_a_stopped_worker_gives_its_job_back_and_failures_end_after_three_attempts(hoop: Hoop) -> None:
    job_id = hoop.train(steps=60)
    first = hoop.worker()
    hoop.wait(job_id, at_step(5))
    first.terminate()
    assert first.wait(30) == 0
    job = hoop.job(job_id)
    assert (job.status, job.attempt, job.max_attempts) == ("queued", 1, 4)

    hoop.worker("train")
    hoop.worker("render")
    # Meanwhile, what fails again and again ends with a sentence.
    broken, memory = hoop.render(error="a bug"), hoop.render(error="memory")
    job = hoop.wait(job_id, ended)
    assert (job.status, job.attempt) == ("succeeded", 2)
    style = hoop.target(Style, job_id)
    assert style.report["begun_at"] >= 5
    assert hoop.store.get(style.adapter_key) == expected(7, 60)
    for failing, slug in ((broken, "job-broken"), (memory, "not-enough-memory")):
        job = hoop.wait(failing, ended)
        assert (job.status, job.attempt) == ("failed", 3)
        assert job.error is not None
        assert job.error["type"].endswith(slug)
        assert "3 times" in job.error["detail"]
        assert "a bug" not in str(job.error)
        assert hoop.target(Render, failing).status == "failed"
