"""What happens around every request: a number, security headers, rate headers, metrics, one log line."""

import re
import time
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.ids import new_id
from backend.core.limits import Standing
from backend.core.telemetry import REQUEST_SECONDS, REQUESTS

log = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"^[\w.:-]{1,100}$")
_TOKEN: Final = re.compile(r"hoop_(share|live)_[A-Za-z0-9_-]+|(?<=token=)[^&\s]+")
_PAGE_POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"


class RequestContext:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request with its number bound to every log line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else new_id("req")
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), request_id, state.get("rate_limit"))
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None) or "other"
            REQUESTS.labels(scope["method"], route, str(status)).inc()
            REQUEST_SECONDS.labels(scope["method"], route).observe(seconds)
            if route not in {"/healthz", "/readyz", "/metrics"}:
                log.info(
                    "request",
                    method=scope["method"],
                    path=redact(scope["path"]),
                    status=status,
                    ms=round(seconds * 1000, 1),
                )


def redact(text: str) -> str:
    """Take keys and tokens out of a text that goes to a log."""
    return _TOKEN.sub("…", text)


def _add_headers(headers: MutableHeaders, request_id: str, standing: Standing | None) -> None:
    headers["X-Request-Id"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    # Share tokens stand in addresses: no other site shall learn them. Not "no-referrer", which would make browsers hide
    # the Origin of our own forms as well.
    headers["Referrer-Policy"] = "same-origin"
    is_page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if is_page else _DATA_POLICY)
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    if standing is not None:
        for name, value in standing.headers().items():
            headers.setdefault(name, value)
