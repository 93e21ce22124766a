"""A model hub of our own: the few addresses of Hugging Face's that fetching a base asks for, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories by name, each a folder.

    Attributes:
        gated: repositories whose licence nobody accepted.
        broken: bytes after which the next download breaks off; None for none.
        spoilt: files that arrive other than the listing says.
        asked: paths of files that were downloaded, with the byte they began at.
    """

    repos: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    broken: int | None = None
    spoilt: set[str] = field(default_factory=set)
    asked: list[tuple[str, int]] = field(default_factory=list)
    address: str = ""

    def listing(self, repo: str) -> dict[str, object]:
        folder = self.repos[repo]
        siblings = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                one: dict[str, object] = {"rfilename": str(path.relative_to(folder)), "size": len(data), "blobId": "b"}
                if path.suffix == ".safetensors":
                    one["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
                siblings.append(one)
        return {"_id": "1", "id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "private": False}


def serve(hub: Hub) -> Iterator[Hub]:
    """The hub at an address, until the generator is closed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            parts = unquote(urlparse(self.path).path).strip("/").split("/")
            api = parts[:2] == ["api", "models"]
            repo = "/".join(parts[2:4] if api else parts[:2])
            if repo not in hub.repos:
                self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
            elif repo in hub.gated and not api:
                self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body=body)
            elif api:
                self._send(200, json.dumps(hub.listing(repo)).encode(), {}, body=body)
            else:
                self._file(repo, "/".join(parts[4:]), body=body)

        def _file(self, repo: str, name: str, *, body: bool) -> None:
            data = (hub.repos[repo] / name).read_bytes()
            headers = {
                "X-Repo-Commit": COMMIT,
                "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                "Accept-Ranges": "bytes",
            }
            if name in hub.spoilt:
                data = bytes(len(data))
            begin, status = 0, 200
            if (asked := self.headers.get("Range")) and body:
                begin = int(asked.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
                status = 206
            if body:
                hub.asked.append((f"{repo}/{name}", begin))
            self._send(status, data[begin:], headers, body=body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if not body:
                return
            if hub.broken is not None and len(data) > hub.broken:
                self.wfile.write(data[: hub.broken])
                hub.broken = None
                self.close_connection = True
                self.wfile.flush()
                self.connection.close()
                return
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
