"""The main job in a real browser: one photo in, previews of any design out, shown to a customer."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from . import pages
from .conftest import PHONE, ROOT, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]

LEARN_MINUTES = 12
STITCH_MINUTES = 4


@pytest.fixture
def photo() -> Path:
    """The photo of one of our own example styles."""
    found = sorted((ROOT / "backend" / "demo").glob("*/reference.*"))
    assert found, "the example styles and their photos are missing in backend/demo"
    return found[0]


@pytest.fixture
def design(tmp_path: Path) -> Path:
    """A flat design on transparency, as a shop gets it from a customer."""
    picture = Image.new("RGBA", (600, 600))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((60, 60, 540, 540), fill="#c8102e")
    draw.polygon(
        [
            (300, 130),
            (350, 260),
            (480, 260),
            (375, 340),
            (415, 470),
            (300, 390),
            (185, 470),
            (225, 340),
            (120, 260),
            (250, 260),
        ],
        fill="#f6d55c",
    )
    path = tmp_path / "star.png"
    picture.save(path)
    return path


def test_from_a_photo_to_an_approved_preview(
    stack: Stack, open_page: Callable[..., Page], photo: Path, design: Path, tmp_path: Path
) -> None:
    page = open_page(base_url=stack.address)
    page.goto(stack.hoop("login-link"))
    expect(page.get_by_role("heading", name="Styles", exact=True)).to_be_visible()

    pages.begin_style(page, photo, "From one photo")
    pages.wait_until_learnt(page, LEARN_MINUTES)

    page.get_by_role("link", name="Use in studio").click()
    expect(page.get_by_role("radio", name="From one photo")).to_be_checked()
    page.get_by_label("Drop or paste a design").set_input_files(design)
    page.get_by_role("radio", name="2", exact=True).check()
    page.get_by_role("button", name="Make preview").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    pages.wait_until_stitched(page, STITCH_MINUTES)

    expect(page.get_by_role("group", name="Variations").get_by_role("button")).to_have_count(2)
    slider = page.get_by_role("slider", name="Design or embroidery")
    pages.loaded(page.locator(".compare-before"))
    pages.loaded(page.locator(".compare-after"))
    slider.focus()
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "51 percent design, 49 percent embroidery")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    saved = tmp_path / "preview.png"
    download.value.save_as(saved)
    with Image.open(saved) as picture:
        assert min(picture.size) >= 128
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 500, "a preview has the colours of threads in light"

    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_role("textbox", name="Share link").input_value()
    page.get_by_role("button", name="Done").click()
    _customer_approves(open_page(**PHONE), link)

    page.get_by_role("radio", name="Describe").check()
    page.get_by_role("textbox", name="Describe the design").fill("a red fox")
    page.get_by_role("radio", name="1", exact=True).check()
    page.get_by_role("button", name="Make preview").click()
    expect(page.get_by_role("heading", name="Making “a red fox”")).to_be_visible()
    pages.wait_until_stitched(page, STITCH_MINUTES)

    page.goto("/#/previews")
    expect(page.get_by_role("link", name=re.compile("“a red fox” in From one photo"))).to_be_visible()
    page.goto("/#/settings")
    expect(page.get_by_text(re.compile("Approved by Ada"))).to_be_visible()


def _customer_approves(phone: Page, link: str) -> None:
    """Someone without an account opens the link on a phone, and says yes."""
    phone.goto(link)
    expect(phone.get_by_role("heading", name="Your embroidery")).to_be_visible()
    pages.loaded(phone.locator(".compare-after"))
    pages.fits(phone)
    phone.get_by_role("button", name="I like it: approve").tap()
    phone.get_by_role("textbox", name="Your name").fill("Ada")
    phone.get_by_role("button", name="Approve", exact=True).tap()
    expect(phone.get_by_text("You approved this preview")).to_be_visible()
    phone.goto(link[:-4] + "0000")
    expect(phone.get_by_role("heading", name="This link does not work any more")).to_be_visible()


def test_a_draft_comes_first_and_a_tap_looks_closely(staff: Page, design: Path) -> None:
    """In one of the styles that come along, so that nothing has to be learnt."""
    staff.goto("/#/studio")
    staff.get_by_label("Drop or paste a design").set_input_files(design)
    staff.get_by_role("button", name="Make preview").click()
    expect(staff.get_by_text("A first draft; the finished picture follows")).to_be_visible(
        timeout=STITCH_MINUTES * pages.MINUTE
    )
    pages.loaded(staff.get_by_role("img", name="How it looks so far"))
    pages.wait_until_stitched(staff, STITCH_MINUTES)

    staff.get_by_role("button", name="Enlarge", exact=True).click()
    picture = staff.get_by_role("dialog").get_by_role("img")
    pages.loaded(picture)
    draft, side = staff.evaluate(
        """async () => {
            const base = (await (await fetch("/v1/bases")).json()).data[0];
            return [base.resolution, document.querySelector("dialog img").naturalWidth];
        }"""
    )
    assert side == 2 * draft
    box = picture.bounding_box()
    corner = {"x": box["width"] / 2 - 100, "y": box["height"] / 2 - 60}
    picture.click(position=corner)
    near = picture.bounding_box()
    scale = near["width"] / box["width"]
    assert scale == pytest.approx(2.5, abs=0.05)
    # What was tapped stays under the finger.
    assert near["x"] + scale * corner["x"] == pytest.approx(box["x"] + corner["x"], abs=2)
    staff.mouse.move(box["x"] + 200, box["y"] + 200)
    staff.mouse.down()
    staff.mouse.move(box["x"] + 260, box["y"] + 200, steps=4)
    staff.mouse.up()
    assert picture.bounding_box()["x"] == pytest.approx(near["x"] + 60, abs=2)
    staff.mouse.click(box["x"] + 200, box["y"] + 200)
    assert picture.bounding_box()["width"] == pytest.approx(box["width"], abs=1)


def test_learning_can_be_stopped_and_begun_again(staff: Page, photo: Path, design: Path) -> None:
    with staff.expect_request(lambda call: call.method == "POST" and call.url.endswith("/v1/styles")) as asked:
        pages.begin_style(staff, photo, "Not this one", more=[design], caption="a badge ")
    assert len(asked.value.post_data_json["more_images"]) == 1
    assert asked.value.post_data_json["caption"] == "a badge"
    staff.get_by_role("button", name="Stop learning").click()
    staff.get_by_role("dialog").get_by_role("button", name="Stop learning").click()
    expect(staff.get_by_text("Learning was stopped")).to_be_visible(timeout=2 * pages.MINUTE)
    staff.goto("/#/activity")
    expect(staff.get_by_role("listitem", name="Learning a style").first.get_by_text("Stopped")).to_be_visible()
    staff.goto("/#/styles")
    staff.get_by_role("link", name="Not this one").first.click()
    staff.get_by_role("button", name="Start again from its photo").click()
    expect(staff.get_by_role("textbox", name="Name")).to_have_value("Not this one", timeout=pages.MINUTE)
    expect(staff.get_by_text("Photo 2", exact=True)).to_be_visible()
    expect(staff.get_by_role("textbox", name="What does it show?")).to_have_value("a badge")


ALL_PHOTOS = pytest.mark.skipif(
    not os.environ.get("HOOP_E2E_PHOTOS"), reason="further real photos take minutes more: set HOOP_E2E_PHOTOS=1"
)


@pytest.mark.parametrize(
    ("name", "flat"),
    [
        pytest.param("pemb_hatch_green", None),
        pytest.param("pemb_multicolour_heart", None, marks=ALL_PHOTOS),
        pytest.param("pemb_multicolour_heart", "pair_multicolour_heart_flat", marks=ALL_PHOTOS),
    ],
)
def test_from_a_real_photo(staff: Page, shared_data: Path, design: Path, name: str, flat: str | None) -> None:
    artwork = shared_data / "designs" / f"{flat}.png" if flat else None
    title = f"{name} {'with its artwork' if flat else 'alone'}"
    pages.begin_style(staff, shared_data / "photos" / f"{name}.jpg", title, artwork)
    pages.wait_until_learnt(staff, LEARN_MINUTES)
    staff.get_by_role("link", name="Use in studio").click()
    staff.get_by_label("Drop or paste a design").set_input_files(design)
    staff.get_by_role("button", name="Make preview").click()
    pages.wait_until_stitched(staff, STITCH_MINUTES)
    pages.loaded(staff.locator(".compare-after"))
