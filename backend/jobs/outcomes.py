"""What a job's state means for the thing it works for: one function a kind, called in the transaction that moves it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete
from sqlalchemy.orm import Session

from backend.core.db import utcnow
from backend.core.ids import new_id
from backend.jobs.states import Status
from backend.models import Job, Pair, Render, RenderOutput, Style
from backend.webhooks.outbox import announce_job


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A learnt style. Keys point into the object store; the fields are those of the table `styles`."""

    embroidery_key: str
    design_key: str
    adapter_key: str
    adapter_sha256: str
    adapter_bytes: int
    adapter_rank: int
    blocks: list[str]
    caption: str | None = None
    report: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RenderedPicture:
    """One variation; the fields are those of the table `render_outputs`."""

    index: int
    seed: int
    patch_key: str
    width: int
    height: int
    sha256: str
    garment_key: str | None = None
    design_key: str | None = None


@dataclass(frozen=True, slots=True)
class RenderResult:
    """All variations of a render; `warnings` are {code, message}."""

    outputs: list[RenderedPicture]
    warnings: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PairResult:
    """A pair to look at before training."""

    embroidery_key: str
    design_key: str
    builder: str
    report: dict[str, Any] = field(default_factory=dict)


Result = TrainResult | RenderResult | PairResult


def status_data(job: Job) -> dict[str, Any]:
    """What the events "status" and "done" tell."""
    data: dict[str, Any] = {"status": job.status, "attempt": job.attempt, "cancel_requested": job.cancel_requested}
    if job.error is not None:
        data["error"] = job.error
    return data


def follow(session: Session, job: Job, result: Result | None) -> None:
    """Let the job's target follow the job's new status, and tell the shop's webhooks; `result` is there on success."""
    _FOLLOW[job.kind](session, job, result)
    announce_job(session, job)


_STYLE_STATUS: Final = {
    Status.QUEUED: "training",
    Status.STARTING: "training",
    Status.PROCESSING: "training",
    Status.SUCCEEDED: "ready",
    Status.FAILED: "failed",
    Status.EXPIRED: "failed",
    Status.CANCELED: "canceled",
}


def _style(session: Session, job: Job, result: Result | None) -> None:
    style = session.get(Style, job.target_id)
    if style is None:
        return
    style.status = _STYLE_STATUS[Status(job.status)]
    if result is None:
        return
    assert isinstance(result, TrainResult)  # noqa: S101 - narrows the union; a wrong kind is a bug
    style.embroidery_key = result.embroidery_key
    style.design_key = result.design_key
    style.adapter_key = result.adapter_key
    style.adapter_sha256 = result.adapter_sha256
    style.adapter_bytes = result.adapter_bytes
    style.adapter_rank = result.adapter_rank
    style.blocks = list(result.blocks)
    style.caption = result.caption or style.caption
    style.report = result.report
    style.samples = list(result.samples)
    style.updated_at = utcnow()


def _render(session: Session, job: Job, result: Result | None) -> None:
    render = session.get(Render, job.target_id)
    if render is None:
        return
    render.status = job.status
    if result is None:
        return
    assert isinstance(result, RenderResult)  # noqa: S101 - narrows the union; a wrong kind is a bug
    render.warnings = list(result.warnings)
    session.execute(delete(RenderOutput).where(RenderOutput.render_id == render.id))
    for picture in result.outputs:
        session.add(
            RenderOutput(
                id=new_id("out"),
                render_id=render.id,
                index=picture.index,
                seed=picture.seed,
                patch_key=picture.patch_key,
                garment_key=picture.garment_key,
                design_key=picture.design_key,
                width=picture.width,
                height=picture.height,
                sha256=picture.sha256,
            )
        )


def _pair(session: Session, job: Job, result: Result | None) -> None:
    pair = session.get(Pair, job.target_id)
    if pair is None:
        return
    pair.status = job.status
    if result is None:
        return
    assert isinstance(result, PairResult)  # noqa: S101 - narrows the union; a wrong kind is a bug
    pair.embroidery_key = result.embroidery_key
    pair.design_key = result.design_key
    pair.builder = result.builder
    pair.report = result.report


_FOLLOW: Final[dict[str, Callable[[Session, Job, Result | None], None]]] = {
    "train": _style,
    "render": _render,
    "pair": _pair,
}
