"""Several jobs in one batch, and what may happen to one of them, to the batch and to the worker."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import chain

import pytest
from PIL import Image
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from backend.core.config import Settings
from backend.core.db import Database, utcnow
from backend.core.ids import new_id
from backend.core.storage import ObjectStore
from backend.jobs import lifecycle, repository, service
from backend.jobs.outcomes import RenderedPicture, RenderResult
from backend.jobs.problems import CannotBeUsed
from backend.models import Job, JobEvent, Render, RenderOutput, Shop, UsageDay
from tests.here import worker_here
from tests.rows import reference_photo, style_row
from worker.attempt import execute
from worker.batches import Renders
from worker.engine.progress import Progress
from worker.handlers import Work
from worker.meter import Meter
from worker.process import Process
from worker.reporting import Timing
from worker.together import work_together

PATIENCE = 60.0
ALIKE = {"base": "tiny", "preset": "flat", "variations": 1, "size": 32, "input": {"type": "image"}}


class Engine(Renders):
    """Draws nothing, and notes what it was asked for; while it "draws" a batch it takes the test's steps."""

    def __init__(self) -> None:
        self.room = 4
        self.steps: list[Callable[[Progress], None]] = []
        self.batches: list[list[str]] = []
        self.alone: list[str] = []
        self.finished: list[str] = []

    @contextmanager
    def open(self, work: Work) -> Iterator["Engine | None"]:
        yield None if self.room == 1 else self

    def prepare(self, work: Work) -> str:
        if "bad" in work.input:
            raise CannotBeUsed("This picture cannot be read.")
        return work.held.job_id

    def draw(self, prepared: list[str], progress: Progress) -> list[str]:
        self.batches.append(list(prepared))
        for number, step in enumerate(self.steps):
            progress.update("diffuse", number, len(self.steps))
            step(progress)
        progress.update("decode", 1, 1)
        return prepared

    def result(self, work: Work, prepared: str, drawn: str) -> RenderResult:
        assert prepared == drawn == work.held.job_id
        self.finished.append(drawn)
        return self._uploaded(work)

    def render(self, work: Work) -> RenderResult:
        """The handler of one job alone."""
        self.alone.append(self.prepare(work))
        work.reporter.update("diffuse", 1, 1)
        return self._uploaded(work)

    def _uploaded(self, work: Work) -> RenderResult:
        patch = work.objects.write_png("patch-0", Image.new("RGBA", (8, 8)))
        return RenderResult([RenderedPicture(0, 1, patch.key, width=8, height=8, sha256=patch.sha256)])


@dataclass
class Floor:
    """Two shops and a worker in this process."""

    here: Process
    engine: Engine = field(default_factory=Engine)

    def job(self, shop: str = "shp_1", **given: object) -> str:
        """A render that waits, its message sent."""
        render_id = new_id("rnd")
        with self.here.database.session() as session:
            session.add(Render(id=render_id, shop_id=shop, style_id=f"sty_{shop}", seed=1, preset="flat"))
            return service.create_job(session, shop_id=shop, kind="render", target_id=render_id, input=ALIKE | given).id

    def do(self, job_id: str, here: Process | None = None) -> None:
        company = {"render": partial(work_together, self.engine)}
        execute(job_id, here or self.here, {"render": self.engine.render}, company)

    def row(self, job_id: str) -> Job:
        with self.here.database.read() as session:
            return session.get_one(Job, job_id)

    def rows(self, jobs: list[str]) -> list[tuple[str, int, int]]:
        """Status, attempt, and attempts that are allowed."""
        return [(row.status, row.attempt, row.max_attempts) for row in map(self.row, jobs)]

    def keys(self, job_id: str) -> list[str]:
        with self.here.database.read() as session:
            return list(
                session.scalars(
                    select(RenderOutput.patch_key)
                    .join(Render, Render.id == RenderOutput.render_id)
                    .join(Job, Job.target_id == Render.id)
                    .where(Job.id == job_id)
                )
            )

    def cancel(self, job_id: str) -> None:
        with self.here.database.session() as session:
            lifecycle.request_cancel(session, job_id)

    def cancels(self, job_id: str) -> Callable[[Progress], None]:
        """A step in which someone cancels a job, and the engine goes on until the worker has heard of it."""

        def step(progress: Progress) -> None:
            self.cancel(job_id)
            self.until_over(job_id, progress)

        return step

    def until_over(self, job_id: str, progress: Progress) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.row(job_id).finished_at is None:
            assert time.monotonic() < deadline
            progress.update("diffuse", 0, 9)
            time.sleep(0.01)


@pytest.fixture
def floor(settings: Settings, store: ObjectStore, live_database: Database) -> Floor:
    here = worker_here(settings, store, live_database, heartbeat=0.05)
    with live_database.session() as session:
        session.add(reference_photo("shp_1"))
        for shop in ("shp_1", "shp_2"):
            session.add(Shop(id=shop, slug=shop, name=shop))
            session.add(style_row(f"sty_{shop}", shop))
    return Floor(here)


def test_jobs_of_two_shops_are_one_batch_and_each_has_what_is_its_own(floor: Floor) -> None:
    jobs = [floor.job("shp_1"), floor.job("shp_2"), floor.job("shp_1")]
    floor.do(jobs[0])

    assert floor.engine.batches == [jobs]
    assert floor.engine.alone == []
    assert floor.rows(jobs) == [("succeeded", 1, 3)] * 3
    for job_id, shop in zip(jobs, ("shp_1", "shp_2", "shp_1"), strict=True):
        job, (key,) = floor.row(job_id), floor.keys(job_id)
        assert key.startswith(f"shops/{shop}/jobs/{job_id}/1/")
        assert floor.here.store.get(key)
        assert {"compute_seconds", "peak_memory_bytes", "device"} <= job.metrics.keys()
        with floor.here.database.read() as session:
            events = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all()
            assert session.get_one(Render, job.target_id).status == "succeeded"
        assert [event.data["status"] for event in events if event.type == "status"] == [
            "queued",
            "starting",
            "processing",
            "succeeded",
        ]
        assert {"prepare", "decode"} <= {event.data.get("stage") for event in events if event.type == "progress"}
        assert events[-1].type == "done"

    # Their own messages come later, and find nothing to do.
    for job_id in jobs:
        floor.do(job_id)
    assert floor.engine.batches == [jobs]
    assert floor.rows(jobs) == [("succeeded", 1, 3)] * 3


def test_only_what_is_alike_waits_and_goes_next_is_drawn_along(floor: Floor) -> None:
    lead = floor.job()
    other_kinds = [
        floor.job(base="other"),
        floor.job(preset="raised"),
        floor.job(size=64),
        floor.job(input={"type": "text", "brief": "a fox"}),
        floor.job(quality="final"),
    ]
    large, unsent, late, tried, elsewhere = floor.job(variations=4), *(floor.job() for _ in range(4))
    pair, first, canceled, last, beyond = floor.job(variations=2), *(floor.job() for _ in range(4))
    with floor.here.database.session() as session:
        session.get_one(Job, unsent).sent_at = None
        session.get_one(Job, late).expires_at = utcnow()
        session.get_one(Job, tried).attempt = 1
        session.get_one(Job, elsewhere).queue = "io"
        assert session.get_one(Job, beyond).sent_at is not None
    floor.cancel(canceled)
    floor.do(lead)

    assert floor.engine.batches == [[lead, pair, first]], "four pictures, and none of them overtook another"
    untouched = [*other_kinds, large, unsent, late, elsewhere, last, beyond]
    assert floor.rows(untouched) == [("queued", 0, 3)] * len(untouched)
    assert floor.row(tried).status == "queued"


@pytest.mark.parametrize("reason", ["the setting", "a second attempt", "nobody waits", "it fills the batch"])
def test_otherwise_a_job_is_drawn_alone(floor: Floor, reason: str) -> None:
    lead = floor.job(variations=4 if reason == "it fills the batch" else 1)
    others = [] if reason == "nobody waits" else [floor.job()]
    if reason == "the setting":
        floor.engine.room = 1
    if reason == "a second attempt":
        with floor.here.database.session() as session:
            held = lifecycle.claim(session, lead, "a", lease=timedelta(minutes=1))
            assert held is not None
            lifecycle.requeue(session, held, spent=True)
    floor.do(lead)

    assert floor.engine.alone == [lead]
    assert floor.engine.batches == []
    assert floor.row(lead).status == "succeeded"
    assert floor.rows(others) == [("queued", 0, 3)] * len(others)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_that_is_canceled_ends_at_the_next_step_and_the_others_go_on(floor: Floor, which: int) -> None:
    jobs = [floor.job("shp_1"), floor.job("shp_2"), floor.job("shp_1")]
    meanwhile: list[list[str]] = []
    floor.engine.steps = [
        floor.cancels(jobs[which]),
        lambda _progress: meanwhile.append([floor.row(job_id).status for job_id in jobs]),
    ]
    floor.do(jobs[0])

    others = [job_id for job_id in jobs if job_id != jobs[which]]
    assert meanwhile == [["canceled" if job_id == jobs[which] else "processing" for job_id in jobs]]
    assert floor.engine.finished == others
    assert floor.rows(others) == [("succeeded", 1, 3)] * 2
    assert floor.row(jobs[which]).status == "canceled"
    assert floor.keys(jobs[which]) == []
    assert len(floor.engine.batches) == 1
    assert floor.engine.alone == []


def test_when_all_are_canceled_the_drawing_stops(floor: Floor) -> None:
    jobs = [floor.job(), floor.job()]
    floor.engine.steps = [
        floor.cancels(jobs[1]),
        floor.cancels(jobs[0]),
        lambda _progress: pytest.fail("nobody is left to draw for"),
    ]
    floor.do(jobs[0])
    assert [floor.row(job_id).status for job_id in jobs] == ["canceled"] * 2
    assert floor.engine.finished == floor.engine.alone == []


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_wrong_with_one_is_that_one_s_alone(floor: Floor, which: int) -> None:
    jobs = [floor.job("shp_1", **({"bad": True} if which == 0 else {}))]
    jobs += [floor.job("shp_2", **({"bad": True} if which == 1 else {})), floor.job("shp_1")]
    others = [job_id for job_id in jobs if job_id != jobs[which]]
    floor.do(jobs[0])

    assert floor.engine.batches == [others]
    assert floor.rows(others) == [("succeeded", 1, 3)] * 2
    failed = floor.row(jobs[which])
    assert (failed.status, failed.attempt) == ("failed", 1)
    assert failed.error["type"].endswith("/cannot-be-used")
    assert failed.error["detail"] == "This picture cannot be read."


def test_one_whose_result_cannot_be_made_is_tried_again_and_the_others_are_not(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [floor.job(), floor.job("shp_2"), floor.job()]
    result = floor.engine.result

    def breaks(work: Work, prepared: str, drawn: str) -> RenderResult:
        if drawn == jobs[1]:
            raise RuntimeError("a bug")
        return result(work, prepared, drawn)

    monkeypatch.setattr(floor.engine, "result", breaks)
    monkeypatch.setattr("worker.attempt._PAUSE_BEFORE_RETRY", 0.0)
    floor.do(jobs[0])
    assert floor.rows(jobs) == [("succeeded", 1, 3), ("queued", 1, 3), ("succeeded", 1, 3)]
    # Its next attempt is by itself, whoever waits.
    waits = floor.job()
    floor.do(jobs[1])
    assert floor.engine.alone == [jobs[1]]
    assert floor.rows([jobs[1], waits]) == [("succeeded", 2, 3), ("queued", 0, 3)]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a bug"), ValueError("of torch's")])
def test_when_the_batch_fails_all_are_drawn_one_at_a_time_and_no_attempt_is_spent(
    floor: Floor, error: Exception
) -> None:
    jobs = [floor.job("shp_1"), floor.job("shp_2"), floor.job("shp_1", bad=True), floor.job("shp_2")]

    def fails(_progress: Progress) -> None:
        raise error

    floor.engine.steps = [fails]
    floor.do(jobs[0])

    drawn = [jobs[0], jobs[1], jobs[3]]
    assert floor.engine.batches == [drawn]
    assert floor.engine.alone == drawn
    assert floor.rows(drawn) == [("succeeded", 1, 3), ("succeeded", 2, 4), ("succeeded", 2, 4)]
    assert floor.row(jobs[2]).status == "failed"
    assert [len(floor.keys(job_id)) for job_id in jobs] == [1, 1, 0, 1]


def test_one_that_another_worker_took_is_dropped(floor: Floor) -> None:
    jobs = [floor.job("shp_1"), floor.job("shp_2"), floor.job("shp_1")]

    def taken(_progress: Progress) -> None:
        with floor.here.database.session() as session:
            session.get_one(Job, jobs[1]).lease_expires_at = utcnow() - timedelta(seconds=1)
            session.flush()
            assert lifecycle.claim(session, jobs[1], "b", lease=timedelta(minutes=1)) is not None

    floor.engine.steps = [taken]
    floor.do(jobs[0])

    assert floor.engine.finished == [jobs[0], jobs[2]]
    assert floor.rows([jobs[0], jobs[2]]) == [("succeeded", 1, 3)] * 2
    row = floor.row(jobs[1])
    assert (row.status, row.worker, row.fencing_token) == ("starting", "b", 2)
    assert floor.keys(jobs[1]) == []


def test_a_worker_that_is_stopped_gives_all_of_them_back(floor: Floor) -> None:
    jobs = [floor.job(), floor.job("shp_2"), floor.job()]
    floor.engine.steps = [lambda _progress: floor.here.stopping.set()]
    floor.do(jobs[0])
    assert floor.rows(jobs) == [("queued", 1, 4)] * 3
    assert floor.engine.finished == floor.engine.alone == []

    # A worker that is being stopped claims nobody besides.
    later = [floor.job(), floor.job()]
    floor.do(later[0])
    assert floor.rows(later) == [("queued", 1, 4), ("queued", 0, 3)]


def test_what_another_worker_claims_meanwhile_is_not_claimed_again(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [floor.job(), floor.job(), floor.job()]
    look = repository.waiting

    def and_then_another_comes(*args: object, **named: object) -> list[tuple[str, dict]]:
        found = look(*args, **named)
        with floor.here.database.session() as session:
            assert lifecycle.claim(session, jobs[1], "b", lease=timedelta(minutes=1)) is not None
        return found

    monkeypatch.setattr(repository, "waiting", and_then_another_comes)
    floor.do(jobs[0])
    assert floor.engine.batches == [[jobs[0], jobs[2]]]
    row = floor.row(jobs[1])
    assert (row.status, row.worker, row.attempt, row.fencing_token) == ("starting", "b", 1, 1)


def test_two_workers_at_once_draw_every_job_once(floor: Floor) -> None:
    floor.engine.room = 3
    jobs = [floor.job(f"shp_{1 + number % 2}") for number in range(12)]
    start, failed = threading.Barrier(2), []

    def work() -> None:
        try:
            start.wait()
            for job_id in jobs:  # every message comes to both
                floor.do(job_id)
        except Exception as error:
            failed.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert floor.rows(jobs) == [("succeeded", 1, 3)] * 12
    assert Counter(chain(floor.engine.alone, *floor.engine.batches)) == Counter(jobs)
    assert max(map(len, floor.engine.batches)) > 1


def test_a_second_is_charged_once_by_what_each_had_drawn(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def passes(seconds: float) -> Callable[[Progress], None]:
        def step(_progress: Progress) -> None:
            now[0] += seconds

        return step

    monkeypatch.setattr("worker.reporting.Meter", lambda payer: Meter(payer, lambda: now[0]))
    prepare = floor.engine.prepare
    monkeypatch.setattr(floor.engine, "prepare", lambda work: [passes(3.0)(work), prepare(work)][1])
    jobs = [floor.job("shp_1"), floor.job("shp_2", variations=2), floor.job("shp_1")]
    floor.engine.steps = [passes(8.0), floor.cancels(jobs[2]), passes(4.0)]
    floor.do(jobs[0])

    # Of its own 3 s, and of 12 s of drawing a quarter for each picture. Who left costs the others nothing.
    assert [floor.row(job_id).metrics["compute_seconds"] for job_id in jobs] == [6.0, 9.0, 5.0]
    with floor.here.database.read() as session:
        days = dict(session.execute(select(UsageDay.shop_id, UsageDay.gpu_seconds)).all())
    assert days == {"shp_1": 11.0, "shp_2": 9.0}


def test_of_a_batch_that_failed_each_pays_its_part_and_then_what_is_done_for_it_alone(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def fails(_progress: Progress) -> None:
        now[0] += 8.0
        raise RuntimeError("a bug")

    monkeypatch.setattr("worker.reporting.Meter", lambda payer: Meter(payer, lambda: now[0]))
    monkeypatch.setattr(floor.engine, "prepare", lambda work: work.held.job_id)
    render = floor.engine.render

    def slow(work: Work) -> RenderResult:
        now[0] += 5.0
        return render(work)

    monkeypatch.setattr(floor.engine, "render", slow)
    jobs = [floor.job("shp_1"), floor.job("shp_2")]
    floor.engine.steps = [fails]
    floor.do(jobs[0])
    assert [floor.row(job_id).metrics["compute_seconds"] for job_id in jobs] == [9.0, 9.0]


def test_time_that_a_heartbeat_could_not_write_down_is_charged_later(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, beats, renew = [0.0], [0], lifecycle.renew
    written = threading.Event()

    def fails_once(*args: object, **named: object) -> lifecycle.Renewal:
        beats[0] += 1
        if beats[0] == 1:
            raise OperationalError("", {}, Exception("away"))
        written.set()
        return renew(*args, **named)

    def slow(work: Work) -> RenderResult:
        now[0] += 8.0
        monkeypatch.setattr(lifecycle, "renew", fails_once)
        assert written.wait(PATIENCE)
        return floor.engine.render(work)

    monkeypatch.setattr("worker.reporting.Meter", lambda payer: Meter(payer, lambda: now[0]))
    job_id = floor.job()
    execute(job_id, floor.here, {"render": slow})
    assert floor.row(job_id).metrics["compute_seconds"] == 8.0


def test_time_is_charged_when_the_end_is_another_than_it_was_to_be(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    job_id = floor.job()

    def canceled_at_the_last_moment(work: Work) -> RenderResult:
        now[0] += 8.0
        made = floor.engine.render(work)
        floor.cancel(job_id)
        return made

    monkeypatch.setattr("worker.reporting.Meter", lambda payer: Meter(payer, lambda: now[0]))
    silent = replace(floor.here, timing=Timing(lease=60, heartbeat=60))
    execute(job_id, silent, {"render": canceled_at_the_last_moment})
    row = floor.row(job_id)
    assert (row.status, row.metrics["compute_seconds"]) == ("canceled", 8.0)


def test_a_heartbeat_and_the_end_at_once_lose_no_time(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    now, renew, beating = [0.0], lifecycle.renew, threading.Event()
    job_id = floor.job()

    def slow_beat(*args: object, **named: object) -> lifecycle.Renewal:
        if threading.current_thread().name.startswith("heartbeat") and not beating.is_set():
            beating.set()
            deadline = time.monotonic() + 0.5  # in which the end would come, if it did not wait for the heartbeat
            while floor.row(job_id).finished_at is None and time.monotonic() < deadline:
                time.sleep(0.01)
        return renew(*args, **named)

    def work(work: Work) -> RenderResult:
        made = floor.engine.render(work)
        now[0] += 8.0
        monkeypatch.setattr(lifecycle, "renew", slow_beat)
        assert beating.wait(PATIENCE)
        return made

    monkeypatch.setattr("worker.reporting.Meter", lambda payer: Meter(payer, lambda: now[0]))
    execute(job_id, floor.here, {"render": work})
    row = floor.row(job_id)
    assert (row.status, row.metrics["compute_seconds"]) == ("succeeded", 8.0)


def test_looking_for_others_that_fails_costs_the_job_at_hand_nothing(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [floor.job(), floor.job()]

    def away(*_args: object, **_named: object) -> list[tuple[str, dict]]:
        raise RuntimeError("away")

    monkeypatch.setattr(repository, "waiting", away)
    floor.do(jobs[0])
    assert floor.engine.alone == [jobs[0]]
    assert floor.rows(jobs) == [("succeeded", 1, 3), ("queued", 0, 3)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_hung_batch_costs_the_neighbours_no_attempt(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [floor.job(), floor.job(), floor.job()]
    here = replace(floor.here, timing=Timing(lease=60, heartbeat=0.05, cancel_grace=0.1))
    ended = threading.Event()

    def exits(code: int) -> None:
        assert code == 70
        ended.set()
        raise SystemExit  # the thread's end stands for the process's

    def deaf(_progress: Progress) -> None:
        floor.cancel(jobs[1])
        assert ended.wait(PATIENCE)

    monkeypatch.setattr("worker.attempt.os._exit", exits)
    floor.engine.steps = [deaf]
    floor.do(jobs[0], here)
    assert floor.row(jobs[1]).status == "canceled"
    assert floor.rows([jobs[0], jobs[2]]) == [("queued", 1, 4)] * 2
    assert floor.engine.finished == floor.engine.alone == []
