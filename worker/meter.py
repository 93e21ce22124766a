"""Computing time of one process, and which of the jobs that it works at pay for it: every second is charged once."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping


class Meter:
    """A clock whose seconds are shared out. Any thread may ask it.

    Args:
        payer: the job that pays until `charge` says otherwise.
        clock: seconds, of any origin.
    """

    def __init__(self, payer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._shares: Mapping[str, float] = {payer: 1.0}
        self._due: defaultdict[str, float] = defaultdict(float)
        self._until = clock()

    def charge(self, weights: Mapping[str, float]) -> None:
        """From now on these jobs pay, each by its weight (above 0).

        One that ends meanwhile leaves its share unpaid: what a job costs must not depend on what becomes of others.
        """
        total = sum(weights.values())
        with self._lock:
            self._advance()
            self._shares = {job: weight / total for job, weight in weights.items()}

    def take(self, job: str) -> float:
        """Seconds that a job has to pay since it was last asked to."""
        with self._lock:
            self._advance()
            return self._due.pop(job, 0.0)

    def put_back(self, job: str, seconds: float) -> None:
        """Seconds that were taken and could not be written down: they are handed out with the next ones."""
        with self._lock:
            self._due[job] += seconds

    def _advance(self) -> None:
        now = self._clock()
        for job, share in self._shares.items():
            self._due[job] += share * (now - self._until)
        self._until = now
