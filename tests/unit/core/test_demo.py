"""Seeding the demo shop, again and again."""

import json

import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from backend.core.db import utcnow
from backend.core.security import token_sha256
from backend.models import ApiKey, Image, LoginToken, Style
from backend.shops.demo import seed_demo


@pytest.fixture
def demo_folder(tmp_path):
    folder = tmp_path / "demo"
    style = folder / "tiger"
    (style / "samples").mkdir(parents=True)
    for name in ("reference.jpg", "embroidery.png", "design.png", "samples/fox.webp", "samples/fox-design.png"):
        Pillow.new("RGB", (64, 48), (200, 30, 40)).save(style / name)
    (style / "adapter.safetensors").write_bytes(b"weights, version 1")
    about = {
        "name": "Tiger",
        "caption": "a tiger",
        "preset": "flat",
        "base": "hoop-mini",
        "blocks": ["up_blocks.1"],
        "rank": 4,
        "seed": 7,
        "report": {"gap": 0.1},
    }
    (style / "style.json").write_text(json.dumps(about))
    (style / "samples.json").write_text(
        json.dumps([{"file": "fox.webp", "prompt": "a fox", "design": "fox-design.png"}])
    )
    return folder


def styles(database):
    with database.read() as session:
        return session.scalars(select(Style)).all()


def test_a_style_is_imported_ready_to_use(database, store, settings, demo_folder):
    demo = seed_demo(database, store, settings, demo_folder)
    (style,) = styles(database)
    assert (style.name, style.status, style.demo, style.adapter_rank) == ("Tiger", "ready", True, 4)
    assert store.get(style.adapter_key) == b"weights, version 1"
    assert style.samples[0]["prompt"] == "a fox"
    assert (style.samples[0]["width"], style.samples[0]["height"]) == (64, 48)
    for key in (style.embroidery_key, style.design_key, style.samples[0]["key"], style.samples[0]["design_key"]):
        assert store.exists(key)
    with database.read() as session:
        image = session.get(Image, style.reference_image_id)
        assert (image.width, image.height, image.shop_id) == (64, 48, demo.shop_id)
        assert store.head(image.key).content_type == "image/jpeg"


def test_seeding_again_changes_nothing_but_the_link(database, store, settings, demo_folder):
    first = seed_demo(database, store, settings, demo_folder)
    before = styles(database)[0].updated_at
    second = seed_demo(database, store, settings, demo_folder)
    assert (second.shop_id, second.api_key) == (first.shop_id, first.api_key)
    assert second.login_token != first.login_token
    assert [style.updated_at for style in styles(database)] == [before]
    with database.read() as session:
        assert session.get(LoginToken, token_sha256(second.login_token)).used_at is None
        assert len(session.scalars(select(ApiKey)).all()) == 1


def test_a_newer_version_updates_the_style(database, store, settings, demo_folder):
    seed_demo(database, store, settings, demo_folder)
    (demo_folder / "tiger" / "adapter.safetensors").write_bytes(b"weights, version 2")
    seed_demo(database, store, settings, demo_folder)
    (style,) = styles(database)
    assert store.get(style.adapter_key) == b"weights, version 2"


def test_a_deleted_style_stays_deleted(database, store, settings, demo_folder):
    seed_demo(database, store, settings, demo_folder)
    with database.session() as session:
        session.scalars(select(Style)).one().deleted_at = utcnow()
    (demo_folder / "tiger" / "adapter.safetensors").write_bytes(b"weights, version 2")
    seed_demo(database, store, settings, demo_folder)
    (style,) = styles(database)
    assert style.deleted_at is not None


def test_a_revoked_or_lost_key_is_replaced(database, store, settings, tmp_path):
    nothing = tmp_path / "nothing"
    first = seed_demo(database, store, settings, nothing)
    with database.session() as session:
        session.scalars(select(ApiKey)).one().revoked_at = utcnow()
    second = seed_demo(database, store, settings, nothing)
    assert second.api_key != first.api_key
    key_file = settings.data_dir / "demo-key"
    assert key_file.read_text().strip() == second.api_key
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_a_damaged_folder_does_not_stop_the_others(database, store, settings, demo_folder):
    damaged = demo_folder / "damaged"
    damaged.mkdir()
    (damaged / "style.json").write_text("{}")
    seed_demo(database, store, settings, demo_folder)
    assert [style.name for style in styles(database)] == ["Tiger"]
