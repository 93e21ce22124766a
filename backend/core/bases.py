"""The registry of base models: data that says what each is made of, where it comes from and how it is used.

`bases.toml` beside this file lists what Hoop knows; `DATA_DIR/bases.toml` adds to it. The API lists bases from it, the
worker fetches, checks and loads them. Neither torch nor a model hub is touched here.
"""

import json
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.core.config import Settings
from backend.core.errors import InvalidInput

REGISTRY: Final = Path(__file__).with_name("bases.toml")
OWN: Final = "bases.toml"
"""In DATA_DIR: a shop's own bases."""
INFO_FILE: Final = "hoop.json"
"""In a base's folder, once it is whole."""

log = structlog.get_logger(__name__)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Of a base that is added: its folder is called so too."""

Saving = Literal["text_encoders_aside", "vae_tiling", "checkpointing", "controls_aside"]


class Part(BaseModel):
    """Files of a base that come from one repository of the hub, or from one folder of this machine.

    Attributes:
        repo: on the hub, "owner/name"; empty where `folder` is given.
        folder: on this machine instead.
        revision: branch, tag or commit; what it was when it was fetched is kept with the base.
        folders: subfolders to take; none for the repository's own model files.
        variant: of the weights' file names, such as "fp16"; left out of the names here.
        file: the one file to take, where a repository or folder has others that are not wanted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str = ""
    folder: Path | None = None
    revision: str = "main"
    folders: tuple[str, ...] = ()
    variant: str = ""
    file: str = ""


class FewSteps(Part):
    """A LoRA with which a base draws in a few steps, and what it was distilled for.

    Attributes:
        sampler, steps, guidance: of a drawing with it.
    """

    file: str = Field(min_length=1)
    sampler: Literal["lcm", "tcd"] = "lcm"
    steps: int = Field(default=4, ge=1, le=50)
    guidance: float = Field(default=1.0, ge=0, le=30)


class BaseEntry(BaseModel):
    """One base model.

    Attributes:
        title: for people.
        licence, licence_url: of the weights.
        gated: the hub gives it only to those who accepted the licence there.
        bundled: comes with Hoop.
        purpose: "styles" are learnt and rendered with it, or it draws "designs" only.
        pipeline: class of diffusers that its parts make up.
        file: single-file checkpoint that unet, text encoders and autoencoder come from, in the layout of the original.
        like: with `file`: the base whose tokenizers, configuration and control it shares.
        resolution: pixels of the longest side it was trained for.
        dtype: of its weights on a GPU; on a CPU they are float32.
        style_blocks: that carry style; the paper's four where none are named.
        style_word: stands for [emb] in prompts.
        short_of_memory: what is done on a card that is too small, in this order, until it fits.
        parts: by the subfolder that they go to; "base" is the folder itself.
        few_steps: what drafts are sped up with, if anything; it goes to the subfolder "few_steps".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    licence: str
    licence_url: str = ""
    gated: bool = False
    bundled: bool = False
    purpose: Literal["styles", "designs"] = "styles"
    pipeline: Literal["StableDiffusionXLPipeline", "StableDiffusion3ControlNetPipeline"] = "StableDiffusionXLPipeline"
    file: Path | None = None
    like: str = ""
    resolution: int = Field(default=1024, ge=64, le=4096)
    dtype: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    style_blocks: tuple[str, ...] = ()
    style_word: str = "[emb]"
    short_of_memory: tuple[Saving, ...] = ()
    parts: dict[Literal["base", "vae", "control_tile", "control_edge"], Part] = {}
    few_steps: FewSteps | None = None


def registry(settings: Settings, *, strict: bool = False) -> dict[str, BaseEntry]:
    """Every base that is known, by name.

    Args:
        settings: say where the shop's own registry lies.
        strict: what cannot be used in it is an error, for whoever is at work on it. Otherwise it is left out and
            logged: a typing error must not stop a shop that works with other bases.

    Raises:
        InvalidInput: if ``strict``, a registry file cannot be used; the message says which and why.
    """
    return _read_if_there(REGISTRY, strict=True) | _read_if_there(settings.data_dir / OWN, strict=strict)


def folder_of(settings: Settings, name: str) -> Path:
    """Where a base of the registry lies or would lie; any other name is a folder itself."""
    entry = registry(settings).get(name)
    if entry is not None and entry.bundled:
        return settings.base_dir
    return settings.bases / name if entry is not None else Path(name).expanduser()


def is_installed(settings: Settings, name: str) -> bool:
    """Whether the base is whole on this machine."""
    return (folder_of(settings, name) / INFO_FILE).is_file()


def is_built_in(name: str) -> bool:
    """Whether Hoop itself knows a base of this name."""
    return name in _read_if_there(REGISTRY, strict=True)


def check_new_name(name: str) -> None:
    """Whether a base may be added under this name.

    Raises:
        InvalidInput: it cannot be a folder's name everywhere, or a base that Hoop itself knows has it.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"“{name}” cannot be a base model's name. Names are made of small letters, digits, dots, dashes and "
            "underscores, and begin with a letter or a digit."
        )
    if is_built_in(name):
        raise InvalidInput(f"Hoop itself knows a base model “{name}”. Please choose another name.")


def add_entry(settings: Settings, name: str, entry: BaseEntry) -> Path:
    """Adds a base to the shop's own registry, in place of one of the same name; returns the file."""
    path = settings.data_dir / OWN
    _write(path, {**_read_if_there(path, strict=True), name: entry})
    return path


def remove_entry(settings: Settings, name: str) -> bool:
    """Takes a base out of the shop's own registry; whether it was in there."""
    path = settings.data_dir / OWN
    known = dict(_read_if_there(path, strict=True))
    if known.pop(name, None) is None:
        return False
    _write(path, known)
    return True


def _write(path: Path, entries: dict[str, BaseEntry]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Services read the file at any time: they find the old one or the new one.
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text("\n".join(_toml(key, value) for key, value in entries.items()), encoding="utf-8")
    fresh.replace(path)


def _read_if_there(path: Path, *, strict: bool) -> dict[str, BaseEntry]:
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    found, problems = _read(path, changed)
    for problem in problems:
        if strict:
            raise InvalidInput(problem)
        _log_once(problem, changed)
    return found


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int) -> tuple[dict[str, BaseEntry], tuple[str, ...]]:
    """A registry file, read once for each time it was changed: its entries, and what is wrong with others."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOML's and Unicode's errors are ValueErrors
        return {}, (f"The list of base models {path} cannot be read: {error}.",)
    found, problems = {}, []
    for name, table in tables.items():
        try:
            found[name] = BaseEntry.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in (name, *first["loc"]))
            problems.append(f"The list of base models {path} cannot be used: {place}: {first['msg']}.")
    return found, tuple(problems)


@lru_cache(maxsize=64)
def _log_once(problem: str, _changed: int) -> None:
    log.warning("bases.entry_left_out", reason=problem)


def _toml(name: str, entry: BaseEntry) -> str:
    values = entry.model_dump(mode="json", exclude_defaults=True)
    tables = {f"parts.{part}": table for part, table in values.pop("parts", {}).items()}
    if few_steps := values.pop("few_steps", None):
        tables["few_steps"] = few_steps
    lines = [f"[{_quoted(name)}]", *(f"{key} = {_value(value)}" for key, value in values.items()), ""]
    for place, table in tables.items():
        lines += [f"[{_quoted(name)}.{place}]", *(f"{k} = {_value(v)}" for k, v in table.items()), ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text)  # JSON's strings are TOML's basic strings


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return str(value)
