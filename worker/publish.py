"""From what the engine made to what people see: upload under keys of this attempt's own, then one UPDATE.

Until that UPDATE nothing points to the uploads, so a crash in between leaves nothing half done, and two attempts that
overlap cannot mix: each has its own keys, and the fencing token lets one of them in.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Final, TypeVar

import structlog
from PIL import Image

from backend.core.errors import StorageUnavailable
from backend.core.storage import ObjectStore
from backend.jobs.lifecycle import Claim

log = structlog.get_logger(__name__)

T = TypeVar("T")

_WAITS: Final = (1.0, 4.0, 15.0)
"""Seconds between tries when the store is away: a restart of it should cost nobody an attempt."""


def job_prefix(shop_id: str, job_id: str) -> str:
    """Where everything of a job lies."""
    return f"shops/{shop_id}/jobs/{job_id}/"


def attempt_key(held: Claim, name: str) -> str:
    """Key of an object that this attempt makes."""
    return f"{job_prefix(held.shop_id, held.job_id)}{held.attempt}/{name}"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An object that was written."""

    key: str
    sha256: str
    size: int


class Publisher:
    """Reads what a job needs from the object store and writes what it has made, patiently.

    Args:
        store: the object store.
        held: whose attempt.
        pause: waits with the lease held; raises when the attempt should end.
    """

    def __init__(self, store: ObjectStore, held: Claim, pause: Callable[[float], None]) -> None:
        self._store = store
        self._held = held
        self._pause = pause

    def read(self, key: str) -> bytes:
        """Return an object; raises NotFound, or StorageUnavailable after half a minute."""
        return self._patiently(lambda: self._store.get(key))

    def read_image(self, key: str) -> Image.Image:
        """Return a picture that the service has decoded and encoded before; RGB or RGBA."""
        image: Image.Image = Image.open(BytesIO(self.read(key)))
        image.load()
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        return image.convert("RGBA" if has_alpha else "RGB")

    def write(self, name: str, data: bytes, content_type: str) -> Uploaded:
        """Write an object of this attempt."""
        key = attempt_key(self._held, name)
        self._patiently(lambda: self._store.put(key, data, content_type))
        return Uploaded(key, hashlib.sha256(data).hexdigest(), len(data))

    def write_png(self, name: str, image: Image.Image) -> Uploaded:
        """Write a picture without loss."""
        return self.write(f"{name}.png", encoded(image, "PNG"), "image/png")

    def write_jpeg(self, name: str, image: Image.Image) -> Uploaded:
        """Write a photo."""
        return self.write(f"{name}.jpg", encoded(image.convert("RGB"), "JPEG", quality=92), "image/jpeg")

    def _patiently(self, act: Callable[[], T]) -> T:
        for seconds in _WAITS:
            try:
                return act()
            except StorageUnavailable:
                log.warning("storage.waiting", job=self._held.job_id, seconds=seconds)
                self._pause(seconds)
        return act()


def encoded(image: Image.Image, format_: str, **options: int) -> bytes:
    """Return a picture as the bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def tidy(store: ObjectStore, shop_id: str, job_id: str, *, keep_attempt: int | None = None) -> None:
    """Delete what a job that has ended left behind: its checkpoints, and what attempts other than `keep_attempt` made.

    Pictures of attempts are only deleted when one of them has won. A store that is away is no reason to worry.
    """
    prefix = job_prefix(shop_id, job_id)
    try:
        doomed = [key for key in store.list(prefix) if _is_left_over(key.removeprefix(prefix), keep_attempt)]
        store.delete(doomed)
    except StorageUnavailable:
        log.warning("tidy.skipped", job=job_id, exc_info=True)


def _is_left_over(name: str, keep_attempt: int | None) -> bool:
    folder = name.split("/", 1)[0]
    if folder == "checkpoint":
        return True
    return keep_attempt is not None and folder != str(keep_attempt)
