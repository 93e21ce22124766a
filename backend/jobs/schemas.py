"""What the REST contract says of a job."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from backend.jobs import repository
from backend.jobs.states import Status
from backend.models import Job
from backend.web.links import Links


class Progress(BaseModel):
    """Where the work stands."""

    model_config = ConfigDict(frozen=True)

    stage: str | None = Field(description="What is being done, for example `stage_one`; null before the first step.")
    step: int = Field(description="Steps done in this stage.")
    total: int = Field(description="Steps of this stage.")
    eta_s: float | None = Field(description="Seconds left for the whole job; null while too little is known.")
    preview_url: str | None = Field(description="The latest intermediate picture.")


class JobProblem(BaseModel):
    """Why a job did not succeed."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="Stable URI of the kind of problem.")
    title: str
    detail: str = Field(description="A sentence for people.")


class JobUrls(BaseModel):
    """Where to go from here."""

    model_config = ConfigDict(frozen=True)

    self: str
    events: str
    cancel: str
    target: str = Field(description="The style, render or pair that the job works for.")


class JobDocument(BaseModel):
    """A job."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(examples=["job_0197c0ffee0070008000000000000001"])
    kind: Literal["train", "render", "pair"]
    status: Status
    cancel_requested: bool = Field(description="Someone asked to cancel; the worker stops at its next step.")
    queue_position: int | None = Field(description="1 is next; null when the job does not wait.")
    progress: Progress
    attempt: int = Field(description="How often a worker has begun.")
    input: dict[str, Any] = Field(description="What is being done, seed and base included.")
    output: dict[str, Any] = Field(description="Identifier of what the job has made, when it has succeeded.")
    error: JobProblem | None
    metrics: dict[str, Any] = Field(description="Measurements, such as `compute_seconds`.")
    target: str = Field(description="Identifier of the style, render or pair.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    urls: JobUrls


_PATHS = {"train": "styles", "render": "renders", "pair": "pairs"}


def describe(session: Session, job: Job, links: Links) -> JobDocument:
    """Return the document of a job."""
    here = links.to(f"/v1/jobs/{job.id}")
    return JobDocument(
        id=job.id,
        kind=job.kind,
        status=Status(job.status),
        cancel_requested=job.cancel_requested,
        queue_position=repository.queue_position(session, job),
        progress=Progress(
            stage=job.stage,
            step=job.step,
            total=job.total,
            eta_s=job.eta_s,
            preview_url=links.media_or_none(job.preview_key),
        ),
        attempt=job.attempt,
        input=_public(job.input),
        output={job.kind if job.kind != "train" else "style": job.target_id} if job.status == Status.SUCCEEDED else {},
        error=JobProblem(**job.error) if job.error else None,
        metrics=job.metrics or {},
        target=job.target_id,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        urls=JobUrls(
            self=here,
            events=f"{here}/events",
            cancel=f"{here}/cancel",
            target=links.to(f"/v1/{_PATHS[job.kind]}/{job.target_id}"),
        ),
    )


def _public(value: Any) -> Any:
    """Leave out the object store's keys: they are our affair, and pictures are reached through their addresses."""
    if isinstance(value, dict):
        return {name: _public(inner) for name, inner in value.items() if not name.endswith("_key")}
    if isinstance(value, list):
        return [_public(inner) for inner in value]
    return value
