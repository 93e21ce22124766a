"""What holds for every address: problems, idempotency, waiting, cursors, rates, health, the page."""

import json
import shutil
import threading
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from backend.app import create_app
from backend.core.config import ROOT
from backend.core.db import utcnow
from backend.core.storage import ObjectStore
from backend.models import IdempotencyKey, Style
from tests.api.conftest import assert_problem, picture


class TestProblems:
    def test_unknown_address(self, staff, anyone):
        for path in (
            "/v1/nothing",
            "/nothing",
            "/v1/styles/",
            "/node_modules/x.js",
            "/package.json",
            "/../pyproject.toml",
        ):
            problem = assert_problem(anyone.get(path), 404, "not-found")
            assert "There is nothing at" in problem["detail"]
        assert_problem(anyone.post("/v1/nothing"), 404, "not-found")

    def test_wrong_method(self, anyone):
        answer = anyone.put("/v1/styles")
        assert_problem(answer, 405, "method-not-allowed")

    def test_broken_json(self, staff):
        answer = staff.client.post("/v1/styles", content="{", headers={"Content-Type": "application/json"})
        problem = assert_problem(answer, 422, "invalid-input")
        assert "not valid JSON" in problem["detail"]

    @pytest.mark.parametrize("body", ["[]", '"x"', "null", "1", ""])
    def test_no_object(self, staff, body):
        answer = staff.client.post("/v1/styles", content=body, headers={"Content-Type": "application/json"})
        assert_problem(answer, 422, "invalid-input")

    def test_half_a_character(self, staff):
        body = '{"name": "\\ud800", "reference_image": "img_0"}'
        answer = staff.client.post("/v1/styles", content=body, headers={"Content-Type": "application/json"})
        assert_problem(answer, 422, "invalid-input")

    def test_long_body(self, staff):
        answer = staff.client.post("/v1/styles", json={"name": "x" * 1_100_000})
        assert_problem(answer, 413, "too-large")
        chunks = (b"x" * 100_000 for _ in range(12))
        answer = staff.client.post("/v1/styles", content=chunks, headers={"Content-Type": "application/json"})
        assert_problem(answer, 413, "too-large")

    def test_every_field_is_named(self, staff):
        problem = assert_problem(staff.client.post("/v1/styles", json={"seed": "x"}), 422, "invalid-input")
        assert {entry["field"] for entry in problem["errors"]} == {"body.name", "body.reference_image", "body.seed"}
        assert "name is required" in problem["detail"]

    def test_a_fault_of_ours(self, api_settings, staff, monkeypatch):
        app = create_app(api_settings)

        def broken(*_args, **_options):
            raise RuntimeError("secret detail")

        monkeypatch.setattr("backend.shops.repository.get_shop", broken)
        client = TestClient(app, raise_server_exceptions=False)
        answer = client.get("/v1/me", headers={"Authorization": f"Bearer {staff.key}", "X-Request-Id": "abc-1"})
        problem = assert_problem(answer, 500, "internal")
        assert "secret" not in answer.text
        assert problem["request_id"] == "abc-1"

    def test_store_away(self, api_settings, staff):
        app = create_app(api_settings)
        app.state.store = ObjectStore(api_settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
        client = TestClient(app, headers={"Authorization": f"Bearer {staff.key}"})
        answer = client.post("/v1/images", files={"file": ("a.png", picture())}, data={"purpose": "design"})
        problem = assert_problem(answer, 503, "storage-unavailable")
        assert "Nothing is lost" in problem["detail"]

    def test_broker_away(self, api_settings, staff):
        """A job is taken in while the broker is away; it is sent later."""
        reference = staff.image()["id"]
        client = TestClient(create_app(api_settings.model_copy(update={"broker_url": "redis://127.0.0.1:9/0"})))
        headers = {"Authorization": f"Bearer {staff.key}"}
        answer = client.post("/v1/styles", json={"name": "T", "reference_image": reference}, headers=headers)
        assert answer.status_code == 202
        assert client.get("/readyz").status_code == 503

    def test_headers(self, staff):
        answer = staff.client.get("/v1/styles", headers={"X-Request-Id": "my-number"})
        assert answer.headers["x-request-id"] == "my-number"
        assert answer.headers["x-content-type-options"] == "nosniff"
        answer = staff.client.get("/v1/styles", headers={"X-Request-Id": "<script>"})
        assert answer.headers["x-request-id"].startswith("req_")


class TestIdempotency:
    def body(self, staff) -> dict:
        return {"name": "Tiger", "reference_image": staff.image()["id"]}

    def post(self, staff, body, key="key-1", path="/v1/styles"):
        return staff.client.post(path, json=body, headers={"Idempotency-Key": key})

    def count(self, staff) -> int:
        with staff.database.read() as session:
            return session.scalar(select(func.count()).where(Style.shop_id == staff.shop_id))

    def test_same_request_same_answer(self, staff):
        body = self.body(staff)
        first, second = self.post(staff, body), self.post(staff, body)
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json() == second.json()
        assert second.headers["idempotency-replayed"] == "true"
        assert second.headers["location"] == first.headers["location"]
        # The order of the members does not matter.
        assert self.post(staff, dict(reversed(body.items()))).json() == first.json()
        assert self.count(staff) == 1
        assert self.post(staff, body, key="key-2").json()["id"] != first.json()["id"]

    def test_another_request(self, staff):
        body = self.body(staff)
        self.post(staff, body)
        assert_problem(self.post(staff, {**body, "name": "Lion"}), 422, "idempotency-mismatch")
        pair = {"reference_image": body["reference_image"]}
        assert_problem(self.post(staff, pair, path="/v1/pairs"), 422, "idempotency-mismatch")

    def test_keys_belong_to_a_shop(self, staff, other):
        first = self.post(staff, self.body(staff)).json()
        assert self.post(other, self.body(other)).json()["id"] != first["id"]

    def test_in_flight(self, staff):
        body = self.body(staff)
        self.post(staff, body)
        with staff.database.session() as session:
            session.execute(update(IdempotencyKey).where(IdempotencyKey.shop_id == staff.shop_id).values(status=None))
        answer = self.post(staff, body)
        assert_problem(answer, 409, "idempotency-in-flight")
        assert answer.headers["retry-after"] == "1"

    def test_abandoned_by_a_process_that_died(self, staff):
        body = self.body(staff)
        self.post(staff, body)
        with staff.database.session() as session:
            values = {"status": None, "created_at": utcnow() - timedelta(minutes=5)}
            session.execute(update(IdempotencyKey).where(IdempotencyKey.shop_id == staff.shop_id).values(**values))
        assert self.post(staff, body).status_code == 202

    def test_forgotten_after_a_day(self, staff):
        body = self.body(staff)
        first = self.post(staff, body).json()
        with staff.database.session() as session:
            values = {"created_at": utcnow() - timedelta(hours=25)}
            session.execute(update(IdempotencyKey).where(IdempotencyKey.shop_id == staff.shop_id).values(**values))
        assert self.post(staff, body).json()["id"] != first["id"]

    def test_what_failed_may_be_sent_again(self, staff):
        body = {"name": "Tiger", "reference_image": "img_" + "0" * 32}
        assert_problem(self.post(staff, body), 404, "not-found")
        assert_problem(self.post(staff, body), 404, "not-found")
        assert self.post(staff, self.body(staff)).status_code == 202

    def test_pictures(self, staff):
        def send(data):
            return staff.client.post(
                "/v1/images",
                files={"file": ("a.png", data)},
                data={"purpose": "design"},
                headers={"Idempotency-Key": "picture"},
            )

        first = send(picture(seed=1))
        assert send(picture(seed=1)).json() == first.json()
        assert_problem(send(picture(seed=2)), 422, "idempotency-mismatch")

    def test_twins_at_the_same_time(self, staff):
        body = self.body(staff)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.post(staff, body))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} <= {202, 409}
        assert self.count(staff) == 1

    @pytest.mark.parametrize("key", ["a b", "x" * 201])
    def test_bad_keys(self, staff, key):
        assert_problem(self.post(staff, self.body(staff), key=key), 422, "invalid-input")


class TestWaiting:
    def test_until_it_is_done(self, staff):
        style = staff.ready_style()["id"]
        body = {"style": style, "input": {"type": "text", "brief": "a fox"}}
        answers = []

        def ask():
            answers.append(staff.client.post("/v1/renders", json=body, headers={"Prefer": "wait=20"}))

        thread = threading.Thread(target=ask)
        thread.start()
        job = None
        for _ in range(200):
            jobs = staff.client.get("/v1/jobs?kind=render").json()["data"]
            if jobs:
                job = jobs[0]["id"]
                break
        staff.finish(job)
        thread.join()
        (answer,) = answers
        assert answer.status_code == 201
        assert answer.json()["status"] == "succeeded"
        assert len(answer.json()["outputs"]) == 1
        assert answer.headers["preference-applied"] == "wait=20"
        assert answer.headers["location"].endswith(answer.json()["id"])

    def test_not_longer_than_asked(self, staff):
        body = {"name": "T", "reference_image": staff.image()["id"]}
        answer = staff.client.post("/v1/styles", json=body, headers={"Prefer": "respond-async, wait=1"})
        assert (answer.status_code, answer.json()["status"]) == (202, "training")

    def test_other_preferences_are_ignored(self, staff):
        body = {"name": "T", "reference_image": staff.image()["id"]}
        answer = staff.client.post("/v1/styles", json=body, headers={"Prefer": "return=minimal"})
        assert "preference-applied" not in answer.headers


class TestCursors:
    def test_walk(self, staff):
        made = [staff.style(name=f"S{i}")["id"] for i in range(5)]
        seen, cursor = [], None
        for _ in range(3):
            query = f"?limit=2&cursor={cursor}" if cursor else "?limit=2"
            page = staff.client.get("/v1/styles" + query).json()
            seen += [style["id"] for style in page["data"]]
            cursor = page["next_cursor"]
            # New ones come in front and disturb nobody.
            staff.style(name="late")
        assert cursor is None
        assert seen == made[::-1]

    @pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%00", "cursor=!!!", "cursor=ww"])
    def test_bad(self, staff, query):
        assert_problem(staff.client.get(f"/v1/styles?{query}"), 422, "invalid-input")


class TestRates:
    def test_headers_tell_what_is_left(self, staff):
        first, second = staff.client.get("/v1/styles"), staff.client.get("/v1/styles")
        assert first.headers["ratelimit-policy"] == '"shop";q=600;w=60'
        left = [int(answer.headers["ratelimit"].split("r=")[1].split(";")[0]) for answer in (first, second)]
        assert left == [599, 598]

    def test_too_many(self, staff, monkeypatch):
        from backend.core import limits
        from backend.shops import auth

        monkeypatch.setattr(auth, "SHOP", limits.Policy("shop", 3))
        statuses = [staff.client.get("/v1/styles").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        answer = staff.client.get("/v1/styles")
        assert_problem(answer, 429, "rate-limited")
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["ratelimit"].startswith('"shop";r=0')

    def test_a_counter_that_is_away_locks_nobody_out(self, api_settings, staff):
        from backend.core.limits import RateLimiter

        app = create_app(api_settings)
        app.state.limiter = RateLimiter("redis://127.0.0.1:9/0")
        client = TestClient(app, headers={"Authorization": f"Bearer {staff.key}"})
        assert client.get("/v1/styles").status_code == 200


class TestHealth:
    def test_alive_and_ready(self, anyone):
        assert anyone.get("/healthz").json() == {"status": "ok"}
        answer = anyone.get("/readyz")
        assert answer.status_code == 200
        assert set(answer.json()["checks"]) == {"database", "broker", "storage"}

    def test_metrics(self, staff, anyone):
        staff.style()
        text = anyone.get("/metrics").text
        assert 'hoop_jobs{queue="train",status="queued"}' in text
        assert 'route="/v1/styles"' in text


class TestUsage:
    def test_counts(self, staff):
        staff.render(staff.ready_style()["id"])
        usage = staff.client.get("/v1/usage").json()
        (day,) = usage["days"]
        assert (day["trainings"], day["renders"]) == (1, 1)
        assert usage["used"]["open_jobs"] == 1
        assert usage["used"]["storage_bytes"] > 1000
        assert usage["quotas"]["open_jobs"] == 50

    def test_span(self, staff):
        assert staff.client.get("/v1/usage?since=2001-01-01&until=2001-02-01").json()["days"] == []
        for query in ("since=2002-01-01&until=2001-01-01", "since=1999-01-01&until=2001-01-01", "since=soon"):
            assert_problem(staff.client.get(f"/v1/usage?{query}"), 422, "invalid-input")
        assert staff.client.get("/v1/usage?until=0001-01-02").status_code == 200


def test_bases(staff):
    (base,) = staff.client.get("/v1/bases").json()["data"]
    assert (base["name"], base["default"], base["resolution"]) == ("hoop-mini", True, 256)
    assert base["defaults"]["flat"]["strength"] == 0.25


def test_a_base_that_was_fetched_may_be_named(staff, api_settings):
    refused = staff.client.post(
        "/v1/styles", json={"name": "x", "reference_image": staff.image()["id"], "base": "sdxl"}
    )
    assert_problem(refused, 422, "invalid-input")
    folder = api_settings.bases / "sdxl"
    folder.mkdir(parents=True)
    try:
        (folder / "hoop.json").write_text('{"name": "sdxl", "resolution": 1024, "licence": "Open RAIL++-M"}')
        found = {base["name"]: base for base in staff.client.get("/v1/bases").json()["data"]}
        assert list(found) == ["hoop-mini", "sdxl"]
        assert (found["sdxl"]["resolution"], found["sdxl"]["bundled"]) == (1024, False)
        assert found["sdxl"]["title"] == "Stable Diffusion XL 1.0"
        assert found["sdxl"]["defaults"]["flat"]["strength"] == 0.95
        made = staff.client.post(
            "/v1/styles", json={"name": "x", "reference_image": staff.image()["id"], "base": "sdxl"}
        )
        assert made.status_code == 202, made.text
    finally:
        shutil.rmtree(folder)


class TestPage:
    def test_files(self, anyone):
        page = anyone.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert (
            "script-src" in page.headers["content-security-policy"]
            or "default-src 'self'" in (page.headers["content-security-policy"])
        )
        assert anyone.get("/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
        script = anyone.get("/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert anyone.head("/").status_code == 200

    def test_share_page(self, anyone):
        page = anyone.get("/s/hoop_share_anything")
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["referrer-policy"] == "same-origin"


def test_description_is_current():
    """docs/openapi.json is what `python -m backend.openapi` writes."""
    from backend.openapi import PATH, dump

    assert PATH.read_text() == dump(), "run `python -m backend.openapi` and look at the difference"
    document = json.loads(PATH.read_text())
    assert document["openapi"].startswith("3.1")
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    assert ROOT in PATH.parents
