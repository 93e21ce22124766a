"""Which base models there are."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from backend.bases import service
from backend.bases.service import BaseInfo, RenderPreset
from backend.core.config import MOST_PHOTOS, Settings
from backend.shops.auth import CurrentShop
from backend.web.dependencies import SettingsDep

router = APIRouter(prefix="/v1/bases", tags=["bases"])


class ControlOut(BaseModel):
    """Weights of the control branches."""

    edge: float
    tile: float


class DefaultsOut(BaseModel):
    """What a render's fields are when they are left out."""

    steps: int
    strength: float
    guidance: float
    control: ControlOut
    colour_fix: bool
    size: int


class BaseOut(BaseModel):
    """A base model."""

    name: str
    title: str
    default: bool
    bundled: bool
    resolution: int
    licence: str
    pair_builders: list[Literal["artwork", "flatten", "diffusion"]]
    most_photos: int = Field(description="That one style is learnt from, the first one included.")
    defaults: dict[Literal["flat", "raised", "text"], DefaultsOut]


class BaseList(BaseModel):
    """All base models; there is never a second page."""

    data: list[BaseOut]


@router.get("", operation_id="listBases")
def list_bases(_caller: CurrentShop, settings: SettingsDep) -> BaseList:
    """List the base models, the default first, each with the numbers that a render starts from."""
    return BaseList(
        data=[
            BaseOut(
                name=base.name,
                title=base.title,
                default=position == 0,
                bundled=base.bundled,
                resolution=base.resolution,
                licence=base.licence,
                pair_builders=["artwork", "flatten", *_drawing(settings, base)],
                most_photos=MOST_PHOTOS,
                defaults={
                    "flat": _defaults(base, "flat", "image"),
                    "raised": _defaults(base, "raised", "image"),
                    "text": _defaults(base, "flat", "text"),
                },
            )
            for position, base in enumerate(service.all_bases(settings))
        ]
    )


def _drawing(settings: Settings, base: BaseInfo) -> list[Literal["diffusion"]]:
    return ["diffusion"] if service.draws_designs(settings, base) else []


def _defaults(base: BaseInfo, preset: RenderPreset, input_type: str) -> DefaultsOut:
    numbers = base.render_defaults(preset, input_type)
    return DefaultsOut(
        steps=numbers.steps,
        strength=numbers.strength,
        guidance=numbers.guidance,
        control=ControlOut(edge=numbers.edge, tile=numbers.tile),
        colour_fix=numbers.colour_fix,
        size=base.resolution,
    )
