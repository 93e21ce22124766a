"""Who is calling: a program with a key, a member of staff with a session cookie, or a customer with a share token.

The first two end in a :class:`Caller`, the third in a share. Both name the shop, and every repository takes that shop,
so what belongs to another shop is simply not there.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.core.config import Settings
from backend.core.db import Database, DatabaseDep, utcnow
from backend.core.errors import Forbidden, NotFound, RateLimited, Unauthorized
from backend.core.limits import ADDRESS, CREATE, SHARE, SHARE_CREATE, SHOP, RateLimiter
from backend.core.security import SESSION_COOKIE, SHARE_PREFIX, looks_like_api_key, token_sha256
from backend.models import ApiKey, LoginSession, Share
from backend.web.dependencies import LimiterDep, SettingsDep

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOTED_EVERY: Final = timedelta(minutes=5)
"""`last_used_at` of a key is written this often at most: reading must not take SQLite's write lock every time."""

bearer = HTTPBearer(auto_error=False, scheme_name="key", description="An API key, `hoop_live_…`.")
cookie = APIKeyCookie(name=SESSION_COOKIE, auto_error=False, scheme_name="session", description="Set by /login.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, for which shop.

    Attributes:
        shop_id: the tenant.
        kind: how they proved it.
        scopes: what a key may do, of "read" and "write"; staff may do both.
        user_id: the member of staff, for sessions.
    """

    shop_id: str
    kind: Literal["key", "session"]
    scopes: frozenset[str] = frozenset({"read", "write"})
    user_id: str | None = None


def current_shop(
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    limiter: LimiterDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)] = None,
    session_token: Annotated[str | None, Depends(cookie)] = None,
) -> Caller:
    """FastAPI dependency: staff or a program of one shop.

    Raises:
        Unauthorized: nobody we know.
        Forbidden: a share token, a key without the scope, or a write from another site's page.
        RateLimited: too many requests.
    """
    caller = _identify(request, database, settings, limiter, credentials, session_token)
    writes = request.method not in _SAFE_METHODS
    if ("write" if writes else "read") not in caller.scopes:
        raise Forbidden("This API key may only read. Please use one that may also write.")
    if writes:
        limiter.hit(CREATE, caller.shop_id)
    request.state.rate_limit = limiter.hit(SHOP, caller.shop_id)
    return caller


CurrentShop = Annotated[Caller, Depends(current_shop)]


def _identify(
    request: Request,
    database: Database,
    settings: Settings,
    limiter: RateLimiter,
    credentials: HTTPAuthorizationCredentials | None,
    session_token: str | None,
) -> Caller:
    if credentials is not None:
        token = credentials.credentials
        if token.startswith(SHARE_PREFIX):
            raise Forbidden("A share link can only be used for what was shared. Please log in, or use an API key.")
        return _by_key(request, database, limiter, token)
    if session_token:
        return _by_session(request, database, settings, session_token)
    raise Unauthorized("Please log in, or send an API key.", headers={"WWW-Authenticate": "Bearer"})


def _by_key(request: Request, database: Database, limiter: RateLimiter, token: str) -> Caller:
    refusal = Unauthorized(
        "This API key is not valid. Please check that it was copied whole, or make a new one.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
    # The checksum tells a mistyped key from one that never was, without asking the database.
    if not looks_like_api_key(token):
        raise refusal
    with database.read() as session:
        key = session.scalars(select(ApiKey).where(ApiKey.key_sha256 == token_sha256(token))).one_or_none()
    if key is None or key.revoked_at is not None:
        _guess(request, limiter)
        raise refusal
    now = utcnow()
    if key.last_used_at is None or key.last_used_at < now - _NOTED_EVERY:
        with database.session() as session:
            session.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now))
    return Caller(key.shop_id, "key", frozenset(str(scope) for scope in key.scopes))


def _by_session(request: Request, database: Database, settings: Settings, token: str) -> Caller:
    with database.read() as session:
        found = session.get(LoginSession, token_sha256(token))
    if found is None or found.expires_at < utcnow():
        raise Unauthorized("You have been logged out. Please log in again.")
    if request.method not in _SAFE_METHODS and not is_same_origin(request, settings):
        raise Forbidden("This request came from another website, so it was not carried out.")
    return Caller(found.shop_id, "session", user_id=found.user_id)


def is_same_origin(request: Request, settings: Settings) -> bool:
    """Whether a browser's write comes from our own page: browsers send Origin with every write."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site") == "same-origin"
    own = {request.headers.get("host", ""), urlsplit(settings.address).netloc}
    return urlsplit(origin).netloc in own


def live_share(session: Session, limiter: RateLimiter, request: Request, token: str) -> Share:
    """The share that a token opens.

    Raises:
        NotFound: no such token, or revoked, or expired.
        RateLimited: too many tokens that do not exist, from one address.
    """
    share = None
    if token.startswith(SHARE_PREFIX):
        share = session.scalars(select(Share).where(Share.token_sha256 == token_sha256(token))).one_or_none()
    if share is None:
        _guess(request, limiter)
        raise NotFound("This link does not exist. Please ask the shop for a new one.")
    if share.revoked_at is not None or share.expires_at < utcnow():
        raise NotFound("This link is no longer valid. Please ask the shop for a new one.")
    return share


def count_share_request(request: Request, limiter: RateLimiter, share: Share) -> None:
    """Count a request through a share link; what makes something is counted closer."""
    if request.method not in _SAFE_METHODS:
        limiter.hit(SHARE_CREATE, share.id)
    request.state.rate_limit = limiter.hit(SHARE, share.id)


def count_login(request: Request, limiter: RateLimiter) -> None:
    """Count an attempt to log in."""
    _guess(request, limiter)


def _guess(request: Request, limiter: RateLimiter) -> None:
    address = request.client.host if request.client else "unknown"
    try:
        limiter.hit(ADDRESS, address)
    except RateLimited as error:
        raise RateLimited(
            "Too many attempts from this address. Please wait a minute.", headers=error.headers
        ) from error
