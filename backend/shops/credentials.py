"""Making shops, staff, keys and login links: what the command line does for people."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.db import utcnow
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.core.security import key_prefix, new_api_key, new_token, token_sha256
from backend.models import ApiKey, LoginToken, Shop, User

SCOPES = ("read", "write")


def ensure_shop(session: Session, slug: str, name: str) -> Shop:
    """Return the shop of this slug, made when it is missing."""
    shop = session.scalars(select(Shop).where(Shop.slug == slug)).one_or_none()
    if shop is None:
        shop = Shop(id=new_id("shp"), slug=slug, name=name)
        session.add(shop)
        session.flush()
    return shop


def ensure_user(session: Session, shop: Shop, email: str) -> User:
    """Return the member of staff of this address, made when missing."""
    user = session.scalars(select(User).where(User.email == email.strip().lower())).one_or_none()
    if user is None:
        user = User(id=new_id("usr"), shop_id=shop.id, email=email.strip().lower())
        session.add(user)
        session.flush()
    return user


def find_shop(session: Session, slug: str) -> Shop:
    """Return a shop by its slug.

    Raises:
        NotFound: there is none; the sentence lists those that there are.
    """
    shops = {shop.slug: shop for shop in session.scalars(select(Shop).order_by(Shop.slug))}
    if slug not in shops:
        known = ", ".join(shops) or "none yet; `hoop up` makes the demo shop"
        raise NotFound(f"There is no shop {slug!r}. Shops: {known}.")
    return shops[slug]


def issue_api_key(session: Session, shop_id: str, name: str, scopes: Sequence[str] = SCOPES) -> str:
    """Make a key and return it; this is the only time it can be seen."""
    key = new_api_key()
    session.add(
        ApiKey(
            id=new_id("key"),
            shop_id=shop_id,
            name=name,
            prefix=key_prefix(key),
            key_sha256=token_sha256(key),
            scopes=list(scopes),
        )
    )
    return key


def is_live_key(session: Session, shop_id: str, key: str) -> bool:
    """Whether a key belongs to the shop and has not been revoked."""
    statement = select(ApiKey.id).where(
        ApiKey.key_sha256 == token_sha256(key), ApiKey.shop_id == shop_id, ApiKey.revoked_at.is_(None)
    )
    return session.scalars(statement).one_or_none() is not None


def issue_login_token(session: Session, user_id: str, minutes: int) -> str:
    """Make a one-time token for a login link and return it."""
    token = new_token()
    session.add(
        LoginToken(token_sha256=token_sha256(token), user_id=user_id, expires_at=utcnow() + timedelta(minutes=minutes))
    )
    return token
