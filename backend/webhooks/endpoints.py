"""Webhooks: make, list, rotate, delete; look at deliveries and send one again."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from backend.core.db import ReadSession, WriteSession
from backend.core.pagination import Page, PageQuery
from backend.shops.auth import CurrentShop
from backend.web.idempotency import IdempotencyDep
from backend.web.schemas import Id
from backend.webhooks import service
from backend.webhooks.repository import WebhookRepository
from backend.webhooks.schemas import DeliveryOut, RedeliverIn, WebhookIn, WebhookOut

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post("", operation_id="createWebhook", status_code=201, response_model=WebhookOut)
def create_webhook(
    body: WebhookIn, caller: CurrentShop, idempotency: IdempotencyDep, session: WriteSession
) -> Response:
    """Make a webhook (Standard Webhooks). The secret is shown this once."""
    idempotency.begin(caller.shop_id, body)
    endpoint = service.create_webhook(session, caller.shop_id, body)
    session.flush()
    return idempotency.finish(session, WebhookOut.of(endpoint, endpoint.secret), 201)


@router.get("", operation_id="listWebhooks")
def list_webhooks(caller: CurrentShop, session: ReadSession, page: PageQuery) -> Page[WebhookOut]:
    """List the shop's webhooks, newest first."""
    rows, cursor = WebhookRepository(session, caller.shop_id).page(page)
    return Page(data=[WebhookOut.of(row) for row in rows], next_cursor=cursor)


@router.get("/{webhook_id}", operation_id="getWebhook")
def get_webhook(webhook_id: Id, caller: CurrentShop, session: ReadSession) -> WebhookOut:
    """Get a webhook; its secret is not told again."""
    return WebhookOut.of(WebhookRepository(session, caller.shop_id).get(webhook_id))


@router.delete("/{webhook_id}", operation_id="deleteWebhook", status_code=204)
def delete_webhook(webhook_id: Id, caller: CurrentShop, session: WriteSession) -> Response:
    """Delete a webhook, its log, and what was still to be sent to it."""
    service.delete_webhook(session, caller.shop_id, webhook_id)
    return Response(status_code=204)


@router.post("/{webhook_id}/rotate", operation_id="rotateWebhookSecret")
def rotate_secret(webhook_id: Id, caller: CurrentShop, session: WriteSession) -> WebhookOut:
    """Give a webhook a new secret, shown this once. For a day, messages carry signatures of both."""
    endpoint = service.rotate_secret(session, caller.shop_id, webhook_id)
    return WebhookOut.of(endpoint, endpoint.secret)


@router.get("/{webhook_id}/deliveries", operation_id="listWebhookDeliveries")
def list_deliveries(
    webhook_id: Id,
    caller: CurrentShop,
    session: ReadSession,
    page: PageQuery,
    status: Annotated[
        Literal["pending", "delivered", "failed"] | None, Query(description="Only deliveries with this status.")
    ] = None,
) -> Page[DeliveryOut]:
    """List what was sent to a webhook and how it went, newest first."""
    repository = WebhookRepository(session, caller.shop_id)
    repository.get(webhook_id)
    rows, cursor = repository.deliveries(webhook_id, page, status)
    return Page(data=[DeliveryOut.of(row) for row in rows], next_cursor=cursor)


@router.post("/{webhook_id}/redeliver", operation_id="redeliverWebhook", status_code=202)
def redeliver(webhook_id: Id, body: RedeliverIn, caller: CurrentShop, session: WriteSession) -> DeliveryOut:
    """Send an event again, with the same message id."""
    delivery = service.redeliver(session, caller.shop_id, webhook_id, body.delivery)
    return DeliveryOut.of(delivery)
