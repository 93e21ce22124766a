"""Links for customers: the shop's side."""

from fastapi import APIRouter, Response

from backend.core.db import ReadSession, WriteSession
from backend.core.pagination import Page, PageQuery
from backend.shares import service
from backend.shares.repository import ShareRepository
from backend.shares.schemas import ShareIn, ShareOut
from backend.shops.auth import CurrentShop
from backend.web.dependencies import SettingsDep
from backend.web.idempotency import IdempotencyDep
from backend.web.links import LinksDep
from backend.web.schemas import Id

router = APIRouter(prefix="/v1/shares", tags=["shares"])


@router.post("", operation_id="createShare", status_code=201, response_model=ShareOut)
def create_share(
    body: ShareIn,
    caller: CurrentShop,
    idempotency: IdempotencyDep,
    session: WriteSession,
    settings: SettingsDep,
    links: LinksDep,
) -> Response:
    """Make a link for a customer. The token in `url` is shown this once."""
    idempotency.begin(caller.shop_id, body)
    share, token = service.create_share(session, settings, caller.shop_id, body)
    session.flush()
    return idempotency.finish(session, ShareOut.of(share, links.to(f"/s/{token}")), 201)


@router.get("", operation_id="listShares")
def list_shares(caller: CurrentShop, session: ReadSession, page: PageQuery) -> Page[ShareOut]:
    """List the shop's links, newest first, revoked and expired ones included."""
    rows, cursor = ShareRepository(session, caller.shop_id).page(page)
    return Page(data=[ShareOut.of(row) for row in rows], next_cursor=cursor)


@router.get("/{share_id}", operation_id="getShare")
def get_share(share_id: Id, caller: CurrentShop, session: ReadSession) -> ShareOut:
    """Get a link; its token is not told again."""
    return ShareOut.of(ShareRepository(session, caller.shop_id).get(share_id))


@router.delete("/{share_id}", operation_id="revokeShare", status_code=204)
def revoke_share(share_id: Id, caller: CurrentShop, session: WriteSession) -> Response:
    """Let a link stop working at once."""
    service.revoke_share(session, caller.shop_id, share_id)
    return Response(status_code=204)
