"""The API application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI

import backend.bases.endpoints
import backend.images.endpoints
import backend.images.media
import backend.jobs.endpoints
import backend.renders.endpoints
import backend.shares.customer
import backend.shares.endpoints
import backend.shops.endpoints
import backend.styles.endpoints
import backend.uploads.endpoints
import backend.usage.endpoints
import backend.webhooks.endpoints
from backend import health, openapi
from backend.core import queue
from backend.core.config import ROOT, Settings, get_settings
from backend.core.db import Database
from backend.core.limits import RateLimiter
from backend.core.storage import ObjectStore
from backend.site import Site
from backend.web import problems
from backend.web.body_limit import BodyLimit
from backend.web.idempotency import Replay, replay
from backend.web.middleware import RequestContext

ROUTERS: Final = (
    backend.images.endpoints.router,
    backend.uploads.endpoints.router,
    backend.styles.endpoints.router,
    backend.renders.endpoints.router,
    backend.jobs.endpoints.router,
    backend.shares.endpoints.router,
    backend.shares.customer.router,
    backend.webhooks.endpoints.router,
    backend.usage.endpoints.router,
    backend.bases.endpoints.router,
    backend.shops.endpoints.router,
    backend.images.media.router,
    health.router,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application. It connects to nothing before the first request.

    Args:
        settings: those of the environment when left out.
    """
    chosen = settings or get_settings()
    database = Database(chosen.database, send=lambda database, outbox: queue.send_outbox(database, outbox, chosen))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        database.close()

    app = FastAPI(
        title="Hoop",
        version="1",
        summary=openapi.SUMMARY,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        responses=openapi.PROBLEM_RESPONSES,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.settings = chosen
    app.state.database = database
    app.state.store = ObjectStore(chosen)
    app.state.limiter = RateLimiter(chosen.broker_url)
    problems.install(app)
    app.add_exception_handler(Replay, replay)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestContext)
    for router in ROUTERS:
        app.include_router(router)
    app.router.default = Site(ROOT / "frontend")
    document = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.complete(document())
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way
    return app
