"""Why a job did not succeed, in the words of a shop owner.

The branch of :class:`backend.core.errors.HoopError` that is stored with a job instead of answering a request::

    JobError
    ├── WorkerLost        the program that did the work went away, each time
    ├── NotEnoughMemory   the computer ran out of memory, each time
    ├── CannotBeUsed      the engine refuses the input
    ├── BaseUnavailable   the base model is not where the worker is
    ├── JobExpired        no worker was free in time
    └── JobBroken         a fault of ours
"""

from backend.core.errors import HoopError


class JobError(HoopError):
    """Base of what can go wrong with a job, apart from its input."""

    status = 500
    slug = "job-failed"
    title = "This could not be finished."


class WorkerLost(JobError):
    """Every attempt ended without a word from the worker."""

    slug = "worker-lost"
    title = "The work was interrupted several times."


class NotEnoughMemory(JobError):
    """Every attempt ran out of memory."""

    slug = "not-enough-memory"
    title = "The computer that does the work ran out of memory."


class CannotBeUsed(JobError):
    """The engine refuses what it was given; the detail is its sentence."""

    status = 422
    slug = "cannot-be-used"
    title = "This cannot be used."


class BaseUnavailable(JobError):
    """The base model is not where the worker is, or damaged."""

    slug = "base-unavailable"
    title = "The base model is missing."


class JobExpired(JobError):
    """Nobody began the job before its time was over."""

    slug = "job-expired"
    title = "This waited too long."


class JobBroken(JobError):
    """An error nobody foresaw."""

    slug = "job-broken"
    title = "Something went wrong on our side."


def stored(error: HoopError) -> dict[str, str]:
    """What a job row keeps of an error: `type`, `title` and `detail` of its problem document."""
    return {"type": error.type, "title": error.title, "detail": error.detail}


def worker_lost(attempts: int) -> dict[str, str]:
    """The last lease ran out."""
    return stored(
        WorkerLost(
            f"We tried {attempts} times, and each time the program that does the work stopped before the end. Your "
            "pictures are safe. Please try again; if it happens again, the computer may be short of memory."
        )
    )


def expired() -> dict[str, str]:
    """Nobody came."""
    return stored(
        JobExpired("No worker was free in time, so this was not started. Please try again when less is waiting.")
    )


def broken(attempts: int) -> dict[str, str]:
    """The last attempt met an error that nobody foresaw."""
    return stored(
        JobBroken(
            f"We tried {attempts} times and met an error that is ours, not yours. Your pictures are safe, and the "
            "error has been written down. Please try again later."
        )
    )


def not_enough_memory(attempts: int) -> dict[str, str]:
    """The last attempt ran out of memory."""
    return stored(
        NotEnoughMemory(
            f"We tried {attempts} times, and each time memory ran out. Please choose a smaller size or fewer "
            "variations, or close other programs on the computer that runs Hoop."
        )
    )


def stalled(attempts: int) -> dict[str, str]:
    """The last attempt did not come forward any more."""
    return stored(
        WorkerLost(
            f"We tried {attempts} times, and each time the work came to a standstill. Your pictures are safe. Please "
            "try again; if it happens again, the computer may be too busy or short of memory."
        )
    )
