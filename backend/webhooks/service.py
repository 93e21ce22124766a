"""Making, rotating and deleting webhooks; sending an event again."""

import base64
import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from backend.core.db import utcnow
from backend.core.errors import Conflict
from backend.core.ids import new_id
from backend.models import WebhookDelivery, WebhookEndpoint
from backend.webhooks.addresses import check_url
from backend.webhooks.repository import WebhookRepository
from backend.webhooks.schemas import WebhookIn

MOST: Final = 20
"""Webhooks a shop may have."""
OVERLAP: Final = timedelta(hours=24)
"""After a rotation the old secret signs as well for so long, so that receivers can change over without a gap."""


def create_webhook(session: Session, shop_id: str, body: WebhookIn) -> WebhookEndpoint:
    """Make a webhook.

    Raises:
        InvalidInput: an address that cannot be used.
        Conflict: the shop has too many.
    """
    check_url(body.url)
    repository = WebhookRepository(session, shop_id)
    if len(repository.all()) >= MOST:
        raise Conflict(f"Your shop has {MOST} webhooks already. Please delete one that is no longer needed.")
    endpoint = WebhookEndpoint(
        id=new_id("whk"),
        shop_id=shop_id,
        url=body.url,
        events=sorted(set(body.events)),
        secret=_new_secret(),
        created_at=utcnow(),
    )
    repository.add(endpoint)
    return endpoint


def rotate_secret(session: Session, shop_id: str, endpoint_id: str) -> WebhookEndpoint:
    """Give a webhook a new secret; the old one signs too for a day."""
    endpoint = WebhookRepository(session, shop_id).get(endpoint_id)
    endpoint.previous_secret = endpoint.secret
    endpoint.previous_secret_expires_at = utcnow() + OVERLAP
    endpoint.secret = _new_secret()
    return endpoint


def delete_webhook(session: Session, shop_id: str, endpoint_id: str) -> None:
    """Forget a webhook, and what was still to be sent to it."""
    repository = WebhookRepository(session, shop_id)
    repository.delete(repository.get(endpoint_id))


def redeliver(session: Session, shop_id: str, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
    """Send an event again, with all attempts ahead of it; a webhook that was switched off is switched on again."""
    repository = WebhookRepository(session, shop_id)
    endpoint = repository.get(endpoint_id)
    delivery = repository.delivery(endpoint_id, delivery_id)
    endpoint.disabled_at = None
    delivery.status = "pending"
    delivery.attempts = 0
    delivery.next_attempt_at = utcnow()
    delivery.delivered_at = None
    return delivery


def _new_secret() -> str:
    # Standard Webhooks: 24 to 64 bytes, base64, with this prefix.
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
