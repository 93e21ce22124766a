"""Base models on this machine: fetched file by file, checked, and made from single-file checkpoints.

A base is put together in a folder of its own, as :mod:`worker.engine.bases` reads it. `fetched.json` in it keeps where
every file came from, its size and its SHA-256, those made from files of this machine too; `hoop.json` is written last,
so a base that has it is whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from backend.core.bases import INFO_FILE, BaseEntry, FewSteps, Part, folder_of, is_built_in, registry, remove_entry
from backend.core.config import Settings
from backend.core.errors import InvalidInput
from backend.jobs.problems import BaseUnavailable
from worker.bases.hub import HubFile, digest_of, download, listed, writing
from worker.bases.local import FEW_STEPS, RECORD, WAITING, copied, copy, packed, unpack

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
Say = Callable[[str], None]
"""Called with a sentence for people."""


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
    known = registry(settings, strict=True)
    if name not in known:
        raise InvalidInput(f"There is no base model “{name}” in the list. There is: {', '.join(known)}.")
    return known[name]


def fetch(
    settings: Settings,
    name: str,
    report: Report,
    new: BaseEntry | None = None,
    say: Say = lambda _sentence: None,
) -> Path:
    """Gets every file of a base that is not here yet, or is damaged, and returns its folder.

    A broken fetch goes on where it stopped. Files that are here are read first, all of them: gigabytes take a while.

    Args:
        settings: say where bases lie, and where the hub is.
        name: of the base.
        report: told how far it is, with reading the files that are here, and then with fetching.
        new: its entry, where that is not to be in the list before the base has been found usable.
        say: told of every file that is damaged.

    Raises:
        InvalidInput: it is not in the list, its checkpoint cannot be used, or the disk is too small for it.
        BaseUnavailable: the hub cannot be reached or does not give it, or what it gave is damaged.
    """
    entry = entry_of(settings, name) if new is None else new
    if entry.bundled:
        return folder_of(settings, name)
    folder = settings.bases / name
    with writing(folder):
        _put_together(settings, name, entry, folder, report, say)
    return folder


def remove(settings: Settings, name: str) -> None:
    """Forgets a base: its folder, and its entry where the shop's own list has it. What Hoop knows itself stays listed.

    Raises:
        InvalidInput: it is not in the list, comes with Hoop, is not in a folder of its own, or another is like it.
    """
    folder = settings.bases / name
    # A base that could not be added is in no list, and what was fetched for it lies there.
    if not (folder / RECORD).is_file() and entry_of(settings, name).bundled:
        raise InvalidInput(f"“{name}” comes with Hoop and stays.")
    if folder.resolve().parent != settings.bases.resolve():
        raise InvalidInput(f"{folder} is not in {settings.bases}. Please remove “{name}” from the list by hand.")
    alike = [other for other, one in registry(settings, strict=True).items() if one.like == name]
    if alike and not is_built_in(name):
        raise InvalidInput(f"“{name}” is needed by {', '.join(alike)}. Remove that first.")
    with writing(folder):
        # Without it the folder counts as none, whatever happens half-way.
        (folder / INFO_FILE).unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        remove_entry(settings, name)


def check(settings: Settings, name: str, report: Report) -> Finding:
    """Reads every file of a base and compares it with what was fetched.

    Raises:
        InvalidInput: it is not in the list.
    """
    entry, folder = entry_of(settings, name), folder_of(settings, name)
    record = _read_record(folder)
    if not (folder / INFO_FILE).is_file():
        return Finding(len(record), 0, (INFO_FILE,), ())
    missing, damaged = _compared(folder, record, report)
    missing += [part for part in _NEEDED[entry.purpose] if not (folder / part).is_dir()]
    return Finding(len(record), sum(file.size for file in record.values()), tuple(missing), tuple(damaged))


def _compared(folder: Path, record: dict[str, HubFile], report: Report) -> tuple[list[str], list[str]]:
    """Which files of a record are missing, and which are not as they were fetched."""
    total, done = sum(file.size for file in record.values()), 0
    missing, damaged = [], []
    for path, file in record.items():
        report(done, total, f"checking {path}")
        if not (folder / path).is_file() or not file.sha256:  # or an older one lies in its place
            missing.append(path)
        elif (folder / path).stat().st_size != file.size or digest_of(folder / path) != file.sha256:
            damaged.append(path)
        done += file.size
    if record:
        report(total, total, "")
    return missing, damaged


def _put_together(settings: Settings, name: str, entry: BaseEntry, folder: Path, report: Report, say: Say) -> None:
    _check_sources(entry)
    few_steps, record = _few_steps(settings, entry), _read_record(folder)
    for path in _compared(folder, record, report)[1]:
        say(f"{path} is damaged and is put here again.")
        record[path] = replace(record[path], sha256="")  # as one that is not here
    # Where several bring the same file, the last one's is taken.
    wanted = {file.path: file for file in (*_wanted(settings, entry, folder, record), *copied(entry, few_steps))}
    missing = [file for file in wanted.values() if not _is_here(folder, file, record)]
    checkpoint = entry.file if entry.purpose == "styles" else None
    inside = [] if checkpoint is None else packed(checkpoint, wanted.values())
    unpacking = [file for file in inside if not _is_here(folder, file, record)]
    total, needed = sum(file.size for file in wanted.values()), sum(file.size for file in missing)
    folder.mkdir(parents=True, exist_ok=True)
    _check_room(entry, folder, needed + (checkpoint.stat().st_size if checkpoint and unpacking else 0))
    if any(not file.path.startswith(f"{FEW_STEPS}/") for file in missing):
        (folder / INFO_FILE).unlink(missing_ok=True)  # not whole any more, until it is described anew
    if missing:
        # So that a fetch that is broken off is known to be, without the hub too.
        record |= {file.path: replace(file, sha256="") for file in missing}
        _write_record(folder, record)
    done = total - needed
    report(done, total, "")
    for file in missing:

        def got(arrived: int, file: HubFile = file, before: int = done) -> None:
            report(before + min(arrived, file.size), total, file.path)

        if file.repo:
            record[file.path] = download(file, folder, folder / WAITING, got, settings.hub)
        else:
            record[file.path] = copy(file, folder)
        _write_record(folder, record)
        done += file.size
        report(done, total, file.path)
    _complete(entry, folder)
    if checkpoint is not None and unpacking:
        record |= unpack(unpacking, checkpoint, folder)
    for path in record.keys() - wanted.keys() - {file.path for file in inside}:
        # Of what the base was made of before; some of it would be loaded in place of what it is made of now.
        del record[path]
        (folder / path).unlink(missing_ok=True)
    _complete(entry, folder)  # the index may have been one of them
    _write_record(folder, record)
    _describe(entry, name, folder, record, few_steps)
    shutil.rmtree(folder / WAITING, ignore_errors=True)


def _check_room(entry: BaseEntry, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed * _SPARE > free:
        raise InvalidInput(
            f"{entry.title} needs {needed / 1e9:.1f} GB more in {folder}, and only {free / 1e9:.1f} GB are free there. "
            "Make room, or set HOOP_BASES_DIR to a folder on a larger disk."
        )


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
        parts[FEW_STEPS] = few_steps
    found = []
    for part, given in parts.items():
        if not given.repo:
            continue
        known = [file for file in record.values() if file.repo == given.repo]
        whole = bool(known) and all(_is_here(folder, file, record) for file in known)
        if settings.offline and not whole and part == FEW_STEPS:
            continue
        if settings.offline and not whole:
            raise BaseUnavailable(
                f"{given.repo} is not on this computer, or not all of it, and Hoop is set never to ask a "
                f"model hub (HOOP_OFFLINE). Fetch it on another computer and copy the folder to {folder}."
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
    if known is None or not known.sha256 or not path.is_file() or path.stat().st_size != known.size:
        return False
    if file.sha256:
        return known.sha256 == file.sha256
    return (known.repo, known.revision) == (file.repo, file.revision)


def _complete(entry: BaseEntry, folder: Path) -> None:
    """Adds the pipeline's index, which no repository brings, and sees that no part is lacking.

    Raises:
        InvalidInput: one is.
    """
    try:
        lacking = [part for part in _NEEDED[entry.purpose] if not (folder / part).is_dir()]
        if lacking:
            raise FileNotFoundError(f"there is no {lacking[0]}")
        if entry.purpose == "styles" and not (folder / "model_index.json").exists():
            from worker.engine.single_file import write_index  # noqa: PLC0415 - brings torch

            with writing(folder):
                write_index(folder, entry.pipeline)
    except (OSError, KeyError) as error:
        raise InvalidInput(
            f"{entry.title} is incomplete: {error}. Check its entry in the list of base models."
        ) from error


def _describe(entry: BaseEntry, name: str, folder: Path, record: dict[str, HubFile], given: FewSteps | None) -> None:
    """Writes `hoop.json`, by which the engine knows the base; always anew, since entries and weights change."""
    from worker.engine.base_info import PAPER_STYLE_BLOCKS, BaseInfo, FewStepsInfo  # noqa: PLC0415

    if entry.purpose != "styles":
        said = {"name": name, "licence": entry.licence, "resolution": entry.resolution}
        (folder / INFO_FILE).write_text(json.dumps(said) + "\n", encoding="utf-8")
        return
    few_steps = (
        None
        if given is None
        else FewStepsInfo(given.file.rpartition("/")[2], given.sampler, given.steps, given.guidance)
    )
    weights = sorted((folder / "unet").glob("*.safetensors"))
    known = [record.get(f"unet/{path.name}") for path in weights]
    digests = [digest_of(path) if one is None else one.sha256 for path, one in zip(weights, known, strict=True)]
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
