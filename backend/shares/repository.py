"""The share links of one shop."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.errors import NotFound
from backend.core.pagination import PageRequest, fetch_page
from backend.models import Share


class ShareRepository:
    """Links of one shop; those of others do not exist here."""

    def __init__(self, session: Session, shop_id: str) -> None:
        self._session = session
        self._shop_id = shop_id

    def get(self, share_id: str) -> Share:
        """Return a link; raises NotFound."""
        share = self._session.get(Share, share_id)
        if share is None or share.shop_id != self._shop_id:
            raise NotFound("There is no such share link.")
        return share

    def page(self, page: PageRequest) -> tuple[list[Share], str | None]:
        """One page, newest first, revoked ones included."""
        return fetch_page(self._session, select(Share).where(Share.shop_id == self._shop_id), Share.id, page)

    def add(self, share: Share) -> None:
        """Keep a new link."""
        self._session.add(share)
