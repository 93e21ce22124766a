"""Who may do what: keys, login links, sessions, other shops, other websites."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from backend.core.db import utcnow
from backend.core.security import hash_password
from backend.models import ApiKey, LoginSession, LoginToken, User
from backend.shops.credentials import issue_login_token
from tests.api.conftest import assert_problem

OWN_ORIGIN = {"Origin": "http://localhost:8000"}


def login_token(staff, minutes: int = 10) -> str:
    with staff.database.session() as session:
        user = session.scalars(select(User).where(User.shop_id == staff.shop_id)).one()
        return issue_login_token(session, user.id, minutes)


@pytest.fixture
def browser(staff, client_of):
    """A browser that is logged in."""
    client = client_of()
    answer = client.get(f"/login?token={login_token(staff)}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return client


class TestKeys:
    def test_me(self, staff):
        answer = staff.client.get("/v1/me")
        assert answer.json()["shop"]["id"] == staff.shop_id
        assert answer.json()["user"] is None
        with staff.database.read() as session:
            key = session.scalars(select(ApiKey).where(ApiKey.shop_id == staff.shop_id)).one()
            assert key.last_used_at is not None

    def test_without(self, anyone):
        answer = anyone.get("/v1/styles")
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("key", ["", "x", "hoop_live_x", "hoop_live_" + "a" * 32 + "_000000", "hoop_live_ä"])
    def test_wrong(self, anyone, key):
        headers = {"Authorization": f"Bearer {key}".encode("latin-1")}
        assert_problem(anyone.get("/v1/styles", headers=headers), 401, "unauthorized")

    def test_revoked(self, staff):
        with staff.database.session() as session:
            session.execute(update(ApiKey).where(ApiKey.shop_id == staff.shop_id).values(revoked_at=utcnow()))
        assert_problem(staff.client.get("/v1/styles"), 401, "unauthorized")

    def test_that_may_only_read(self, new_staff):
        staff = new_staff(scopes=("read",))
        assert staff.client.get("/v1/styles").status_code == 200
        assert_problem(staff.client.post("/v1/styles", json={}), 403, "forbidden")

    def test_guessing_is_slowed_down(self, anyone, staff):
        unknown = staff.key  # well formed, and then revoked
        with staff.database.session() as session:
            session.execute(update(ApiKey).where(ApiKey.shop_id == staff.shop_id).values(revoked_at=utcnow()))
        headers = {"Authorization": f"Bearer {unknown}"}
        statuses = [anyone.get("/v1/me", headers=headers).status_code for _ in range(62)]
        assert set(statuses[:60]) == {401}
        assert statuses[-1] == 429


class TestLogin:
    def test_a_link_works_once(self, staff, client_of):
        token = login_token(staff)
        first, second = client_of(), client_of()
        answer = first.get(f"/login?token={token}")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        me = first.get("/v1/me").json()
        assert (me["shop"]["id"], me["user"]["email"][:6]) == (staff.shop_id, "staff@")
        assert_problem(second.get(f"/login?token={token}"), 401, "unauthorized")
        assert_problem(second.get("/v1/me"), 401, "unauthorized")

    def test_a_browser_with_a_used_link_is_sent_to_the_page(self, staff, client_of):
        token = login_token(staff)
        first, second = client_of(), client_of()
        first.get(f"/login?token={token}")
        answer = second.get(f"/login?token={token}", headers={"Accept": "text/html,*/*"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/#/?login=used")
        assert "set-cookie" not in answer.headers

    def test_a_link_grows_old(self, staff, anyone):
        token = login_token(staff)
        with staff.database.session() as session:
            session.execute(update(LoginToken).values(expires_at=utcnow() - timedelta(seconds=1)))
        assert_problem(anyone.get(f"/login?token={token}"), 401, "unauthorized")

    def test_no_token(self, anyone):
        assert_problem(anyone.get("/login?token=nonsense"), 401, "unauthorized")
        assert_problem(anyone.get("/login"), 422, "invalid-input")

    def test_password(self, staff, anyone):
        with staff.database.session() as session:
            user = session.scalars(select(User).where(User.shop_id == staff.shop_id)).one()
            user.password_hash = hash_password("correct horse")
            email = user.email
        body = {"email": email.upper(), "password": "correct horse"}
        assert_problem(anyone.post("/v1/login", json=body), 403, "forbidden")
        wrong = anyone.post("/v1/login", json={**body, "password": "battery"}, headers=OWN_ORIGIN)
        assert_problem(wrong, 401, "unauthorized")
        assert anyone.post("/v1/login", json=body, headers=OWN_ORIGIN).status_code == 204
        assert anyone.get("/v1/me").json()["user"]["email"] == email

    def test_unknown_address(self, anyone):
        body = {"email": "nobody@nowhere.example", "password": "x"}
        assert_problem(anyone.post("/v1/login", json=body, headers=OWN_ORIGIN), 401, "unauthorized")

    def test_logout(self, browser):
        assert browser.post("/v1/logout", headers=OWN_ORIGIN).status_code == 204
        assert_problem(browser.get("/v1/me"), 401, "unauthorized")

    def test_sessions_end(self, staff, browser):
        with staff.database.session() as session:
            session.execute(
                update(LoginSession).where(LoginSession.shop_id == staff.shop_id).values(expires_at=utcnow())
            )
        assert_problem(browser.get("/v1/me"), 401, "unauthorized")


class TestOtherWebsites:
    def test_may_not_write_with_our_cookie(self, browser):
        for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert_problem(browser.post("/v1/logout", headers=headers), 403, "forbidden")
        assert browser.get("/v1/me").status_code == 200

    def test_our_own_page_may(self, browser):
        body = {"url": "https://shop.example/hook"}
        assert browser.post("/v1/webhooks", json=body, headers=OWN_ORIGIN).status_code == 201
        headers = {"Sec-Fetch-Site": "same-origin"}
        assert browser.post("/v1/webhooks", json=body, headers=headers).status_code == 201

    def test_keys_need_no_origin(self, staff):
        assert staff.client.post("/v1/webhooks", json={"url": "https://shop.example/hook"}).status_code == 201


def test_nothing_of_another_shop(staff, other):
    """Every address that names something answers another shop as if it were not there."""
    style = staff.ready_style()
    render = staff.render(style["id"])
    image = staff.image()
    share = staff.client.post("/v1/shares", json={"style": style["id"]}).json()
    webhook = staff.client.post("/v1/webhooks", json={"url": "https://shop.example/hook"}).json()
    paths = [
        ("GET", f"/v1/images/{image['id']}"),
        ("DELETE", f"/v1/images/{image['id']}"),
        ("GET", f"/v1/styles/{style['id']}"),
        ("PATCH", f"/v1/styles/{style['id']}"),
        ("DELETE", f"/v1/styles/{style['id']}"),
        ("GET", f"/v1/styles/{style['id']}/adapter"),
        ("GET", f"/v1/renders/{render['id']}"),
        ("DELETE", f"/v1/renders/{render['id']}"),
        ("GET", f"/v1/jobs/{render['job']}"),
        ("GET", f"/v1/jobs/{render['job']}/events"),
        ("POST", f"/v1/jobs/{render['job']}/cancel"),
        ("GET", f"/v1/shares/{share['id']}"),
        ("DELETE", f"/v1/shares/{share['id']}"),
        ("GET", f"/v1/webhooks/{webhook['id']}"),
        ("DELETE", f"/v1/webhooks/{webhook['id']}"),
        ("POST", f"/v1/webhooks/{webhook['id']}/rotate"),
        ("GET", f"/v1/webhooks/{webhook['id']}/deliveries"),
    ]
    for method, path in paths:
        body = {"name": "mine now"} if method == "PATCH" else None
        assert_problem(other.client.request(method, path, json=body), 404, "not-found")
    for path in ("images", "styles", "renders", "jobs", "shares", "webhooks"):
        assert other.client.get(f"/v1/{path}").json() == {"data": [], "next_cursor": None}
    assert_problem(other.client.post("/v1/shares", json={"style": style["id"]}), 404, "not-found")
    # It is all still there.
    assert staff.client.get(f"/v1/styles/{style['id']}").json()["name"] == "Tiger"
    assert staff.client.get(f"/v1/jobs/{render['job']}").json()["status"] == "queued"
