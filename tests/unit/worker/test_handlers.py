"""Every kind of job with the real engine on a tiny random base: from the row and the uploads to what people see."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import ImageDraw
from sqlalchemy import select

from backend.core.bases import BaseEntry, add_entry
from backend.core.config import Settings
from backend.core.db import Database
from backend.core.ids import new_id
from backend.core.storage import ObjectStore
from backend.jobs import service
from backend.models import Job, Pair, Render, RenderOutput, Shop, Style
from tests.engine.tiny_base import save_tiny_base
from tests.engine.tiny_sd3 import save_tiny_sd3
from tests.here import worker_here
from tests.rows import reference_photo, style_row
from worker.attempt import execute
from worker.handlers import HANDLERS
from worker.process import Process
from worker.runtime import Runtime

TRAIN = {"pair_builder": "flatten", "preset": "flat", "base": "hoop-mini", "seed": 5, "caption": None}


def picture() -> Pillow.Image:
    """A motif with stitches one can count, on cloth."""
    image = Pillow.new("RGB", (320, 320), (235, 230, 215))
    draw = ImageDraw.Draw(image)
    draw.ellipse((70, 70, 250, 250), fill=(180, 40, 40))
    for x in range(70, 250, 6):
        draw.line((x, 70, x + 4, 250), fill=(120, 20, 20), width=2)
    return image


class Shopfloor:
    """A shop with pictures, and a worker in this process."""

    def __init__(self, here: Process) -> None:
        self.here = here
        self.database, self.store = here.database, here.store
        out = io.BytesIO()
        picture().save(out, "PNG")
        for name in ("reference", "design", "garment"):
            self.store.put(f"shops/shp_1/images/{name}.png", out.getvalue(), "image/png")
        with self.database.session() as session:
            session.add(Shop(id="shp_1", slug="one", name="One"))
            session.add(reference_photo("shp_1", "shops/shp_1/images/reference.png", 320, len(out.getvalue())))

    def do(self, kind: str, target: Style | Render | Pair, given: dict) -> Job:
        with self.database.session() as session:
            session.add(target)
            job_id = service.create_job(session, shop_id="shp_1", kind=kind, target_id=target.id, input=given).id
        execute(job_id, self.here, HANDLERS)
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def row(self, table: type, id_: str):
        with self.database.read() as session:
            return session.get_one(table, id_)

    def opened(self, key: str) -> Pillow.Image:
        return Pillow.open(io.BytesIO(self.store.get(key)))

    def style(self) -> Style:
        return style_row(new_id("sty"), "shp_1", "hoop-mini", seed=5)

    def render(self, style: Style, **given: object) -> tuple[Job, Render, list[RenderOutput]]:
        common = {
            "style_id": style.id,
            "adapter_key": style.adapter_key,
            "adapter_sha256": style.adapter_sha256,
            "base": "hoop-mini",
            "garment": None,
            "variations": 1,
            "seed": 3,
            "steps": 2,
            "strength": 0.9,
            "guidance": 1.0,
            "preset": "flat",
            "control": {"edge": 1.0, "tile": 1.0},
            "colour_fix": True,
            "size": None,
        }
        render = Render(id=new_id("rnd"), shop_id="shp_1", style_id=style.id, seed=3, preset="flat")
        job = self.do("render", render, {**common, **given})
        with self.database.read() as session:
            outputs = session.scalars(
                select(RenderOutput).where(RenderOutput.render_id == render.id).order_by(RenderOutput.index)
            ).all()
        return job, self.row(Render, render.id), list(outputs)


@pytest.fixture
def floor(settings: Settings, store: ObjectStore, live_database: Database, tmp_path: Path) -> Shopfloor:
    own = settings.model_copy(update={"base_dir": save_tiny_base(tmp_path / "base")})
    here = worker_here(own, store, live_database)
    return Shopfloor(here)


def test_a_style_is_learnt_and_shown_on_designs_words_and_garments(floor: Shopfloor) -> None:
    style = floor.style()
    given = {**TRAIN, "reference_key": "shops/shp_1/images/reference.png", "artwork_key": None, "training": "short"}
    job = floor.do("train", style, given)
    assert (job.status, job.error) == ("succeeded", None)
    style = floor.row(Style, style.id)
    assert style.status == "ready"
    assert len(style.blocks) == 4
    assert style.adapter_rank == 32
    assert len(floor.store.get(style.adapter_key)) == style.adapter_bytes
    assert floor.opened(style.embroidery_key).size == floor.opened(style.design_key).size
    assert len(style.samples) == 2
    assert floor.opened(style.samples[0]["key"]).width == style.samples[0]["width"]
    assert {"metrics", "seconds", "warnings"} <= style.report.keys()
    json.dumps(style.report, allow_nan=False)
    assert job.metrics["compute_seconds"] > 0
    assert job.metrics["peak_memory_bytes"] > 1e8

    image = {"type": "image", "image_key": "shops/shp_1/images/design.png"}
    placement = {"center": [160.0, 160.0], "width_px": 100.0, "rotation_deg": 10.0}
    garment = {"image_key": "shops/shp_1/images/garment.png", "placement": placement, "width_mm": 80.0}
    job, render, outputs = floor.render(style, input=image, garment=garment, variations=2)
    assert (job.status, job.error, render.status) == ("succeeded", None, "succeeded")
    assert [(output.index, output.seed) for output in outputs] == [(0, 3), (1, 4)]
    assert floor.opened(outputs[0].patch_key).mode == "RGBA"
    assert floor.opened(outputs[0].patch_key).size == (outputs[0].width, outputs[0].height)
    assert floor.opened(outputs[1].garment_key).size == (320, 320)
    design, patch = (floor.opened(key) for key in (outputs[0].design_key, outputs[0].patch_key))
    assert design.size == patch.size == (outputs[0].width, outputs[0].height)
    assert design.mode == patch.mode == "RGBA"
    assert design.getpixel((0, 0))[3] == 0, "the cloth is left out"
    assert design.getchannel("A").getextrema() == (0, 255)

    job, render, outputs = floor.render(style, input=image, quality="final")
    assert (job.status, job.error) == ("succeeded", None)
    assert [(output.width, output.height) for output in outputs] == [(64, 64)]
    assert job.preview_key, "the draft was shown"

    job, render, outputs = floor.render(
        style, input={"type": "text", "brief": "a red fox"}, control={"edge": 0.0, "tile": 0.0}, colour_fix=False
    )
    assert (job.status, job.error, len(outputs)) == ("succeeded", None, 1)
    assert outputs[0].design_key is None


def test_a_pair_is_built_to_be_looked_at(floor: Shopfloor) -> None:
    pair = Pair(id=new_id("pair"), shop_id="shp_1", reference_image_id="img_1", builder="flatten")
    job = floor.do(
        "pair",
        pair,
        {"reference_key": "shops/shp_1/images/reference.png", "artwork_key": None, "builder": "flatten", "seed": 0},
    )
    assert (job.status, job.error) == ("succeeded", None)
    pair = floor.row(Pair, pair.id)
    assert pair.status == "succeeded"
    assert floor.opened(pair.embroidery_key).size == floor.opened(pair.design_key).size
    json.dumps(pair.report, allow_nan=False)


def test_a_model_draws_the_design_of_a_pair(floor: Shopfloor) -> None:
    given = {
        "reference_key": "shops/shp_1/images/reference.png",
        "artwork_key": None,
        "builder": "diffusion",
        "seed": 3,
    }
    pair = Pair(id=new_id("pair"), shop_id="shp_1", reference_image_id="img_1", builder="diffusion")
    job = floor.do("pair", pair, {**given, "base": "tiny"})
    assert (job.status, job.attempt) == ("failed", 1)
    assert "cannot draw the flat design by itself" in job.error["detail"]

    pair = Pair(id=new_id("pair"), shop_id="shp_1", reference_image_id="img_1", builder="flatten")
    job = floor.do("pair", pair, {**given, "builder": "flatten", "base": "sdxl"})
    assert (job.status, job.attempt) == ("failed", 1)
    assert "hoop base fetch sdxl" in job.error["detail"]

    own = floor.here.settings.model_copy(update={"design_base": "tiny-sd3"})
    save_tiny_sd3(own.bases / "tiny-sd3")
    add_entry(own, "tiny-sd3", BaseEntry(title="Tiny SD3", licence="", purpose="designs"))
    floor.here = replace(floor.here, settings=own, runtime=Runtime(own))
    pair = Pair(id=new_id("pair"), shop_id="shp_1", reference_image_id="img_1", builder="diffusion")
    job = floor.do("pair", pair, {**given, "caption": "a red fox"})
    assert (job.status, job.error) == ("succeeded", None)
    pair = floor.row(Pair, pair.id)
    assert (pair.builder, pair.report["model"]) == ("diffusion", "tiny-sd3")
    assert pair.report["numbers"]["steps"] == 28
    assert pair.report["numbers"]["prompt"].endswith("a red fox")
    assert floor.opened(pair.embroidery_key).size == floor.opened(pair.design_key).size
    json.dumps(pair.report, allow_nan=False)

    style = floor.style()
    given = {**TRAIN, "pair_builder": "diffusion", "reference_key": given["reference_key"], "artwork_key": None}
    job = floor.do("train", style, {**given, "training": "short", "base": "tiny"})
    assert (job.status, job.error) == ("succeeded", None)
    assert floor.row(Style, style.id).report["pair"]["model"] == "tiny-sd3"


def test_what_is_missing_fails_at_once_with_a_sentence(floor: Shopfloor) -> None:
    style = floor.style()
    given = {**TRAIN, "reference_key": "shops/shp_1/images/gone.png", "training": "short"}
    job = floor.do("train", style, given)
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error["detail"] == "This file is not there any more."
    assert floor.row(Style, style.id).status == "failed"

    other = floor.style()
    given = {**TRAIN, "reference_key": "shops/shp_1/images/reference.png", "base": "/nowhere"}
    job = floor.do("train", other, given)
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error["type"].endswith("/base-unavailable")
