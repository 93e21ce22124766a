"""Jobs: list, look, watch, cancel."""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.exceptions import HTTPException
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.core.db import Database, DatabaseDep, ReadSession, WriteSession
from backend.core.pagination import Page, PageQuery, fetch_page
from backend.jobs import service, stream
from backend.jobs.repository import JobRepository
from backend.jobs.schemas import JobDocument, describe
from backend.jobs.states import Status
from backend.models import Job
from backend.shops.auth import CurrentShop
from backend.web.links import LinksDep
from backend.web.schemas import Id

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("", operation_id="listJobs")
def list_jobs(
    caller: CurrentShop,
    session: ReadSession,
    links: LinksDep,
    page: PageQuery,
    status: Annotated[list[Status] | None, Query(description="Only these; may be given several times.")] = None,
    kind: Annotated[Literal["train", "render", "pair"] | None, Query(description="Only this kind.")] = None,
) -> Page[JobDocument]:
    """List the shop's jobs, newest first."""
    statement = JobRepository(session, caller.shop_id).select()
    if status:
        statement = statement.where(Job.status.in_(status))
    if kind:
        statement = statement.where(Job.kind == kind)
    jobs, cursor = fetch_page(session, statement, Job.id, page)
    return Page(data=[describe(session, job, links) for job in jobs], next_cursor=cursor)


@router.get(
    "/{job_id}",
    operation_id="getJob",
    response_model=JobDocument,
    responses={304: {"description": "Nothing has changed since the answer whose ETag was sent as If-None-Match."}},
)
def get_job(
    job_id: Id,
    caller: CurrentShop,
    session: ReadSession,
    links: LinksDep,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """Get a job. Poll with If-None-Match where the event stream cannot be used."""
    body = describe(session, JobRepository(session, caller.shop_id).get(job_id), links).model_dump_json().encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if if_none_match and _matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.post("/{job_id}/cancel", operation_id="cancelJob")
def cancel_job(job_id: Id, caller: CurrentShop, session: WriteSession, links: LinksDep) -> JobDocument:
    """Ask a job to stop. Asking again, or asking a job that has ended, changes nothing and is no error."""
    job = JobRepository(session, caller.shop_id).get(job_id)
    service.request_cancel(session, job)
    return describe(session, job, links)


class Listener:
    """Someone who watches a job.

    Attributes:
        job_id: which.
        database: where the events are.
        last_id: the last event that this listener has.
    """

    def __init__(self, job_id: str, database: Database, last_id: int | None) -> None:
        self.job_id = job_id
        self.database = database
        self.last_id = last_id


def get_listener(
    job_id: Id,
    caller: CurrentShop,
    database: DatabaseDep,
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="The last event received; the stream goes on behind it.")
    ] = None,
    after: Annotated[
        str | None, Query(max_length=40, description="The same, for those who cannot set headers.")
    ] = None,
) -> Listener:
    """FastAPI dependency: checks everything before the stream begins, in a session that is closed again by then."""
    with database.read() as session:
        job = JobRepository(session, caller.shop_id).get(job_id)
    return listen(database, job.id, last_event_id or after)


def listen(database: Database, job_id: str, last_event_id: str | None) -> Listener:
    """A listener for a job that the caller may see; answers 204 when there is nothing left to listen for."""
    given = last_event_id or ""
    # What is no number of ours is from elsewhere: begin with where the job stands.
    last_id = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None
    if stream.is_replayed(database, job_id, last_id):
        # The event stream's way to say "do not come back" (HTML standard, section 9.2.3).
        raise HTTPException(status_code=204)
    return Listener(job_id, database, last_id)


@router.get(
    "/{job_id}/events",
    operation_id="watchJob",
    response_class=EventSourceResponse,
    responses={204: {"description": "Everything was received already, and nothing more will come."}},
)
async def watch_job(
    listener: Annotated[Listener, Depends(get_listener)], links: LinksDep
) -> AsyncIterator[ServerSentEvent]:
    """Watch a job as server-sent events.

    `status` {status, attempt, cancel_requested, error?}, `progress` {stage, step, total, eta_s}, `preview` {url}, and
    `done`, the last one. A stream begins with the latest event of each type, or behind Last-Event-ID.
    """
    async for event in stream.watch(listener.database, listener.job_id, links, listener.last_id):
        yield event


def _matches(if_none_match: str, etag: str) -> bool:
    """Weak comparison, as If-None-Match asks for (RFC 9110, section 13.1.2)."""
    given = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in given or etag in given
