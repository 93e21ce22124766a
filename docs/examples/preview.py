"""From one photo to previews through the REST API, with nothing but the standard library.

    python docs/examples/preview.py --key "$(cat data/demo-key)" --photo sample.jpg --design logo.png

Give --style instead of --photo to use a style that is ready. Pictures are saved in the current folder.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any


class Hoop:
    """A client of a few lines: JSON in, JSON out, problems as exceptions with the server's own sentence."""

    def __init__(self, address: str, key: str) -> None:
        self.address, self.key = address.rstrip("/"), key

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        request = urllib.request.Request(urllib.parse.urljoin(self.address + "/", path), body, method=method)
        for name, value in {"Authorization": f"Bearer {self.key}", **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                data = answer.read()
                return json.loads(data) if "json" in answer.headers.get("Content-Type", "") else data
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read() or b"{}")
            raise SystemExit(f"{error.code} {problem.get('title', '')}: {problem.get('detail', '')}") from None

    def create(self, path: str, **fields: Any) -> Any:
        """POST with an idempotency key, so that a repeated call after a broken connection creates nothing twice."""
        body = json.dumps(fields).encode()
        return self.call("POST", path, body, Content_Type="application/json", Idempotency_Key=str(uuid.uuid4()))

    def upload(self, file: Path, purpose: str) -> str:
        """Sends a picture as multipart/form-data; returns its id."""
        boundary = uuid.uuid4().hex
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        body = b"".join(
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'.encode(),
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
                f"Content-Type: {kind}\r\n\r\n".encode(),
                file.read_bytes(),
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        return str(
            self.call("POST", "/v1/images", body, Content_Type=f"multipart/form-data; boundary={boundary}")["id"]
        )

    def wait(self, job_id: str) -> Any:
        """Polls a job until it ends, showing where it is."""
        while True:
            job = self.call("GET", f"/v1/jobs/{job_id}")
            progress = job.get("progress") or {}
            print(
                f"\r{job['status']:<11}{progress.get('stage') or '':<12}"
                f"{progress.get('step') or 0}/{progress.get('total') or '?'}   ",
                end="",
                flush=True,
            )
            if job["status"] in ("succeeded", "failed", "canceled", "expired"):
                print()
                if job["status"] != "succeeded":
                    raise SystemExit(f"{job['status']}: {(job.get('error') or {}).get('detail', '')}")
                return job
            time.sleep(1)


def job_id(thing: dict[str, Any]) -> str:
    """A resource names its job by id, or shows it whole."""
    job = thing["job"]
    return str(job["id"] if isinstance(job, dict) else job)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--address", default="http://127.0.0.1:8000")
    options.add_argument("--key", required=True)
    options.add_argument("--photo", type=Path, help="photo of an embroidery to learn")
    options.add_argument("--artwork", type=Path, help="the design it was sewn from")
    options.add_argument("--style", help="a style that is ready, instead of a photo")
    options.add_argument("--design", type=Path, action="append", default=[])
    options.add_argument("--brief", action="append", default=[])
    given = options.parse_args()
    hoop = Hoop(given.address, given.key)

    style_id = given.style
    if given.photo:
        begin = time.monotonic()
        fields: dict[str, Any] = {"name": given.photo.stem, "reference_image": hoop.upload(given.photo, "reference")}
        if given.artwork:
            fields |= {"artwork_image": hoop.upload(given.artwork, "artwork"), "pair_builder": "artwork"}
        style = hoop.create("/v1/styles", **fields)
        hoop.wait(job_id(style))
        style_id = style["id"]
        print(f"style {style_id} is ready after {time.monotonic() - begin:.0f} s")
    if not style_id:
        raise SystemExit("Give --photo to learn a style, or --style to use one.")

    inputs = [{"type": "image", "image": hoop.upload(d, "design")} for d in given.design]
    inputs += [{"type": "text", "brief": brief} for brief in given.brief]
    for index, source in enumerate(inputs):
        begin = time.monotonic()
        render = hoop.create("/v1/renders", style=style_id, input=source)
        hoop.wait(job_id(render))
        for output in hoop.call("GET", f"/v1/renders/{render['id']}")["outputs"]:
            target = Path(f"preview-{index}-{output['index']}.png")
            target.write_bytes(hoop.call("GET", output["patch_url"]))
            print(f"{target} after {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
