"""Every error leaves as a problem document (RFC 9457), the ones that the framework raises included."""

from collections.abc import Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from backend.core.errors import PROBLEM_BASE, HoopError, InvalidInput, problem

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Dotted path, `body.input.brief` or `query.limit`.")
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457). `type` is stable: compare that, show `detail`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None


_SENTENCES: Final[dict[int, tuple[str, str]]] = {
    400: ("bad-request", "The request could not be read."),
    401: ("unauthorized", "Please log in, or send a valid API key."),
    403: ("forbidden", "You are not allowed to do this."),
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not answer to that method."),
    413: ("too-large", "The request is larger than this address accepts."),
    415: ("unsupported-media-type", "The request has a format that this address does not accept."),
    416: ("range-not-satisfiable", "The part that was asked for is not in the file."),
    431: ("headers-too-large", "The request's headers are too large."),
}


def problem_response(error: HoopError) -> JSONResponse:
    """Render one of our errors."""
    return JSONResponse(problem(error), status_code=error.status, headers=error.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(HoopError, _on_hoop_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)


def _on_hoop_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HoopError):
        raise TypeError(f"not one of our errors: {error!r}")
    if error.status >= 500:
        log.error("request.failed", type=error.type, detail=error.detail, exc_info=error)
    return problem_response(error)


def _on_validation_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"not a validation error: {error!r}")
    errors = [{"field": _path(entry["loc"]), "message": _sentence(entry)} for entry in error.errors()]
    return problem_response(InvalidInput(_summary(errors), errors=errors))


def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError(f"not an HTTP exception: {error!r}")
    if error.status_code in {204, 304}:
        # These have no body (RFC 9110, sections 15.3.5 and 15.4.5).
        return Response(status_code=error.status_code, headers=error.headers)
    slug, title = _SENTENCES.get(error.status_code, ("http-error", str(error.detail)))
    document: dict[str, Any] = {
        "type": PROBLEM_BASE + slug,
        "title": title,
        "status": error.status_code,
        "detail": title,
    }
    if error.status_code == 404:
        document["detail"] = f"There is nothing at {request.url.path}."
    headers = dict(error.headers or {})
    return JSONResponse(document, status_code=error.status_code, headers=headers, media_type=MEDIA_TYPE)


def _on_unexpected(request: Request, error: Exception) -> Response:
    request_id = getattr(request.state, "request_id", "")
    log.error("request.crashed", path=request.url.path, request_id=request_id, exc_info=error)
    # The error's own words may hold addresses or data of others: the log keeps them, the answer names where to look.
    failure = HoopError(
        "Something went wrong on our side. Nothing you did is lost; please try again, and if it stays, "
        f"tell us the number {request_id}.",
        request_id=request_id,
    )
    return problem_response(failure)


def _path(loc: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in loc)


def _sentence(entry: dict[str, Any]) -> str:
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a field that this request knows"
    if kind == "json_invalid":
        return "the body is not valid JSON"
    if kind == "value_error":
        return str(context.get("error", entry["msg"]))
    message = str(entry["msg"])
    return message[:1].lower() + message[1:]


def _summary(errors: list[dict[str, str]]) -> str:
    """One sentence that names the first fields at fault."""
    named = [f"{_plain(entry['field'])} {entry['message']}".strip() for entry in errors[:3]]
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return f"Something in the request is not right: {'; '.join(named)}{more}."


def _plain(field: str) -> str:
    parts = [part for part in field.split(".") if part not in {"body", "query", "path", "header"}]
    return ".".join(parts)
