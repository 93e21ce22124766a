"""Lists by keyset cursor: a page says where the next one starts; rows added meanwhile neither repeat nor hide others.

Ids are UUIDv7, so ordering by id is ordering by time, and the cursor is the last id of a page, wrapped so that nobody
builds on its form.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from backend.core.errors import InvalidInput

T = TypeVar("T")


class HasId(Protocol):
    """A row with a time-sorted text id."""

    id: Any


M = TypeVar("M", bound=HasId)


class Page(BaseModel, Generic[T]):
    """A page of a list, newest first."""

    model_config = ConfigDict(frozen=True)

    data: list[T]
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` to get the next page; null on the last page."
    )


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted.

    Attributes:
        limit: at most so many rows, 1 to 100.
        after: id of the last row of the page before, or None for the first page.
    """

    limit: int = 20
    after: str | None = None


def encode_cursor(row_id: str) -> str:
    """Wrap the last id of a page."""
    return base64.urlsafe_b64encode(row_id.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Unwrap a cursor; raises InvalidInput when it is none of ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        row_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError, ValueError):
        row_id = ""
    if not row_id.replace("_", "").isalnum():
        raise InvalidInput(
            "The cursor is not one that this list gave out. Please start again from the first page.",
            errors=[{"field": "query.cursor", "message": "not a cursor of this list"}],
        )
    return row_id


def page_request(
    limit: Annotated[int, Query(ge=1, le=100, description="Rows on a page.")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.", examples=[None])
    ] = None,
) -> PageRequest:
    """FastAPI dependency: the page that the query asks for."""
    return PageRequest(limit=limit, after=decode_cursor(cursor) if cursor else None)


PageQuery = Annotated[PageRequest, Depends(page_request)]


def fetch_page(
    session: Session, statement: Select[M], column: InstrumentedAttribute[str], page: PageRequest
) -> tuple[list[M], str | None]:
    """Read one page, newest first.

    Args:
        session: where to read.
        statement: selects the rows of the list, without order or limit.
        column: the id column to page by.
        page: which page.

    Returns:
        The rows and the cursor of the next page, None on the last.
    """
    if page.after is not None:
        statement = statement.where(column < page.after)
    # One row more than asked for tells whether there is a next page.
    rows = list(session.scalars(statement.order_by(column.desc()).limit(page.limit + 1)))
    if len(rows) <= page.limit:
        return rows, None
    rows = rows[: page.limit]
    return rows, encode_cursor(rows[-1].id)
