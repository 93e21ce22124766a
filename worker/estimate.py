"""How much longer a job takes, from how far it has come."""

from typing import Final

# Shares of the whole time, measured on the bundled base; they only shape the estimate, which corrects itself by the
# speed actually seen.
_SHARES: Final[dict[str, dict[str, float]]] = {
    "train": {
        "prepare": 0.01,
        "pair": 0.02,
        "stage_one": 0.50,
        "complement": 0.12,
        "stage_two": 0.29,
        "samples": 0.06,
    },
    "render": {"prepare": 0.05, "diffuse": 0.80, "decode": 0.10, "place": 0.05},
    "pair": {"prepare": 0.40, "pair": 0.60},
}

_FEW: Final = 0.03
"""Below this share of new work an estimate would be a guess."""


class Estimate:
    """Estimate of the time left.

    Args:
        kind: the job's kind: train, render or pair.
    """

    def __init__(self, kind: str) -> None:
        self._shares = _SHARES.get(kind, {})
        self._first: tuple[float, float] | None = None
        self._done = 0.0

    def note(self, stage: str, step: int, total: int, now: float) -> None:
        """Take note that `step` of `total` steps of `stage` are done at the time `now` (seconds, any origin)."""
        before = 0.0
        for name, share in self._shares.items():
            if name == stage:
                done = before + share * (step / total if total > 0 else 0.0)
                # Variations run through the same stages again; the estimate never walks back.
                self._done = max(self._done, min(done, 1.0))
                break
            before += share
        if self._first is None:
            # Work that a resumed attempt finds done says nothing about its speed.
            self._first = (self._done, now)

    def remaining(self, now: float) -> float | None:
        """Seconds left at the time `now`, or None while too little is known."""
        if self._first is None:
            return None
        done_first, since = self._first
        fresh = self._done - done_first
        if fresh < _FEW:
            return None
        return round((now - since) / fresh * (1.0 - self._done), 1)
