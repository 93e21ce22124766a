"""Which base models there are, and the numbers a render starts from on each.

The registry names them (:mod:`backend.core.bases`); one that is on this machine says about itself what it is, in its
`hoop.json`. The settings' own base may also be a folder that no registry knows.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from backend.core.bases import INFO_FILE, folder_of, is_installed, registry
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
        title: for people.
        resolution: pixels of the longest side it was trained for.
        licence: of its weights.
        small: trained with split prompts, so the small numbers hold.
        draws_words: knows things by their words, as a model that draws designs has to.
        bundled: its weights come with Hoop.
    """

    name: str
    title: str
    resolution: int
    licence: str
    small: bool
    draws_words: bool
    bundled: bool

    def render_defaults(self, preset: RenderPreset, input_type: str) -> RenderDefaults:
        """Where a render starts from; text has numbers of its own, whatever the preset."""
        table = _SMALL if self.small else _PAPER
        return table["text" if input_type == "text" else preset]


def all_bases(settings: Settings) -> list[BaseInfo]:
    """Every base that may be named, the default first: those on this machine, and the settings' own, wherever it is."""
    names = [settings.base]
    for name, entry in registry(settings).items():
        if entry.purpose == "styles" and (entry.bundled or is_installed(settings, name)):
            names.append(name)
    return [find_base(settings, name) for name in dict.fromkeys(names)]


def default_base(settings: Settings) -> BaseInfo:
    """The base that is used when none is named."""
    return all_bases(settings)[0]


def find_base(settings: Settings, name: str) -> BaseInfo:
    """A base by name; one that a style was learnt on is found even when the settings have moved on."""
    entry = registry(settings).get(name)
    said = _said(folder_of(settings, name))
    bundled = entry is not None and entry.bundled
    return BaseInfo(
        name=name,
        title=name if entry is None else entry.title,
        # An API host needs no weights; what the bundled ones are is known.
        resolution=int(said.get("resolution", 256 if bundled else 1024 if entry is None else entry.resolution)),
        licence=str(said.get("licence", "see its model card" if entry is None else entry.licence)),
        small=bool(said.get("split_prompts", bundled)),
        draws_words=bool(said.get("draws_words", not bundled)),
        bundled=bundled,
    )


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


def draws_designs(settings: Settings, base: BaseInfo) -> bool:
    """Whether the pair builder "diffusion" has a model for styles of this base: the settings' own, or the base itself.

    An API host need not have the weights; what only the worker can see, it says in the job.
    """
    return bool(settings.design_base) or base.draws_words


def _said(folder: Path) -> dict[str, Any]:
    """What a base's folder says about itself; nothing where it is not on this machine."""
    try:
        found = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
