"""Field types that several requests share."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _without_control_characters(text: str) -> str:
    # PostgreSQL stores no NUL, and none of the others means anything in a name.
    if _CONTROL.search(text):
        raise ValueError("holds characters that cannot be shown")
    return text


Showable: Final = AfterValidator(_without_control_characters)
"""For text of one or more lines: without control characters."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120), Showable]
"""A name that people give to something."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z]+_[0-9a-f]+$")]
"""An id as this API gives them out: a prefix and hex digits."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""Start of the random numbers; the same seed gives the same result."""

MetadataValue = (
    Annotated[str, StringConstraints(max_length=500), Showable]
    | bool
    | int
    | Annotated[float, Field(allow_inf_nan=False)]
    | None
)


def _small(metadata: dict[str, MetadataValue]) -> dict[str, MetadataValue]:
    for value in metadata.values():
        # JSON numbers beyond this are not exact in a browser, and databases refuse the largest.
        if isinstance(value, int) and abs(value) > 2**53:
            raise ValueError("holds a whole number beyond 2^53; please send it as text")
    return metadata


Metadata = Annotated[
    dict[Annotated[str, StringConstraints(min_length=1, max_length=40), Showable], MetadataValue],
    Field(max_length=50, description="Up to 50 values of your own; given back as they are."),
    AfterValidator(_small),
]


class Request(BaseModel):
    """Base of request bodies: a field that is not known is a mistake worth telling."""

    model_config = ConfigDict(extra="forbid")


class Note(BaseModel):
    """Something worth knowing that did not stop the work."""

    code: str
    message: str


class Failure(BaseModel):
    """Why a job did not succeed; the members of a problem document."""

    type: str
    title: str
    detail: str
