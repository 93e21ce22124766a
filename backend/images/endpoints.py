"""Pictures: upload, look at, delete."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Response, UploadFile

from backend.core.db import ReadSession, WriteSession
from backend.core.pagination import Page, PageQuery
from backend.images import service
from backend.images.repository import ImageRepository
from backend.images.schemas import ImageOut, Purpose
from backend.shops.auth import CurrentShop
from backend.web.dependencies import SettingsDep, StoreDep
from backend.web.idempotency import IdempotencyDep
from backend.web.links import LinksDep
from backend.web.schemas import Id

router = APIRouter(prefix="/v1/images", tags=["images"])


@router.post("", operation_id="createImage", status_code=201, response_model=ImageOut)
def create_image(
    caller: CurrentShop,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    store: StoreDep,
    links: LinksDep,
    file: Annotated[UploadFile, File(description="JPEG, PNG, WebP or HEIC; up to 25 MB and 40 megapixels.")],
    purpose: Annotated[Purpose, Form(description="What the picture is for.")],
) -> Response:
    """Upload a picture (multipart/form-data).

    It is decoded under limits, turned upright, freed of metadata and encoded anew. The same picture uploaded again for
    the same purpose gives the same image.
    """
    data = file.file.read()
    idempotency.begin(caller.shop_id, purpose.encode() + hashlib.sha256(data).digest())
    stored = service.store_image(settings, store, caller.shop_id, data)
    image = service.add_image(session, caller.shop_id, purpose, stored)
    return idempotency.finish(session, ImageOut.of(image, links), 201, {"Location": links.to(f"/v1/images/{image.id}")})


@router.get("", operation_id="listImages")
def list_images(
    caller: CurrentShop,
    session: ReadSession,
    links: LinksDep,
    page: PageQuery,
    purpose: Annotated[Purpose | None, Query(description="Only pictures for this purpose.")] = None,
) -> Page[ImageOut]:
    """List the shop's pictures, newest first."""
    rows, cursor = ImageRepository(session, caller.shop_id).page(page, purpose)
    return Page(data=[ImageOut.of(row, links) for row in rows], next_cursor=cursor)


@router.get("/{image_id}", operation_id="getImage")
def get_image(image_id: Id, caller: CurrentShop, session: ReadSession, links: LinksDep) -> ImageOut:
    """Get a picture and a fresh address of it."""
    return ImageOut.of(ImageRepository(session, caller.shop_id).get(image_id), links)


@router.delete("/{image_id}", operation_id="deleteImage", status_code=204)
def delete_image(image_id: Id, caller: CurrentShop, session: WriteSession) -> Response:
    """Delete a picture. Styles and renders made from it keep showing it."""
    service.delete_image(session, caller.shop_id, image_id)
    return Response(status_code=204)
