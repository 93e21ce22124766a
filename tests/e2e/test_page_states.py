"""What the page shows when there is nothing, when something goes wrong, and on small screens."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from . import pages
from .conftest import PHONE, Stack

pytestmark = pytest.mark.e2e

PLACES = ("styles", "new", "studio", "previews", "activity", "settings")
EMPTY = json.dumps({"data": [], "next_cursor": None})


def _answer(body: str, status: int = 200) -> Callable[[Route], None]:
    kind = "application/json" if status < 400 else "application/problem+json"
    return lambda route: route.fulfill(status=status, content_type=kind, body=body)


def _problem(status: int, slug: str, detail: str) -> str:
    return json.dumps({"type": f"https://hoop.dev/problems/{slug}", "title": "No", "status": status, "detail": detail})


def test_without_a_session_the_page_says_how_to_get_one(stack: Stack, open_page: Callable[..., Page]) -> None:
    page = open_page(base_url=stack.address)
    page.goto("/")
    expect(page.get_by_role("heading", name="Welcome to Hoop")).to_be_visible()
    expect(page.get_by_text("hoop login-link")).to_be_visible()
    page.get_by_label("API key").fill("hoop_live_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("API key").fill(stack.api_key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Styles", exact=True)).to_be_visible()
    page.goto("/#/settings")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Welcome to Hoop")).to_be_visible()


@pytest.mark.parametrize(
    ("place", "calls", "title"),
    [
        ("styles", "styles", "Teach Hoop your first style"),
        ("studio", "styles", "The studio needs a style"),
        ("previews", "renders", "No previews yet"),
        ("activity", "jobs", "Nothing to do"),
    ],
)
def test_empty_lists_say_what_to_do(staff: Page, place: str, calls: str, title: str) -> None:
    staff.route(f"**/v1/{calls}?*", _answer(EMPTY))
    staff.goto(f"/#/{place}")
    expect(staff.get_by_role("heading", name=title)).to_be_visible()


@pytest.mark.parametrize(
    ("place", "calls"), [("styles", "styles"), ("studio", "styles"), ("previews", "renders"), ("activity", "jobs")]
)
def test_a_problem_is_told_in_its_own_words_and_can_be_tried_again(staff: Page, place: str, calls: str) -> None:
    detail = "The picture store does not answer right now. Nothing is lost; please try again in a moment."
    staff.route(f"**/v1/{calls}?*", _answer(_problem(503, "storage-unavailable", detail), 503))
    staff.goto(f"/#/{place}")
    expect(staff.get_by_role("alert").get_by_text(detail)).to_be_visible()
    staff.unroute(f"**/v1/{calls}?*")
    staff.get_by_role("button", name="Try again").click()
    expect(staff.get_by_role("alert")).to_have_count(0)


def test_an_answer_of_another_shape_is_refused(staff: Page) -> None:
    staff.route("**/v1/styles?*", _answer(json.dumps({"data": [{"id": 7}], "next_cursor": None})))
    staff.goto("/#/styles")
    expect(staff.get_by_role("alert").get_by_text(re.compile("reload the page"))).to_be_visible()


def test_a_file_that_is_no_picture_gets_a_sentence(staff: Page, tmp_path: Path) -> None:
    fake = tmp_path / "letter.jpg"
    fake.write_text("Dear customer,")
    small = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), "red").save(small)
    staff.goto("/#/new")
    place = staff.get_by_label("Drop a photo of the embroidery")
    place.set_input_files(fake)
    expect(staff.get_by_role("alert").get_by_text(re.compile("not a picture"))).to_be_visible()
    place.set_input_files(small)
    expect(staff.get_by_role("alert").get_by_text(re.compile("at least 256 pixels"))).to_be_visible()


NUMBERS = {"steps": 1, "strength": 1, "guidance": 1, "control": {"edge": 1, "tile": 1}, "colour_fix": True}
BASES = json.dumps(
    {"data": [{"name": n, "defaults": dict.fromkeys(("flat", "raised", "text"), NUMBERS)} for n in ("first", "second")]}
)


def _refused_pairs(staff: Page, field: str) -> list[str | None]:
    """Refuses every pair that is asked for from now on; the list tells what each had in a field."""
    asked: list[str | None] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.post_data_json.get(field))
        _answer(_problem(422, "invalid-input", "No pair today."), 422)(route)

    staff.route("**/v1/pairs", refuse)
    return asked


@pytest.mark.parametrize(
    ("bases", "status", "kept", "wanted"),
    [
        (BASES, 200, "second", "second"),
        (BASES, 200, "gone", "first"),
        (_problem(500, "internal", "The list cannot be had."), 500, "second", None),
    ],
)
def test_a_pair_is_asked_for_on_a_base_that_is_there(
    staff: Page, bases: str, status: int, kept: str, wanted: str | None
) -> None:
    photo = {"id": "img_1", "width": 8, "height": 8, "url": "/favicon.svg"}
    draft = json.dumps({"photo": photo, "base": kept})
    staff.add_init_script(f"sessionStorage.setItem('hoop.draft', {json.dumps(draft)})")
    staff.route("**/v1/bases", _answer(bases, status))
    asked = _refused_pairs(staff, "base")
    staff.goto("/#/new")
    expect(staff.get_by_text("No pair today.")).to_be_visible()
    assert asked == [wanted]
    choice = staff.get_by_role("group", name="Learnt on")
    expect(choice).to_have_count(0 if wanted is None else 1)
    if wanted is not None:
        expect(choice.get_by_role("radio", name=wanted)).to_be_checked()


def test_a_model_that_draws_is_told_what_the_photo_shows_once_it_is_said(staff: Page) -> None:
    numbers = dict.fromkeys(("flat", "raised", "text"), NUMBERS)
    base = {"name": "draws", "pair_builders": ["flatten", "diffusion"], "most_photos": 2, "defaults": numbers}
    photo = {"id": "img_1", "width": 8, "height": 8, "url": "/favicon.svg"}
    draft = json.dumps({"photo": photo, "builder": "diffusion"})
    staff.add_init_script(f"sessionStorage.setItem('hoop.draft', {json.dumps(draft)})")
    staff.route("**/v1/bases", _answer(json.dumps({"data": [base]})))
    asked = _refused_pairs(staff, "caption")
    staff.goto("/#/new")
    expect(staff.get_by_text("No pair today.")).to_be_visible()
    words = staff.get_by_role("textbox", name="What does it show?")
    words.press_sequentially("a fox")
    assert asked == [None]
    with staff.expect_request("**/v1/pairs"):
        words.press("Tab")
    expect(staff.get_by_text("No pair today.")).to_be_visible()
    assert asked == [None, "a fox"]
    # Another builder has no use for it, and a style takes as many photos as its base says.
    with staff.expect_request("**/v1/pairs"):
        staff.get_by_role("radio", name=re.compile("Flatten the photo")).check()
    expect(staff.get_by_text("No pair today.")).to_be_visible()
    assert asked == [None, "a fox", None]
    staff.get_by_role("button", name="More photos of the same style").click()
    expect(staff.get_by_text("up to 1.")).to_be_visible()


def test_a_lost_connection_is_told_and_found_again(staff: Page) -> None:
    staff.goto("/#/styles")
    staff.get_by_role("heading", name="Styles", exact=True).wait_for()
    staff.route(re.compile("/v1/|/healthz"), lambda route: route.abort())
    staff.get_by_role("link", name="Previews").click()
    expect(staff.get_by_text("Your work here is kept; trying again…")).to_be_visible()
    staff.unroute(re.compile("/v1/|/healthz"))
    expect(staff.get_by_text("Your work here is kept; trying again…")).to_be_hidden(timeout=10_000)


def test_a_session_that_ends_leads_to_the_door(staff: Page) -> None:
    staff.goto("/#/styles")
    staff.get_by_role("heading", name="Styles", exact=True).wait_for()
    staff.context.clear_cookies()
    # Not a click on the link: the page asks by itself too, and may be at the door already.
    staff.evaluate("location.hash = '#/activity'")
    expect(staff.get_by_role("heading", name="Welcome to Hoop")).to_be_visible()


def test_an_unknown_address_leads_home(staff: Page) -> None:
    staff.goto("/#/nowhere")
    expect(staff.get_by_role("heading", name="There is no such page")).to_be_visible()
    staff.get_by_role("link", name="Go to your styles").click()
    expect(staff.get_by_role("heading", name="Styles", exact=True)).to_be_visible()


def test_progress_is_polled_when_the_stream_is_refused(staff: Page) -> None:
    steps = iter(range(1, 1000))
    job = {
        "id": "job_0a",
        "kind": "train",
        "status": "processing",
        "queue_position": None,
        "attempt": 1,
        "error": None,
        "target": "sty_0a",
    }

    def answer(route: Route) -> None:
        progress = {"stage": "stage_one", "step": next(steps), "total": 1000, "eta_s": 60, "preview_url": None}
        route.fulfill(json={**job, "progress": progress})

    style = {
        "id": "sty_0a",
        "name": "Slow",
        "status": "training",
        "reference_image": "img_0a",
        "job": "job_0a",
        "samples": [],
        "report": {},
    }
    staff.route("**/v1/styles/sty_0a", lambda route: route.fulfill(json=style))
    staff.route("**/v1/jobs/job_0a", answer)
    staff.route("**/v1/jobs/job_0a/events", _answer(_problem(404, "not-found", "No."), 404))
    staff.goto("/#/styles/sty_0a")
    expect(staff.get_by_text("Learning the stitches").first).to_be_visible()
    expect(staff.get_by_text(re.compile("step [5-9] of 1000"))).to_be_visible(timeout=30_000)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("place", PLACES)
def test_pages_fit_and_every_control_has_a_name(staff: Page, place: str, width: int) -> None:
    staff.set_viewport_size({"width": width, "height": 800})
    staff.goto(f"/#/{place}")
    expect(staff.get_by_role("heading", level=1)).to_be_visible()
    staff.wait_for_load_state("networkidle")
    pages.fits(staff)
    nameless = staff.evaluate(
        """() => [...document.querySelectorAll("button, a[href], input, textarea, img")].filter((element) => {
            if (element.tagName === "IMG") return element.getAttribute("alt") === null;
            if (element.closest('[aria-hidden="true"]')) return false;
            const labels = [...(element.labels ?? [])].map((label) => label.textContent).join("");
            return !(element.getAttribute("aria-label") || labels || element.textContent || "").trim();
        }).map((element) => element.outerHTML)"""
    )
    assert nameless == []


def test_a_link_that_nobody_made_is_explained_on_a_phone(stack: Stack, open_page: Callable[..., Page]) -> None:
    phone = open_page(**PHONE)
    phone.goto(f"{stack.address}/s/hoop_share_nothing")
    expect(phone.get_by_role("heading", name="This link does not work any more")).to_be_visible()
    pages.fits(phone)


def test_the_page_asks_no_other_host(staff: Page, stack: Stack) -> None:
    hosts: set[str] = set()
    staff.on(
        "request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None
    )
    for place in PLACES:
        staff.goto(f"/#/{place}")
        staff.wait_for_load_state("networkidle")
    assert hosts == {stack.address.split("/")[2]}
