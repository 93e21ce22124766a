"""Objects of the store for browsers: /media/{key} with a signed address, cached for good, in parts if wanted."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from backend.core.errors import NotFound
from backend.core.storage import IMMUTABLE, ObjectInfo, check_media_signature
from backend.web.dependencies import SettingsDep, StoreDep

router = APIRouter(tags=["media"])

# Only what can do no harm when a browser opens it; anything else is offered as a download.
_SHOWN: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
_RANGE: Final = re.compile(r"^bytes=(\d{0,15})-(\d{0,15})$")


# One route a method: an operation id names one operation.
@router.head("/media/{key:path}", operation_id="headMedia", include_in_schema=False)
@router.get(
    "/media/{key:path}",
    operation_id="getMedia",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        206: {"description": "A part of it."},
        304: {"description": "The caller's copy is current."},
        416: {"description": "There is no such part."},
    },
)
def get_media(
    key: str,
    request: Request,
    settings: SettingsDep,
    store: StoreDep,
    e: Annotated[int, Query(ge=0, le=2**40, description="When the address expires, seconds since 1970.")],
    s: Annotated[str, Query(max_length=100, description="The address's signature.")],
) -> Response:
    """Get a file by the signed address that an answer gave. What a key names never changes, so it caches for good."""
    # A wrong signature and a missing object look alike: nobody learns what there is.
    if not check_media_signature(key, e, s, settings):
        raise NotFound("This address is not valid any more. Please load the page again.")
    found = store.head(key)
    if found is None:
        raise NotFound("This file is not there any more.")
    headers = {
        "ETag": found.etag,
        "Cache-Control": IMMUTABLE,
        "Accept-Ranges": "bytes",
        # An integrator's page on another origin shows these pictures; the signature is the permission.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Access-Control-Allow-Origin": "*",
    }
    media_type = found.content_type
    if media_type not in _SHOWN:
        headers["Content-Disposition"] = "attachment"
    if _is_current(request, found.etag):
        return Response(status_code=304, headers=headers)
    part = _part(request, found)
    if part == "invalid":
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
    start, end = part if isinstance(part, tuple) else (0, found.size - 1)
    headers["Content-Length"] = str(end - start + 1)
    status = 200
    if isinstance(part, tuple):
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end}/{found.size}"
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    chunks = store.stream(key, start, end) if status == 206 else store.stream(key)
    return StreamingResponse(chunks, status, headers, media_type)


def _is_current(request: Request, etag: str) -> bool:
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return "*" in tags or etag in tags


def _part(request: Request, found: ObjectInfo) -> tuple[int, int] | str | None:
    """The range that is asked for: first and last byte, "invalid", or None for the whole (RFC 9110, section 14)."""
    asked = request.headers.get("range")
    condition = request.headers.get("if-range")
    if asked is None or (condition is not None and condition != found.etag):
        return None
    match = _RANGE.match(asked.strip())
    if match is None or (not match.group(1) and not match.group(2)):
        # Several ranges, or other units: RFC 9110 lets us send the whole.
        return None
    first, last = match.group(1), match.group(2)
    if not first:
        length = min(int(last), found.size)
        return (found.size - length, found.size - 1) if length else "invalid"
    start, end = int(first), min(int(last), found.size - 1) if last else found.size - 1
    if last and int(last) < start:
        return None
    return (start, end) if start < found.size else "invalid"
