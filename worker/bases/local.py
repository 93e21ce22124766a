"""Files of a base that come from this machine: copied from folders, or unpacked from a single-file checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from backend.core.bases import INFO_FILE, BaseEntry, FewSteps
from backend.core.errors import InvalidInput
from worker.bases.hub import HubFile, digest_of

RECORD: Final = "fetched.json"
"""In a base's folder: where every file came from."""
WAITING: Final = "fetching"
"""In a base's folder: files on their way."""
FEW_STEPS: Final = "few_steps"
"""In a base's folder: what speeds it up, which it also works without."""
_WEIGHTS: Final = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
    "text_encoder_2": "text_encoder_2/model.safetensors",
}
"""Where the weights of a single-file checkpoint go, by part."""


def copied(entry: BaseEntry, few_steps: FewSteps | None) -> list[HubFile]:
    """What folders of this machine bring, by where it lies and when it was changed."""
    found = []
    for part, given in entry.parts.items():
        if given.folder is not None:
            into = "" if part == "base" else f"{part}/"
            sources = _files_in(given.folder)
            found += [_copy_of(one, f"{into}{one.relative_to(given.folder).as_posix()}") for one in sources]
    if few_steps is not None and few_steps.folder is not None:
        source = few_steps.folder / few_steps.file
        found.append(_copy_of(source, f"{FEW_STEPS}/{source.name}"))
    return found


def copy(file: HubFile, folder: Path) -> HubFile:
    """Copies one file into a base's folder, and returns it with its SHA-256."""
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.new")
    shutil.copy2(file.name, fresh)
    fresh.replace(target)
    return replace(file, size=target.stat().st_size, sha256=digest_of(target))


def packed(checkpoint: Path, others: Iterable[HubFile]) -> list[HubFile]:
    """The weights that a single-file checkpoint brings: of the parts that get none from elsewhere."""
    brought = {file.path.partition("/")[0] for file in others if file.path.endswith(".safetensors")}
    digest = digest_of(checkpoint)
    return [HubFile(path, "", digest, str(checkpoint), 0, "") for part, path in _WEIGHTS.items() if part not in brought]


def unpack(files: Sequence[HubFile], checkpoint: Path, folder: Path) -> dict[str, HubFile]:
    """Unpacks weights of a single-file checkpoint into a base's folder, and returns them with sizes and SHA-256.

    Raises:
        InvalidInput: the checkpoint cannot be used.
    """
    from worker.engine.single_file import CheckpointError, unpack_single_file  # noqa: PLC0415 - brings torch

    try:
        unpack_single_file(checkpoint, folder, {file.path.partition("/")[0]: file.path for file in files})
    except CheckpointError as error:
        raise InvalidInput(str(error)) from error
    return {
        file.path: replace(file, size=(folder / file.path).stat().st_size, sha256=digest_of(folder / file.path))
        for file in files
    }


def _files_in(folder: Path) -> Iterator[Path]:
    """Files at any depth, but for what the store wrote about another base."""
    for within, folders, names in os.walk(folder, followlinks=True):
        place = Path(within)
        top = place == folder
        folders[:] = sorted(name for name in folders if not (top and name == WAITING))
        yield from (place / name for name in sorted(names) if not (top and name in (INFO_FILE, RECORD)))


def _copy_of(source: Path, path: str) -> HubFile:
    about = source.stat()
    return HubFile(path, "", f"{about.st_size}-{about.st_mtime_ns}", str(source), about.st_size, "")
