"""Wake-ups: "job X has event N". The truth is the table job_events; a lost wake-up costs a moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cache

import structlog
from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff

from backend.core.config import get_settings
from backend.core.queue import ONE_TRY, redis_url

log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
"""How often a listener looks at the table without having been woken, in case a wake-up was lost."""


def _channel(job_id: str) -> str:
    return f"hoop:job:{job_id}"


@cache
def _client(url: str) -> Redis:
    return Redis.from_url(url, retry=ONE_TRY, socket_connect_timeout=2, socket_timeout=2, health_check_interval=30)


def publish(job_id: str, event_id: int) -> None:
    """Wake whoever watches this job. Call it after the commit; it never raises, for the table holds the event."""
    try:
        _client(redis_url(get_settings().broker_url)).publish(_channel(job_id), event_id)
    except (RedisError, OSError, ValueError):
        log.warning("events.unpublished", job=job_id, exc_info=True)


async def subscribe(job_id: str, poll_seconds: float = POLL_SECONDS) -> AsyncIterator[None]:
    """Yield once at once, then after every wake-up, and at the latest every `poll_seconds`.

    The listener reads the table each time. The first yield comes after the subscription is in place, so an event
    written in between is not missed. When the broker does not answer, this goes on by polling alone.
    """
    url = redis_url(get_settings().broker_url)
    client = AsyncRedis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), socket_connect_timeout=2)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    try:
        subscribed = False
        while True:
            try:
                if not subscribed:
                    await pubsub.subscribe(_channel(job_id))
                    subscribed = True
                    yield None
                # One burst of events is one wake-up.
                message = await pubsub.get_message(timeout=poll_seconds)
                while message is not None:
                    message = await pubsub.get_message(timeout=0)
            except (RedisError, OSError):
                subscribed = False
                await asyncio.sleep(poll_seconds)
            yield None
    finally:
        with suppress(RedisError, OSError):
            await pubsub.aclose()  # type: ignore[no-untyped-call]
        with suppress(RedisError, OSError):
            await client.aclose()
