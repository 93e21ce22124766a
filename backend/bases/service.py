"""Which base models there are, and the numbers a render starts from on each.

The bundled base says about itself what it is, in its `hoop.json`; any other is a hub id or folder from the settings.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from backend.core.config import Settings
from backend.core.errors import InvalidInput

BUNDLED: Final = "hoop-mini"

RenderPreset = Literal["flat", "raised"]


@dataclass(frozen=True, slots=True)
class RenderDefaults:
    """What a render's fields are when they are left out; worker.engine.config.RenderConfig tells what they mean."""

    steps: int
    strength: float
    guidance: float
    edge: float
    tile: float
    colour_fix: bool


_PAPER: Final = {
    # Section 5 of arXiv 2509.18948.
    "flat": RenderDefaults(steps=30, strength=0.95, guidance=7.0, edge=0.5, tile=0.5, colour_fix=True),
    "raised": RenderDefaults(steps=30, strength=0.85, guidance=7.0, edge=0.0, tile=0.4, colour_fix=False),
    "text": RenderDefaults(steps=30, strength=1.0, guidance=7.0, edge=0.0, tile=0.0, colour_fix=False),
}
_SMALL: Final = {
    # The sample's stitches are laid on the design first, so little is left to draw; control carries the colours.
    "flat": RenderDefaults(steps=8, strength=0.25, guidance=1.0, edge=1.0, tile=1.0, colour_fix=True),
    "raised": RenderDefaults(steps=8, strength=0.25, guidance=1.0, edge=0.5, tile=1.0, colour_fix=True),
    "text": RenderDefaults(steps=20, strength=1.0, guidance=3.0, edge=0.0, tile=0.0, colour_fix=False),
}


@dataclass(frozen=True, slots=True)
class BaseInfo:
    """A base model as the API knows it.

    Attributes:
        name: what requests call it.
        resolution: pixels of the longest side it was trained for.
        licence: of its weights.
        small: trained with split prompts, so the small numbers hold.
        bundled: its weights come with Hoop.
    """

    name: str
    resolution: int
    licence: str
    small: bool
    bundled: bool

    def render_defaults(self, preset: RenderPreset, input_type: str) -> RenderDefaults:
        """Where a render starts from; text has numbers of its own, whatever the preset."""
        table = _SMALL if self.small else _PAPER
        return table["text" if input_type == "text" else preset]


def all_bases(settings: Settings) -> list[BaseInfo]:
    """Every base that may be named, the default first."""
    bundled = _bundled(settings.base_dir)
    if settings.base == bundled.name:
        return [bundled]
    other = BaseInfo(name=settings.base, resolution=1024, licence="see its model card", small=False, bundled=False)
    return [other, bundled]


def default_base(settings: Settings) -> BaseInfo:
    """The base that is used when none is named."""
    return all_bases(settings)[0]


def find_base(settings: Settings, name: str) -> BaseInfo:
    """A base by name; one that a style was learnt on is found even when the settings have moved on."""
    for base in all_bases(settings):
        if base.name == name:
            return base
    return BaseInfo(name=name, resolution=1024, licence="see its model card", small=False, bundled=False)


def require_base(settings: Settings, name: str | None) -> BaseInfo:
    """The base that a request names, or the default; raises InvalidInput when it is not one of ours."""
    if name is None:
        return default_base(settings)
    for base in all_bases(settings):
        if base.name == name:
            return base
    known = ", ".join(base.name for base in all_bases(settings))
    raise InvalidInput(
        f"There is no base model of this name here. There is: {known}.",
        errors=[{"field": "body.base", "message": f"is none of {known}"}],
    )


@lru_cache(maxsize=8)
def _bundled(folder: Path) -> BaseInfo:
    info: dict[str, Any] = {}
    try:
        found = json.loads((folder / "hoop.json").read_text(encoding="utf-8"))
        info = found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        # An API host needs no weights; what they are is known.
        pass
    return BaseInfo(
        name=BUNDLED,
        resolution=int(info.get("resolution", 256)),
        licence=str(info.get("licence", "Apache-2.0")),
        small=bool(info.get("split_prompts", True)),
        bundled=True,
    )
