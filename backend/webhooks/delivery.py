"""Sending what the outbox holds: signed, to a pinned address, again and again until it is taken.

Run `deliver_due` every few seconds from the one place that looks after what is due (the worker's reaper). Several may
run at once: a delivery is claimed by a conditional UPDATE that puts off its next attempt.
"""

import json
import random
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException, HTTPSConnection
from socket import SHUT_RDWR, create_connection
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from backend.core.db import Database, utcnow
from backend.models import WebhookDelivery, WebhookEndpoint
from backend.webhooks.addresses import ForbiddenAddress, Target, pin

log = structlog.get_logger(__name__)

DELAYS: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Waits between attempts, as Standard Webhooks suggests: seconds first, then hours; given up after about three days."""
TIMEOUT: Final = 15.0
_CLAIMED_FOR: Final = timedelta(seconds=120)
_EXCERPT: Final = 1000
_AT_ONCE: Final = 8
_AGENT: Final = "Hoop-Webhooks/1"

Pin = Callable[[str], Target]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went; `status` is None when there was no answer."""

    status: int | None
    excerpt: str | None
    error: str | None
    duration_ms: int

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class _Attempt:
    delivery_id: str
    message_id: str
    url: str
    secrets: list[str]
    body: str
    number: int


def deliver_due(
    database: Database, *, limit: int = 50, pin_address: Pin = pin, context: ssl.SSLContext | None = None
) -> int:
    """Send what is due, several at a time, so that a slow receiver holds up nobody but itself.

    Args:
        database: where the outbox lies.
        limit: at most so many now; each may take `TIMEOUT` seconds.
        pin_address: checks an address and chooses where to connect.
        context: TLS settings; the system's trusted certificates when left out.

    Returns:
        How many attempts were made.
    """
    with database.read() as session:
        due = session.scalars(
            select(WebhookDelivery.id)
            .where(WebhookDelivery.status == "pending", WebhookDelivery.next_attempt_at <= utcnow())
            .order_by(WebhookDelivery.next_attempt_at)
            .limit(limit)
        ).all()
    if not due:
        return 0
    trust = context or ssl.create_default_context()
    with ThreadPoolExecutor(min(_AT_ONCE, len(due)), thread_name_prefix="webhook") as pool:
        return sum(pool.map(lambda delivery_id: _deliver(database, delivery_id, pin_address, trust), due))


def _deliver(database: Database, delivery_id: str, pin_address: Pin, context: ssl.SSLContext) -> bool:
    """Make one attempt; False when another sender was faster."""
    with database.session() as session:
        attempt = _claim(session, delivery_id)
    if attempt is None:
        return False
    outcome = _send(attempt, pin_address, context)
    with database.session() as session:
        _record(session, attempt, outcome)
    return True


def _claim(session: Session, delivery_id: str) -> _Attempt | None:
    """Take one delivery for a while; None when another was faster or there is nobody to send it to any more."""
    now = utcnow()
    delivery = session.scalars(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.status == "pending",
            WebhookDelivery.next_attempt_at <= now,
        )
        .values(attempts=WebhookDelivery.attempts + 1, next_attempt_at=now + _CLAIMED_FOR)
        .returning(WebhookDelivery)
    ).one_or_none()
    if delivery is None:
        return None
    endpoint = session.get(WebhookEndpoint, delivery.endpoint_id)
    if endpoint is None or endpoint.disabled_at is not None:
        delivery.status = "failed"
        delivery.error = "The webhook has been switched off."
        delivery.next_attempt_at = None
        return None
    secrets = [endpoint.secret]
    if (
        endpoint.previous_secret is not None
        and endpoint.previous_secret_expires_at is not None
        and endpoint.previous_secret_expires_at > now
    ):
        secrets.append(endpoint.previous_secret)
    return _Attempt(
        delivery_id=delivery.id,
        message_id=delivery.message_id,
        url=endpoint.url,
        secrets=secrets,
        body=json.dumps(delivery.payload, separators=(",", ":"), ensure_ascii=False),
        number=delivery.attempts,
    )


def _send(attempt: _Attempt, pin_address: Pin, context: ssl.SSLContext) -> Outcome:
    started = time.perf_counter()

    def outcome(status: int | None, excerpt: str | None, error: str | None) -> Outcome:
        return Outcome(status, excerpt, error, round((time.perf_counter() - started) * 1000))

    try:
        target = pin_address(attempt.url)
    except ForbiddenAddress as error:
        return outcome(None, None, f"Nothing was sent: {error}.")
    connection = _PinnedConnection(target, context)
    # The socket's timeout starts anew with every byte; this one does not, so nobody can hold us by dripping.
    deadline = threading.Timer(TIMEOUT, connection.cut)
    deadline.start()
    try:
        connection.request("POST", target.path, attempt.body.encode(), _headers(attempt, target))
        # A redirect would lead past the check, so it counts as a refusal.
        response = connection.getresponse()
        excerpt = response.read(_EXCERPT).decode("utf-8", "replace").replace("\x00", "")
    except (OSError, HTTPException) as error:
        return outcome(None, None, f"No answer: {str(error) or type(error).__name__}"[:500])
    finally:
        deadline.cancel()
        connection.close()
    refusal = None if 200 <= response.status < 300 else f"The address answered {response.status}."
    return outcome(response.status, excerpt, refusal)


def _headers(attempt: _Attempt, target: Target) -> dict[str, str]:
    now = utcnow()
    signatures = [Webhook(secret).sign(attempt.message_id, now, attempt.body) for secret in attempt.secrets]
    return {
        "Host": target.host if target.port == 443 else f"{target.host}:{target.port}",
        "Content-Type": "application/json",
        "User-Agent": _AGENT,
        "webhook-id": attempt.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class _PinnedConnection(HTTPSConnection):
    """Connects to the address that was checked, and checks the certificate against the name."""

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        super().__init__(target.host, target.port, timeout=TIMEOUT, context=context)
        self._address = (target.address, target.port)
        self._tls = context

    def connect(self) -> None:
        """Open the connection."""
        plain = create_connection(self._address, self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def cut(self) -> None:
        """Break the connection off, whatever another thread is reading from it."""
        with suppress(OSError):
            if self.sock is not None:
                self.sock.shutdown(SHUT_RDWR)


def _record(session: Session, attempt: _Attempt, outcome: Outcome) -> None:
    delivery = session.get(WebhookDelivery, attempt.delivery_id)
    if delivery is None:
        # The webhook was deleted while we were sending.
        return
    now = utcnow()
    delivery.response_status = outcome.status
    delivery.response_excerpt = outcome.excerpt
    delivery.error = outcome.error
    delivery.duration_ms = outcome.duration_ms
    if outcome.delivered:
        delivery.status, delivery.delivered_at, delivery.next_attempt_at = "delivered", now, None
    elif outcome.status == 410:
        # Standard Webhooks: Gone means that nobody will ever listen there again.
        delivery.status, delivery.next_attempt_at = "failed", None
        session.execute(
            update(WebhookEndpoint).where(WebhookEndpoint.id == delivery.endpoint_id).values(disabled_at=now)
        )
    else:
        delivery.next_attempt_at = _next_attempt(attempt.number, now)
        if delivery.next_attempt_at is None:
            delivery.status = "failed"
    log.info(
        "webhook.attempt",
        delivery=delivery.id,
        number=attempt.number,
        status=outcome.status,
        outcome=delivery.status,
        ms=outcome.duration_ms,
    )


def _next_attempt(number: int, now: datetime) -> datetime | None:
    """When to try again after attempt `number` (1, 2, …) failed; None when it was the last."""
    if number > len(DELAYS):
        return None
    # Spread, so that a receiver that was away is not met by everything at once.
    return now + DELAYS[number - 1] * random.uniform(1.0, 1.2)
