"""What a person does on Hoop's page, as functions."""

import re
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

MINUTE = 60_000


def loaded(picture: Locator) -> None:
    """Wait until a picture is there and not broken."""
    expect(picture).to_be_visible()
    picture.page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())


def fits(page: Page) -> None:
    """The page does not scroll sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def begin_style(
    page: Page, photo: Path, name: str, artwork: Path | None = None, more: Sequence[Path] = (), caption: str = ""
) -> None:
    """From the styles to one that is being learnt: photo, pair review, name."""
    page.goto("/#/styles")
    page.get_by_role("link", name="New style").first.click()
    page.get_by_label("Drop a photo of the embroidery").set_input_files(photo)
    expect(page.get_by_text("Your photo", exact=True)).to_be_visible(timeout=MINUTE)
    if artwork:
        page.get_by_role("button", name="Add the artwork").click()
        page.get_by_label("Drop the artwork it was made from").set_input_files(artwork)
        expect(page.get_by_role("radio", name=re.compile("My own design"))).to_be_checked(timeout=MINUTE)
    if caption:
        page.get_by_role("textbox", name="What does it show?").fill(caption)
    if more:
        page.get_by_role("button", name="More photos of the same style").click()
    for number, further in enumerate(more, 2):
        page.get_by_label("Drop another photo").set_input_files(further)
        expect(page.get_by_text(f"Photo {number}", exact=True)).to_be_visible(timeout=MINUTE)
    halves = page.locator(".halves img")
    expect(halves).to_have_count(2, timeout=3 * MINUTE)
    loaded(halves.nth(0))
    loaded(halves.nth(1))
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("button", name="Accept the pair and learn").click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible(timeout=MINUTE)


def wait_until_learnt(page: Page, minutes: int) -> None:
    """Watch the progress until the samples are there."""
    expect(page.get_by_role("progressbar")).to_be_visible(timeout=MINUTE)
    ready = page.get_by_role("heading", name="Samples")
    failed = page.get_by_text("This style could not be learnt")
    expect(ready.or_(failed)).to_be_visible(timeout=minutes * MINUTE)
    expect(ready).to_be_visible()
    loaded(page.locator(".tiles img").first)


def wait_until_stitched(page: Page, minutes: int) -> None:
    """Watch a render until its pictures are there."""
    done = page.get_by_role("link", name="Download", exact=True)
    failed = page.get_by_text("This preview did not work out")
    expect(done.or_(failed)).to_be_visible(timeout=minutes * MINUTE)
    expect(done).to_be_visible()
