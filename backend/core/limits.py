"""Request rates: a sliding window a caller, counted in Valkey so that all API processes share it.

Headers follow draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy: "shop";q=600;w=60` names the policy, and
`RateLimit: "shop";r=599;t=58` says what is left of it and when more comes.
"""

import math
import time
from dataclasses import dataclass
from typing import Final

import structlog
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from backend.core.errors import RateLimited
from backend.core.queue import redis_url

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """So many requests a minute for one caller."""

    name: str
    per_minute: int


SHOP: Final = Policy("shop", 600)
"""All requests of one shop's staff and keys. The page polls and loads pictures, so it is generous."""
CREATE: Final = Policy("create", 120)
"""Requests of one shop that make something: pictures, styles, renders."""
SHARE: Final = Policy("share", 120)
"""All requests through one share link."""
SHARE_CREATE: Final = Policy("share-create", 12)
"""Pictures and renders through one share link: strangers hold it, and the shop pays for the GPU."""
ADDRESS: Final = Policy("address", 60)
"""Requests of one network address that prove who they are: log-ins and share tokens that do not exist."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with a policy: `remaining` requests, all back after `reset_s` seconds."""

    policy: Policy
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """The RateLimit fields of an answer."""
        return {
            "RateLimit-Policy": f'"{self.policy.name}";q={self.policy.per_minute};w=60',
            "RateLimit": f'"{self.policy.name}";r={self.remaining};t={self.reset_s}',
        }


class RateLimiter:
    """Counts requests.

    Args:
        broker_url: Redis or Valkey URL, `redis+socket://` of Celery included; counted in this process when empty.
    """

    def __init__(self, broker_url: str = "") -> None:
        self._limiter = SlidingWindowCounterRateLimiter(_storage(broker_url))

    def hit(self, policy: Policy, caller: str) -> Standing | None:
        """Count one request.

        Returns:
            What is left, or None when the counter cannot be reached: a broken counter locks nobody out.

        Raises:
            RateLimited: nothing is left; carries `Retry-After`.
        """
        item = RateLimitItemPerMinute(policy.per_minute, namespace="hoop:rate")
        try:
            allowed = self._limiter.hit(item, policy.name, caller)
            window = self._limiter.get_window_stats(item, policy.name, caller)
        except (StorageError, OSError, RedisError) as error:
            log.warning("rate_limit.unavailable", policy=policy.name, error=repr(error))
            return None
        reset = max(0, math.ceil(window.reset_time - time.time()))
        standing = Standing(policy, remaining=max(0, int(window.remaining)), reset_s=reset)
        if not allowed:
            raise RateLimited(
                f"That were more than {policy.per_minute} requests in a minute. Please try again in "
                f"{max(1, reset)} seconds.",
                headers={"Retry-After": str(max(1, reset)), **standing.headers()},
            )
        return standing


def _storage(broker_url: str) -> Storage:
    if not broker_url:
        return MemoryStorage()
    # The limits package writes a unix socket as redis+unix://.
    storage = storage_from_string(redis_url(broker_url).replace("unix://", "redis+unix://"))
    if not isinstance(storage, Storage):
        raise TypeError(f"an asynchronous storage cannot count here: {storage!r}")
    return storage
