"""Drafts of several shops and styles in one batch, by the real engine on a tiny random base."""

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from sqlalchemy import select

from backend.core.bases import BaseEntry, add_entry
from backend.core.config import Settings
from backend.core.db import Database
from backend.core.ids import new_id
from backend.core.storage import ObjectStore
from backend.jobs import service
from backend.models import Job, Render, RenderOutput, Shop
from tests.engine.test_adapter import strong_adapter
from tests.engine.tiny_base import save_tiny_base
from tests.engine.tiny_sdxl import save_tiny_sdxl
from tests.here import worker_here
from tests.rows import reference_photo, style_row
from worker.attempt import execute
from worker.batches import Renders
from worker.engine.adapter import Adapter
from worker.engine.infer import Renderer
from worker.handlers import HANDLERS
from worker.meter import Meter
from worker.process import Process
from worker.runtime import Runtime
from worker.together import work_together

IMAGE = {"type": "image", "image_key": "designs/0.png"}
NUMBERS = {
    "base": "tiny",
    "garment": None,
    "variations": 1,
    "steps": 3,
    "strength": 0.9,
    "guidance": 1.0,
    "few_steps": False,
    "preset": "flat",
    "control": {"edge": 1.0, "tile": 1.0},
    "colour_fix": True,
    "quality": "draft",
    "size": 32,
}


def png(seed: int) -> bytes:
    """A motif on cloth; another one for each seed."""
    image, out = Pillow.new("RGB", (96, 96), (235, 230, 215)), io.BytesIO()
    corner = 10 + 8 * seed
    ImageDraw.Draw(image).ellipse((corner, 20, corner + 40, 70), fill=(180 - 60 * seed, 40 + 50 * seed, 40))
    image.save(out, "PNG")
    return out.getvalue()


class Floor:
    """Two shops with a style each, their designs, and a worker in this process."""

    def __init__(self, here: Process) -> None:
        self.here = here
        self.sizes: list[int] = []
        with here.runtime.base("tiny") as base:
            base.autocast_dtype = None  # what differs then is a mistake, not the rounding of 16 bits
            predict = base.predict
            # With guidance, as designs without stitches are drawn, every picture is there twice.
            base.predict = lambda x, *rest, **named: self.sizes.append(len(x) // 2) or predict(x, *rest, **named)
            for number, shop in enumerate(("shp_1", "shp_2")):
                here.store.put(f"adapters/{shop}", strong_adapter(base, number + 1).to_bytes(), "x/y")
            style = strong_adapter(base, 3)
            info = {"base": {"name": base.info.name, "version": "of before"}}
            here.store.put("adapters/old", Adapter(style.tensors, style.manifest | info).to_bytes(), "x/y")
        for number in range(3):
            here.store.put(f"designs/{number}.png", png(number), "image/png")
        here.store.put("designs/broken.png", b"no picture", "image/png")
        with here.database.session() as session:
            session.add(reference_photo("shp_1"))
            for shop in ("shp_1", "shp_2"):
                session.add(Shop(id=shop, slug=shop, name=shop))
                session.add(style_row(f"sty_{shop}", shop))

    def job(self, shop: str = "shp_1", design: str = "0", seed: int = 1, **given: object) -> str:
        render_id = new_id("rnd")
        image = {"type": "image", "image_key": f"designs/{design}.png"}
        asked = {**NUMBERS, "adapter_key": f"adapters/{shop}", "input": image, "seed": seed, **given}
        with self.here.database.session() as session:
            session.add(Render(id=render_id, shop_id=shop, style_id=f"sty_{shop}", seed=seed, preset="flat"))
            return service.create_job(session, shop_id=shop, kind="render", target_id=render_id, input=asked).id

    def do(self, job_id: str, together: int = 4) -> None:
        self.sizes.clear()
        self.here.runtime._together = together
        execute(job_id, self.here, HANDLERS, {"render": partial(work_together, Renders())})

    def row(self, job_id: str) -> Job:
        with self.here.database.read() as session:
            return session.get_one(Job, job_id)

    def statuses(self, jobs: list[str]) -> list[str]:
        return [self.row(job_id).status for job_id in jobs]

    def outputs(self, job_id: str) -> list[RenderOutput]:
        with self.here.database.read() as session:
            statement = select(RenderOutput).where(RenderOutput.render_id == self.row(job_id).target_id)
            return list(session.scalars(statement.order_by(RenderOutput.index)))

    def pictures(self, job_id: str) -> list[np.ndarray]:
        keys = [key for output in self.outputs(job_id) for key in (output.patch_key, output.garment_key) if key]
        assert all(key.startswith(f"shops/{self.row(job_id).shop_id}/jobs/{job_id}/") for key in keys)
        return [np.asarray(Pillow.open(io.BytesIO(self.here.store.get(key))).convert("RGBA"), int) for key in keys]


@pytest.fixture
def floor(settings: Settings, store: ObjectStore, live_database: Database, tmp_path: Path) -> Floor:
    own = settings.model_copy(update={"base_dir": save_tiny_base(tmp_path / "base")})
    return Floor(worker_here(own, store, live_database))


def off(some: list[np.ndarray], others: list[np.ndarray]) -> int:
    return max(int(np.abs(one - other).max()) for one, other in zip(some, others, strict=True))


def test_three_of_two_shops_get_the_pictures_that_they_get_one_by_one(floor: Floor) -> None:
    placed = {"image_key": "designs/2.png", "placement": {"center": [48.0, 48.0], "width_px": 40.0}, "width_mm": 80.0}
    wanted = [
        {"shop": "shp_1", "design": "0", "seed": 1},
        {"shop": "shp_2", "design": "1", "seed": 2, "variations": 2},
        {"shop": "shp_2", "design": "2", "seed": 3, "garment": placed},
    ]
    alone = [floor.job(**given) for given in wanted]
    for job_id in alone:
        floor.do(job_id, together=1)
        assert max(floor.sizes) <= 2
        assert floor.row(job_id).status == "succeeded"
    jobs = [floor.job(**given) for given in wanted]
    floor.do(jobs[0])

    assert floor.sizes == [4] * 3, "one batch of four pictures, three steps"
    assert floor.statuses([*alone, *jobs]) == ["succeeded"] * 6
    for one, other in zip(alone, jobs, strict=True):
        assert off(floor.pictures(one), floor.pictures(other)) <= 1
        assert [(o.index, o.seed) for o in floor.outputs(one)] == [(o.index, o.seed) for o in floor.outputs(other)]
    # Or nothing would be shown: they are different pictures, and more than a patch where there is a garment.
    assert [len(floor.pictures(job_id)) for job_id in jobs] == [1, 2, 2]
    assert off(floor.pictures(jobs[0]), floor.pictures(jobs[1])[:1]) > 3
    assert off(floor.pictures(jobs[1])[:1], floor.pictures(jobs[1])[1:]) > 3


def test_with_the_setting_one_renders_are_drawn_alone(floor: Floor) -> None:
    jobs = [floor.job(), floor.job("shp_2")]
    floor.do(jobs[0], together=1)
    assert floor.statuses(jobs) == ["succeeded", "queued"]
    assert set(floor.sizes) == {1}


def test_bad_input_fails_by_itself_with_the_usual_words(floor: Floor) -> None:
    outside = {"image_key": "designs/2.png", "placement": {"center": [5.0, 5.0], "width_px": 60.0}, "width_mm": 80.0}
    good = [floor.job("shp_1"), floor.job("shp_2", design="1")]
    bad = {
        floor.job("shp_2", adapter_key="adapters/old"): ("cannot-be-used", "learn it again"),
        floor.job("shp_1", adapter_key="adapters/gone"): ("not-found", "not there any more"),
        floor.job("shp_1", garment=outside): ("cannot-be-used", "wholly on the garment"),
    }
    floor.do(good[0], together=8)
    assert floor.statuses(good) == ["succeeded"] * 2
    assert floor.sizes == [3] * 3, "only where it is placed is seen after the drawing"
    for job_id, (slug, words) in bad.items():
        row = floor.row(job_id)
        assert (row.status, row.attempt) == ("failed", 1)
        assert row.error["type"].endswith(slug)
        assert words in row.error["detail"]
        assert floor.outputs(job_id) == []


def test_a_first_job_that_cannot_be_read_does_not_keep_the_others(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.attempt._PAUSE_BEFORE_RETRY", 0.0)
    jobs = [floor.job(design="broken"), floor.job("shp_2"), floor.job("shp_1", design="1")]
    floor.do(jobs[0])
    assert floor.statuses(jobs) == ["queued", "succeeded", "succeeded"]
    assert floor.sizes == [2] * 3
    for _ in range(2):
        floor.do(jobs[0])
    assert (floor.row(jobs[0]).status, floor.row(jobs[0]).attempt) == ("failed", 3)


def test_memory_that_runs_out_halves_the_batches_and_loses_nothing(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs_out(*_args: object, **_named: object) -> None:
        raise torch.OutOfMemoryError

    jobs = [floor.job("shp_1"), floor.job("shp_2"), floor.job("shp_1")]
    with monkeypatch.context() as patch:
        patch.setattr(Renderer, "draw_many", runs_out)
        floor.do(jobs[0])
    assert floor.statuses(jobs) == ["succeeded"] * 3
    assert [floor.row(job_id).attempt for job_id in jobs] == [1, 2, 2]
    assert set(floor.sizes) == {1}
    assert floor.here.runtime.together == 2
    with floor.here.runtime.base("tiny") as base:
        assert base.autocast_dtype is None, "the same base: what was too much was the batch"


def test_other_numbers_other_bases_and_finals_are_not_drawn_along(floor: Floor) -> None:
    add_entry(floor.here.settings, "tiny-sdxl", BaseEntry(title="Tiny SDXL", licence=""))
    save_tiny_sdxl(floor.here.settings.bases / "tiny-sdxl")
    lead = floor.job()
    words = {"type": "text", "brief": "a red fox"}
    others = [
        floor.job(preset="raised"),
        floor.job(steps=2),
        floor.job(base="tiny-sdxl"),
        floor.job(quality="final", size=64),
        floor.job(input=words),
    ]
    alike = floor.job("shp_2", design="1")
    floor.do(lead)
    assert floor.statuses([lead, *others, alike]) == ["succeeded", *["queued"] * 5, "succeeded"]
    # A final is alone with its draft, and so is a draft as large as a batch.
    finals = [others[3], floor.job("shp_2", quality="final", size=64)]
    floor.do(finals[0])
    assert floor.statuses(finals) == ["succeeded", "queued"]
    assert floor.row(finals[0]).preview_key, "the draft was shown"
    large = [floor.job(size=64), floor.job("shp_2", size=64)]
    floor.do(large[0])
    assert floor.statuses(large) == ["succeeded", "queued"]
    # Words go with words.
    told = [others[4], floor.job("shp_2", input={**words, "brief": "a blue whale"})]
    floor.do(told[0])
    assert floor.statuses(told) == ["succeeded"] * 2


@pytest.mark.parametrize(
    ("setting", "device", "count"), [(0, "cpu", 1), (0, "cuda", 4), (1, "cuda", 1), (6, "cpu", 6), (16, "cuda", 16)]
)
def test_how_many_are_drawn_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: int, device: str, count: int
) -> None:
    monkeypatch.setattr(Runtime, "device", device)
    runtime = Runtime(Settings(data_dir=tmp_path, renders_together=setting))
    assert runtime.together == count
    runtime.draw_fewer()
    assert runtime.together == max(1, count // 2)


def test_memory_is_planned_for_batches_that_are_larger_than_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "device", "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (80e9, 80e9))
    own = Settings(data_dir=tmp_path, base_dir=save_tiny_base(tmp_path / "bundled"), queues="render")

    def needed(**changes: object) -> float:
        plan = Runtime(own.model_copy(update=changes))._plan("tiny")
        assert plan is not None
        return plan.need.rendering

    usual = needed()
    assert needed(renders_together=2) == usual, "variations of one render are as many"
    assert needed(renders_together=16) > 3 * usual
    assert needed(renders_together=16, queues="train") == usual


def test_a_meter_hands_out_every_second_once() -> None:
    now = [10.0]
    meter = Meter("a", lambda: now[0])
    now[0] = 13.0
    assert meter.take("a") == 3.0
    assert meter.take("a") == meter.take("b") == 0.0
    meter.charge({"a": 1.0, "b": 3.0})
    now[0] = 21.0
    assert (meter.take("a"), meter.take("b")) == (2.0, 6.0)
    meter.put_back("b", 6.0)
    now[0] = 25.0
    assert meter.take("b") == 9.0
    meter.charge({"b": 2.0})
    now[0] = 26.0
    assert (meter.take("a"), meter.take("b")) == (1.0, 1.0)
