"""Every method on a tiny random base: it draws, and leaves the base as it was."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.progress import Progress

from worker.atelier.evaluation.bench import Bench
from worker.bench import methods
from worker.bench.methods import CONTENT_STYLE, METHODS
from worker.bench.run import picture_path, read_results, run
from worker.bench.suite import Reference, Suite, embroidery_bench
from worker.engine import config as configs
from worker.engine.adapter import Adapter
from worker.engine.config import TRAIN_PRESETS, ComplementConfig, TrainConfig

TINY = TrainConfig(
    preset="tiny",
    rank=4,
    learning_rate=1e-2,
    stage_one_steps=3,
    total_steps=5,
    timesteps_per_step=2,
    crop=16,
    control_tile=1.0,
    control_edge=1.0,
    optimiser="separate",
    complement=ComplementConfig(source="controlled", count=2, steps=2, guidance=1.0, feature_steps=2),
)


@pytest.fixture
def bench(base, base_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(TRAIN_PRESETS, "tiny", TINY)
    assert configs.train_config("tiny") == TINY
    with Progress(disable=True) as progress:
        opened = Bench(base_folder, tmp_path / "out", tmp_path, None, None, quick=True, progress=progress)
        opened.__dict__["base"] = base
        yield opened


class Shrunk:
    """A case or a pair at the tiny base's size: the renderer needs more pixels than it has."""

    def __init__(self, case, size=32):
        self.case, self.size = case, size
        self.name = self.words = case.name

    def _small(self, picture):
        return np.asarray(picture)[:: 128 // self.size, :: 128 // self.size]

    @property
    def flat(self):
        return self._small(self.case.flat)

    @property
    def mask(self):
        return self._small(self.case.mask)

    def sewn(self, style):
        return self._small(self.case.sewn(style))


@pytest.fixture(scope="module")
def suite():
    whole = embroidery_bench(None, 128)
    references = tuple(
        replace(one, teacher=Shrunk(one.teacher), more=tuple(Shrunk(case) for case in one.more))
        for one in whole.references[:2]
    )
    return Suite(references, tuple(Shrunk(case) for case in whole.designs[:2]), (), "quick")


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_draws(bench, suite, name):
    draw = METHODS[name].prepare(bench, suite.references[0], "tiny")
    picture = np.asarray(draw(suite.designs[0], 0))
    assert picture.shape == (32, 32, 3)
    assert np.array_equal(picture, np.asarray(draw(suite.designs[0], 0)))
    if name not in ("copy", "oracle", "none"):
        other = METHODS[name].prepare(bench, suite.references[1], "tiny")
        assert not np.array_equal(np.asarray(other(suite.designs[0], 0)), picture), "the reference does not matter"


def adapter(bench, suite, train):
    return train(bench, suite.references[0], TINY)


def test_b_lora_keeps_one_block(bench, suite):
    kept = adapter(bench, suite, methods._b_lora)
    assert {name.split(".transformer_blocks")[0] for name in kept.tensors} == {f"unet.{CONTENT_STYLE[1]}"}
    assert any(bool(tensor.any()) for name, tensor in kept.tensors.items() if "lora_B" in name)


def test_pair_customization_keeps_the_style_half_and_its_rows_are_orthogonal(bench, suite):
    kept = adapter(bench, suite, methods._pair_customization)
    for name, tensor in kept.tensors.items():
        if "lora_A" in name:
            assert tensor.shape[0] == TINY.rank // 2
            assert torch.allclose(tensor @ tensor.T, torch.eye(len(tensor)), atol=1e-5)
        else:
            assert tensor.shape[1] == TINY.rank // 2
    assert any(bool(tensor.any()) for name, tensor in kept.tensors.items() if "lora_B" in name)


def test_db_lora_moves_every_block(bench, suite):
    kept = adapter(bench, suite, methods._db_lora)
    moved = {name.split(".transformer_blocks")[0] for name, t in kept.tensors.items() if "lora_B" in name and t.any()}
    assert len(moved) == 11


def test_shared_attention_is_gone_afterwards(bench, suite):
    before = [type(m.processor) for n, m in bench.base.unet.named_modules() if n.endswith("attn1")]
    draw = METHODS["style_aligned"].prepare(bench, suite.references[0], "tiny")
    draw(suite.designs[0], 0)
    assert [type(m.processor) for n, m in bench.base.unet.named_modules() if n.endswith("attn1")] == before


def test_a_run_is_kept_and_goes_on(bench, suite, monkeypatch):
    monkeypatch.setattr("worker.bench.run.measure", lambda picture, scene, extra: {"texture": float(np.mean(picture))})
    first = run(bench, suite, "tiny", ["none", "copy"])
    assert first.table("copy", "texture").shape == (2, 2)
    assert picture_path(bench, suite, suite.references[0], "none", 1).exists()
    assert read_results(bench.out / "results.json").figures == first.figures
    calls = []
    monkeypatch.setitem(METHODS, "none", replace(METHODS["none"], prepare=lambda *a: calls.append(a)))
    again = run(bench, suite, "tiny", ["none", "copy"])
    assert not calls
    assert json.dumps(again.figures) == json.dumps(first.figures)
    with pytest.raises(ValueError, match="no method nonsense"):
        run(bench, suite, "tiny", ["nonsense"])


def test_an_adapter_is_trained_once_for_both_ways_of_drawing(bench, suite):
    reference: Reference = suite.references[0]
    for name in ("emolora", "ours"):
        METHODS[name].prepare(bench, reference, "tiny")
    kept = list((bench.out / "kept").rglob("*.safetensors"))
    assert [path.name for path in kept] == ["00-fill-tiny-emolora.safetensors"]
    assert float(kept[0].with_suffix(".seconds").read_text()) > 0
    assert Adapter.from_bytes(kept[0].read_bytes()).swatch is not None
