"""The object store, on a real S3."""

import httpx
import pytest

from backend.core.config import Settings
from backend.core.errors import NotFound, StorageUnavailable
from backend.core.storage import ObjectStore, check_media_signature, media_url

KEY = "shops/shp_1/images/ä b+c.png"


def test_write_read_delete(store, tmp_path):
    assert store.head(KEY) is None
    assert not store.exists(KEY)
    store.put(KEY, b"0123456789", "image/png")
    assert store.get(KEY) == b"0123456789"
    info = store.head(KEY)
    assert (info.size, info.content_type) == (10, "image/png")
    assert info.etag.startswith('"')
    assert b"".join(store.stream(KEY)) == b"0123456789"
    assert b"".join(store.stream(KEY, 2, 4)) == b"234"
    assert b"".join(store.stream(KEY, 7)) == b"789"
    store.download(KEY, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    store.delete([KEY, "not/there"])
    assert not store.exists(KEY)
    store.delete([])


@pytest.mark.parametrize("read", [lambda s: s.get("no"), lambda s: s.stream("no")])
def test_what_is_missing_is_not_found(store, read):
    with pytest.raises(NotFound):
        read(store)


def test_lists_by_prefix(store):
    for name in ("a/2", "a/1", "b/1"):
        store.put(name, b"xy", "text/plain")
    assert list(store.list("a/")) == ["a/1", "a/2"]
    assert store.size("a/") == 4
    assert list(store.list("c/")) == []


def test_large_files_go_in_parts(store, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"\1" * 20_000_000)
    store.put_file("large", path, "application/octet-stream")
    assert store.head("large").size == 20_000_000
    assert sum(len(chunk) for chunk in store.stream("large")) == 20_000_000


def test_presigned_reading(store):
    store.put(KEY, b"data", "image/png")
    answer = httpx.get(store.presigned_get(KEY, 60, "Mein Stil.safetensors"))
    assert answer.content == b"data"
    assert "Mein%20Stil.safetensors" in answer.headers["content-disposition"]
    assert httpx.get(store.presigned_get(KEY, 60).split("?")[0]).status_code == 403


def test_presigned_upload_keeps_its_limits(store):
    post = store.presigned_post("raw/1", 100, "image/png", 60)

    def send(data, **changes):
        fields = {**post.fields, **changes}
        return httpx.post(post.url, data=fields, files={"file": ("x.png", data)}).status_code

    assert send(b"x" * 101) in {400, 403}
    assert send(b"") in {400, 403}
    assert not store.exists("raw/1")
    assert send(b"x" * 100, key="raw/2") == 403
    assert send(b"x" * 100) in {200, 204}
    assert store.head("raw/1").size == 100


def test_a_store_that_is_gone_is_named(tmp_path):
    gone = ObjectStore(
        Settings(data_dir=tmp_path, s3_endpoint="http://127.0.0.1:9", s3_access_key="a", s3_secret_key="b")
    )
    for call in (gone.check, gone.ensure_bucket, lambda: gone.get("x"), lambda: gone.put("x", b"", "text/plain")):
        with pytest.raises(StorageUnavailable):
            call()


def test_a_wrong_password_is_not_a_missing_object(settings):
    stranger = ObjectStore(settings.model_copy(update={"s3_secret_key": "wrong" * 8}))
    with pytest.raises(StorageUnavailable):
        stranger.get("x")


def test_media_addresses(tmp_path):
    settings = Settings(data_dir=tmp_path)
    day = 86_400
    morning = media_url(KEY, settings, now=1000 * day + 1)
    assert morning == media_url(KEY, settings, now=1001 * day - 1)
    assert morning != media_url(KEY, settings, now=1001 * day)
    url = httpx.URL("http://x" + morning)
    assert url.path == f"/media/{KEY}"
    expiry, signature = int(url.params["e"]), url.params["s"]
    assert check_media_signature(KEY, expiry, signature, settings, now=1001 * day)
    assert not check_media_signature(KEY, expiry, signature, settings, now=expiry)
    assert not check_media_signature(KEY + "x", expiry, signature, settings, now=1001 * day)
    assert not check_media_signature(KEY, expiry + 1, signature, settings, now=1001 * day)
