"""Styles and pairs: learning, listing, changing, taking away."""

import pytest
from sqlalchemy import select

from backend.models import Job, UsageDay
from backend.styles.schemas import PairIn, StyleIn
from backend.styles.service import create_pair, create_style
from tests.api.conftest import assert_problem


def test_a_style_begins_to_be_learnt(staff):
    reference = staff.image()
    answer = staff.client.post("/v1/styles", json={"name": " Tiger ", "reference_image": reference["id"]})
    assert answer.status_code == 202
    style = answer.json()
    assert answer.headers["location"] == f"http://localhost:8000/v1/styles/{style['id']}"
    assert (style["name"], style["status"], style["seed"], style["preset"]) == ("Tiger", "training", 42, "flat")
    assert style["pair"] == {"embroidery_url": None, "design_url": None, "builder": "flatten"}
    assert style["adapter"] is None
    assert style["reference_url"] == reference["url"]
    job = staff.client.get(f"/v1/jobs/{style['job']}").json()
    assert (job["kind"], job["status"], job["target"]) == ("train", "queued", style["id"])
    with staff.database.read() as session:
        row = session.get_one(Job, style["job"])
        assert row.sent_at is not None
        assert row.input == {
            "reference_key": row.input["reference_key"],
            "artwork_key": None,
            "pair_builder": "flatten",
            "preset": "flat",
            "base": "hoop-mini",
            "seed": 42,
            "caption": None,
            "more_keys": [],
            "training": "short",
        }
        assert session.scalars(select(UsageDay.trainings).where(UsageDay.shop_id == staff.shop_id)).one() == 1


def test_artwork_is_compared_when_it_is_given(staff):
    style = staff.style(artwork_image=staff.image("artwork")["id"])
    assert style["pair"]["builder"] == "artwork"
    assert style["artwork_url"].startswith("http://")


def test_when_it_is_ready(staff, anyone):
    style = staff.ready_style()
    assert style["status"] == "ready"
    assert style["adapter"]["sha256"] == "0" * 64
    assert style["report"]["warnings"][0]["code"] == "blurry"
    for url in (style["samples"][0]["url"], style["pair"]["embroidery_url"], style["pair"]["design_url"]):
        assert anyone.get(url).status_code == 200
    answer = staff.client.get(style["adapter"]["url"])
    assert answer.status_code == 302
    import httpx

    file = httpx.get(answer.headers["location"])
    assert file.content == b"\x02\0\0\0\0\0\0\0{}"
    assert f"{style['id']}.safetensors" in file.headers["content-disposition"]


def test_when_it_failed(staff):
    style = staff.style()
    staff.fail(style["job"])
    style = staff.client.get(f"/v1/styles/{style['id']}").json()
    assert (style["status"], style["error"]["detail"]) == ("failed", "It did not work.")
    problem = assert_problem(staff.client.get(f"/v1/styles/{style['id']}/adapter"), 409, "style-not-ready")
    assert "could not be learnt" in problem["detail"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "body.name"),
        ({"name": "   "}, "body.name"),
        ({"name": "x" * 121}, "body.name"),
        ({"name": "nul\u0000"}, "body.name"),
        ({"reference_image": "not an id"}, "body.reference_image"),
        ({"pair_builder": "guess"}, "body.pair_builder"),
        ({"pair_builder": "artwork"}, "body.pair_builder"),
        ({"preset": "shiny"}, "body.preset"),
        ({"base": "sd-9"}, "body.base"),
        ({"seed": -1}, "body.seed"),
        ({"seed": 2**32}, "body.seed"),
        ({"seed": "x"}, "body.seed"),
        ({"metadata": {"k": [1]}}, "body.metadata"),
        ({"metadata": {"k": 2**60}}, "body.metadata"),
        ({"metadata": {f"k{i}": i for i in range(51)}}, "body.metadata"),
        ({"colour": "red"}, "body.colour"),
    ],
)
def test_fields_are_checked(staff, fields, field):
    body = {"name": "Tiger", "reference_image": staff.image()["id"], **fields}
    problem = assert_problem(staff.client.post("/v1/styles", json=body), 422, "invalid-input")
    assert problem["errors"][0]["field"].startswith(field)


def test_a_design_is_drawn_by_a_model_only_where_there_is_one(staff, api_settings):
    body = {"name": "Tiger", "reference_image": staff.image()["id"], "pair_builder": "diffusion"}
    problem = assert_problem(staff.client.post("/v1/styles", json=body), 422, "invalid-input")
    assert problem["errors"][0]["field"] == "body.pair_builder"
    assert "“Hoop mini, bundled” cannot draw the flat design" in problem["detail"]
    with staff.database.read() as session:
        assert session.scalars(select(Job).where(Job.shop_id == staff.shop_id)).all() == []
        with_model = api_settings.model_copy(update={"design_base": "sd3"})
        style = create_style(session, with_model, staff.shop_id, StyleIn(**body))
        assert style.pair_builder == "diffusion"
        session.rollback()


def test_pictures_must_be_there_and_for_this(staff, other):
    design = staff.image("design")["id"]
    problem = assert_problem(
        staff.client.post("/v1/styles", json={"name": "T", "reference_image": design}), 422, "invalid-input"
    )
    assert "uploaded as design" in problem["detail"]
    for image in (other.image()["id"], "img_" + "0" * 32):
        answer = staff.client.post("/v1/styles", json={"name": "T", "reference_image": image})
        problem = assert_problem(answer, 404, "not-found")
        assert problem["errors"][0]["field"] == "body.reference_image"


def test_rename_and_metadata(staff):
    style = staff.style(metadata={"order": 7})
    path = f"/v1/styles/{style['id']}"
    changed = staff.client.patch(path, json={"name": "Lion"}).json()
    assert (changed["name"], changed["metadata"]) == ("Lion", {"order": 7})
    assert staff.client.patch(path, json={"metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}
    assert_problem(staff.client.patch(path, json={"status": "ready"}), 422, "invalid-input")


def test_delete_stops_the_training(staff):
    style = staff.style()
    assert staff.client.delete(f"/v1/styles/{style['id']}").status_code == 204
    assert_problem(staff.client.get(f"/v1/styles/{style['id']}"), 404, "not-found")
    assert staff.client.get("/v1/styles").json()["data"] == []
    assert staff.client.get(f"/v1/jobs/{style['job']}").json()["status"] == "canceled"


def test_list_by_status(staff):
    training, ready = staff.style(), staff.ready_style()
    assert [style["id"] for style in staff.client.get("/v1/styles").json()["data"]] == [ready["id"], training["id"]]
    found = staff.client.get("/v1/styles?status=ready").json()["data"]
    assert [style["id"] for style in found] == [ready["id"]]
    assert_problem(staff.client.get("/v1/styles?status=asleep"), 422, "invalid-input")


def test_too_many_jobs_at_once(new_staff):
    staff = new_staff(quotas={"open_jobs": 1})
    reference = staff.image()["id"]
    body = {"name": "T", "reference_image": reference}
    assert staff.client.post("/v1/styles", json=body).status_code == 202
    answer = staff.client.post("/v1/styles", json=body)
    assert_problem(answer, 429, "quota-exceeded")
    assert int(answer.headers["retry-after"]) > 0


def test_computing_time_of_the_day(new_staff):
    staff = new_staff(quotas={"gpu_seconds": 0})
    answer = staff.client.post("/v1/styles", json={"name": "T", "reference_image": staff.image()["id"]})
    assert_problem(answer, 429, "quota-exceeded")
    assert 0 < int(answer.headers["retry-after"]) <= 86_400


class TestPairs:
    def test_look_first(self, staff):
        reference = staff.image()["id"]
        answer = staff.client.post("/v1/pairs", json={"reference_image": reference})
        assert answer.status_code == 202
        pair = answer.json()
        assert (pair["status"], pair["builder"], pair["design_url"]) == ("queued", "flatten", None)
        assert staff.client.get(f"/v1/pairs/{pair['id']}").json() == pair
        job = staff.client.get(f"/v1/jobs/{pair['job']}").json()
        assert (job["kind"], job["target"]) == ("pair", pair["id"])

    def test_artwork_must_be_given(self, staff):
        body = {"reference_image": staff.image()["id"], "builder": "artwork"}
        problem = assert_problem(staff.client.post("/v1/pairs", json=body), 422, "invalid-input")
        assert problem["errors"][0]["field"] == "body.builder"

    def test_a_model_that_draws_must_be_there(self, staff):
        body = {"reference_image": staff.image()["id"], "builder": "diffusion"}
        problem = assert_problem(staff.client.post("/v1/pairs", json=body), 422, "invalid-input")
        assert problem["errors"][0]["field"] == "body.builder"
        assert "made from the photo" in problem["detail"]

    def test_of_another_shop(self, staff, other):
        pair = staff.client.post("/v1/pairs", json={"reference_image": staff.image()["id"]}).json()
        assert_problem(other.client.get(f"/v1/pairs/{pair['id']}"), 404, "not-found")


def test_further_photos_and_a_caption_reach_the_training_and_stay(staff):
    more = [staff.image()["id"] for _ in range(2)]
    body = {"name": "three", "reference_image": staff.image()["id"], "more_images": more, "caption": " a red fox "}
    made = staff.client.post("/v1/styles", json=body)
    assert made.status_code == 202, made.text
    with staff.database.read() as session:
        given = session.get_one(Job, made.json()["job"]).input
    assert len(given["more_keys"]) == 2
    assert given["caption"] == "a red fox"
    style = staff.client.get(f"/v1/styles/{made.json()['id']}").json()
    assert (style["more_images"], style["caption"]) == (more, "a red fox")
    foreign = staff.client.post("/v1/styles", json={**body, "more_images": ["img_00000000000000000000000000000000"]})
    assert foreign.status_code == 404


def test_a_pair_is_built_for_the_base_it_will_be_learnt_on(staff):
    reference = staff.image()["id"]
    made = staff.client.post("/v1/pairs", json={"reference_image": reference, "base": "hoop-mini", "caption": "fox"})
    with staff.database.read() as session:
        given = session.get_one(Job, made.json()["job"]).input
    assert (given["base"], given["caption"]) == ("hoop-mini", "fox")
    refused = staff.client.post("/v1/pairs", json={"reference_image": reference, "base": "nothing"})
    assert_problem(refused, 422, "invalid-input")


@pytest.mark.parametrize(
    ("settings", "builder", "queue"),
    [
        ({"design_base": "sd3"}, "diffusion", "train"),
        ({"design_base": "sd3"}, "flatten", "io"),
        # A base that draws for itself takes no longer than for a render.
        ({"base": "own"}, "diffusion", "io"),
        ({"base": "own", "design_base": "own"}, "diffusion", "io"),
        ({"base": "own", "design_base": "sd3"}, "diffusion", "train"),
    ],
)
def test_a_pair_that_takes_minutes_holds_up_no_render(staff, api_settings, settings, builder, queue):
    body = PairIn(reference_image=staff.image()["id"], builder=builder)
    with staff.database.read() as session:
        pair = create_pair(session, api_settings.model_copy(update=settings), staff.shop_id, body)
        session.flush()
        assert session.get_one(Job, pair.job_id).queue == queue
        session.rollback()


def test_bases_say_which_pair_builders_they_have(staff):
    (base,) = staff.client.get("/v1/bases").json()["data"]
    assert base["pair_builders"] == ["artwork", "flatten"]


def test_a_style_takes_as_many_photos_as_bases_say(staff):
    (base,) = staff.client.get("/v1/bases").json()["data"]
    first, *more = (staff.image()["id"] for _ in range(base["most_photos"]))
    body = {"name": "many", "reference_image": first, "more_images": more}
    assert staff.client.post("/v1/styles", json=body).status_code == 202
    too_many = staff.client.post("/v1/styles", json={**body, "more_images": [*more, first]})
    assert_problem(too_many, 422, "invalid-input")
