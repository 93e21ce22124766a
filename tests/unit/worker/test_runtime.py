"""Which model draws flat designs, and that it does not stay."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.core.bases import BaseEntry, add_entry
from backend.core.config import Settings
from backend.jobs.problems import BaseUnavailable
from tests.engine.tiny_base import save_tiny_base
from tests.engine.tiny_sd3 import save_tiny_sd3
from tests.engine.tiny_sdxl import save_tiny_sdxl
from worker.designs import DesignsOnDemand
from worker.engine.pairs.base_designs import BaseDesigns
from worker.engine.pairs.diffusion import DesignConfig, DesignRequest
from worker.runtime import Runtime


def request(side: int = 64) -> DesignRequest:
    maps = np.full((side, side, 3), 0.5, np.float32), np.zeros((side, side), np.float32)
    return DesignRequest(*maps, "a fox", 1, DesignConfig(steps=1))


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Bases of every kind in place: the bundled one, SDXL's, and one that draws designs."""
    made = Settings(data_dir=tmp_path, base_dir=save_tiny_base(tmp_path / "bundled"))
    save_tiny_sdxl(made.bases / "tiny-sdxl")
    save_tiny_sd3(made.bases / "tiny-sd3")
    add_entry(made, "tiny-sdxl", BaseEntry(title="Tiny SDXL", licence=""))
    add_entry(made, "tiny-sd3", BaseEntry(title="Tiny SD3", licence="", purpose="designs"))
    add_entry(made, "away", BaseEntry(title="Not here", licence="", purpose="designs"))
    return made


def test_only_the_builder_that_asks_a_model_gets_one(own: Settings) -> None:
    runtime = Runtime(own.model_copy(update={"design_base": "away"}))
    with runtime.design_model("flatten", "tiny-sdxl") as model:
        assert model is None
    with pytest.raises(BaseUnavailable, match="hoop base fetch away"), runtime.design_model("diffusion", "tiny-sdxl"):
        pass


def test_a_base_draws_its_own_designs_if_it_can(own: Settings) -> None:
    runtime = Runtime(own)
    with runtime.base("tiny-sdxl") as base, runtime.design_model("diffusion", "tiny-sdxl") as model:
        assert isinstance(model, BaseDesigns)
        assert model.base is base
    with runtime.design_model("diffusion", "tiny") as model:
        assert model is None


def test_the_design_base_of_the_settings_comes_and_goes(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(own.model_copy(update={"design_base": "tiny-sd3"}))
    loaded: list[weakref.ref] = []
    load = runtime._load_designs

    def spy(name: str):
        model = load(name)
        loaded.append(weakref.ref(model.pipeline.transformer))
        return model

    monkeypatch.setattr(runtime, "_load_designs", spy)
    with runtime.base("tiny") as base, runtime.design_model("diffusion", "tiny") as model:
        assert isinstance(model, DesignsOnDemand)
        assert model.name == "tiny-sd3"
        assert loaded == [], "not before it is asked"
        assert model(request()).size == (64, 64)
        assert model(request(32)).size == (64, 64)
        gc.collect()
        assert [one() for one in loaded] == [None, None]
        with runtime.base("tiny") as same:
            assert same is base, "the style's base stays"


def test_another_base_may_draw_the_designs_too(own: Settings) -> None:
    runtime = Runtime(own.model_copy(update={"design_base": "tiny-sdxl"}))
    with runtime.design_model("diffusion", "tiny") as model:
        assert model is not None
        assert model(request()).size == (64, 64)
    runtime = Runtime(own.model_copy(update={"design_base": "tiny"}))
    with (
        runtime.design_model("diffusion", "tiny-sdxl") as model,
        pytest.raises(BaseUnavailable, match="knows words"),
    ):
        assert model is not None
        model(request())


def test_after_memory_ran_out_more_is_saved(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    add_entry(own, "tiny-sdxl", BaseEntry(title="", licence="", short_of_memory=("text_encoders_aside", "vae_tiling")))
    runtime = Runtime(own)
    with pytest.raises(torch.OutOfMemoryError), runtime.base("tiny-sdxl") as first, runtime.base("tiny-sdxl"):
        raise torch.OutOfMemoryError
    with runtime.base("tiny-sdxl") as again:
        assert again is not first, "loaded by the new plan"
    with runtime.base("tiny-sdxl") as same:
        assert same is again
    monkeypatch.setattr(Runtime, "device", "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (80e9, 80e9))
    planned = runtime._plan("tiny-sdxl")
    assert planned is not None
    assert planned.savings == ("text_encoders_aside",)


@pytest.mark.parametrize(("queues", "words"), [("render, io", "rendering alone"), ("train,render", "training and")])
def test_memory_is_planned_for_what_the_worker_does(
    own: Settings, monkeypatch: pytest.MonkeyPatch, queues: str, words: str
) -> None:
    monkeypatch.setattr(Runtime, "device", "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (80e9, 80e9))
    assert words in Runtime(own.model_copy(update={"queues": queues})).describe("tiny-sdxl")


def test_two_workers_of_one_gpu_plan_with_half_of_it_each(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [60e9]
    monkeypatch.setattr(Runtime, "device", "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free[0], 80e9))
    two = own.model_copy(update={"gpu_workers": 2})
    for base in ("tiny-sdxl", "tiny-sd3"):
        assert "of 60.0 GB free" in Runtime(own).describe(base)
        for worker in (Runtime(two), Runtime(two)):
            assert "of 30.0 GB free" in worker.describe(base)
            assert "2 workers share the GPU" in worker.describe(base)
            free[0] = 35e9  # the first one has loaded its base
        free[0] = 60e9


def test_a_base_that_is_away_says_nothing_about_itself(own: Settings) -> None:
    assert Runtime(own).info("tiny-sdxl").name == "tiny-sdxl"
    with pytest.raises(BaseUnavailable, match="hoop base fetch away"):
        Runtime(own).info("away")


def test_a_damaged_design_base_says_so(own: Settings) -> None:
    (own.bases / "tiny-sd3" / "transformer" / "config.json").unlink()
    runtime = Runtime(own.model_copy(update={"design_base": "tiny-sd3"}))
    with (
        runtime.design_model("diffusion", "tiny") as model,
        pytest.raises(BaseUnavailable, match="hoop base fetch tiny-sd3"),
    ):
        assert model is not None
        model(request())
    assert runtime.describe("tiny-sd3") == "cpu"
