"""How long a request's body may be: short for JSON, a picture and the form around it for uploads."""

import re
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.errors import HoopError, ImageTooLarge
from backend.web.problems import problem_response

JSON_BYTES: Final = 1_000_000
UPLOAD_BYTES: Final = 26_000_000
"""25 MB of picture and the form around it; the picture itself is measured when it is decoded."""
DRAINED_BYTES: Final = 100_000_000
"""A longer body is read to its end and thrown away up to here: a browser that is refused while it still sends shows no
answer, only that the connection broke."""

_UPLOADS: Final = re.compile(r"^/v1/(images|shared/[^/]+/images)$")


class BodyTooLong(HoopError):
    """More bytes than the address takes."""

    status = 413
    slug = "too-large"
    title = "This is larger than anything that can be sent here."


class BodyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what says it is too long; stop what turns out to be."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = UPLOAD_BYTES if _UPLOADS.match(scope["path"]) else JSON_BYTES
        said = Headers(scope=scope).get("content-length", "")
        length = int(said) if said.isascii() and said.isdigit() and len(said) < 19 else 0
        if length > limit:
            if length <= DRAINED_BYTES:
                await _drain(receive)
            refusal = ImageTooLarge() if limit == UPLOAD_BYTES else BodyTooLong()
            await problem_response(refusal)(scope, receive, send)
            return
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    # FastAPI turns every other exception that a body raises into a 400.
                    raise HTTPException(413)
            return message

        await self._app(scope, limited, send)


async def _drain(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
