"""Presigned uploads: the bytes go straight to the object store, and become an image when they are complete."""

from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from backend.core.config import Settings
from backend.core.db import Database, utcnow
from backend.core.errors import Conflict, ImageTooLarge, NotFound
from backend.core.ids import new_id
from backend.core.storage import ObjectStore, PresignedPost
from backend.images import service as images
from backend.images.repository import ImageRepository
from backend.images.schemas import Purpose
from backend.models import Image, Upload
from backend.usage import quotas

VALID: Final = timedelta(hours=1)


def begin(
    session: Session, settings: Settings, store: ObjectStore, shop_id: str, purpose: Purpose, content_type: str
) -> tuple[Upload, PresignedPost]:
    """Open an upload; returns its row and the form to send."""
    quotas.check_storage(session, shop_id, 0)
    upload = Upload(
        id=new_id("upl"),
        shop_id=shop_id,
        purpose=purpose,
        content_type=content_type,
        created_at=utcnow(),
        expires_at=utcnow() + VALID,
    )
    upload.key = f"shops/{shop_id}/uploads/{upload.id}"
    session.add(upload)
    post = store.presigned_post(upload.key, settings.upload_max_bytes, content_type, int(VALID.total_seconds()))
    return upload, post


def find(session: Session, shop_id: str, upload_id: str) -> Upload:
    """An upload of the shop; raises NotFound."""
    upload = session.get(Upload, upload_id)
    if upload is None or upload.shop_id != shop_id:
        raise NotFound("There is no such upload.")
    return upload


def read(settings: Settings, store: ObjectStore, upload: Upload) -> bytes:
    """The raw bytes that were sent.

    Raises:
        Conflict: nothing has arrived yet.
        ImageTooLarge: more arrived than allowed, by a store that did not enforce the form's limit.
    """
    found = store.head(upload.key)
    if found is None:
        raise Conflict("The file has not arrived yet. Please send it first, then complete the upload.")
    if found.size > settings.upload_max_bytes:
        raise ImageTooLarge(
            f"The file has {found.size / 1e6:.0f} MB; at most {settings.upload_max_bytes / 1e6:.0f} MB can be uploaded."
        )
    return store.get(upload.key)


def complete(session: Session, upload: Upload, stored: images.StoredImage, purpose: Purpose) -> Image:
    """Turn an upload into an image; an upload that was completed before gives the image that it became."""
    # Read again in this transaction: two requests may complete the same upload.
    current = session.get_one(Upload, upload.id)
    if current.image_id is not None:
        return ImageRepository(session, current.shop_id).get(current.image_id)
    image = images.add_image(session, current.shop_id, purpose, stored)
    current.image_id = image.id
    current.completed_at = utcnow()
    return image


def remove_abandoned(database: Database, store: ObjectStore, limit: int = 100) -> int:
    """Delete uploads that were begun and never completed, and their raw files; returns how many.

    Whoever looks after what is due calls it now and then: a raw file still tells, for example, where it was taken.
    """
    now = utcnow()
    late = select(Upload).where(Upload.image_id.is_(None), Upload.expires_at < now).limit(limit)
    with database.read() as session:
        found = [(upload.id, upload.key) for upload in session.scalars(late)]
    if not found:
        return 0
    # Objects first: a row that stays behind is found again, an object without a row is not.
    store.delete(key for _, key in found)
    with database.session() as session:
        ids = [upload_id for upload_id, _ in found]
        session.execute(delete(Upload).where(Upload.id.in_(ids), Upload.image_id.is_(None)))
    return len(found)
