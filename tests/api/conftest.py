"""The API against the real embedded parts, with no worker: jobs stay queued unless a test moves them."""

import io
import itertools
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image as Pillow
from PIL import ImageDraw

from backend.app import create_app
from backend.core.config import Settings
from backend.core.db import Database
from backend.core.ids import new_id
from backend.core.storage import ObjectStore
from backend.jobs import lifecycle
from backend.jobs.outcomes import RenderedPicture, RenderResult, TrainResult
from backend.models import Shop, User
from backend.shops.credentials import issue_api_key

_addresses = (f"10.{a}.{b}.{c}" for a, b, c in itertools.product(range(256), repeat=3))


def picture(width: int = 300, height: int = 280, *, kind: str = "PNG", seed: int = 0, mode: str = "RGB") -> bytes:
    """A small picture that is not blank; another one for each seed."""
    image = Pillow.new("RGB", (width, height), (240, 235, 220))
    draw = ImageDraw.Draw(image)
    dice = random.Random(seed)
    for _ in range(12):
        x, y = dice.randrange(width - 40), dice.randrange(height - 40)
        draw.ellipse((x, y, x + 40, y + 40), fill=tuple(dice.randrange(256) for _ in range(3)))
    out = io.BytesIO()
    image.convert(mode).save(out, kind)
    return out.getvalue()


@dataclass
class Staff:
    """One shop and a client that speaks for it."""

    client: TestClient
    shop_id: str
    key: str
    database: Database
    store: ObjectStore
    _seeds: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def image(self, purpose: str = "reference", data: bytes | None = None) -> dict:
        data = data or picture(seed=next(self._seeds))
        answer = self.client.post("/v1/images", files={"file": ("a.png", data)}, data={"purpose": purpose})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def style(self, **fields: object) -> dict:
        body = {"name": "Tiger", "reference_image": self.image()["id"], **fields}
        answer = self.client.post("/v1/styles", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def ready_style(self, **fields: object) -> dict:
        style = self.style(**fields)
        self.finish(style["job"])
        return self.client.get(f"/v1/styles/{style['id']}").json()

    def render(self, style: str, **fields: object) -> dict:
        body = {"style": style, "input": {"type": "text", "brief": "a red fox"}, **fields}
        answer = self.client.post("/v1/renders", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def finish(self, job_id: str) -> None:
        """What a worker does, in short."""
        with self.database.session() as session:
            claim = lifecycle.claim(session, job_id, worker="tests", lease=timedelta(minutes=1))
            assert claim is not None
        prefix = f"shops/{self.shop_id}/jobs/{job_id}/{claim.attempt}"
        for name in ("embroidery.png", "design.png", "sample-0.png", "patch-0.png"):
            self.store.put(f"{prefix}/{name}", picture(seed=7), "image/png")
        self.store.put(f"{prefix}/adapter.safetensors", b"\x02\0\0\0\0\0\0\0{}", "application/octet-stream")
        if claim.kind == "train":
            result: TrainResult | RenderResult = TrainResult(
                embroidery_key=f"{prefix}/embroidery.png",
                design_key=f"{prefix}/design.png",
                adapter_key=f"{prefix}/adapter.safetensors",
                adapter_sha256="0" * 64,
                adapter_bytes=10,
                adapter_rank=4,
                blocks=["up_blocks.0.attentions.1"],
                report={"warnings": [{"code": "blurry", "message": "The photo is a little blurred."}]},
                samples=[{"key": f"{prefix}/sample-0.png", "prompt": "a red fox", "width": 256, "height": 256}],
            )
        else:
            result = RenderResult(
                outputs=[
                    RenderedPicture(
                        index=0,
                        seed=int(claim.input["seed"]),
                        patch_key=f"{prefix}/patch-0.png",
                        width=256,
                        height=256,
                        sha256="1" * 64,
                    )
                ]
            )
        with self.database.session() as session:
            lifecycle.begin(session, claim)
            lifecycle.finish(session, claim, result, metrics={})

    def fail(self, job_id: str) -> None:
        error = {"type": "https://hoop.dev/problems/job-failed", "title": "No.", "detail": "It did not work."}
        with self.database.session() as session:
            claim = lifecycle.claim(session, job_id, worker="tests", lease=timedelta(minutes=1))
            assert claim is not None
            lifecycle.fail(session, claim, error)


@pytest.fixture(scope="session")
def api_settings(services: Settings, migrated_file: Path, short_tmp: Path) -> Settings:
    """One database and bucket for all API tests: each has a shop of its own, and shops do not see one another."""
    path = short_tmp / "api.db"
    shutil.copy(migrated_file, path)
    return services.model_copy(update={"database_url": f"sqlite:///{path}", "s3_bucket": "api-tests"})


@pytest.fixture(scope="session")
def app(api_settings: Settings) -> FastAPI:
    """The application."""
    made = create_app(api_settings)
    made.state.store.ensure_bucket()
    return made


@pytest.fixture
def client_of(app: FastAPI) -> Callable[..., TestClient]:
    """Clients, each from a network address of its own: attempts to log in are counted by address."""

    def make(**options: object) -> TestClient:
        return TestClient(
            app, base_url="http://localhost:8000", client=(next(_addresses), 1), follow_redirects=False, **options
        )

    return make


@pytest.fixture
def new_staff(app: FastAPI, client_of: Callable[..., TestClient]) -> Callable[..., Staff]:
    """Shops, each with a key."""

    def make(quotas: dict | None = None, scopes: tuple[str, ...] = ("read", "write")) -> Staff:
        database: Database = app.state.database
        with database.session() as session:
            slug = f"shop-{uuid.uuid4().hex[:10]}"
            shop = Shop(id=new_id("shp"), slug=slug, name="Golden Needle", quotas=quotas or {})
            session.add_all([shop, User(id=new_id("usr"), shop_id=shop.id, email=f"staff@{slug}.example")])
            key = issue_api_key(session, shop.id, "tests", scopes)
        client = client_of(headers={"Authorization": f"Bearer {key}"})
        return Staff(client, shop.id, key, database, app.state.store)

    return make


@pytest.fixture
def staff(new_staff: Callable[..., Staff]) -> Staff:
    """A shop."""
    return new_staff()


@pytest.fixture
def other(new_staff: Callable[..., Staff]) -> Staff:
    """Another shop."""
    return new_staff()


@pytest.fixture
def anyone(client_of: Callable[..., TestClient]) -> TestClient:
    """Somebody without a key."""
    return client_of()


def assert_problem(answer: object, status: int, slug: str) -> dict:
    """Check that an answer is a problem document for people, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"https://hoop.dev/problems/{slug}", document
    assert document["status"] == status
    assert document["detail"].endswith((".", "?", "!")), document["detail"]
    return document
