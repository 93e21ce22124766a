"""The renders of one shop."""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.errors import NotFound
from backend.core.pagination import PageRequest, fetch_page
from backend.models import Render, RenderOutput


class RenderRepository:
    """Renders of one shop; those of others do not exist here, nor do deleted ones."""

    def __init__(self, session: Session, shop_id: str) -> None:
        self._session = session
        self._shop_id = shop_id

    def get(self, render_id: str) -> Render:
        """Return a render; raises NotFound."""
        render = self._session.get(Render, render_id)
        if render is None or render.shop_id != self._shop_id or render.deleted_at is not None:
            raise NotFound("There is no such render.")
        return render

    def page(
        self, page: PageRequest, *, style: str | None = None, status: str | None = None, share: str | None = None
    ) -> tuple[list[Render], str | None]:
        """One page, newest first."""
        statement = select(Render).where(Render.shop_id == self._shop_id, Render.deleted_at.is_(None))
        for column, value in ((Render.style_id, style), (Render.status, status), (Render.share_id, share)):
            if value is not None:
                statement = statement.where(column == value)
        return fetch_page(self._session, statement, Render.id, page)

    def outputs(self, render_ids: Iterable[str]) -> dict[str, list[RenderOutput]]:
        """The pictures of several renders, in order."""
        found: dict[str, list[RenderOutput]] = defaultdict(list)
        wanted = list(render_ids)
        if wanted:
            rows = select(RenderOutput).where(RenderOutput.render_id.in_(wanted)).order_by(RenderOutput.index)
            for output in self._session.scalars(rows):
                found[output.render_id].append(output)
        return found

    def add(self, render: Render) -> None:
        """Keep a new render."""
        self._session.add(render)
