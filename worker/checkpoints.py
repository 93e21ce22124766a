"""Checkpoints of a training in the object store, so that another worker goes on where this one stopped."""

from collections.abc import Callable

import structlog

from backend.core.errors import NotFound, StorageUnavailable
from backend.core.storage import ObjectStore
from backend.jobs.lifecycle import Claim

log = structlog.get_logger(__name__)


def checkpoint_prefix(shop_id: str, job_id: str) -> str:
    """Where the checkpoints of a job lie; all its attempts share them."""
    return f"shops/{shop_id}/jobs/{job_id}/checkpoint/"


class ObjectCheckpoints:
    """The engine's `CheckpointStore` over the object store.

    Args:
        store: the object store.
        held: whose checkpoints.
        check: called before every write; raises when the lease is lost, so that a worker that was given up does not
            put an older state over its successor's newer one.
    """

    def __init__(self, store: ObjectStore, held: Claim, check: Callable[[], None]) -> None:
        self._store = store
        self._prefix = checkpoint_prefix(held.shop_id, held.job_id)
        self._check = check

    def save(self, name: str, data: bytes) -> None:
        """Write a checkpoint; a name holds its latest.

        A store that does not answer costs the checkpoint, not the training.
        """
        self._check()
        try:
            self._store.put(self._prefix + name, data, "application/octet-stream", cache="no-store")
        except StorageUnavailable:
            log.warning("checkpoint.unwritten", key=self._prefix + name, exc_info=True)

    def load(self, name: str) -> bytes | None:
        """Return the latest checkpoint of this name, or None when there is none."""
        try:
            return self._store.get(self._prefix + name)
        except NotFound:
            return None

    def clear(self) -> None:
        """Delete all checkpoints of the job."""
        self._store.delete(list(self._store.list(self._prefix)))
