"""Styles: learn, list, rename, delete, take away; pairs to look at first."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse

from backend.core.db import Database, DatabaseDep, ReadSession, WriteSession
from backend.core.errors import StyleNotReady
from backend.core.pagination import Page, PageQuery
from backend.jobs.states import TERMINAL
from backend.shops.auth import CurrentShop
from backend.styles import service
from backend.styles.repository import PairRepository, StyleRepository
from backend.styles.schemas import PairIn, PairOut, StyleIn, StyleOut, StylePatch, StyleStatus
from backend.web.dependencies import SettingsDep, StoreDep
from backend.web.idempotency import IdempotencyDep
from backend.web.links import Links, LinksDep
from backend.web.responses import PreferDep
from backend.web.schemas import Id

router = APIRouter(tags=["styles"])

ADAPTER_SECONDS = 300


@router.post("/v1/styles", operation_id="createStyle", status_code=202, response_model=StyleOut)
def create_style(
    body: StyleIn,
    caller: CurrentShop,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    database: DatabaseDep,
    links: LinksDep,
    prefer: PreferDep,
) -> Response:
    """Begin to learn a style from one photo. The style is there at once; it is `ready` when its job has succeeded."""
    idempotency.begin(caller.shop_id, body)
    style = service.create_style(session, settings, caller.shop_id, body)
    session.flush()
    answer = idempotency.finish(
        session,
        service.show_style(session, style, links),
        202,
        {"Location": links.to(f"/v1/styles/{style.id}")},
    )
    return prefer.hold(answer, lambda: _reload_style(database, caller.shop_id, style.id, links))


@router.get("/v1/styles", operation_id="listStyles")
def list_styles(
    caller: CurrentShop,
    session: ReadSession,
    links: LinksDep,
    page: PageQuery,
    status: Annotated[StyleStatus | None, Query(description="Only styles with this status.")] = None,
) -> Page[StyleOut]:
    """List the shop's styles, newest first."""
    rows, cursor = StyleRepository(session, caller.shop_id).page(page, status)
    return Page(data=service.show_styles(session, rows, links), next_cursor=cursor)


@router.get("/v1/styles/{style_id}", operation_id="getStyle")
def get_style(style_id: Id, caller: CurrentShop, session: ReadSession, links: LinksDep) -> StyleOut:
    """Get a style."""
    return service.show_style(session, StyleRepository(session, caller.shop_id).get(style_id), links)


@router.patch("/v1/styles/{style_id}", operation_id="updateStyle")
def update_style(
    style_id: Id, body: StylePatch, caller: CurrentShop, session: WriteSession, links: LinksDep
) -> StyleOut:
    """Rename a style or replace its metadata."""
    style = service.change_style(session, caller.shop_id, style_id, body)
    return service.show_style(session, style, links)


@router.delete("/v1/styles/{style_id}", operation_id="deleteStyle", status_code=204)
def delete_style(style_id: Id, caller: CurrentShop, session: WriteSession) -> Response:
    """Delete a style. If it is still being learnt, that stops. Renders made with it stay."""
    service.delete_style(session, caller.shop_id, style_id)
    return Response(status_code=204)


@router.get(
    "/v1/styles/{style_id}/adapter",
    operation_id="downloadAdapter",
    status_code=302,
    response_class=RedirectResponse,
    responses={302: {"description": "To the file, at an address that works for five minutes."}},
)
def download_adapter(style_id: Id, caller: CurrentShop, session: ReadSession, store: StoreDep) -> Response:
    """Download what was learnt: a safetensors file for `pipeline.load_lora_weights` of diffusers."""
    style = StyleRepository(session, caller.shop_id).get(style_id)
    if style.status != "ready" or style.adapter_key is None:
        raise StyleNotReady(service.not_ready(style.name, style.status))
    address = store.presigned_get(style.adapter_key, ADAPTER_SECONDS, f"{style.id}.safetensors")
    return RedirectResponse(address, status_code=302, headers={"Cache-Control": "no-store"})


@router.post("/v1/pairs", operation_id="createPair", status_code=202, response_model=PairOut)
def create_pair(
    body: PairIn,
    caller: CurrentShop,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    database: DatabaseDep,
    links: LinksDep,
    prefer: PreferDep,
) -> Response:
    """Build a pair to look at, before a style is learnt from it: a matter of seconds.

    With `diffusion` a model draws the design, which takes longer; a model other than the base takes minutes and waits
    for styles that are being learnt.
    """
    idempotency.begin(caller.shop_id, body)
    pair = service.create_pair(session, settings, caller.shop_id, body)
    session.flush()
    answer = idempotency.finish(
        session, service.show_pair(session, pair, links), 202, {"Location": links.to(f"/v1/pairs/{pair.id}")}
    )
    return prefer.hold(answer, lambda: _reload_pair(database, caller.shop_id, pair.id, links))


@router.get("/v1/pairs/{pair_id}", operation_id="getPair")
def get_pair(pair_id: Id, caller: CurrentShop, session: ReadSession, links: LinksDep) -> PairOut:
    """Get a pair."""
    return service.show_pair(session, PairRepository(session, caller.shop_id).get(pair_id), links)


def _reload_style(database: Database, shop_id: str, style_id: str, links: Links) -> tuple[StyleOut, bool]:
    with database.read() as session:
        style = StyleRepository(session, shop_id).get(style_id)
        return service.show_style(session, style, links), style.status != "training"


def _reload_pair(database: Database, shop_id: str, pair_id: str, links: Links) -> tuple[PairOut, bool]:
    with database.read() as session:
        pair = PairRepository(session, shop_id).get(pair_id)
        return service.show_pair(session, pair, links), pair.status in TERMINAL
