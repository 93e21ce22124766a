"""Showing designs in styles: check every field, fill in the defaults, queue the job."""

import secrets
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from sqlalchemy.orm import Session

from backend.bases.service import BaseInfo, find_base
from backend.core.config import Settings
from backend.core.db import utcnow
from backend.core.errors import BriefInvalid, InvalidInput, StyleNotReady
from backend.core.ids import new_id
from backend.images.repository import ImageRepository
from backend.jobs import service as jobs
from backend.models import Image, Job, Render, Style
from backend.renders.placement import check_placement
from backend.renders.repository import RenderRepository
from backend.renders.schemas import GarmentIn, ImageInput, RenderOptions, RenderOut
from backend.styles.repository import StyleRepository
from backend.styles.schemas import Preset
from backend.styles.service import jobs_of, not_ready
from backend.usage import quotas
from backend.usage import repository as usage
from backend.web.links import Links

T = TypeVar("T")

BRIEF_LIMIT: Final = 500


def create_render(
    session: Session,
    settings: Settings,
    shop_id: str,
    style_id: str,
    body: RenderOptions,
    *,
    share_id: str | None = None,
) -> Render:
    """Queue a render.

    Raises:
        NotFound: the style or a picture does not exist.
        InvalidInput: a picture was uploaded for something else, or a field is out of its range.
        StyleNotReady: the style is still being learnt, failed, or was cancelled.
        BriefInvalid: the brief is empty or too long.
        PlacementOutside: the embroidery would not lie on the garment's picture.
        QuotaExceeded: the shop's jobs or computing time are used up.
    """
    style = StyleRepository(session, shop_id).require(style_id, "body.style")
    if style.status != "ready" or style.adapter_key is None:
        raise StyleNotReady(not_ready(style.name, style.status), style=style.id, style_status=style.status)
    images = ImageRepository(session, shop_id)
    shown, worked = _input(images, body)
    garment_shown, garment_worked = _garment(images, body.garment)
    numbers = _numbers(find_base(settings, style.base), style, body, shown["type"])
    quotas.check_jobs(session, shop_id)
    common = {"base": style.base, "variations": body.variations, **numbers}
    now = utcnow()
    render = Render(
        id=new_id("rnd"),
        shop_id=shop_id,
        style_id=style.id,
        status="queued",
        input={
            "style": style.id,
            "adapter_sha256": style.adapter_sha256,
            "input": shown,
            "garment": garment_shown,
            **common,
        },
        variations=body.variations,
        seed=numbers["seed"],
        preset=numbers["preset"],
        warnings=[],
        meta=dict(body.metadata),
        share_id=share_id,
        created_at=now,
    )
    RenderRepository(session, shop_id).add(render)
    job = jobs.create_job(
        session,
        shop_id=shop_id,
        kind="render",
        target_id=render.id,
        queue="render",
        input={
            "style_id": style.id,
            "adapter_key": style.adapter_key,
            "adapter_sha256": style.adapter_sha256,
            "input": worked,
            "garment": garment_worked,
            # Who names numbers gets them, in a draft too.
            "few_steps": body.steps is None and body.guidance is None,
            **common,
        },
    )
    render.job_id = job.id
    usage.count(session, shop_id, now.date(), renders=1)
    return render


def delete_render(session: Session, shop_id: str, render_id: str) -> None:
    """Take a render out of the lists and stop it if it still runs."""
    render = RenderRepository(session, shop_id).get(render_id)
    render.deleted_at = utcnow()
    job = session.get(Job, render.job_id) if render.job_id else None
    if job is not None:
        session.flush()
        jobs.request_cancel(session, job)


def show_renders(session: Session, renders: Sequence[Render], links: Links) -> list[RenderOut]:
    """Show rows of one shop, with what belongs to them read at once."""
    if not renders:
        return []
    shop_id = renders[0].shop_id
    outputs = RenderRepository(session, shop_id).outputs(render.id for render in renders)
    designs = [str(render.input.get("input", {}).get("image", "")) for render in renders]
    images = ImageRepository(session, shop_id).by_ids(filter(None, designs))
    found = jobs_of(session, [render.job_id for render in renders])
    return [
        RenderOut.of(render, links, outputs.get(render.id, []), images, found.get(render.job_id or ""))
        for render in renders
    ]


def show_render(session: Session, render: Render, links: Links) -> RenderOut:
    """Show one row."""
    return show_renders(session, [render], links)[0]


def _input(images: ImageRepository, body: RenderOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The input as it is shown (ids) and as the worker gets it (keys)."""
    if isinstance(body.input, ImageInput):
        design = images.require(body.input.image, ["design", "artwork"], "body.input.image")
        return {"type": "image", "image": design.id}, {"type": "image", "image_key": design.key}
    brief = " ".join(body.input.brief.split())
    if not brief or len(brief) > BRIEF_LIMIT:
        problem = "is empty" if not brief else f"has {len(brief)} characters"
        raise BriefInvalid(
            "Please say in a few words what to show, for example “a red fox”."
            if not brief
            else f"The description has {len(brief)} characters; at most {BRIEF_LIMIT} can be used. Please shorten it.",
            errors=[{"field": "body.input.brief", "message": problem}],
        )
    text = {"type": "text", "brief": brief}
    return text, dict(text)


def _garment(images: ImageRepository, garment: GarmentIn | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if garment is None:
        return None, None
    picture: Image = images.require(garment.image, ["garment"], "body.garment.image")
    corners = check_placement(garment.placement, picture.width, picture.height)
    placement = garment.placement.model_dump(mode="json", exclude_none=True)
    if "center" in placement:
        placement.setdefault("rotation_deg", 0.0)
    rest = {"placement": placement, "width_mm": garment.width_mm}
    # The corners are what a page that draws an outline goes by.
    shown = {"image": picture.id, "corners": [list(corner) for corner in corners], **rest}
    return shown, {"image_key": picture.key, **rest}


def _numbers(base: BaseInfo, style: Style, body: RenderOptions, input_type: str) -> dict[str, Any]:
    """Every number of the render, the ones that were left out filled in."""
    preset: Preset = body.preset or ("raised" if style.preset == "raised" else "flat")
    defaults = base.render_defaults(preset, input_type)
    size = body.size or base.resolution * (2 if body.quality == "final" else 1)
    if size > 2 * base.resolution:
        raise InvalidInput(
            f"This style's base draws up to {2 * base.resolution} pixels. Please choose a smaller size.",
            errors=[{"field": "body.size", "message": f"is more than {2 * base.resolution}"}],
        )
    control = body.control
    return {
        "preset": preset,
        # 31 bits: every library that draws from it takes such a number.
        "seed": body.seed if body.seed is not None else secrets.randbits(31),
        "steps": _given(body.steps, defaults.steps),
        "strength": _given(body.strength, defaults.strength),
        "guidance": _given(body.guidance, defaults.guidance),
        "control": {
            "edge": _given(control.edge if control else None, defaults.edge),
            "tile": _given(control.tile if control else None, defaults.tile),
        },
        "colour_fix": _given(body.colour_fix, defaults.colour_fix),
        "quality": body.quality,
        "size": size,
    }


def _given(value: T | None, default: T) -> T:
    return default if value is None else value
