"""Pictures: what comes in, what is refused and in which words, and how it is shown again."""

import io
import struct
import zlib
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlalchemy import update

from backend.core.config import Settings
from backend.core.db import utcnow
from backend.models import Upload
from backend.uploads.service import remove_abandoned
from tests.api.conftest import assert_problem, picture


def send(staff, data: bytes, name: str = "photo.jpg", purpose: str = "reference", **options):
    return staff.client.post("/v1/images", files={"file": (name, data)}, data={"purpose": purpose}, **options)


def encoded(image: Pillow.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def claims_to_be(width: int, height: int) -> bytes:
    """A PNG whose header names a huge size, and little else."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    body = b"IDAT" + zlib.compress(b"\0" * 1000)
    parts = (chunk, body, b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def animated(kind: str) -> bytes:
    frames = [Pillow.open(io.BytesIO(picture(seed=seed))) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_back_as_we_keep_it(staff, kind):
    answer = send(staff, picture(300, 280, kind=kind))
    assert answer.status_code == 201
    image = answer.json()
    assert image["id"].startswith("img_")
    assert (image["purpose"], image["width"], image["height"]) == ("reference", 300, 280)
    assert answer.headers["location"].endswith(f"/v1/images/{image['id']}")
    assert image["url"].startswith("http://localhost:8000/media/")
    shown = staff.client.get(image["url"])
    assert shown.status_code == 200
    assert Pillow.open(io.BytesIO(shown.content)).size == (300, 280)
    assert staff.client.get(f"/v1/images/{image['id']}").json() == image


def test_orientation_is_applied_and_metadata_dropped(staff):
    exif = Pillow.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "SecretCamera"
    data = encoded(Pillow.open(io.BytesIO(picture(400, 300))), "JPEG", exif=exif)
    image = send(staff, data).json()
    assert (image["width"], image["height"]) == (300, 400)
    assert b"SecretCamera" not in staff.client.get(image["url"]).content


@pytest.mark.parametrize(
    ("data", "status", "slug"),
    [
        pytest.param(b"Dear shop, here is my photo.", 422, "not-an-image", id="a text file named .jpg"),
        pytest.param(b"", 422, "not-an-image", id="empty"),
        pytest.param(b"%PDF-1.7 ...", 422, "not-an-image", id="a PDF"),
        pytest.param(picture(300, 300)[:1500], 422, "truncated-image", id="cut off"),
        pytest.param(picture(600, 600, kind="JPEG")[:9000], 422, "truncated-image", id="a JPEG cut off"),
        pytest.param(encoded(Pillow.new("RGB", (1, 1), "red"), "PNG"), 422, "image-too-small", id="1 px"),
        pytest.param(picture(400, 255), 422, "image-too-small", id="255 px on the shorter side"),
        pytest.param(encoded(Pillow.new("RGB", (300, 300), "red"), "PNG"), 422, "blank-image", id="blank"),
        pytest.param(encoded(Pillow.new("RGBA", (300, 300)), "PNG"), 422, "blank-image", id="transparent"),
        pytest.param(claims_to_be(20_000, 20_000), 413, "image-too-large", id="20,000 x 20,000"),
        pytest.param(animated("WEBP"), 422, "animated-image", id="an animated WebP"),
        pytest.param(animated("GIF"), 422, "animated-image", id="an animated GIF"),
        pytest.param(animated("PNG"), 422, "animated-image", id="an animated PNG"),
    ],
)
def test_what_cannot_be_used_is_refused_in_plain_words(staff, data, status, slug):
    assert_problem(send(staff, data), status, slug)


def test_a_file_over_the_limit(staff, api_settings: Settings):
    assert_problem(send(staff, b"\xff\xd8\xff" + b"\0" * api_settings.upload_max_bytes), 413, "image-too-large")
    # Far over it, the body is cut off while it arrives.
    assert_problem(send(staff, b"\0" * (api_settings.upload_max_bytes + 2_000_000)), 413, "image-too-large")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(picture(kind="JPEG", mode="CMYK"), "cmyk", id="CMYK"),
        pytest.param(
            encoded(Pillow.fromarray(np.linspace(0, 65_535, 90_000).reshape(300, 300).astype(np.uint16)), "PNG"),
            "sixteen_bit",
            id="16-bit",
        ),
    ],
)
def test_what_can_be_converted_is(staff, data, code):
    answer = send(staff, data)
    assert answer.status_code == 201
    assert code in {warning["code"] for warning in answer.json()["warnings"]}


def test_same_picture_same_image_by_purpose(staff, other):
    data = picture(seed=99)
    first = send(staff, data).json()
    assert send(staff, data).json()["id"] == first["id"]
    assert send(staff, data, purpose="design").json()["id"] != first["id"]
    assert send(other, data).json()["id"] != first["id"]


def test_fields_are_checked(staff):
    problem = assert_problem(send(staff, picture(), purpose="selfie"), 422, "invalid-input")
    assert problem["errors"][0]["field"] == "body.purpose"
    assert_problem(staff.client.post("/v1/images", data={"purpose": "design"}), 422, "invalid-input")
    assert_problem(staff.client.post("/v1/images", json={"purpose": "design"}), 422, "invalid-input")


def test_deleted_pictures_leave_the_lists(staff):
    image = staff.image()
    assert staff.client.delete(f"/v1/images/{image['id']}").status_code == 204
    assert_problem(staff.client.get(f"/v1/images/{image['id']}"), 404, "not-found")
    assert_problem(staff.client.delete(f"/v1/images/{image['id']}"), 404, "not-found")
    assert staff.client.get("/v1/images").json()["data"] == []


def test_storage_quota(new_staff):
    staff = new_staff(quotas={"storage_bytes": 100})
    assert_problem(send(staff, picture()), 429, "quota-exceeded")


class TestMedia:
    def test_caches_for_good(self, staff):
        url = staff.image()["url"]
        shown = staff.client.get(url)
        assert "immutable" in shown.headers["cache-control"]
        again = staff.client.get(url, headers={"If-None-Match": shown.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")

    def test_parts(self, staff):
        url = staff.image()["url"]
        whole = staff.client.get(url).content
        for asked, expected in (("bytes=0-9", whole[:10]), ("bytes=10-", whole[10:]), ("bytes=-7", whole[-7:])):
            part = staff.client.get(url, headers={"Range": asked})
            assert (part.status_code, part.content) == (206, expected)
            assert int(part.headers["content-length"]) == len(expected)
        assert (
            staff.client.get(url, headers={"Range": "bytes=0-0"}).headers["content-range"] == f"bytes 0-0/{len(whole)}"
        )
        assert staff.client.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
        assert staff.client.get(url, headers={"Range": "bytes=5-2"}).content == whole
        assert staff.client.get(url, headers={"Range": "bytes=0-3,5-9"}).content == whole
        assert staff.client.get(url, headers={"Range": "bytes=0-3", "If-Range": '"other"'}).content == whole
        head = staff.client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) == len(whole)

    def test_only_with_the_signature(self, staff, anyone):
        url = staff.image()["url"]
        assert anyone.get(url).status_code == 200
        assert_problem(anyone.get(url[:-1] + ("0" if url[-1] != "0" else "1")), 404, "not-found")
        assert_problem(anyone.get(url.split("?")[0]), 422, "invalid-input")
        assert_problem(anyone.get(url.replace("/media/shops", "/media/shopz")), 404, "not-found")


class TestUploads:
    def form(self, staff, purpose: str = "garment") -> dict:
        answer = staff.client.post("/v1/uploads", json={"purpose": purpose, "content_type": "image/png"})
        assert answer.status_code == 201
        return answer.json()

    def post(self, upload: dict, data: bytes) -> int:
        import httpx

        files = {"file": ("a.png", data, "image/png")}
        return httpx.post(upload["url"], data=upload["fields"], files=files, timeout=30).status_code

    def test_straight_to_the_store(self, staff):
        upload = self.form(staff)
        path = f"/v1/uploads/{upload['id']}/complete"
        assert_problem(staff.client.post(path), 409, "conflict")
        assert self.post(upload, picture(500, 400)) in {200, 201, 204}
        answer = staff.client.post(path)
        assert answer.status_code == 201
        image = answer.json()
        assert (image["purpose"], image["width"]) == ("garment", 500)
        assert staff.client.post(path).json()["id"] == image["id"]
        # The raw file is gone.
        assert not staff.store.exists(f"shops/{staff.shop_id}/uploads/{upload['id']}")

    def test_what_arrives_is_checked_like_any_picture(self, staff):
        upload = self.form(staff)
        assert self.post(upload, b"not a picture at all") in {200, 201, 204}
        assert_problem(staff.client.post(f"/v1/uploads/{upload['id']}/complete"), 422, "not-an-image")

    def test_the_form_has_a_limit(self, staff, api_settings):
        upload = self.form(staff)
        assert self.post(upload, b"\0" * (api_settings.upload_max_bytes + 1)) >= 400

    def test_abandoned_ones_are_cleared_away(self, staff):
        upload, kept = self.form(staff), self.form(staff)
        self.post(upload, picture())
        with staff.database.session() as session:
            past = utcnow() - timedelta(seconds=1)
            session.execute(update(Upload).where(Upload.id == upload["id"]).values(expires_at=past))
        assert remove_abandoned(staff.database, staff.store) == 1
        assert not staff.store.exists(f"shops/{staff.shop_id}/uploads/{upload['id']}")
        assert_problem(staff.client.post(f"/v1/uploads/{upload['id']}/complete"), 404, "not-found")
        assert_problem(staff.client.post(f"/v1/uploads/{kept['id']}/complete"), 409, "conflict")

    def test_of_another_shop(self, staff, other):
        upload = self.form(staff)
        assert_problem(other.client.post(f"/v1/uploads/{upload['id']}/complete"), 404, "not-found")
