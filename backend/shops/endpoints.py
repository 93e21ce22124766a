"""Logging in and out, and who one is."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from backend.core.config import Settings
from backend.core.db import ReadSession, WriteSession
from backend.core.errors import Forbidden, Unauthorized
from backend.core.security import SESSION_COOKIE
from backend.shops import repository, service
from backend.shops.auth import CurrentShop, count_login, is_same_origin
from backend.shops.schemas import LoginIn, MeOut, ShopOut, UserOut
from backend.web.dependencies import LimiterDep, SettingsDep

router = APIRouter(tags=["shop"])


@router.get("/login", operation_id="openLoginLink", status_code=303, response_class=RedirectResponse)
def open_login_link(
    request: Request,
    session: WriteSession,
    settings: SettingsDep,
    limiter: LimiterDep,
    token: Annotated[str, Query(min_length=1, max_length=200, description="The one-time token of a login link.")],
) -> Response:
    """Open a login link: sets the session cookie and goes to the page. The token works once."""
    count_login(request, limiter)
    no_store = {"Cache-Control": "no-store"}
    try:
        login = service.login_with_token(session, settings, token)
    except Unauthorized:
        # A person who follows an old link wants the page, which says what to do; a program wants the error.
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return RedirectResponse("/#/?login=used", status_code=303, headers=no_store)
    response = RedirectResponse("/", status_code=303, headers=no_store)
    _set_cookie(response, settings, login)
    return response


@router.post("/v1/login", operation_id="login", status_code=204)
def login(
    request: Request, body: LoginIn, session: WriteSession, settings: SettingsDep, limiter: LimiterDep
) -> Response:
    """Log in with a password: sets the session cookie."""
    count_login(request, limiter)
    if not is_same_origin(request, settings):
        raise Forbidden("This request came from another website, so it was not carried out.")
    response = Response(status_code=204)
    _set_cookie(response, settings, service.login_with_password(session, settings, body.email, body.password))
    return response


@router.post("/v1/logout", operation_id="logout", status_code=204)
def logout(request: Request, session: WriteSession, settings: SettingsDep, _caller: CurrentShop) -> Response:
    """Log out: ends the session and takes the cookie back."""
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        service.logout(session, token)
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=settings.secure_cookies)
    return response


@router.get("/v1/me", operation_id="getMe")
def get_me(session: ReadSession, caller: CurrentShop) -> MeOut:
    """Say for which shop, and for whom, this key or session speaks."""
    shop = repository.get_shop(session, caller.shop_id)
    user = repository.get_user(session, caller.user_id) if caller.user_id else None
    return MeOut(
        shop=ShopOut(id=shop.id, slug=shop.slug, name=shop.name),
        user=UserOut(id=user.id, email=user.email) if user else None,
    )


def _set_cookie(response: Response, settings: Settings, token: str) -> None:
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=settings.session_days * 86_400,
        httponly=True,
        # Lax and not strict: a link to a style in a mail should open it, and writes check Origin on top.
        samesite="lax",
        secure=settings.secure_cookies,
    )
