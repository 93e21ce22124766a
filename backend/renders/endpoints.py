"""Renders: ask for one, list, look, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.core.db import Database, DatabaseDep, ReadSession, WriteSession
from backend.core.pagination import Page, PageQuery
from backend.jobs.states import TERMINAL
from backend.renders import service
from backend.renders.repository import RenderRepository
from backend.renders.schemas import RenderIn, RenderOut
from backend.shops.auth import CurrentShop
from backend.styles.schemas import JobStatus
from backend.web.dependencies import SettingsDep
from backend.web.idempotency import IdempotencyDep
from backend.web.links import Links, LinksDep
from backend.web.responses import PreferDep
from backend.web.schemas import Id

router = APIRouter(prefix="/v1/renders", tags=["renders"])


@router.post("", operation_id="createRender", status_code=202, response_model=RenderOut)
def create_render(
    body: RenderIn,
    caller: CurrentShop,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    database: DatabaseDep,
    links: LinksDep,
    prefer: PreferDep,
) -> Response:
    """Show a design, or words, in a style. The answer's `input` holds every default that was filled in."""
    idempotency.begin(caller.shop_id, body)
    render = service.create_render(session, settings, caller.shop_id, body.style, body)
    session.flush()
    answer = idempotency.finish(
        session,
        service.show_render(session, render, links),
        202,
        {"Location": links.to(f"/v1/renders/{render.id}")},
    )
    return prefer.hold(answer, lambda: reload_render(database, caller.shop_id, render.id, links))


@router.get("", operation_id="listRenders")
def list_renders(
    caller: CurrentShop,
    session: ReadSession,
    links: LinksDep,
    page: PageQuery,
    style: Annotated[Id | None, Query(description="Only renders in this style.")] = None,
    status: Annotated[JobStatus | None, Query(description="Only renders with this status.")] = None,
) -> Page[RenderOut]:
    """List the shop's renders, newest first."""
    rows, cursor = RenderRepository(session, caller.shop_id).page(page, style=style, status=status)
    return Page(data=service.show_renders(session, rows, links), next_cursor=cursor)


@router.get("/{render_id}", operation_id="getRender")
def get_render(render_id: Id, caller: CurrentShop, session: ReadSession, links: LinksDep) -> RenderOut:
    """Get a render."""
    return service.show_render(session, RenderRepository(session, caller.shop_id).get(render_id), links)


@router.delete("/{render_id}", operation_id="deleteRender", status_code=204)
def delete_render(render_id: Id, caller: CurrentShop, session: WriteSession) -> Response:
    """Delete a render. If it still runs, it is stopped."""
    service.delete_render(session, caller.shop_id, render_id)
    return Response(status_code=204)


def reload_render(database: Database, shop_id: str, render_id: str, links: Links) -> tuple[RenderOut, bool]:
    """The render as it stands now, and whether its job has ended; for answers that wait."""
    with database.read() as session:
        render = RenderRepository(session, shop_id).get(render_id)
        return service.show_render(session, render, links), render.status in TERMINAL
