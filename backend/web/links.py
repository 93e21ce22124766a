"""Absolute addresses in answers, so that integrators can put them into their own pages as they are."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from backend.core.config import Settings
from backend.core.storage import media_url


@dataclass(frozen=True, slots=True)
class Links:
    """Builds addresses under the one that the caller used, or under `public_url` where it is set."""

    origin: str
    settings: Settings

    def to(self, path: str) -> str:
        """Address of a path such as `/v1/styles/sty_…`."""
        return self.origin + path

    def media(self, key: str) -> str:
        """Signed address of an object; stays the same for a day, so that it caches."""
        return self.origin + media_url(key, self.settings)

    def media_or_none(self, key: str | None) -> str | None:
        """Signed address of an object that may not be there yet."""
        return None if key is None else self.media(key)


def get_links(request: Request) -> Links:
    """FastAPI dependency: addresses as this caller reaches us."""
    settings: Settings = request.app.state.settings
    return Links(settings.public_url or str(request.base_url).rstrip("/"), settings)


LinksDep = Annotated[Links, Depends(get_links)]
