"""Base models on this machine: fetched file by file, checked, and made from single-file checkpoints.

A base is put together in a folder of its own, as :mod:`worker.engine.bases` reads it. `fetched.json` in it keeps where
every file came from, its size and its SHA-256; `hoop.json` is written last, so a base that has it is whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from backend.core.bases import INFO_FILE, BaseEntry, FewSteps, Part, folder_of, registry
from backend.core.config import Settings
from backend.core.errors import InvalidInput
from backend.jobs.problems import BaseUnavailable
from worker.bases.hub import HubFile, digest_of, download, listed

RECORD: Final = "fetched.json"
_WAITING: Final = "fetching"
"""In a base's folder: files on their way."""
_FEW_STEPS: Final = "few_steps"
"""In a base's folder: what speeds it up, which it also works without."""
_SPARE: Final = 1.05
"""Times the files' size that must be free on the disk."""
_TEXT: Final = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
_NEEDED: Final = {
    "styles": ("unet", "vae", *_TEXT, "scheduler"),
    "designs": ("transformer", "vae", *_TEXT, "scheduler", "control_tile", "control_edge"),
}
"""Parts that a base of each purpose is nothing without."""

Report = Callable[[int, int, str], None]
"""Called with (bytes done, bytes in all, the file at hand)."""


@dataclass(frozen=True)
class Finding:
    """What a check found: how many files of how many bytes, which are ``missing`` and which ``damaged``."""

    files: int
    bytes: int
    missing: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Nothing is missing or damaged."""
        return not self.missing and not self.damaged


def entry_of(settings: Settings, name: str) -> BaseEntry:
    """A base of the registry.

    Raises:
        InvalidInput: there is none of this name.
    """
    known = registry(settings)
    if name not in known:
        raise InvalidInput(f"There is no base model “{name}” in the list. There is: {', '.join(known)}.")
    return known[name]


def fetch(settings: Settings, name: str, report: Report) -> Path:
    """Gets every file of a base that is not here yet, and returns its folder. A broken fetch goes on where it stopped.

    Raises:
        InvalidInput: it is not in the list, its checkpoint cannot be used, or the disk is too small for it.
        BaseUnavailable: the hub cannot be reached or does not give it, or what it gave is damaged.
    """
    entry, folder = entry_of(settings, name), folder_of(settings, name)
    if entry.bundled:
        return folder
    _check_sources(entry)
    record = _read_record(folder)
    wanted = _wanted(settings, entry, folder, record)
    missing = [file for file in wanted if not _is_here(folder, file, record)]
    total, needed = sum(file.size for file in wanted), sum(file.size for file in missing)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed * _SPARE > free:
        raise InvalidInput(
            f"{entry.title} needs {needed / 1e9:.1f} GB more in {folder}, and only {free / 1e9:.1f} GB are free there. "
            "Make room, or set HOOP_BASES_DIR to a folder on a larger disk."
        )
    done = total - needed
    report(done, total, "")
    for file in missing:

        def got(arrived: int, file: HubFile = file, before: int = done) -> None:
            report(before + min(arrived, file.size), total, file.path)

        record[file.path] = download(file, folder, folder / _WAITING, got, settings.hub)
        _write_record(folder, record)
        done += file.size
        report(done, total, file.path)
    few_steps = _few_steps(settings, entry)
    if few_steps is not None and few_steps.folder is not None:
        (folder / _FEW_STEPS).mkdir(exist_ok=True)
        shutil.copy2(few_steps.folder / few_steps.file, folder / _FEW_STEPS)
    for part, given in entry.parts.items():
        if given.folder is not None:
            shutil.copytree(given.folder, folder if part == "base" else folder / part, dirs_exist_ok=True)
    if entry.purpose == "styles":
        _complete(entry, folder)
    _describe(entry, name, folder, record, few_steps)
    shutil.rmtree(folder / _WAITING, ignore_errors=True)
    return folder


def check(settings: Settings, name: str, report: Report) -> Finding:
    """Reads every file of a base and compares it with what was fetched.

    Raises:
        InvalidInput: it is not in the list.
    """
    entry, folder = entry_of(settings, name), folder_of(settings, name)
    record = _read_record(folder)
    if not (folder / INFO_FILE).is_file():
        return Finding(len(record), 0, (INFO_FILE,), ())
    total, done = sum(file.size for file in record.values()), 0
    missing, damaged = [], []
    for path, file in record.items():
        report(done, total, path)
        if not (folder / path).is_file():
            missing.append(path)
        elif (folder / path).stat().st_size != file.size or digest_of(folder / path) != file.sha256:
            damaged.append(path)
        done += file.size
    report(total, total, "")
    missing += [part for part in _NEEDED[entry.purpose] if not (folder / part).is_dir()]
    return Finding(len(record), total, tuple(missing), tuple(damaged))


def _check_sources(entry: BaseEntry) -> None:
    for given in entry.parts.values():
        if given.folder is not None and not given.folder.is_dir():
            raise InvalidInput(f"There is no folder {given.folder}, which the list of base models names.")
    fast = entry.few_steps
    if fast is not None and fast.folder is not None and not (fast.folder / fast.file).is_file():
        raise InvalidInput(f"There is no {fast.folder / fast.file}, which the list of base models names.")
    if entry.file is not None and not entry.file.is_file():
        raise InvalidInput(f"There is no checkpoint {entry.file}, which the list of base models names.")


def _wanted(settings: Settings, entry: BaseEntry, folder: Path, record: dict[str, HubFile]) -> list[HubFile]:
    """The files of all parts, as the hub lists them; without the hub as they were fetched."""
    # A single-file checkpoint brings weights alone; what tells how to read them is the like of it.
    parts: dict[str, Part] = {}
    for one in (entry_of(settings, entry.like), entry) if entry.like else (entry,):
        parts.update({str(part): given for part, given in one.parts.items()})
    few_steps = _few_steps(settings, entry)
    if few_steps is not None:
        parts[_FEW_STEPS] = few_steps
    found = []
    for part, given in parts.items():
        if not given.repo:
            continue
        known = [file for file in record.values() if file.repo == given.repo]
        if settings.offline and not known and part == _FEW_STEPS:
            continue
        if settings.offline and not known:
            raise BaseUnavailable(
                f"{given.repo} is not on this computer, and Hoop is set never to ask a model hub (HOOP_OFFLINE). Fetch "
                f"it on another computer and copy the folder to {folder}."
            )
        # What was begun at one commit is ended at that one.
        revision = known[0].revision if known else given.revision
        into = "" if part == "base" else part
        files = known if settings.offline else listed(given, revision, into, folder, settings.hub)
        inside = entry.file is not None and part not in entry.parts and part in ("base", "vae")
        found += [file for file in files if not (inside and file.path.endswith(".safetensors"))]
    return found


def _few_steps(settings: Settings, entry: BaseEntry) -> FewSteps | None:
    """A base's speed-up, or that of the base that it is like."""
    return entry.few_steps or (entry_of(settings, entry.like).few_steps if entry.like else None)


def _is_here(folder: Path, file: HubFile, record: dict[str, HubFile]) -> bool:
    known, path = record.get(file.path), folder / file.path
    if known is None or not path.is_file() or path.stat().st_size != file.size:
        return False
    return known.sha256 == file.sha256 if file.sha256 else known.revision == file.revision


def _complete(entry: BaseEntry, folder: Path) -> None:
    """Adds what no repository brings: the pipeline's index, and the weights of a single-file checkpoint."""
    from worker.engine.single_file import CheckpointError, unpack_single_file, write_index  # noqa: PLC0415

    try:
        if not (folder / "model_index.json").exists():
            write_index(folder, entry.pipeline)
        if entry.file is not None:
            unpack_single_file(entry.file, folder)
    except (OSError, KeyError) as error:
        raise InvalidInput(
            f"{entry.title} is incomplete: {error}. Check its entry in the list of base models."
        ) from error
    except CheckpointError as error:
        raise InvalidInput(str(error)) from error


def _describe(entry: BaseEntry, name: str, folder: Path, record: dict[str, HubFile], given: FewSteps | None) -> None:
    """Writes `hoop.json`, by which the engine knows the base."""
    from worker.engine.base_info import PAPER_STYLE_BLOCKS, BaseInfo, FewStepsInfo  # noqa: PLC0415

    few_steps = (
        None
        if given is None
        else FewStepsInfo(given.file.rpartition("/")[2], given.sampler, given.steps, given.guidance)
    )
    if (folder / INFO_FILE).exists():
        # A base that was fetched before it had a speed-up, or with other numbers for it.
        if entry.purpose == "styles" and (info := BaseInfo.read(folder)).few_steps != few_steps:
            replace(info, few_steps=few_steps).write(folder)
        return
    if entry.purpose != "styles":
        said = {"name": name, "licence": entry.licence, "resolution": entry.resolution}
        (folder / INFO_FILE).write_text(json.dumps(said) + "\n", encoding="utf-8")
        return
    weights = sorted((folder / "unet").glob("*.safetensors"))
    known = [record[f"unet/{path.name}"].sha256 for path in weights if f"unet/{path.name}" in record]
    digests = known or [digest_of(path) for path in weights]
    BaseInfo(
        name=name,
        # A style belongs to the weights that it was learnt on.
        version=hashlib.sha256("".join(digests).encode()).hexdigest()[:12],
        licence=entry.licence,
        resolution=entry.resolution,
        style_blocks=entry.style_blocks or PAPER_STYLE_BLOCKS,
        style_word=entry.style_word,
        few_steps=few_steps,
    ).write(folder)


def _read_record(folder: Path) -> dict[str, HubFile]:
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {path: HubFile(path=path, **values) for path, values in found.items()}
    except (OSError, ValueError, TypeError):
        return {}


def _write_record(folder: Path, record: dict[str, HubFile]) -> None:
    kept = {path: {k: v for k, v in asdict(file).items() if k != "path"} for path, file in sorted(record.items())}
    fresh = folder / f"{RECORD}.new"
    fresh.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    fresh.replace(folder / RECORD)
