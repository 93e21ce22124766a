"""The webhooks of one shop, and their deliveries."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.errors import NotFound
from backend.core.pagination import PageRequest, fetch_page
from backend.models import WebhookDelivery, WebhookEndpoint


class WebhookRepository:
    """Webhooks of one shop; those of others do not exist here."""

    def __init__(self, session: Session, shop_id: str) -> None:
        self._session = session
        self._shop_id = shop_id

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """Return a webhook; raises NotFound."""
        endpoint = self._session.get(WebhookEndpoint, endpoint_id)
        if endpoint is None or endpoint.shop_id != self._shop_id:
            raise NotFound("There is no such webhook.")
        return endpoint

    def all(self) -> Sequence[WebhookEndpoint]:
        """All webhooks, oldest first."""
        return self._session.scalars(
            select(WebhookEndpoint).where(WebhookEndpoint.shop_id == self._shop_id).order_by(WebhookEndpoint.id)
        ).all()

    def page(self, page: PageRequest) -> tuple[list[WebhookEndpoint], str | None]:
        """One page, newest first."""
        statement = select(WebhookEndpoint).where(WebhookEndpoint.shop_id == self._shop_id)
        return fetch_page(self._session, statement, WebhookEndpoint.id, page)

    def delivery(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Return a delivery of a webhook; raises NotFound."""
        delivery = self._session.get(WebhookDelivery, delivery_id)
        if delivery is None or delivery.shop_id != self._shop_id or delivery.endpoint_id != endpoint_id:
            raise NotFound("There is no such delivery.")
        return delivery

    def deliveries(
        self, endpoint_id: str, page: PageRequest, status: str | None
    ) -> tuple[list[WebhookDelivery], str | None]:
        """One page of a webhook's deliveries, newest first."""
        statement = select(WebhookDelivery).where(
            WebhookDelivery.shop_id == self._shop_id, WebhookDelivery.endpoint_id == endpoint_id
        )
        if status is not None:
            statement = statement.where(WebhookDelivery.status == status)
        return fetch_page(self._session, statement, WebhookDelivery.id, page)

    def add(self, endpoint: WebhookEndpoint) -> None:
        """Keep a new webhook."""
        self._session.add(endpoint)

    def delete(self, endpoint: WebhookEndpoint) -> None:
        """Forget a webhook and its deliveries."""
        self._session.delete(endpoint)
