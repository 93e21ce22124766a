"""Learning, changing and deleting styles; looking at pairs first."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.bases.service import BaseInfo, draws_designs, require_base
from backend.core.config import Settings
from backend.core.db import utcnow
from backend.core.errors import InvalidInput
from backend.core.ids import new_id
from backend.images.repository import ImageRepository
from backend.jobs import service as jobs
from backend.models import Image, Job, Pair, Style
from backend.styles.repository import PairRepository, StyleRepository
from backend.styles.schemas import Builder, PairIn, PairOut, StyleIn, StyleOut, StylePatch
from backend.usage import quotas
from backend.usage import repository as usage
from backend.web.links import Links


def create_style(session: Session, settings: Settings, shop_id: str, body: StyleIn) -> Style:
    """Begin to learn a style.

    Raises:
        NotFound: a picture does not exist.
        InvalidInput: no such base, the wrong kind of picture, or the pair builder lacks its artwork or its model.
        QuotaExceeded: the shop's jobs or computing time are used up.
    """
    reference, artwork, builder = _sides(session, shop_id, body.reference_image, body.artwork_image, body.pair_builder)
    pictures = ImageRepository(session, shop_id)
    more = [pictures.require(image, ["reference"], "body.more_images") for image in body.more_images]
    base = require_base(settings, body.base)
    _check_model(settings, base, builder)
    quotas.check_jobs(session, shop_id)
    now = utcnow()
    style = Style(
        id=new_id("sty"),
        shop_id=shop_id,
        name=body.name,
        status="training",
        reference_image_id=reference.id,
        artwork_image_id=artwork.id if artwork else None,
        more_image_ids=[image.id for image in more],
        pair_builder=builder,
        preset=body.preset,
        base=base.name,
        seed=body.seed,
        caption=body.caption or None,
        blocks=[],
        report={},
        samples=[],
        meta=dict(body.metadata),
        demo=False,
        created_at=now,
        updated_at=now,
    )
    StyleRepository(session, shop_id).add(style)
    job = jobs.create_job(
        session,
        shop_id=shop_id,
        kind="train",
        target_id=style.id,
        queue="train",
        input={
            "reference_key": reference.key,
            "artwork_key": artwork.key if artwork else None,
            "pair_builder": builder,
            "preset": body.preset,
            "base": base.name,
            "seed": body.seed,
            "caption": style.caption,
            "more_keys": [image.key for image in more],
            "training": settings.style_preset,
        },
    )
    style.job_id = job.id
    usage.count(session, shop_id, now.date(), trainings=1)
    return style


def change_style(session: Session, shop_id: str, style_id: str, body: StylePatch) -> Style:
    """Rename a style or replace its metadata; raises NotFound."""
    style = StyleRepository(session, shop_id).get(style_id)
    if body.name is not None:
        style.name = body.name
    if body.metadata is not None:
        style.meta = dict(body.metadata)
    style.updated_at = utcnow()
    return style


def delete_style(session: Session, shop_id: str, style_id: str) -> None:
    """Take a style out of the lists and stop learning it. Renders made with it stay."""
    style = StyleRepository(session, shop_id).get(style_id)
    style.deleted_at = utcnow()
    job = session.get(Job, style.job_id) if style.job_id else None
    if job is not None:
        session.flush()
        jobs.request_cancel(session, job)


def create_pair(session: Session, settings: Settings, shop_id: str, body: PairIn) -> Pair:
    """Begin to build a pair to look at; raises like `create_style`."""
    reference, artwork, builder = _sides(
        session, shop_id, body.reference_image, body.artwork_image, body.builder, field="body.builder"
    )
    base = require_base(settings, body.base)
    _check_model(settings, base, builder, field="body.builder")
    quotas.check_jobs(session, shop_id)
    pair = Pair(
        id=new_id("pair"),
        shop_id=shop_id,
        reference_image_id=reference.id,
        artwork_image_id=artwork.id if artwork else None,
        builder=builder,
        status="queued",
        report={},
        created_at=utcnow(),
    )
    PairRepository(session, shop_id).add(pair)
    job = jobs.create_job(
        session,
        shop_id=shop_id,
        kind="pair",
        target_id=pair.id,
        queue=_queue_of_pair(settings, base, builder),
        input={
            "reference_key": reference.key,
            "artwork_key": artwork.key if artwork else None,
            "builder": builder,
            "base": base.name,
            "caption": body.caption or None,
            "seed": body.seed,
        },
    )
    pair.job_id = job.id
    return pair


def show_styles(session: Session, styles: Sequence[Style], links: Links) -> list[StyleOut]:
    """Show rows of one shop, with their pictures and jobs read at once."""
    if not styles:
        return []
    wanted = [style.reference_image_id for style in styles]
    wanted += [style.artwork_image_id for style in styles if style.artwork_image_id is not None]
    images = ImageRepository(session, styles[0].shop_id).by_ids(wanted)
    found = jobs_of(session, [style.job_id for style in styles])
    return [StyleOut.of(style, links, images, found.get(style.job_id or "")) for style in styles]


def show_style(session: Session, style: Style, links: Links) -> StyleOut:
    """Show one row."""
    return show_styles(session, [style], links)[0]


def show_pair(session: Session, pair: Pair, links: Links) -> PairOut:
    """Show one row."""
    return PairOut.of(pair, links, session.get(Job, pair.job_id) if pair.job_id else None)


def jobs_of(session: Session, ids: Sequence[str | None]) -> dict[str, Job]:
    """Jobs by id."""
    wanted = [job_id for job_id in ids if job_id is not None]
    if not wanted:
        return {}
    return {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(wanted)))}


def not_ready(name: str, status: str) -> str:
    """Why a style cannot be used yet, or at all."""
    if status == "training":
        return f"“{name}” is still being learnt. Please try again when it is ready."
    if status == "failed":
        return f"“{name}” could not be learnt, so it cannot be used. Please start a new style."
    return f"Learning “{name}” was stopped, so it cannot be used. Please start a new style."


def _sides(
    session: Session,
    shop_id: str,
    reference_image: str,
    artwork_image: str | None,
    builder: Builder | None,
    field: str = "body.pair_builder",
) -> tuple[Image, Image | None, Builder]:
    images = ImageRepository(session, shop_id)
    reference = images.require(reference_image, ["reference"], "body.reference_image")
    artwork = images.require(artwork_image, ["artwork"], "body.artwork_image") if artwork_image else None
    if builder == "artwork" and artwork is None:
        raise InvalidInput(
            "To compare with the artwork, please upload the artwork too; or let the flat design be made from the "
            "photo.",
            errors=[{"field": field, "message": "`artwork` needs `artwork_image`"}],
        )
    return reference, artwork, builder or ("artwork" if artwork else "flatten")


def _queue_of_pair(settings: Settings, base: BaseInfo, builder: Builder) -> Literal["train", "io"]:
    """Where a pair is built: beside the renders, if that takes no longer than a render.

    A design model of its own is loaded for every design, and has the GPU for minutes. Staff who are about to begin a
    training can wait among trainings; a customer's preview must not wait for them.
    """
    return "train" if builder == "diffusion" and settings.design_base not in ("", base.name) else "io"


def _check_model(settings: Settings, base: BaseInfo, builder: Builder, field: str = "body.pair_builder") -> None:
    if builder == "diffusion" and not draws_designs(settings, base):
        raise InvalidInput(
            f"The base model “{base.title}” cannot draw the flat design by itself. Please upload the artwork, or let "
            "the flat design be made from the photo.",
            errors=[{"field": field, "message": "`diffusion` needs a base model that draws from words"}],
        )
