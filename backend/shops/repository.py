"""Shops, their people and their sessions."""

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from backend.core.errors import NotFound
from backend.models import LoginSession, LoginToken, Shop, User


def get_shop(session: Session, shop_id: str) -> Shop:
    """Return a shop; raises NotFound."""
    shop = session.get(Shop, shop_id)
    if shop is None:
        raise NotFound("There is no such shop.")
    return shop


def get_user(session: Session, user_id: str) -> User | None:
    """Return a member of staff."""
    return session.get(User, user_id)


def user_by_email(session: Session, email: str) -> User | None:
    """Find a member of staff by address; upper and lower case are the same."""
    return session.scalars(select(User).where(User.email == email.strip().lower())).one_or_none()


def use_login_token(session: Session, token_sha256: str, now: datetime) -> User | None:
    """Mark a one-time token as used; returns its user, or None when it does not exist, was used or is late.

    One conditional UPDATE, so two requests with the same token get one session between them.
    """
    user_id = session.scalars(
        update(LoginToken)
        .where(LoginToken.token_sha256 == token_sha256, LoginToken.used_at.is_(None), LoginToken.expires_at > now)
        .values(used_at=now)
        .returning(LoginToken.user_id)
    ).one_or_none()
    return None if user_id is None else session.get(User, user_id)


def end_session(session: Session, token_sha256: str, now: datetime) -> None:
    """Forget a session, and with it the ones that are over anyway."""
    session.execute(
        delete(LoginSession).where((LoginSession.token_sha256 == token_sha256) | (LoginSession.expires_at < now))
    )
