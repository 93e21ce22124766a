"""Every error a person can meet, as one tree with one rendering (RFC 9457 problem details).

    HoopError
    ├── NotFound                 404
    ├── Conflict                 409
    │   ├── StyleNotReady
    │   └── IdempotencyInFlight
    ├── InvalidInput             422   carries `errors`, one entry a field
    │   ├── ImageRejected              what is wrong with a picture
    │   │   ├── NotAnImage, ImageTooSmall, BlankImage, TruncatedImage, AnimatedImage
    │   │   └── ImageTooLarge    413
    │   ├── PlacementOutside, BriefInvalid, IdempotencyMismatch
    ├── Unauthorized             401
    ├── Forbidden                403
    ├── LimitReached             429
    │   ├── RateLimited, QuotaExceeded
    └── StorageUnavailable       503

`detail` is a sentence that a shop owner understands; `type` is stable and is what programs compare.
"""

from typing import Any, ClassVar

PROBLEM_BASE = "https://hoop.dev/problems/"


class HoopError(Exception):
    """Base of all errors that are shown to people.

    Args:
        detail: what went wrong and what to do, in one or two plain sentences; the class's `title` when left out.
        headers: HTTP headers that belong to the answer, such as `Retry-After`.
        extra: more members of the problem document, JSON values only.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, detail: str | None = None, *, headers: dict[str, str] | None = None, **extra: Any) -> None:
        self.detail = detail or self.title
        self.headers = headers or {}
        self.extra = extra
        super().__init__(self.detail)

    @property
    def type(self) -> str:
        """Stable URI that names the kind of problem."""
        return PROBLEM_BASE + self.slug


class NotFound(HoopError):
    """No such thing, or it belongs to another shop: the two are never told apart."""

    status = 404
    slug = "not-found"
    title = "This does not exist, or it is not yours."


class Conflict(HoopError):
    """The thing is not in a state that allows the request."""

    status = 409
    slug = "conflict"
    title = "This cannot be done right now."


class StyleNotReady(Conflict):
    """A render was asked of a style that is still learning, failed or was cancelled."""

    slug = "style-not-ready"
    title = "This style is not ready yet."


class IdempotencyInFlight(Conflict):
    """The first request with this Idempotency-Key has not finished."""

    slug = "idempotency-in-flight"
    title = "The same request is still being worked on."


class InvalidInput(HoopError):
    """The request can be read but not accepted.

    Args:
        errors: one entry a field, each with `field` (dotted path) and `message`.
    """

    status = 422
    slug = "invalid-input"
    title = "Something in the request is not right."

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.errors = errors or []
        if self.errors:
            extra["errors"] = self.errors
        super().__init__(detail, headers=headers, **extra)


class ImageRejected(InvalidInput):
    """A picture that cannot be used; its subclasses say why."""

    slug = "image-rejected"
    title = "This picture cannot be used."


class NotAnImage(ImageRejected):
    """The bytes are no JPEG, PNG, WebP or HEIC picture, whatever the file's name says."""

    slug = "not-an-image"
    title = "This file is not a picture. Please choose a JPEG, PNG, WebP or HEIC file."


class ImageTooLarge(ImageRejected):
    """More bytes or more pixels than allowed."""

    status = 413
    slug = "image-too-large"
    title = "This picture is too large. Up to 25 MB and 40 megapixels are fine."


class ImageTooSmall(ImageRejected):
    """The shorter side is under 256 pixels."""

    slug = "image-too-small"
    title = "This picture is too small. Its shorter side needs at least 256 pixels."


class BlankImage(ImageRejected):
    """One colour from edge to edge."""

    slug = "blank-image"
    title = "This picture is blank."


class TruncatedImage(ImageRejected):
    """The file ends before the picture does."""

    slug = "truncated-image"
    title = "This picture is incomplete, perhaps because an upload or a copy was cut off. Please send it again."


class AnimatedImage(ImageRejected):
    """More than one frame."""

    slug = "animated-image"
    title = "This picture is animated. Please choose a still one."


class PlacementOutside(InvalidInput):
    """The place for the embroidery is not on the garment's picture."""

    slug = "placement-outside"
    title = "The place you chose lies outside the garment's picture."


class BriefInvalid(InvalidInput):
    """The description is empty or longer than 500 characters."""

    slug = "brief-invalid"
    title = "Please describe the design in 1 to 500 characters."


class IdempotencyMismatch(InvalidInput):
    """The Idempotency-Key was used before with another body."""

    slug = "idempotency-mismatch"
    title = "This Idempotency-Key was already used for a different request."


class Unauthorized(HoopError):
    """No valid key, session or share link."""

    status = 401
    slug = "unauthorized"
    title = "Please log in, or send a valid API key."


class Forbidden(HoopError):
    """Known, but not allowed to do this."""

    status = 403
    slug = "forbidden"
    title = "You are not allowed to do this."


class LimitReached(HoopError):
    """Too much at once or in a day."""

    status = 429
    slug = "limit-reached"
    title = "A limit is reached."


class RateLimited(LimitReached):
    """Too many requests in a short time."""

    slug = "rate-limited"
    title = "Too many requests. Please wait a moment."


class QuotaExceeded(LimitReached):
    """The shop has used up what it may use."""

    slug = "quota-exceeded"
    title = "Your shop has used up its allowance for today."


class StorageUnavailable(HoopError):
    """The object store does not answer."""

    status = 503
    slug = "storage-unavailable"
    title = "The picture store does not answer right now. Nothing is lost; please try again in a moment."


def problem(error: HoopError) -> dict[str, Any]:
    """Return the problem document (RFC 9457) of an error: type, title, status, detail and the error's extra members."""
    return {
        "type": error.type,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        **error.extra,
    }
