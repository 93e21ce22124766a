"""The model hub, as far as base models need it: which files a repository has, and getting one of them."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backend.core.bases import Part
from backend.core.errors import InvalidInput
from backend.jobs.problems import BaseUnavailable

_MODEL_FILES: Final = (".json", ".txt", ".safetensors", ".model")
_OTHER_LIBRARIES: Final = ("flax_", "openvino_", "tf_")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class HubFile:
    """One file of a base.

    Attributes:
        path: in the base's folder.
        repo, revision: where it comes from; a commit. No repository is this machine, and the revision what tells one
            state of the source from another (:mod:`worker.bases.local`).
        name: in the repository, or the source's path.
        size: bytes; 0 while nobody knows.
        sha256: of its content; empty while nobody says. In a base's record: empty while the file is not here yet.
    """

    path: str
    repo: str
    revision: str
    name: str
    size: int
    sha256: str


def listed(part: Part, revision: str, into: str, folder: Path, hub: str = "") -> list[HubFile]:
    """The files of a repository that a part of a base needs.

    Args:
        part: of a registry entry.
        revision: branch, tag or commit.
        into: subfolder of the base's folder that they go to; "" for the folder itself.
        folder: the base's, for messages.
        hub: its address; Hugging Face's when empty.

    Raises:
        BaseUnavailable: the hub cannot be reached, does not give it, or it has no weights.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 - it takes a second to import

    with _in_plain_words(part.repo, folder):
        info = HfApi(endpoint=hub or None).model_info(part.repo, revision=revision, files_metadata=True)
    siblings = list(info.siblings or ())
    names = [sibling.rfilename for sibling in siblings]
    found = []
    for sibling in siblings:
        path = _local_name(sibling.rfilename, part, names)
        if path is not None:
            sha256 = sibling.lfs.sha256 if sibling.lfs else ""
            path = f"{into}/{path}" if into else path
            found.append(HubFile(path, part.repo, info.sha or revision, sibling.rfilename, sibling.size or 0, sha256))
    if not any(file.path.endswith(".safetensors") for file in found):
        raise BaseUnavailable(f"{part.repo} has no weights of the kind that Hoop expects there.")
    return found


def download(file: HubFile, folder: Path, waiting: Path, got: Callable[[int], None], hub: str = "") -> HubFile:
    """Gets one file into a base's folder; one that was broken off goes on.

    Args:
        file: what to get.
        folder: the base's.
        waiting: where files lie until they are whole.
        got: told how many bytes have arrived.
        hub: its address; Hugging Face's when empty.

    Returns:
        The file with the size and SHA-256 that it has.

    Raises:
        BaseUnavailable: the hub cannot be reached, does not give it, or what arrived is damaged.
        OSError: the disk does not take it, see :func:`writing`.
    """
    from huggingface_hub import hf_hub_download  # noqa: PLC0415

    place = waiting / file.repo.replace("/", "--")
    with _in_plain_words(file.repo, folder):
        path = Path(
            hf_hub_download(
                file.repo,
                file.name,
                revision=file.revision,
                local_dir=place,
                tqdm_class=_bar_that_calls(got),
                endpoint=hub or None,
            )
        )
    digest = digest_of(path)
    if file.sha256 and digest != file.sha256:
        path.unlink()
        raise BaseUnavailable(
            f"What arrived of {file.name} from {file.repo} is damaged (its checksum is wrong). Please fetch again; "
            "files that arrived whole are kept."
        )
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return HubFile(file.path, file.repo, file.revision, file.name, target.stat().st_size, digest)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _local_name(name: str, part: Part, names: Sequence[str]) -> str | None:
    """Where a repository's file goes within its part, or ``None`` if it is not needed."""
    within, _, file = name.rpartition("/")
    if part.file:
        return file if name == part.file else None
    if (within not in part.folders) if part.folders else within:
        return None
    if not file.endswith(_MODEL_FILES) or file.startswith(_OTHER_LIBRARIES):
        return None
    if file.endswith(".safetensors"):
        stem, *marks = file.removesuffix(".safetensors").split(".")
        if not stem.startswith(("model", "diffusion_pytorch_model")):
            return None
        varied = f"{name.removesuffix(file)}{stem}.{part.variant}.safetensors"
        if part.variant and varied in names:
            return f"{within}/{stem}.safetensors".lstrip("/") if marks == [part.variant] else None
        if marks:
            return None
    return f"{within}/{file}".lstrip("/")


def _bar_that_calls(got: Callable[[int], None]) -> Any:
    """The bar that the hub's library wants, drawing nothing and passing on how much has arrived."""
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415

    class Bar(tqdm):  # type: ignore[misc,unused-ignore]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})  # type: ignore[no-untyped-call,unused-ignore]
            self.arrived = int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self.arrived += int(n or 0)
            got(self.arrived)
            return None

    return Bar


@contextmanager
def _in_plain_words(repo: str, folder: Path) -> Iterator[None]:
    """Inside, what goes wrong with the hub is said so that a shop owner knows what to do."""
    from huggingface_hub import errors  # noqa: PLC0415

    try:
        yield
    except errors.GatedRepoError as error:
        raise BaseUnavailable(
            f"The hub gives {repo} only to those who accepted its licence: open https://huggingface.co/{repo}, accept "
            "it there, and set HF_TOKEN to a token of your account. Then fetch again."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise BaseUnavailable(
            f"The hub has no {repo} of this revision, or it is not for everybody. Check the name in the list of base "
            "models, and HF_TOKEN if it is private."
        ) from error
    except Exception as error:
        # The hub's library has changed the library below it more than once, and passes its errors on.
        network = type(error).__module__.startswith(("httpx", "requests", "urllib3", "huggingface_hub"))
        if not (network or isinstance(error, OSError)) or _of_the_disk(error):
            raise
        raise BaseUnavailable(
            f"The model hub cannot be reached, so {repo} could not be fetched. What has arrived is kept: fetch again "
            f"when the network is back, or fetch on another computer and copy the folder to {folder}."
        ) from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Inside, what goes wrong with the disk is said so that a shop owner knows what to do."""
    try:
        yield
    except OSError as error:
        if not _of_the_disk(error):
            raise
        if error.errno in _FULL:
            words = f"The disk of {folder} is full. What has arrived is kept: make room there and try again"
        else:
            words = f"Hoop may not use {error.filename}. Give it the right to read and write there and try again"
        raise InvalidInput(f"{words}, or set HOOP_BASES_DIR to a folder on another disk.") from error


def _of_the_disk(error: Exception) -> bool:
    """Whether an error is the disk's; firewalls forbid things too, but to no file."""
    if not isinstance(error, OSError):
        return False
    return error.errno in _FULL or (error.errno in _FORBIDDEN and error.filename is not None)
