"""Is it alive, is it ready, how is it doing: for those who run Hoop."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from sqlalchemy import func, select

from backend.core.db import DatabaseDep, ReadSession
from backend.core.telemetry import JOBS, metrics, readiness
from backend.jobs.states import OPEN
from backend.models import Job
from backend.web.dependencies import SettingsDep, StoreDep

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str = "ok"


class Check(BaseModel):
    """One part that requests need."""

    ok: bool
    ms: float


class Ready(BaseModel):
    """Whether every part that requests need answers."""

    ready: bool
    checks: dict[str, Check]


@router.get("/healthz", operation_id="getHealth")
def get_health() -> Alive:
    """Say that the process answers. It asks nobody else, so a restart is what helps when this fails."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "A part does not answer."}},
)
def get_readiness(database: DatabaseDep, store: StoreDep, settings: SettingsDep) -> Response:
    """Ask the database, the broker and the object store."""
    found: dict[str, Any] = readiness(database, store, settings)
    return JSONResponse(found, 200 if found["ready"] else 503)


@router.get("/metrics", operation_id="getMetrics", response_class=PlainTextResponse)
def get_metrics(session: ReadSession) -> Response:
    """Give all figures in Prometheus' text format."""
    JOBS.clear()
    rows = session.execute(
        select(Job.queue, Job.status, func.count()).where(Job.status.in_(OPEN)).group_by(Job.queue, Job.status)
    )
    for queue, status, count in rows:
        JOBS.labels(queue, status).set(count)
    content, media_type = metrics()
    return Response(content, media_type=media_type)
