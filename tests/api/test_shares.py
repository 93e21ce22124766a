"""Links for customers: what they show, what may be done through them, and when they end."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from backend.core.db import utcnow
from backend.models import Share, WebhookDelivery
from tests.api.conftest import assert_problem, picture


def share(staff, **fields) -> tuple[dict, str]:
    answer = staff.client.post("/v1/shares", json=fields)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return made, made["url"].rsplit("/", 1)[1]


@pytest.fixture
def style(staff):
    return staff.ready_style()


@pytest.fixture
def render(staff, style):
    made = staff.render(style["id"], metadata={"price": "secret"})
    staff.finish(made["job"])
    return made


def test_the_token_is_shown_once(staff, style):
    made, token = share(staff, style=style["id"])
    assert made["url"].startswith("http://localhost:8000/s/hoop_share_")
    assert made["may"] == ["preview"]
    assert staff.client.get(f"/v1/shares/{made['id']}").json()["url"] is None
    assert staff.client.get("/v1/shares").json()["data"][0]["url"] is None
    with staff.database.read() as session:
        assert token not in session.get_one(Share, made["id"]).token_sha256


def test_a_customer_sees_a_render(staff, render, anyone):
    _, token = share(staff, render=render["id"])
    shown = anyone.get(f"/v1/shared/{token}").json()
    assert (shown["kind"], shown["shop"]["name"], shown["style"]) == ("render", "Golden Needle", None)
    assert shown["render"]["status"] == "succeeded"
    assert anyone.get(shown["render"]["outputs"][0]["patch_url"]).status_code == 200
    assert "secret" not in str(shown)


def test_a_customer_sees_a_style(staff, style, anyone):
    _, token = share(staff, style=style["id"])
    shown = anyone.get(f"/v1/shared/{token}").json()
    assert (shown["kind"], shown["style"]["name"]) == ("style", "Tiger")
    assert "adapter" not in shown["style"]


def test_a_link_opens_nothing_else(staff, render, anyone):
    _, token = share(staff, render=render["id"])
    other = staff.render(render["style"])
    assert_problem(anyone.get(f"/v1/shared/{token}/renders/{other['id']}"), 404, "not-found")
    for path in ("/v1/styles", f"/v1/renders/{render['id']}", "/v1/me"):
        assert_problem(anyone.get(path, headers={"Authorization": f"Bearer {token}"}), 403, "forbidden")


def test_preview_alone(staff, style, anyone):
    _, token = share(staff, style=style["id"])
    body = {"input": {"type": "text", "brief": "a fox"}}
    assert_problem(anyone.post(f"/v1/shared/{token}/renders", json=body), 403, "forbidden")
    files = {"file": ("a.png", picture())}
    assert_problem(anyone.post(f"/v1/shared/{token}/images", files=files), 403, "forbidden")
    assert_problem(anyone.post(f"/v1/shared/{token}/approve", json={}), 403, "forbidden")


def test_brief(staff, style, anyone):
    _, token = share(staff, style=style["id"], may=["brief"])
    body = {"input": {"type": "text", "brief": "a fox"}, "variations": 2}
    answer = anyone.post(f"/v1/shared/{token}/renders", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 202
    made = answer.json()
    again = anyone.post(f"/v1/shared/{token}/renders", json=body, headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == made["id"]
    assert made["input"] == {"input": {"type": "text", "brief": "a fox"}, "variations": 2}
    staff.finish(made["job"])
    assert anyone.get(f"/v1/shared/{token}/renders/{made['id']}").json()["status"] == "succeeded"
    assert [row["id"] for row in anyone.get(f"/v1/shared/{token}/renders").json()["data"]] == [made["id"]]
    with anyone.stream("GET", f"/v1/shared/{token}/renders/{made['id']}/events") as events:
        assert "event: done" in events.read().decode()
    upload = {"input": {"type": "image", "image": staff.image("design")["id"]}}
    assert_problem(anyone.post(f"/v1/shared/{token}/renders", json=upload), 403, "forbidden")
    empty = {"input": {"type": "text", "brief": " "}}
    assert_problem(anyone.post(f"/v1/shared/{token}/renders", json=empty), 422, "brief-invalid")
    many = {**body, "variations": 5}
    assert_problem(anyone.post(f"/v1/shared/{token}/renders", json=many), 422, "invalid-input")
    # The shop sees what its customers made; they look closely.
    seen = staff.client.get("/v1/renders").json()["data"][0]
    assert (seen["id"], seen["input"]["quality"]) == (made["id"], "final")


def test_upload_onto_the_same_garment(staff, style, anyone):
    garment = {
        "image": staff.image("garment", picture(600, 500))["id"],
        "placement": {"center": [300, 250], "width_px": 200},
    }
    render = staff.render(style["id"], garment=garment)
    _, token = share(staff, render=render["id"], may=["preview", "upload"])
    files = {"file": ("a.png", picture(seed=5))}
    image = anyone.post(f"/v1/shared/{token}/images", files=files, data={"purpose": "design"})
    assert image.status_code == 201
    body = {"input": {"type": "image", "image": image.json()["id"]}}
    made = anyone.post(f"/v1/shared/{token}/renders", json=body).json()
    kept = staff.client.get(f"/v1/renders/{made['id']}").json()["input"]["garment"]
    assert kept["placement"] == {"center": [300, 250], "width_px": 200, "rotation_deg": 0}
    bad = {"file": ("a.jpg", b"text")}
    assert_problem(anyone.post(f"/v1/shared/{token}/images", files=bad), 422, "not-an-image")


def test_approve(staff, render, anyone):
    staff.client.post("/v1/webhooks", json={"url": "https://shop.example/hook", "events": ["share.approved"]})
    made, token = share(staff, render=render["id"], may=["approve"])
    answer = anyone.post(f"/v1/shared/{token}/approve", json={"index": 0, "name": "Ms Rao", "note": "Lovely."})
    assert answer.status_code == 200
    assert answer.json()["approved_at"] is not None
    seen = staff.client.get(f"/v1/shares/{made['id']}").json()
    assert seen["approval"] == {"render": render["id"], "index": 0, "name": "Ms Rao", "note": "Lovely."}
    with staff.database.read() as session:
        delivery = session.scalars(select(WebhookDelivery).where(WebhookDelivery.shop_id == staff.shop_id)).one()
        assert (delivery.event, delivery.payload["data"]["name"]) == ("share.approved", "Ms Rao")
    assert_problem(anyone.post(f"/v1/shared/{token}/approve", json={"index": 3}), 404, "not-found")
    unfinished = staff.render(render["style"])
    _, other = share(staff, render=unfinished["id"], may=["approve"])
    assert_problem(anyone.post(f"/v1/shared/{other}/approve", json={}), 409, "conflict")


@pytest.mark.parametrize("how", ["revoked", "expired", "deleted", "never there"])
def test_links_end(staff, render, anyone, how):
    made, token = share(staff, render=render["id"])
    assert anyone.get(f"/v1/shared/{token}").status_code == 200
    if how == "revoked":
        assert staff.client.delete(f"/v1/shares/{made['id']}").status_code == 204
        assert staff.client.delete(f"/v1/shares/{made['id']}").status_code == 204
    elif how == "expired":
        with staff.database.session() as session:
            past = utcnow() - timedelta(seconds=1)
            session.execute(update(Share).where(Share.id == made["id"]).values(expires_at=past))
    elif how == "deleted":
        staff.client.delete(f"/v1/renders/{render['id']}")
    else:
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert_problem(anyone.get(f"/v1/shared/{token}"), 404, "not-found")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"style": "sty_0", "render": "rnd_0"},
        {"style": "nonsense!"},
        {"may": []},
        {"may": ["everything"]},
        {"expires_in": 0},
        {"expires_in": 91 * 86_400},
    ],
)
def test_fields_are_checked(staff, style, fields):
    body = fields if not fields or "style" in fields else {"style": style["id"], **fields}
    assert_problem(staff.client.post("/v1/shares", json=body), 422, "invalid-input")


def test_strangers_make_only_so_many(staff, style, anyone):
    _, token = share(staff, style=style["id"], may=["brief"])
    body = {"input": {"type": "text", "brief": "a fox"}}
    statuses = [anyone.post(f"/v1/shared/{token}/renders", json=body).status_code for _ in range(13)]
    assert statuses == [202] * 12 + [429]
