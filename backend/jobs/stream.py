"""A job's events as they happen, from the table, woken by the broker."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from anyio import to_thread
from fastapi.sse import ServerSentEvent

from backend.core import events
from backend.core.db import Database
from backend.jobs import repository
from backend.models import JobEvent
from backend.web.links import Links

RETRY_MS = 2000
"""How soon a browser whose connection broke comes back."""


def is_replayed(database: Database, job_id: str, last_id: int | None) -> bool:
    """Whether someone who has seen the event `last_id` has seen all there will ever be."""
    if last_id is None:
        return False
    with database.read() as session:
        return repository.is_over(session, job_id) and not repository.events_after(session, job_id, last_id, limit=1)


async def watch(database: Database, job_id: str, links: Links, last_id: int | None) -> AsyncIterator[ServerSentEvent]:
    """Yield what happens to a job until it has ended.

    Args:
        database: where the events are.
        job_id: a job that the caller may see.
        links: makes addresses of previews, anew for every listener, because they expire.
        last_id: the last event that the listener has; None starts with where the job stands now.
    """
    seen = -1 if last_id is None else last_id
    async with aclosing(events.subscribe(job_id)) as wakes:  # type: ignore[type-var]
        async for _ in wakes:
            while True:
                found = await to_thread.run_sync(_read, database, job_id, seen)
                for event in found:
                    seen = event.id
                    yield ServerSentEvent(data=_data(event, links), event=event.type, id=str(event.id), retry=RETRY_MS)
                    if event.type == "done":
                        return
                # A long replay comes in parts; none left means wait for the next wake-up.
                if not found:
                    break
            if await to_thread.run_sync(_is_over, database, job_id, seen):
                return


def _read(database: Database, job_id: str, seen: int) -> Sequence[JobEvent]:
    with database.read() as session:
        if seen < 0:
            return repository.latest_events(session, job_id)
        return repository.events_after(session, job_id, seen)


def _is_over(database: Database, job_id: str, seen: int) -> bool:
    """A job that was deleted with its events must not keep a listener for ever."""
    with database.read() as session:
        return repository.is_over(session, job_id) and not repository.events_after(session, job_id, seen, limit=1)


def _data(event: JobEvent, links: Links) -> dict[str, Any]:
    if event.type == "preview":
        return {"url": links.media(str(event.data["key"]))}
    return dict(event.data)
