"""The styles and pairs of one shop."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.errors import NotFound
from backend.core.pagination import PageRequest, fetch_page
from backend.models import Pair, Style


class StyleRepository:
    """Styles of one shop; those of others do not exist here, nor do deleted ones."""

    def __init__(self, session: Session, shop_id: str) -> None:
        self._session = session
        self._shop_id = shop_id

    def get(self, style_id: str) -> Style:
        """Return a style; raises NotFound."""
        style = self._session.get(Style, style_id)
        if style is None or style.shop_id != self._shop_id or style.deleted_at is not None:
            raise NotFound("There is no such style.")
        return style

    def require(self, style_id: str, field: str) -> Style:
        """Return a style that a request names; raises NotFound, with the field, when there is none."""
        try:
            return self.get(style_id)
        except NotFound as error:
            raise NotFound(
                "There is no such style. Please choose one of your shop's styles.",
                errors=[{"field": field, "message": "is no style of your shop"}],
            ) from error

    def page(self, page: PageRequest, status: str | None) -> tuple[list[Style], str | None]:
        """One page, newest first."""
        statement = select(Style).where(Style.shop_id == self._shop_id, Style.deleted_at.is_(None))
        if status is not None:
            statement = statement.where(Style.status == status)
        return fetch_page(self._session, statement, Style.id, page)

    def add(self, style: Style) -> None:
        """Keep a new style."""
        self._session.add(style)


class PairRepository:
    """Pairs of one shop; those of others do not exist here."""

    def __init__(self, session: Session, shop_id: str) -> None:
        self._session = session
        self._shop_id = shop_id

    def get(self, pair_id: str) -> Pair:
        """Return a pair; raises NotFound."""
        pair = self._session.get(Pair, pair_id)
        if pair is None or pair.shop_id != self._shop_id:
            raise NotFound("There is no such pair.")
        return pair

    def add(self, pair: Pair) -> None:
        """Keep a new pair."""
        self._session.add(pair)
