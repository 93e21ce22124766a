"""The states of a job and the one function that moves it between them.

::

    queued ──claim──▶ starting ──begin──▶ processing ──succeed──▶ succeeded
      ▲                  │                    │
      └─────requeue──────┴────────────────────┘

    starting, processing ──fail──▶ failed
    queued, starting, processing ──cancel──▶ canceled
    queued ──expire──▶ expired

Everything that writes a status asks :func:`transition` first, and the conditional UPDATEs of
:mod:`backend.jobs.lifecycle` take their WHERE clause from :func:`sources`, so the table below is the
only place where the order of things is written down.
"""

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Status words as the REST contract names them."""

    QUEUED = "queued"
    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Event(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    """A worker takes it; also from a running state, when the lease of the worker before has run out."""
    BEGIN = "begin"
    """The worker reports its first step of real work."""
    REQUEUE = "requeue"
    """Back into the queue: a worker died, a dependency was away, or the worker is being stopped."""
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    EXPIRE = "expire"


ACTIVE: Final = frozenset({Status.STARTING, Status.PROCESSING})
"""A worker holds a lease."""
TERMINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED})
"""Nothing moves any more."""
OPEN: Final = frozenset({Status.QUEUED}) | ACTIVE

_TABLE: Final[dict[Event, tuple[frozenset[Status], Status]]] = {
    Event.CLAIM: (OPEN, Status.STARTING),
    Event.BEGIN: (frozenset({Status.STARTING}), Status.PROCESSING),
    Event.REQUEUE: (ACTIVE, Status.QUEUED),
    # A render from a warm cache may end before its first step was reported, hence ACTIVE and not PROCESSING alone.
    Event.SUCCEED: (ACTIVE, Status.SUCCEEDED),
    Event.FAIL: (ACTIVE, Status.FAILED),
    Event.CANCEL: (OPEN, Status.CANCELED),
    Event.EXPIRE: (frozenset({Status.QUEUED}), Status.EXPIRED),
}


class IllegalTransition(Exception):
    """The event cannot happen to a job in this state."""

    def __init__(self, status: Status, event: Event) -> None:
        super().__init__(f"a job that is {status} cannot {event}")
        self.status = status
        self.event = event


def transition(status: Status, event: Event) -> Status:
    """The state after ``event``; raises :class:`IllegalTransition` where the table has none."""
    if status not in sources(event):
        raise IllegalTransition(status, event)
    return target(event)


def sources(event: Event) -> frozenset[Status]:
    """The states from which ``event`` is legal."""
    return _TABLE[event][0]


def target(event: Event) -> Status:
    """The state in which ``event`` leaves a job."""
    return _TABLE[event][1]
