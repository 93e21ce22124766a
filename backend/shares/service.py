"""Links for customers: make, revoke, and what may be done through them."""

from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from backend.core.config import Settings
from backend.core.db import utcnow
from backend.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from backend.core.ids import new_id
from backend.core.security import SHARE_PREFIX, new_token, token_sha256
from backend.models import Render, Share
from backend.renders import service as renders
from backend.renders.repository import RenderRepository
from backend.renders.schemas import GarmentIn, ImageInput, Placement, RenderOptions
from backend.shares.repository import ShareRepository
from backend.shares.schemas import (
    Approval,
    ApproveIn,
    Permission,
    SharedOut,
    SharedRender,
    SharedRenderIn,
    SharedShop,
    SharedStyle,
    ShareIn,
)
from backend.shops.repository import get_shop
from backend.styles import service as styles
from backend.styles.repository import StyleRepository
from backend.web.links import Links
from backend.webhooks import outbox

_SENTENCES: dict[str, str] = {
    "brief": "This link does not let you describe designs of your own. Please ask the shop.",
    "upload": "This link does not let you send pictures. Please ask the shop.",
    "approve": "This link does not let you approve anything. Please ask the shop.",
    "preview": "This link does not show anything. Please ask the shop.",
}


def create_share(session: Session, settings: Settings, shop_id: str, body: ShareIn) -> tuple[Share, str]:
    """Make a link; returns its row and the token, which is not kept.

    Raises:
        NotFound: no such style or render.
        InvalidInput: valid for longer than the settings allow.
    """
    if body.expires_in > settings.share_max_days * 86_400:
        raise InvalidInput(
            f"A link may be valid for {settings.share_max_days} days at most. Please choose a shorter time.",
            errors=[{"field": "body.expires_in", "message": f"is more than {settings.share_max_days} days"}],
        )
    if body.style is not None:
        StyleRepository(session, shop_id).require(body.style, "body.style")
    if body.render is not None:
        RenderRepository(session, shop_id).get(body.render)
    token = new_token(SHARE_PREFIX)
    now = utcnow()
    share = Share(
        id=new_id("shr"),
        shop_id=shop_id,
        style_id=body.style,
        render_id=body.render,
        # To look is what every link is for.
        may=sorted({*body.may, "preview"}),
        token_sha256=token_sha256(token),
        expires_at=now + timedelta(seconds=body.expires_in),
        created_at=now,
    )
    ShareRepository(session, shop_id).add(share)
    return share, token


def revoke_share(session: Session, shop_id: str, share_id: str) -> None:
    """Let a link stop working; doing it again changes nothing."""
    share = ShareRepository(session, shop_id).get(share_id)
    share.revoked_at = share.revoked_at or utcnow()


def show(session: Session, share: Share, links: Links) -> SharedOut:
    """What a link shows; raises NotFound when what it was for has been deleted."""
    require(share, "preview")
    style = render = None
    try:
        if share.style_id is not None:
            found = StyleRepository(session, share.shop_id).get(share.style_id)
            style = SharedStyle.of(styles.show_style(session, found, links))
        else:
            row = RenderRepository(session, share.shop_id).get(share.render_id or "")
            render = SharedRender.of(renders.show_render(session, row, links))
    except NotFound as error:
        raise NotFound("What this link showed is not there any more. Please ask the shop.") from error
    return SharedOut(
        kind="style" if style else "render",
        shop=SharedShop(name=get_shop(session, share.shop_id).name),
        style=style,
        render=render,
        may=share.may,
        expires_at=share.expires_at,
        approved_at=share.approved_at,
        approval=Approval.model_validate(share.approval) if share.approval else None,
    )


def create_render(session: Session, settings: Settings, share: Share, body: SharedRenderIn) -> Render:
    """Queue a customer's render.

    Raises:
        Forbidden: the link does not allow this kind of input.
        NotFound: what it was for has been deleted, or the picture did not come through this shop.
    """
    require(share, "upload" if isinstance(body.input, ImageInput) else "brief")
    style_id, garment = _target(session, share)
    options = RenderOptions(
        input=body.input, variations=body.variations, seed=body.seed, garment=garment, quality="final"
    )
    return renders.create_render(session, settings, share.shop_id, style_id, options, share_id=share.id)


def find_render(session: Session, share: Share, render_id: str) -> Render:
    """A render that was shared, or was made through the link; raises NotFound."""
    render = RenderRepository(session, share.shop_id).get(render_id)
    if render.share_id != share.id and render.id != share.render_id:
        raise NotFound("There is no such render.")
    return render


def approve(session: Session, share: Share, body: ApproveIn) -> None:
    """Note that the customer said yes, and tell the shop's other programs. The last word counts.

    Raises:
        Forbidden: the link does not allow it.
        NotFound: no such render, or no such variation.
        Conflict: the render is not finished.
    """
    require(share, "approve")
    render_id = body.render or share.render_id
    if render_id is not None:
        render = find_render(session, share, render_id)
        if render.status != "succeeded":
            raise Conflict("This picture is not finished yet, so it cannot be approved. Please wait a moment.")
        if body.index is not None and body.index >= render.variations:
            raise NotFound("There is no such variation.")
    elif body.index is not None:
        raise InvalidInput(
            "Please say which picture you approve.",
            errors=[{"field": "body.render", "message": "is needed with `index`"}],
        )
    approval: dict[str, Any] = {"render": render_id, "index": body.index, "name": body.name, "note": body.note}
    share.approval = approval
    share.approved_at = utcnow()
    outbox.emit(
        session,
        share.shop_id,
        "share.approved",
        {"share": share.id, "style": share.style_id, "approved_at": share.approved_at.isoformat(), **approval},
    )


def require(share: Share, permission: Permission) -> None:
    """Raise Forbidden when the link does not carry a permission."""
    if permission not in share.may:
        raise Forbidden(_SENTENCES[permission])


def _target(session: Session, share: Share) -> tuple[str, GarmentIn | None]:
    """The style that a customer's render is made in, and the garment it is shown on."""
    if share.style_id is not None:
        return share.style_id, None
    try:
        render = RenderRepository(session, share.shop_id).get(share.render_id or "")
    except NotFound as error:
        raise NotFound("What this link showed is not there any more. Please ask the shop.") from error
    garment = render.input.get("garment")
    if garment is None:
        return render.style_id, None
    return render.style_id, GarmentIn(
        image=garment["image"],
        placement=Placement.model_validate(garment["placement"]),
        width_mm=garment["width_mm"],
    )
