"""Logging in and out."""

from datetime import timedelta

from sqlalchemy.orm import Session

from backend.core.config import Settings
from backend.core.db import utcnow
from backend.core.errors import Unauthorized
from backend.core.security import new_token, token_sha256, verify_password
from backend.models import LoginSession, User
from backend.shops import repository


def login_with_token(session: Session, settings: Settings, token: str) -> str:
    """Use up a one-time token; returns the token of the new session. Raises Unauthorized."""
    user = repository.use_login_token(session, token_sha256(token), utcnow())
    if user is None:
        raise Unauthorized(
            "This login link was used already or is too old. Get a new one with `hoop login-link`, or start Hoop again."
        )
    return _begin_session(session, settings, user)


def login_with_password(session: Session, settings: Settings, email: str, password: str) -> str:
    """Check a password; returns the token of the new session. Raises Unauthorized."""
    user = repository.user_by_email(session, email)
    known = user.password_hash if user is not None else None
    # Asked in any case, so that an unknown address takes as long as a wrong password.
    if not verify_password(password, known) or user is None:
        raise Unauthorized("This address and password do not belong together.")
    return _begin_session(session, settings, user)


def logout(session: Session, token: str) -> None:
    """End a session."""
    repository.end_session(session, token_sha256(token), utcnow())


def _begin_session(session: Session, settings: Settings, user: User) -> str:
    token = new_token()
    session.add(
        LoginSession(
            token_sha256=token_sha256(token),
            user_id=user.id,
            shop_id=user.shop_id,
            expires_at=utcnow() + timedelta(days=settings.session_days),
        )
    )
    return token
