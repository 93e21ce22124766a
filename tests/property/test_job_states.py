"""The life of jobs under any order of events: several workers, stale ones, a reaper, cancels, and a clock that jumps.

A simple model of one job is kept beside the real rows; after every step the two must agree.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from sqlalchemy import select

from backend.core.db import Base, make_engine, session_factory
from backend.jobs import lifecycle, service
from backend.jobs.lifecycle import Claim, LeaseLost
from backend.jobs.outcomes import PairResult, RenderedPicture, RenderResult, TrainResult
from backend.jobs.states import ACTIVE, OPEN, TERMINAL, Event, IllegalTransition, Status, transition
from backend.models import Job, JobEvent, Pair, Render, RenderOutput, Shop, Style, UsageDay
from tests.rows import reference_photo, style_row

LEASE = timedelta(seconds=60)
START = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = {"type": "https://hoop.dev/problems/test", "title": "t", "detail": "d"}

TARGET_STATUS = {
    "train": {
        "queued": "training",
        "starting": "training",
        "processing": "training",
        "succeeded": "ready",
        "failed": "failed",
        "expired": "failed",
        "canceled": "canceled",
    },
}


@given(st.sampled_from(Status), st.sampled_from(Event))
def test_transition_is_total_and_terminal_states_are_final(status: Status, event: Event) -> None:
    try:
        after = transition(status, event)
    except IllegalTransition:
        return
    assert status not in TERMINAL
    assert after in Status
    if event is not Event.CLAIM:
        assert after != status


def test_every_open_state_can_reach_an_end() -> None:
    for status in OPEN:
        assert transition(status, Event.CANCEL) in TERMINAL
    for status in ACTIVE:
        assert transition(status, Event.FAIL) is Status.FAILED
        assert transition(status, Event.SUCCEED) is Status.SUCCEEDED
        assert transition(status, Event.REQUEUE) is Status.QUEUED


@dataclass
class Model:
    kind: str
    created: datetime
    status: Status = Status.QUEUED
    attempt: int = 0
    allowed: int = 3
    token: int = 0
    lease_until: datetime | None = None
    cancel: bool = False
    winner: str | None = None
    seconds: float = 0.0
    statuses: list[str] = field(default_factory=lambda: ["queued"])

    def goes(self, status: Status) -> None:
        self.status = status
        self.statuses.append(str(status))
        if status not in ACTIVE:
            self.lease_until = None

    def owned_by(self, held: Claim) -> bool:
        return self.status in ACTIVE and self.token == held.fencing_token


def result(kind: str, mark: str) -> TrainResult | RenderResult | PairResult:
    if kind == "train":
        return TrainResult(
            embroidery_key=mark,
            design_key=mark,
            adapter_key=mark,
            adapter_sha256="0" * 64,
            adapter_bytes=1,
            adapter_rank=32,
            blocks=["mid"],
        )
    if kind == "render":
        pictures = [RenderedPicture(index=i, seed=i, patch_key=mark, width=8, height=8, sha256="0") for i in range(2)]
        return RenderResult(outputs=pictures)
    return PairResult(embroidery_key=mark, design_key=mark, builder="flatten")


class Jobs(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.engine = make_engine("sqlite://")
        Base.metadata.create_all(self.engine)
        self.sessions = session_factory(self.engine)
        self.now = START
        self.model: dict[str, Model] = {}
        with self.sessions.begin() as session:
            session.add(Shop(id="shop_1", slug="one", name="One"))
            session.add(reference_photo("shop_1"))
            session.add(self.style("sty_0"))

    def teardown(self) -> None:
        self.engine.dispose()

    @staticmethod
    def style(id_: str) -> Style:
        return style_row(id_, "shop_1", "hoop-mini")

    @rule(target=jobs, kind=st.sampled_from(["train", "render", "pair"]))
    def create(self, kind: str) -> str:
        number = len(self.model) + 1
        target = f"{kind}_{number}"
        with self.sessions.begin() as session:
            if kind == "train":
                session.add(self.style(target))
            elif kind == "render":
                session.add(Render(id=target, shop_id="shop_1", style_id="sty_0", seed=1, preset="flat"))
            else:
                session.add(Pair(id=target, shop_id="shop_1", reference_image_id="img_1", builder="flatten"))
            job = service.create_job(session, shop_id="shop_1", kind=kind, target_id=target, input={"seed": 1})
            job.created_at, job.expires_at = self.now, self.now + service.PATIENCE
        self.model[job.id] = Model(kind, self.now)
        return job.id

    @rule(target=claims, job_id=jobs, worker=st.sampled_from(["a", "b"]))
    def claim(self, job_id: str, worker: str):
        model = self.model[job_id]
        with self.sessions.begin() as session:
            held = lifecycle.claim(session, job_id, worker, lease=LEASE, now=self.now)
        free = model.status is Status.QUEUED or (
            model.status in ACTIVE and model.lease_until is not None and model.lease_until < self.now
        )
        late = model.attempt == 0 and self.now >= model.created + service.PATIENCE
        may = free and not model.cancel and not late and model.attempt < model.allowed
        assert (held is not None) == may
        if held is None:
            return multiple()
        model.attempt += 1
        model.token += 1
        model.goes(Status.STARTING)
        model.lease_until = self.now + LEASE
        assert (held.attempt, held.fencing_token, held.input) == (model.attempt, model.token, {"seed": 1})
        return held

    @rule(held=claims, seconds=st.sampled_from([0.0, 1.5]))
    def renew(self, held: Claim, seconds: float) -> None:
        model = self.model[held.job_id]
        with self.guard(held) as session:
            renewal = lifecycle.renew(session, held, lease=LEASE, compute_seconds=seconds, now=self.now)
            assert renewal.cancel_requested == model.cancel
            model.lease_until = self.now + LEASE
            model.seconds += seconds

    @rule(held=claims)
    def begin(self, held: Claim) -> None:
        model = self.model[held.job_id]
        if model.status is Status.PROCESSING:
            return
        with self.guard(held) as session:
            lifecycle.begin(session, held)
            model.goes(Status.PROCESSING)

    @rule(held=claims, step=st.integers(0, 9))
    def progress(self, held: Claim, step: int) -> None:
        with self.guard(held) as session:
            lifecycle.progress(session, held, stage="stage_one", step=step, total=9, eta_s=None)
            lifecycle.preview(session, held, key=f"preview-{step}")

    @rule(held=claims)
    def finish(self, held: Claim) -> None:
        model = self.model[held.job_id]
        mark = f"attempt-{held.attempt}"
        if model.owned_by(held) and model.cancel:
            with pytest.raises(LeaseLost), self.sessions.begin() as session:
                lifecycle.finish(session, held, result(held.kind, mark), metrics={}, now=self.now)
            return
        with self.guard(held) as session:
            lifecycle.finish(
                session, held, result(held.kind, mark), metrics={"peak": 1}, compute_seconds=2.0, now=self.now
            )
            model.goes(Status.SUCCEEDED)
            model.winner = mark
            model.seconds += 2.0

    @rule(held=claims)
    def fail(self, held: Claim) -> None:
        with self.guard(held) as session:
            lifecycle.fail(session, held, ERROR, now=self.now)
            self.model[held.job_id].goes(Status.FAILED)

    @rule(held=claims)
    def cancel(self, held: Claim) -> None:
        with self.guard(held) as session:
            lifecycle.cancel(session, held, now=self.now)
            self.model[held.job_id].goes(Status.CANCELED)

    @rule(held=claims, spent=st.booleans())
    def requeue(self, held: Claim, spent: bool) -> None:
        model = self.model[held.job_id]
        with self.guard(held) as session:
            moved = lifecycle.requeue(session, held, spent=spent, now=self.now)
            model.allowed += not spent
            if model.cancel:
                model.goes(Status.CANCELED)
            else:
                model.goes(Status.QUEUED)
            assert moved.status == model.status

    @rule(job_id=jobs)
    def request_cancel(self, job_id: str) -> None:
        model = self.model[job_id]
        with self.sessions.begin() as session:
            job = session.get_one(Job, job_id)
            service.request_cancel(session, job)
        if model.status is Status.QUEUED:
            model.goes(Status.CANCELED)
        elif model.status in ACTIVE and not model.cancel:
            model.cancel = True
            model.statuses.append(str(model.status))

    @rule(seconds=st.sampled_from([1, 30, 61, 3600, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def reap(self) -> None:
        with self.sessions.begin() as session:
            moved = {job.id for job in lifecycle.recover_abandoned(session, now=self.now)}
            late = {job.id for job in lifecycle.expire_late(session, now=self.now)}
        for job_id, model in self.model.items():
            abandoned = model.lease_until is not None and model.lease_until < self.now
            assert (job_id in moved) == abandoned
            if abandoned:
                spent = model.attempt >= model.allowed
                model.goes(Status.CANCELED if model.cancel else Status.FAILED if spent else Status.QUEUED)
                continue
            over = model.status is Status.QUEUED and model.attempt == 0 and self.now >= model.created + service.PATIENCE
            assert (job_id in late) == over
            if over:
                model.goes(Status.EXPIRED)

    def guard(self, held: Claim):
        """A session for a write that must be refused unless the claim is the one in force."""
        return _Guard(self, held)

    @invariant()
    def rows_agree_with_the_model(self) -> None:
        with self.sessions() as session:
            total = 0.0
            for job_id, model in self.model.items():
                job = session.get_one(Job, job_id)
                assert (job.status, job.attempt, job.max_attempts, job.fencing_token) == (
                    model.status,
                    model.attempt,
                    model.allowed,
                    model.token,
                )
                assert job.lease_expires_at == model.lease_until
                assert job.attempt <= job.max_attempts
                assert (job.finished_at is not None) == (model.status in TERMINAL)
                assert job.metrics.get("compute_seconds", 0.0) == pytest.approx(model.seconds)
                total += model.seconds
                table = {"train": Style, "render": Render, "pair": Pair}[model.kind]
                row = session.get_one(table, job.target_id)
                assert row.status == TARGET_STATUS.get(model.kind, {}).get(model.status, model.status)
                if model.kind == "render":
                    outputs = session.scalars(select(RenderOutput).where(RenderOutput.render_id == row.id)).all()
                    assert {output.patch_key for output in outputs} == ({model.winner} - {None})
                    assert len(outputs) == (2 if model.winner else 0)
                else:
                    assert row.design_key == model.winner
            booked = session.scalars(select(UsageDay.gpu_seconds)).all()
            assert sum(booked) == pytest.approx(total)

    @invariant()
    def events_tell_the_story(self) -> None:
        with self.sessions() as session:
            for job_id, model in self.model.items():
                events = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all()
                assert [event.data["status"] for event in events if event.type == "status"] == model.statuses
                done = [event for event in events if event.type == "done"]
                assert len(done) == (model.status in TERMINAL)
                if done:
                    assert events[-1] is done[0]


class _Guard:
    def __init__(self, machine: Jobs, held: Claim) -> None:
        self.machine = machine
        self.owned = machine.model[held.job_id].owned_by(held)

    def __enter__(self):
        self.context = self.machine.sessions.begin()
        # A model change in the body must not outlive a refused write, so the body stops at the refusal.
        return self.context.__enter__()

    def __exit__(self, kind, error, trace) -> bool:
        self.context.__exit__(kind, error, trace)
        if isinstance(error, LeaseLost):
            assert not self.owned, "a claim in force was refused"
            return True
        if error is None:
            assert self.owned, "a stale claim was accepted"
        return False


Jobs.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJobs = Jobs.TestCase
