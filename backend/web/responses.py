"""Answers that wait: `Prefer: wait=N` (RFC 7240) holds a 202 back until the job has ended or the time is over."""

import re
import time
from collections.abc import Callable
from typing import Annotated, Final

import anyio
from anyio import to_thread
from fastapi import Depends, Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LONGEST_WAIT: Final = 60

Reload = Callable[[], tuple[BaseModel, bool]]
"""Reads the present state anew: the body of the answer, and whether the job has ended."""


class WaitingResponse(Response):
    """Looks twice a second until the job has ended, without holding a thread, then sends the state it found.

    It is a response and not part of the endpoint because only then has the request's session been committed.
    """

    def __init__(self, first: Response, seconds: float, reload: Reload) -> None:
        super().__init__(first.body, first.status_code, dict(first.headers))
        self._first = first
        self._seconds = seconds
        self._reload = reload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then answer: 201 when the job has ended, 202 when it has not."""
        until = time.monotonic() + self._seconds
        while True:
            body, ended = await to_thread.run_sync(self._reload)
            left = until - time.monotonic()
            if ended or left <= 0:
                break
            await anyio.sleep(min(0.5, left))
        kept = {name: value for name, value in self._first.headers.items() if name != "content-length"}
        headers = {**kept, "Preference-Applied": f"wait={self._seconds:.0f}"}
        answer = Response(body.model_dump_json(), 201 if ended else 202, headers)
        await answer(scope, receive, send)


class Prefer:
    """What the caller prefers; everything but `wait` is ignored, as the RFC asks."""

    def __init__(self, wait: int) -> None:
        self.wait = wait

    def hold(self, answer: JSONResponse, reload: Reload) -> Response:
        """Return the answer, or one that waits."""
        return WaitingResponse(answer, self.wait, reload) if self.wait else answer


def get_prefer(
    prefer: Annotated[
        str | None,
        Header(
            max_length=200,
            description="`wait=N` waits up to N seconds (60 at most) for the job to end.",
            examples=["wait=10"],
        ),
    ] = None,
) -> Prefer:
    """FastAPI dependency: the Prefer header."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", prefer or "")
    return Prefer(min(int(found.group(1)), LONGEST_WAIT) if found else 0)


PreferDep = Annotated[Prefer, Depends(get_prefer)]
