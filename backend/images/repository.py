"""The pictures of one shop."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.errors import InvalidInput, NotFound
from backend.core.pagination import PageRequest, fetch_page
from backend.models import Image


class ImageRepository:
    """Images of one shop; those of others do not exist here, nor do deleted ones."""

    def __init__(self, session: Session, shop_id: str) -> None:
        self._session = session
        self._shop_id = shop_id

    def get(self, image_id: str) -> Image:
        """Return an image; raises NotFound."""
        image = self._session.get(Image, image_id)
        if image is None or image.shop_id != self._shop_id or image.deleted_at is not None:
            raise NotFound("There is no such picture.")
        return image

    def require(self, image_id: str, purposes: Iterable[str], field: str) -> Image:
        """Return an image that a request names.

        Args:
            image_id: as named.
            purposes: what it may have been uploaded for.
            field: the request's field, for the error.

        Raises:
            NotFound: there is none.
            InvalidInput: it was uploaded for something else.
        """
        try:
            image = self.get(image_id)
        except NotFound as error:
            raise NotFound(
                "There is no such picture. Please upload it first.",
                errors=[{"field": field, "message": "is no picture of your shop"}],
            ) from error
        allowed = list(purposes)
        if image.purpose not in allowed:
            raise InvalidInput(
                f"This picture was uploaded as {image.purpose}, but a {' or '.join(allowed)} picture is needed here. "
                "Please upload it again for that purpose.",
                errors=[{"field": field, "message": f"was uploaded as {image.purpose}"}],
            )
        return image

    def by_content(self, sha256: str, purpose: str) -> Image | None:
        """The same picture, uploaded before for the same purpose."""
        return self._session.scalars(
            select(Image)
            .where(
                Image.shop_id == self._shop_id,
                Image.sha256 == sha256,
                Image.purpose == purpose,
                Image.deleted_at.is_(None),
            )
            .limit(1)
        ).one_or_none()

    def by_ids(self, ids: Iterable[str]) -> dict[str, Image]:
        """Several images by id, deleted ones included: a style goes on showing what it was learnt from."""
        wanted = set(ids)
        if not wanted:
            return {}
        rows = self._session.scalars(select(Image).where(Image.shop_id == self._shop_id, Image.id.in_(wanted)))
        return {image.id: image for image in rows}

    def page(self, page: PageRequest, purpose: str | None) -> tuple[list[Image], str | None]:
        """One page, newest first."""
        statement = select(Image).where(Image.shop_id == self._shop_id, Image.deleted_at.is_(None))
        if purpose is not None:
            statement = statement.where(Image.purpose == purpose)
        return fetch_page(self._session, statement, Image.id, page)

    def add(self, image: Image) -> None:
        """Keep a new image."""
        self._session.add(image)
