"""Between the engine, which only knows `update` and `preview`, and the database, which everyone else looks at.

A `Reporter` lives as long as one attempt. Its heartbeat thread renews the lease and learns whether someone asked to
cancel; its two engine callbacks run in the thread that computes and turn what the heartbeat learnt into an exception at
the next step. Watching must never break the work: when the database or the object store is away for a moment, progress
is simply not shown. Only a lost lease, a cancel or a worker that is being stopped ends an attempt.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from types import TracebackType
from typing import Final, Self

import structlog
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from backend.core.db import Database
from backend.core.errors import HoopError
from backend.core.storage import ObjectStore
from backend.jobs import lifecycle
from backend.jobs.lifecycle import Claim, LeaseLost
from worker.engine.progress import Canceled
from worker.estimate import Estimate
from worker.meter import Meter
from worker.publish import attempt_key

log = structlog.get_logger(__name__)

PROGRESS_SECONDS: Final = 1.0
"""At most one progress event in this time, unless the stage changes."""
PREVIEW_SECONDS: Final = 3.0
PREVIEW_SIDE: Final = 512
PREVIEWS_KEPT: Final = 2


class Stopped(Canceled):
    """The worker is being stopped; the job goes back to the queue and on from its checkpoint."""


class LeaseGone(Canceled):
    """The lease is lost; this attempt must not write anything any more."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient a worker is, all in seconds.

    Attributes:
        lease: a job whose worker is silent for so long is given to another.
        heartbeat: time between two signs of life.
        cancel_grace: from the wish to cancel to killing an engine that does not listen.
        stall: an engine that reports nothing for so long is taken for hung.
    """

    lease: float = 60.0
    heartbeat: float = 10.0
    cancel_grace: float = 120.0
    stall: float = 1800.0


class Reporter:
    """Progress of one attempt; a context manager, and the engine's `Progress`.

    Args:
        database: where the job's row lives.
        store: where previews go.
        held: the claim under which everything is written.
        timing: lease, heartbeat and patience.
        stopping: set when the worker process is asked to stop.
        give_up: called from the heartbeat thread when the engine does not react; ends the process.
        meter: that the job's computing time is taken from; one of its own when left out.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        held: Claim,
        *,
        timing: Timing,
        stopping: threading.Event,
        give_up: Callable[[str], None],
        meter: Meter | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._held = held
        self._timing = timing
        self._stopping = stopping
        self._give_up = give_up
        self.meter = meter or Meter(held.job_id)
        self._estimate = Estimate(held.kind)
        self._cancel_seen_at: float | None = None
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{held.job_id}", daemon=True)
        self._charging = threading.Lock()
        self._last_sign = time.monotonic()
        self._begun = False
        self._stage = ""
        self._progress_at = 0.0
        self._preview_at = 0.0
        self._previews: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._thread.join(timeout=self._timing.heartbeat)

    def close(self) -> None:
        """The attempt is over: no heartbeat from now on, and no patience that ends."""
        self._ended.set()

    # What the engine calls.

    def update(self, stage: str, step: int, total: int) -> None:
        """Take note of a step.

        Args:
            stage: one of the engine's stages.
            step: steps done in this stage, 0 to `total`.
            total: steps of this stage.

        Raises:
            Canceled: someone asked to cancel, or one of the reasons below.
            Stopped: the worker is being stopped.
            LeaseGone: the job was given to another worker.
        """
        self.check()
        now = self._last_sign = time.monotonic()
        self._estimate.note(stage, step, total, now)
        changed = stage != self._stage
        if not changed and step < total and now - self._progress_at < PROGRESS_SECONDS:
            return
        self._stage, self._progress_at = stage, now
        try:
            with self._database.session() as session:
                if not self._begun:
                    lifecycle.begin(session, self._held)
                lifecycle.progress(
                    session, self._held, stage=stage, step=step, total=total, eta_s=self._estimate.remaining(now)
                )
            self._begun = True
        except LeaseLost:
            self._lost = True
            self.check()
        except SQLAlchemyError:
            log.warning("progress.unwritten", job=self._held.job_id, exc_info=True)

    def preview(self, image: Image.Image) -> None:
        """Show an intermediate picture (RGB or RGBA, any size; sent as WebP with the longer side at most 512 px)."""
        self.check()
        now = self._last_sign = time.monotonic()
        if now - self._preview_at < PREVIEW_SECONDS:
            return
        self._preview_at = now
        key = attempt_key(self._held, f"preview-{len(self._previews):04d}.webp")
        try:
            self._store.put(key, _small_webp(image), "image/webp")
            with self._database.session() as session:
                lifecycle.preview(session, self._held, key=key)
            self._previews.append(key)
            # An old one is only looked at by someone who is replaying a moment ago.
            if len(self._previews) > PREVIEWS_KEPT:
                self._store.delete([self._previews[-PREVIEWS_KEPT - 1]])
        except LeaseLost:
            self._lost = True
            self.check()
        except (SQLAlchemyError, HoopError):
            log.warning("preview.unwritten", job=self._held.job_id, exc_info=True)

    def wait_turn(self) -> None:
        """Take note that others are being worked at, in this process; raises, like `update`."""
        self._last_sign = time.monotonic()
        self.check()

    def check(self) -> None:
        """Raise what the heartbeat learnt since the last step; see `update`."""
        if self._lost:
            raise LeaseGone(f"{self._held.job_id} belongs to another worker now")
        if self._cancel_seen_at is not None:
            raise Canceled(f"{self._held.job_id} was canceled")
        if self._stopping.is_set():
            raise Stopped("the worker is being stopped")

    # What the task asks.

    @contextmanager
    def last_seconds(self) -> Iterator[float]:
        """Seconds that are not charged yet, for the write that ends the attempt; they stay so when it raises.

        No heartbeat comes in between: it would have taken them, and then find that the job has ended.
        """
        with self._charging:
            seconds = self.meter.take(self._held.job_id)
            try:
                yield seconds
            except BaseException:
                self.meter.put_back(self._held.job_id, seconds)
                raise

    def pause(self, seconds: float) -> None:
        """Wait with the lease held, for a dependency to come back; ends early, and raises, like `update`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._last_sign = time.monotonic()
            self.check()
            time.sleep(min(left, 0.2))

    # The heartbeat thread.

    def _beat(self) -> None:
        while not self._ended.wait(self._timing.heartbeat):
            with self._charging:
                self._renew()
            if self._lost:
                return
            now = time.monotonic()
            if self._cancel_seen_at is not None and now - self._cancel_seen_at > self._timing.cancel_grace:
                self._give_up("canceled")
            elif now - self._last_sign > self._timing.stall:
                self._give_up("stalled")

    def _renew(self) -> None:
        seconds = self.meter.take(self._held.job_id)
        try:
            with self._database.session() as session:
                renewal = lifecycle.renew(
                    session, self._held, lease=timedelta(seconds=self._timing.lease), compute_seconds=seconds
                )
        except LeaseLost:
            self._lost = True
            return
        except SQLAlchemyError:
            self.meter.put_back(self._held.job_id, seconds)
            log.warning("heartbeat.missed", job=self._held.job_id, exc_info=True)
            # Nobody may have taken the job yet, and the token guards the result: work on and try again.
            return
        if renewal.cancel_requested and self._cancel_seen_at is None:
            self._cancel_seen_at = time.monotonic()


def _small_webp(image: Image.Image) -> bytes:
    """Encode a preview."""
    small = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()
