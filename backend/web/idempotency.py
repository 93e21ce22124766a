"""Idempotency-Key: the same request sent twice makes one thing and gets one answer.

The stored answer is written in the transaction that does the work, so there is no moment at which the work is done and
the answer is not known. Form of the header: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.core.db import Database, DatabaseDep, utcnow
from backend.core.errors import IdempotencyInFlight, IdempotencyMismatch
from backend.models import IdempotencyKey

KEPT: Final = timedelta(hours=24)
ABANDONED: Final = timedelta(minutes=2)
"""A request that has not finished by then died with its process; its transaction was never committed."""


class Replay(Exception):
    """The request was answered before; `answer` is that answer."""

    def __init__(self, answer: JSONResponse) -> None:
        super().__init__("answered before")
        self.answer = answer


def replay(_request: Request, known: Exception) -> JSONResponse:
    """Exception handler: send the known answer."""
    if not isinstance(known, Replay):
        raise TypeError(f"not a replay: {known!r}")
    return known.answer


class Idempotency:
    """Guards one request. Without a key it lets everything pass."""

    def __init__(self, database: Database, key: str | None, operation: str) -> None:
        self._database = database
        self._key = key
        self._operation = operation
        self._held: tuple[str, datetime] | None = None

    def begin(self, shop_id: str, body: BaseModel | bytes, *, scope: str = "") -> None:
        """Take the key, before any work and before the request's session writes.

        Args:
            shop_id: whose key it is.
            body: what must be the same when the request is sent again: the parsed body, or bytes that stand for it.
            scope: tells callers of one shop apart that must not see each other's answers, such as share links.

        Raises:
            Replay: answered before.
            IdempotencyMismatch: the key belongs to another request.
            IdempotencyInFlight: the first request is still being worked on.
        """
        if self._key is None:
            return
        content = body if isinstance(body, bytes) else body.model_dump_json(exclude_unset=True).encode()
        digest = hashlib.sha256(content).hexdigest()
        key = f"{scope}{self._key}"
        now = utcnow()
        try:
            with self._database.session() as session:
                session.execute(
                    delete(IdempotencyKey).where(
                        IdempotencyKey.shop_id == shop_id, IdempotencyKey.created_at < now - KEPT
                    )
                )
                known = session.get(IdempotencyKey, (shop_id, key))
                if known is not None and known.status is None and known.created_at < now - ABANDONED:
                    session.delete(known)
                    session.flush()
                    known = None
                if known is None:
                    session.add(
                        IdempotencyKey(
                            shop_id=shop_id, key=key, request=self._operation, body_sha256=digest, created_at=now
                        )
                    )
        except IntegrityError as error:
            # The twin of this request was faster by a moment.
            raise IdempotencyInFlight(_IN_FLIGHT, headers={"Retry-After": "1"}) from error
        if known is None:
            self._held = (key, now)
            self._shop_id = shop_id
            return
        if (known.request, known.body_sha256) != (self._operation, digest):
            raise IdempotencyMismatch(
                "This Idempotency-Key was already used for a different request. Please take a new one for each request."
            )
        if known.status is None:
            raise IdempotencyInFlight(_IN_FLIGHT, headers={"Retry-After": "1"})
        raise Replay(
            JSONResponse(
                known.response, known.status, headers={**(known.headers or {}), "Idempotency-Replayed": "true"}
            )
        )

    def finish(
        self, session: Session, body: BaseModel, status: int, headers: dict[str, str] | None = None
    ) -> JSONResponse:
        """Make the answer and keep it, in the session that does the work."""
        content: Any = json.loads(body.model_dump_json())
        if self._held is not None:
            key, since = self._held
            kept = session.execute(
                update(IdempotencyKey)
                .where(
                    IdempotencyKey.shop_id == self._shop_id,
                    IdempotencyKey.key == key,
                    IdempotencyKey.created_at == since,
                )
                .values(status=status, response=content, headers=headers or {})
                .returning(IdempotencyKey.key)
            ).one_or_none()
            if kept is None:
                # Taken over as abandoned: the other request's work stands, ours is rolled back.
                raise IdempotencyInFlight(_IN_FLIGHT, headers={"Retry-After": "1"})
        return JSONResponse(content, status, headers=headers)

    def release(self) -> None:
        """Give the key back after a failure, so that the request can be sent again."""
        if self._held is None:
            return
        key, since = self._held
        with self._database.session() as session:
            session.execute(
                delete(IdempotencyKey).where(
                    IdempotencyKey.shop_id == self._shop_id,
                    IdempotencyKey.key == key,
                    IdempotencyKey.created_at == since,
                    IdempotencyKey.status.is_(None),
                )
            )


_IN_FLIGHT: Final = "The same request is still being worked on. Please ask again in a moment."


def get_idempotency(
    request: Request,
    database: DatabaseDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            pattern=r"^[\x21-\x7e]+$",
            description="Any text that is new for each new request. Sent again within 24 hours, it gets the first "
            "answer.",
        ),
    ] = None,
) -> Iterator[Idempotency]:
    """FastAPI dependency: the guard of this request. Ask for it before `WriteSession`."""
    guard = Idempotency(database, idempotency_key, f"{request.method} {request.url.path}")
    try:
        yield guard
    except BaseException:
        guard.release()
        raise


# scope="function", and before the session in the list of arguments: the session is rolled back first, which frees
# SQLite's write lock for `release`.
IdempotencyDep = Annotated[Idempotency, Depends(get_idempotency, scope="function")]
