"""Large files: ask for a form, send the file to the object store, complete."""

from typing import cast

from fastapi import APIRouter, Response

from backend.core.db import DatabaseDep, WriteSession, run_after_commit
from backend.core.errors import ImageRejected
from backend.images import service as images
from backend.images.repository import ImageRepository
from backend.images.schemas import ImageOut, Purpose
from backend.shops.auth import CurrentShop
from backend.uploads import service
from backend.uploads.schemas import UploadIn, UploadOut
from backend.web.dependencies import SettingsDep, StoreDep
from backend.web.idempotency import IdempotencyDep
from backend.web.links import LinksDep
from backend.web.schemas import Id

router = APIRouter(prefix="/v1/uploads", tags=["images"])


@router.post("", operation_id="createUpload", status_code=201, response_model=UploadOut)
def create_upload(
    body: UploadIn,
    caller: CurrentShop,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    store: StoreDep,
) -> Response:
    """Ask for a form that takes a file straight to the object store. It is valid for an hour."""
    idempotency.begin(caller.shop_id, body)
    upload, post = service.begin(session, settings, store, caller.shop_id, body.purpose, body.content_type)
    answer = UploadOut(
        id=upload.id,
        purpose=body.purpose,
        url=post.url,
        fields=post.fields,
        max_bytes=settings.upload_max_bytes,
        expires_at=upload.expires_at,
    )
    return idempotency.finish(session, answer, 201)


@router.post("/{upload_id}/complete", operation_id="completeUpload", status_code=201)
def complete_upload(
    upload_id: Id,
    caller: CurrentShop,
    database: DatabaseDep,
    session: WriteSession,
    settings: SettingsDep,
    store: StoreDep,
    links: LinksDep,
) -> ImageOut:
    """Say that the file has been sent: it is checked like any other picture and becomes an image.

    Completing an upload again gives the same image.
    """
    with database.read() as reading:
        upload = service.find(reading, caller.shop_id, upload_id)
        if upload.image_id is not None:
            return ImageOut.of(ImageRepository(reading, caller.shop_id).get(upload.image_id), links)
    try:
        stored = images.store_image(settings, store, caller.shop_id, service.read(settings, store, upload))
    except ImageRejected:
        # What was refused is of no use to anyone; the caller may send another file with the same form.
        store.delete([upload.key])
        raise
    image = service.complete(session, upload, stored, cast("Purpose", upload.purpose))
    # The raw file, metadata and all, has served its purpose.
    run_after_commit(session, lambda: store.delete([upload.key]))
    return ImageOut.of(image, links)
