"""Where a training keeps what it would need to go on after a crash: named blobs, the last of each name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
from torch import Tensor


class CheckpointStore(Protocol):
    """Saving replaces the blob of that name at once or not at all."""

    def save(self, name: str, data: bytes) -> None:
        """Keeps ``data`` under ``name``."""

    def load(self, name: str) -> bytes | None:
        """The last blob of that name, or ``None``."""

    def clear(self) -> None:
        """Forgets everything."""


class MemoryStore:
    """Keeps checkpoints as long as the process lives."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def save(self, name: str, data: bytes) -> None:
        """Keeps ``data`` under ``name``."""
        self.blobs[name] = data

    def load(self, name: str) -> bytes | None:
        """The last blob of that name, or ``None``."""
        return self.blobs.get(name)

    def clear(self) -> None:
        """Forgets everything."""
        self.blobs.clear()


class FolderStore:
    """Keeps checkpoints as files in one folder, created on the first save."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, name: str, data: bytes) -> None:
        """Writes beside the old file and renames over it, so that a crash leaves one of the two whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{name}.part"
        temporary.write_bytes(data)
        temporary.replace(self.folder / name)

    def load(self, name: str) -> bytes | None:
        """The last blob of that name, or ``None``."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Deletes the blobs; other files in the folder stay."""
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if path.is_file():
                path.unlink()


@dataclass(frozen=True)
class Snapshot:
    """Tensors and JSON values that belong together, stored as one safetensors file."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def to_bytes(self) -> bytes:
        """One blob: tensors bit for bit, values in the header."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        return safetensors.torch.save(tensors, metadata={"hoop": json.dumps(self.values)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Raises :class:`ValueError` when the blob is none of ours or damaged."""
        try:
            header_size = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + header_size])
            values = json.loads(header["__metadata__"]["hoop"])
            return cls(safetensors.torch.load(data), values)
        except (ValueError, KeyError, safetensors.SafetensorError) as error:
            raise ValueError(f"not a snapshot: {error}") from error
