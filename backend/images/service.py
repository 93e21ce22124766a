"""Taking a picture in: decode it under limits, keep our own encoding of it under the hash of its bytes."""

import hashlib
import threading
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from backend.core.config import Settings
from backend.core.db import utcnow
from backend.core.ids import new_id
from backend.core.images import DecodedImage, decode_image
from backend.core.storage import ObjectStore
from backend.core.telemetry import UPLOAD_BYTES
from backend.images.repository import ImageRepository
from backend.images.schemas import Purpose
from backend.models import Image
from backend.usage import quotas

MIN_SIDE: Final = 256
"""Pixels of the shorter side; below, stitches cannot be told apart and a design has no edges to follow."""

_DECODING: Final = threading.BoundedSemaphore(4)
"""A picture of 40 megapixels takes half a gigabyte while it is decoded: only so many at a time in one process."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture that lies in the object store but has no row yet."""

    decoded: DecodedImage
    sha256: str
    key: str


def store_image(settings: Settings, store: ObjectStore, shop_id: str, data: bytes) -> StoredImage:
    """Decode an upload and put our encoding of it into the object store.

    Call it before the session writes: decoding takes a second, and no other writer should wait for it.

    Raises:
        ImageRejected: what is wrong with the picture.
        StorageUnavailable: the store does not answer.
    """
    UPLOAD_BYTES.inc(len(data))
    with _DECODING:
        decoded = decode_image(
            data, max_bytes=settings.upload_max_bytes, max_pixels=settings.image_max_pixels, min_side=MIN_SIDE
        )
    sha256 = hashlib.sha256(decoded.data).hexdigest()
    extension = "png" if decoded.content_type == "image/png" else "jpg"
    key = f"shops/{shop_id}/images/{sha256}.{extension}"
    # The key is the content: writing it twice is harmless, and an object whose row was never committed is found again.
    if not store.exists(key):
        store.put(key, decoded.data, decoded.content_type)
    return StoredImage(decoded, sha256, key)


def add_image(session: Session, shop_id: str, purpose: Purpose, stored: StoredImage) -> Image:
    """Give a stored picture its row; the same picture for the same purpose keeps the row it has.

    Raises:
        QuotaExceeded: the shop's storage is full.
    """
    repository = ImageRepository(session, shop_id)
    known = repository.by_content(stored.sha256, purpose)
    if known is not None:
        return known
    quotas.check_storage(session, shop_id, len(stored.decoded.data))
    image = Image(
        id=new_id("img"),
        shop_id=shop_id,
        purpose=purpose,
        sha256=stored.sha256,
        key=stored.key,
        content_type=stored.decoded.content_type,
        width=stored.decoded.width,
        height=stored.decoded.height,
        bytes=len(stored.decoded.data),
        warnings=[warning.as_dict() for warning in stored.decoded.warnings],
        created_at=utcnow(),
    )
    repository.add(image)
    return image


def delete_image(session: Session, shop_id: str, image_id: str) -> None:
    """Take a picture out of the lists. Styles and renders made from it keep showing it."""
    ImageRepository(session, shop_id).get(image_id).deleted_at = utcnow()
