"""What endpoints ask the application for."""

from typing import Annotated

from fastapi import Depends, Request

from backend.core.config import Settings
from backend.core.limits import RateLimiter
from backend.core.storage import ObjectStore


def get_app_settings(request: Request) -> Settings:
    """FastAPI dependency: the settings that the application was made with."""
    settings: Settings = request.app.state.settings
    return settings


def get_store(request: Request) -> ObjectStore:
    """FastAPI dependency: the object store."""
    store: ObjectStore = request.app.state.store
    return store


def get_limiter(request: Request) -> RateLimiter:
    """FastAPI dependency: the request counter."""
    limiter: RateLimiter = request.app.state.limiter
    return limiter


SettingsDep = Annotated[Settings, Depends(get_app_settings)]
StoreDep = Annotated[ObjectStore, Depends(get_store)]
LimiterDep = Annotated[RateLimiter, Depends(get_limiter)]
