"""Renders: every field, its default and its limits."""

import pytest

from backend.models import Job
from tests.api.conftest import assert_problem, picture


@pytest.fixture
def style(staff):
    return staff.ready_style()["id"]


def ask(staff, style, **fields):
    body = {"style": style, "input": {"type": "text", "brief": "a red fox"}, **fields}
    return staff.client.post("/v1/renders", json=body)


def test_defaults_are_filled_in_and_kept(staff, style):
    design = staff.image("design")
    render = staff.render(style, input={"type": "image", "image": design["id"]})
    assert render["status"] == "queued"
    assert render["design_url"] == design["url"]
    seed = render["seed"]
    assert 0 <= seed < 2**31
    assert render["input"] == {
        "style": style,
        "adapter_sha256": "0" * 64,
        "base": "hoop-mini",
        "input": {"type": "image", "image": design["id"]},
        "garment": None,
        "variations": 1,
        "seed": seed,
        "preset": "flat",
        "steps": 8,
        "strength": 0.25,
        "guidance": 1.0,
        "control": {"edge": 1.0, "tile": 1.0},
        "colour_fix": True,
        "quality": "draft",
        "size": 256,
    }
    with staff.database.read() as session:
        job = session.get_one(Job, render["job"])
        assert job.input["input"]["image_key"].startswith(f"shops/{staff.shop_id}/images/")
        assert job.input["adapter_key"].endswith("adapter.safetensors")
        assert job.input["seed"] == seed


def test_what_is_given_is_taken(staff, style):
    given = {
        "variations": 8,
        "seed": 7,
        "steps": 3,
        "strength": 0.5,
        "guidance": 2.5,
        "preset": "raised",
        "colour_fix": False,
        "size": 512,
    }
    render = staff.render(style, **given, control={"edge": 0}, metadata={"order": "A-1"})
    assert {name: render["input"][name] for name in given} == given
    # A control that is not named keeps the preset's weight, here that of text.
    assert render["input"]["control"] == {"edge": 0, "tile": 0.0}
    assert render["metadata"] == {"order": "A-1"}


@pytest.mark.parametrize(("fields", "size"), [({}, 512), ({"size": 384}, 384)])
def test_a_final_has_twice_the_pixels(staff, style, fields, size):
    render = staff.render(style, quality="final", **fields)
    assert (render["input"]["quality"], render["input"]["size"]) == ("final", size)
    with staff.database.read() as session:
        assert session.get_one(Job, render["job"]).input["quality"] == "final"


def test_preset_of_the_style_holds(staff):
    render = staff.render(
        staff.ready_style(preset="raised")["id"], input={"type": "image", "image": staff.image("design")["id"]}
    )
    assert (render["preset"], render["input"]["control"]["edge"]) == ("raised", 0.5)


def test_when_it_is_done(staff, style, anyone):
    render = staff.render(style)
    staff.finish(render["job"])
    render = staff.client.get(f"/v1/renders/{render['id']}").json()
    assert render["status"] == "succeeded"
    (output,) = render["outputs"]
    assert (output["index"], output["seed"], output["garment_url"]) == (0, render["seed"], None)
    assert anyone.get(output["patch_url"]).status_code == 200


def test_when_it_failed(staff, style):
    render = staff.render(style)
    staff.fail(render["job"])
    render = staff.client.get(f"/v1/renders/{render['id']}").json()
    assert (render["status"], render["error"]["detail"]) == ("failed", "It did not work.")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"variations": 0}, "body.variations"),
        ({"variations": 9}, "body.variations"),
        ({"seed": -1}, "body.seed"),
        ({"seed": 1.5}, "body.seed"),
        ({"steps": 0}, "body.steps"),
        ({"steps": 101}, "body.steps"),
        ({"strength": 0}, "body.strength"),
        ({"strength": 1.01}, "body.strength"),
        ({"guidance": 0.9}, "body.guidance"),
        ({"preset": "flatter"}, "body.preset"),
        ({"quality": "best"}, "body.quality"),
        ({"control": {"edge": -0.1}}, "body.control.edge"),
        ({"control": {"depth": 1}}, "body.control.depth"),
        ({"size": 200}, "body.size"),
        ({"size": 64}, "body.size"),
        ({"size": 1024}, "body.size"),
        ({"input": {"type": "sound"}}, "body.input"),
        ({"input": {"type": "image"}}, "body.input.image"),
        ({"input": "a red fox"}, "body.input"),
        ({"prompt": "a red fox"}, "body.prompt"),
        ({"style": None}, "body.style"),
    ],
)
def test_fields_are_checked(staff, style, fields, field):
    problem = assert_problem(ask(staff, **{"style": style, **fields}), 422, "invalid-input")
    assert problem["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize("brief", ["", "   ", "\n\t", "x" * 501, "x" * 5000])
def test_briefs_have_a_length(staff, style, brief):
    problem = assert_problem(ask(staff, style, input={"type": "text", "brief": brief}), 422, "brief-invalid")
    assert problem["errors"][0]["field"] == "body.input.brief"


def test_a_brief_of_500_characters_is_fine(staff, style):
    assert ask(staff, style, input={"type": "text", "brief": "ü" * 500}).status_code == 202


def test_unknown_style(staff, other):
    for style in ("sty_" + "0" * 32, other.ready_style()["id"]):
        problem = assert_problem(ask(staff, style), 404, "not-found")
        assert problem["errors"][0]["field"] == "body.style"


def test_style_not_ready(staff):
    style = staff.style()
    problem = assert_problem(ask(staff, style["id"]), 409, "style-not-ready")
    assert "still being learnt" in problem["detail"]
    staff.fail(style["job"])
    assert "could not be learnt" in assert_problem(ask(staff, style["id"]), 409, "style-not-ready")["detail"]


def test_pictures_must_be_for_this(staff, other, style):
    garment = staff.image("garment")["id"]
    assert_problem(ask(staff, style, input={"type": "image", "image": garment}), 422, "invalid-input")
    foreign = other.image("design")["id"]
    assert_problem(ask(staff, style, input={"type": "image", "image": foreign}), 404, "not-found")


class TestGarment:
    @pytest.fixture
    def garment(self, staff):
        return staff.image("garment", picture(600, 500))["id"]

    @pytest.mark.parametrize(
        "placement",
        [
            {"quad": [[100, 100], [300, 110], [290, 310], [95, 300]]},
            {"quad": [[0, 0], [600, 0], [600, 500], [0, 500]]},
            {"center": [300, 250], "width_px": 200},
            {"center": [300, 250], "width_px": 300, "rotation_deg": 45},
            {"center": [300, 250], "width_px": 100, "rotation_deg": -360},
        ],
    )
    def test_inside(self, staff, style, garment, placement):
        render = staff.render(style, garment={"image": garment, "placement": placement, "width_mm": 80})
        kept = render["input"]["garment"]
        assert (kept["image"], kept["width_mm"], len(kept["corners"])) == (garment, 80, 4)

    @pytest.mark.parametrize(
        "placement",
        [
            {"quad": [[100, 100], [700, 110], [290, 310], [95, 300]]},
            {"quad": [[-5, 100], [300, 110], [290, 310], [95, 300]]},
            # crossed, mirrored, and without an area
            {"quad": [[100, 100], [290, 310], [300, 110], [95, 300]]},
            {"quad": [[300, 100], [100, 100], [100, 300], [300, 300]]},
            {"quad": [[100, 100], [200, 100], [300, 100], [400, 100]]},
            {"quad": [[100, 100], [103, 100], [103, 103], [100, 103]]},
            {"center": [300, 250], "width_px": 600},
            {"center": [10, 250], "width_px": 100},
            {"center": [300, 250], "width_px": 480, "rotation_deg": 45},
            {"center": [300, 250], "width_px": 2},
            {"center": [3000, 250], "width_px": 20},
        ],
    )
    def test_outside(self, staff, style, garment, placement):
        answer = ask(staff, style, garment={"image": garment, "placement": placement})
        problem = assert_problem(answer, 422, "placement-outside")
        assert problem["errors"][0]["field"] == "body.garment.placement"

    @pytest.mark.parametrize(
        "placement",
        [
            {},
            {"center": [1, 1]},
            {"width_px": 100},
            {"quad": [[1, 1], [2, 2], [3, 3]]},
            {"quad": [[1, 1], [2, 2], [3, 3], [1]]},
            {"quad": [[100, 100], [300, 110], [290, 310], [95, 300]], "center": [1, 1]},
            {"center": [300, 250], "width_px": -1},
            {"center": [300, 250], "width_px": 10, "rotation_deg": 1000},
            "middle",
        ],
    )
    def test_neither(self, staff, style, garment, placement):
        answer = ask(staff, style, garment={"image": garment, "placement": placement})
        assert_problem(answer, 422, "invalid-input")

    def test_needs_a_garment(self, staff, style):
        placement = {"center": [150, 150], "width_px": 100}
        design = staff.image("design")["id"]
        answer = ask(staff, style, garment={"image": design, "placement": placement})
        assert_problem(answer, 422, "invalid-input")


def test_numbers_of_json_that_are_none(staff, style):
    body = f'{{"style": "{style}", "input": {{"type": "text", "brief": "x"}}, "strength": NaN}}'
    answer = staff.client.post("/v1/renders", content=body, headers={"Content-Type": "application/json"})
    assert_problem(answer, 422, "invalid-input")


def test_list_and_delete(staff, style):
    second = staff.ready_style()["id"]
    first_render, render = staff.render(style), staff.render(second)
    listed = staff.client.get("/v1/renders").json()["data"]
    assert [row["id"] for row in listed] == [render["id"], first_render["id"]]
    listed = staff.client.get(f"/v1/renders?style={style}").json()["data"]
    assert [row["id"] for row in listed] == [first_render["id"]]
    assert staff.client.delete(f"/v1/renders/{render['id']}").status_code == 204
    assert_problem(staff.client.get(f"/v1/renders/{render['id']}"), 404, "not-found")
    assert staff.client.get(f"/v1/jobs/{render['job']}").json()["status"] == "canceled"


def test_defaults_are_the_engines(staff):
    """The numbers that the API fills in are those that the engine has."""
    config = pytest.importorskip("worker.engine.config")
    from backend.bases.service import _PAPER, _SMALL

    engine = {**config.RENDER_PRESETS}
    for ours, theirs in ((_SMALL, config.SMALL_RENDER_PRESETS), (_PAPER, engine)):
        for name, preset in theirs.items():
            mine = ours[name]
            assert (mine.steps, mine.strength, mine.guidance, mine.edge, mine.tile, mine.colour_fix) == (
                preset.steps,
                preset.strength,
                preset.guidance,
                preset.control_edge,
                preset.control_tile,
                preset.colour_fix,
            )
