"""The demo shop: a member of staff, a key, and the styles that come with Hoop, ready to use.

Each folder ``backend/demo/<slug>/`` is one style:

    style.json            {name, caption, preset, base, blocks, rank, seed, pair_builder?, report?}
    reference.jpg|png     the photo it was learnt from; artwork.png, if that was given too
    embroidery.png, design.png
                          the pair
    adapter.safetensors
    samples.json          [{file, prompt?, design?}]; `file` and `design` name pictures
    samples/*.webp        those pictures

Seeding can be repeated: what is there stays, a style that changed in a newer version is brought up to date, and one
that the shop deleted stays deleted.
"""

import hashlib
import io
import json
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from PIL import Image as Pillow
from sqlalchemy.orm import Session

from backend.core.config import ROOT, Settings
from backend.core.db import Database, utcnow
from backend.core.security import write_private
from backend.core.storage import ObjectStore
from backend.models import Image, Shop, Style
from backend.shops.credentials import ensure_shop, ensure_user, is_live_key, issue_api_key, issue_login_token

log = structlog.get_logger(__name__)

DEMO_FOLDER = ROOT / "backend" / "demo"
SHOP_SLUG = "demo"
STAFF_EMAIL = "staff@demo.invalid"


@dataclass(frozen=True)
class Demo:
    """What `hoop up` shows: the shop's id, its key, and the token of a fresh login link."""

    shop_id: str
    api_key: str
    login_token: str


@dataclass(frozen=True)
class _Style:
    """A style's folder, read and checked."""

    slug: str
    about: dict[str, Any]
    reference: Path
    artwork: Path | None
    embroidery: Path
    design: Path
    adapter: Path
    samples: list[dict[str, Any]]


def seed_demo(database: Database, store: ObjectStore, settings: Settings, folder: Path = DEMO_FOLDER) -> Demo:
    """Make the demo shop complete and return what its staff needs to get in."""
    with database.session() as session:
        shop = ensure_shop(session, SHOP_SLUG, "Demo shop")
        user = ensure_user(session, shop, STAFF_EMAIL)
        key = _demo_key(session, shop, settings)
        token = issue_login_token(session, user.id, settings.login_token_minutes)
    for style_folder in sorted(path.parent for path in folder.glob("*/style.json")):
        # One style that is damaged must not keep Hoop from starting.
        try:
            _import_style(database, store, shop.id, _read(style_folder))
        except (OSError, ValueError, KeyError):
            log.warning("demo.style_skipped", folder=str(style_folder), exc_info=True)
    return Demo(shop.id, key, token)


def _demo_key(session: Session, shop: Shop, settings: Settings) -> str:
    path = settings.data_dir / "demo-key"
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept and is_live_key(session, shop.id, kept):
        return kept
    key = issue_api_key(session, shop.id, "Demo key")
    session.flush()
    write_private(path, key + "\n")
    return key


def _read(folder: Path) -> _Style:
    """Read a style's folder; raises OSError, ValueError or KeyError when it is not complete."""
    references = [path for ending in ("jpg", "png") if (path := folder / f"reference.{ending}").exists()]
    if not references:
        raise FileNotFoundError(folder / "reference.jpg")
    artwork = folder / "artwork.png"
    samples = folder / "samples.json"
    listed: list[dict[str, Any]] = json.loads(samples.read_text()) if samples.exists() else []
    return _Style(
        slug=folder.name,
        about=json.loads((folder / "style.json").read_text()),
        reference=references[0],
        artwork=artwork if artwork.exists() else None,
        embroidery=folder / "embroidery.png",
        design=folder / "design.png",
        adapter=folder / "adapter.safetensors",
        samples=[{**entry, "folder": folder / "samples"} for entry in listed],
    )


def _import_style(database: Database, store: ObjectStore, shop_id: str, given: _Style) -> None:
    adapter = given.adapter.read_bytes()
    sha256 = hashlib.sha256(adapter).hexdigest()
    style_id = demo_id("sty", shop_id, given.slug)
    with database.read() as session:
        known = session.get(Style, style_id)
    if known is not None and (known.deleted_at is not None or known.adapter_sha256 == sha256):
        return
    # Objects first: a row never points at something that is not there yet.
    put = _Putter(store, f"shops/{shop_id}/demo/{given.slug}")
    adapter_key = put.bytes(adapter, "adapter.safetensors", "application/octet-stream")
    embroidery_key, design_key = put.file(given.embroidery), put.file(given.design)
    samples = [_sample(put, entry) for entry in given.samples]
    reference = _image(store, shop_id, given, given.reference, "reference")
    artwork = _image(store, shop_id, given, given.artwork, "artwork") if given.artwork else None
    about = given.about
    with database.session() as session:
        style = session.get(Style, style_id) or Style(id=style_id, shop_id=shop_id, demo=True)
        session.merge(reference)
        if artwork:
            session.merge(artwork)
        style.name = about["name"]
        style.status = "ready"
        style.reference_image_id = reference.id
        style.artwork_image_id = artwork.id if artwork else None
        style.pair_builder = about.get("pair_builder", "artwork" if artwork else "flatten")
        style.preset = about["preset"]
        style.base = about["base"]
        style.seed = about["seed"]
        style.caption = about["caption"]
        style.embroidery_key = embroidery_key
        style.design_key = design_key
        style.blocks = about["blocks"]
        style.adapter_key = adapter_key
        style.adapter_sha256 = sha256
        style.adapter_bytes = len(adapter)
        style.adapter_rank = about["rank"]
        style.report = about.get("report", {})
        style.samples = samples
        style.updated_at = utcnow()
        session.add(style)
    log.info("demo.style_imported", style=style_id, slug=given.slug)


def demo_id(prefix: str, shop_id: str, name: str) -> str:
    """Return an id that is the same on every run, of UUIDv7's form and older than any real one, so it sorts first."""
    digest = hashlib.sha256(f"{shop_id}/{name}".encode()).hexdigest()
    return f"{prefix}_018000000000" + f"7{digest[:3]}8{digest[3:18]}"


class _Putter:
    """Writes objects under a prefix, by content, so that an object once written never changes."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def bytes(self, data: bytes, name: str, content_type: str) -> str:
        """Write and return the key."""
        key = f"{self._prefix}/{hashlib.sha256(data).hexdigest()[:16]}/{name}"
        if not self._store.exists(key):
            self._store.put(key, data, content_type)
        return key

    def file(self, path: Path) -> str:
        """Write a picture and return the key."""
        return self.bytes(path.read_bytes(), path.name, _media_type(path))


def _sample(put: _Putter, entry: dict[str, Any]) -> dict[str, Any]:
    folder: Path = entry["folder"]
    path = folder / entry["file"]
    with Pillow.open(path) as picture:
        width, height = picture.size
    sample: dict[str, Any] = {"key": put.file(path), "width": width, "height": height}
    if "prompt" in entry:
        sample["prompt"] = entry["prompt"]
    if "design" in entry:
        sample["design_key"] = put.file(folder / entry["design"])
    return sample


def _image(store: ObjectStore, shop_id: str, given: _Style, path: Path, purpose: str) -> Image:
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    with Pillow.open(io.BytesIO(data)) as picture:
        width, height = picture.size
    key = f"shops/{shop_id}/images/{sha256}{path.suffix}"
    if not store.exists(key):
        store.put(key, data, _media_type(path))
    return Image(
        id=demo_id("img", shop_id, f"{given.slug}/{purpose}/{sha256}"),
        shop_id=shop_id,
        purpose=purpose,
        sha256=sha256,
        key=key,
        content_type=_media_type(path),
        width=width,
        height=height,
        bytes=len(data),
        warnings=[],
        created_at=utcnow(),
    )


def _media_type(path: Path) -> str:
    # Not every system's table knows WebP.
    return mimetypes.types_map.get(path.suffix, {".webp": "image/webp"}.get(path.suffix, "application/octet-stream"))
