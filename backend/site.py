"""The page: static files of frontend/, and the one page behind share links."""

import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import Final

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# What a browser needs. node_modules and the type checker's settings lie in the same folder and are nobody's business.
_SUFFIXES: Final = frozenset(
    {".html", ".js", ".css", ".svg", ".png", ".webp", ".jpg", ".ico", ".woff2", ".webmanifest"}
)
_TYPES: Final = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2"}


class Site:
    """ASGI app for whatever no route of the API answers: a file of the page, or a 404.

    Files carry a strong ETag of their content and are asked for anew each time: an update shows at once, and costs one
    short 304 when there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(404)
        request = Request(scope)
        response = await to_thread.run_sync(self._answer, request)
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path = self._file(request.url.path)
        if path is None:
            raise HTTPException(404)
        stat = path.stat()
        content, etag = _read(path, stat.st_mtime_ns, stat.st_size)
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        known = request.headers.get("if-none-match", "")
        if etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}:
            return Response(status_code=304, headers=headers)
        media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Response(content, headers=headers, media_type=media_type)

    def _file(self, address: str) -> Path | None:
        """The file behind an address, None when there is none that may be shown."""
        if address == "/":
            address = "/index.html"
        elif address.startswith("/s/") and "/" not in address[3:]:
            # The token stays in the address; the page reads it there.
            address = "/share.html"
        parts = address.lstrip("/").split("/")
        if any(part in {"", "..", "node_modules"} or part.startswith(".") or "\x00" in part for part in parts):
            return None
        path = self._folder.joinpath(*parts)
        if path.suffix not in _SUFFIXES or not path.is_file():
            return None
        return path if path.resolve().is_relative_to(self._folder) else None


@lru_cache(maxsize=256)
def _read(path: Path, _changed: int, _size: int) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
