"""Links for customers: the customer's side. The token in the address is the permission."""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Header, Path, Request, Response, UploadFile
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.core.db import Database, DatabaseDep, ReadSession, WriteSession
from backend.core.pagination import Page, PageQuery
from backend.images import service as images
from backend.images.schemas import ImageOut
from backend.jobs import stream
from backend.jobs.endpoints import Listener, listen
from backend.jobs.states import TERMINAL
from backend.models import Share
from backend.renders import service as renders
from backend.renders.repository import RenderRepository
from backend.shares import service
from backend.shares.schemas import ApproveIn, SharedOut, SharedRender, SharedRenderIn
from backend.shops.auth import count_share_request, live_share
from backend.web.dependencies import LimiterDep, SettingsDep, StoreDep
from backend.web.idempotency import IdempotencyDep
from backend.web.links import Links, LinksDep
from backend.web.responses import PreferDep
from backend.web.schemas import Id

router = APIRouter(prefix="/v1/shared/{token}", tags=["shared"])


def share_of_token(
    token: Annotated[str, Path(min_length=1, max_length=200, description="The token of a share link.")],
    request: Request,
    database: DatabaseDep,
    limiter: LimiterDep,
) -> Share:
    """FastAPI dependency: the share that the address's token opens."""
    with database.read() as session:
        share = live_share(session, limiter, request, token)
    count_share_request(request, limiter, share)
    return share


LiveShare = Annotated[Share, Depends(share_of_token)]


@router.get("", operation_id="getShared")
def get_shared(share: LiveShare, session: ReadSession, links: LinksDep) -> SharedOut:
    """See what was shared."""
    return service.show(session, share, links)


@router.post(
    "/images",
    operation_id="createSharedImage",
    status_code=201,
    response_model=ImageOut,
)
def create_shared_image(
    share: LiveShare,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    store: StoreDep,
    links: LinksDep,
    file: Annotated[UploadFile, File(description="JPEG, PNG, WebP or HEIC; up to 25 MB and 40 megapixels.")],
    purpose: Annotated[Literal["design"], Form(description="Customers send designs.")] = "design",
) -> Response:
    """Send a design, for links that may `upload`."""
    service.require(share, "upload")
    data = file.file.read()
    idempotency.begin(share.shop_id, hashlib.sha256(data).digest(), scope=f"{share.id}:")
    stored = images.store_image(settings, store, share.shop_id, data)
    image = images.add_image(session, share.shop_id, purpose, stored)
    return idempotency.finish(session, ImageOut.of(image, links), 201)


@router.post("/renders", operation_id="createSharedRender", status_code=202, response_model=SharedRender)
def create_shared_render(
    body: SharedRenderIn,
    share: LiveShare,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    database: DatabaseDep,
    links: LinksDep,
    prefer: PreferDep,
) -> Response:
    """Show a design of one's own in the shared style: words for links that may `brief`, pictures that may `upload`."""
    idempotency.begin(share.shop_id, body, scope=f"{share.id}:")
    render = service.create_render(session, settings, share, body)
    session.flush()
    shown = SharedRender.of(renders.show_render(session, render, links))
    answer = idempotency.finish(session, shown, 202)
    return prefer.hold(answer, lambda: _reload(database, share.shop_id, render.id, links))


@router.get("/renders", operation_id="listSharedRenders")
def list_shared_renders(share: LiveShare, session: ReadSession, links: LinksDep, page: PageQuery) -> Page[SharedRender]:
    """List what was made through this link, newest first."""
    rows, cursor = RenderRepository(session, share.shop_id).page(page, share=share.id)
    shown = [SharedRender.of(render) for render in renders.show_renders(session, rows, links)]
    return Page(data=shown, next_cursor=cursor)


@router.get("/renders/{render_id}", operation_id="getSharedRender")
def get_shared_render(render_id: Id, share: LiveShare, session: ReadSession, links: LinksDep) -> SharedRender:
    """Get the shared render, or one that was made through this link."""
    render = service.find_render(session, share, render_id)
    return SharedRender.of(renders.show_render(session, render, links))


def shared_listener(
    render_id: Id,
    share: LiveShare,
    database: DatabaseDep,
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="The last event received; the stream goes on behind it.")
    ] = None,
) -> Listener:
    """FastAPI dependency: someone who may watch the job of this render."""
    with database.read() as session:
        render = service.find_render(session, share, render_id)
    return listen(database, render.job_id or "", last_event_id)


@router.get(
    "/renders/{render_id}/events",
    operation_id="watchSharedRender",
    response_class=EventSourceResponse,
    responses={204: {"description": "Everything was received already, and nothing more will come."}},
)
async def watch_shared_render(
    listener: Annotated[Listener, Depends(shared_listener)], links: LinksDep
) -> AsyncIterator[ServerSentEvent]:
    """Watch a render being made, as server-sent events; the same as those of /v1/jobs/{id}/events."""
    async for event in stream.watch(listener.database, listener.job_id, links, listener.last_id):
        yield event


@router.post("/approve", operation_id="approveShared")
def approve_shared(body: ApproveIn, share: LiveShare, session: WriteSession, links: LinksDep) -> SharedOut:
    """Say yes, for links that may `approve`. Saying it again replaces what was said."""
    current = session.get_one(Share, share.id)
    service.approve(session, current, body)
    session.flush()
    return service.show(session, current, links)


def _reload(database: Database, shop_id: str, render_id: str, links: Links) -> tuple[SharedRender, bool]:
    with database.read() as session:
        render = RenderRepository(session, shop_id).get(render_id)
        return SharedRender.of(renders.show_render(session, render, links)), render.status in TERMINAL
