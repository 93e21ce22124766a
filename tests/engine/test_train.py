"""The whole training on a tiny random base: stages, resume, cancel, determinism, what comes out."""

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from worker.engine.adapter import Adapter
from worker.engine.checkpoint import FolderStore, MemoryStore, Snapshot
from worker.engine.config import ComplementConfig, train_config
from worker.engine.loop import CHECKPOINT, content_prompt
from worker.engine.progress import Canceled, NullProgress
from worker.engine.train import PairInput, train_style

CONFIG = train_config(
    "short",
    rank=4,
    stage_one_steps=4,
    total_steps=7,
    timesteps_per_step=2,
    crop=16,
    checkpoint_every=2,
    preview_every=3,
    analysis_steps=10,
    complement=ComplementConfig(source="controlled", count=3, steps=2, guidance=1.0, feature_steps=10),
)


def stitched_photo(size=96):
    """Something with a motif and fine lines, no more."""
    picture = Image.new("RGB", (size, size), (232, 226, 214))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((14, 14, size - 14, size - 14), fill=(190, 40, 50))
    pen.rectangle((size // 3, size // 3, size // 2, size // 2), fill=(40, 70, 160))
    for x in range(16, size - 16, 4):
        pen.line((x, 20, x, size - 20), fill=(150, 30, 40))
    return picture


SOURCE = PairInput(reference=stitched_photo(), caption="red badge")


class Recorder(NullProgress):
    def __init__(self, stop_at=None):
        self.updates, self.previews, self.stop_at = [], [], stop_at

    def update(self, stage, step, total):
        self.updates.append((stage, step, total))
        if (stage, step) == self.stop_at:
            raise Canceled

    def preview(self, image):
        self.previews.append(image)


class Crash(Exception):
    """Stands for a killed worker."""


class CrashingStore(MemoryStore):
    """Dies right after the n-th save."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def save(self, name, data):
        super().save(name, data)
        self.left -= 1
        if self.left == 0:
            raise Crash


@pytest.fixture(scope="module")
def trained(loaded_base):
    progress = Recorder()
    return train_style(loaded_base, SOURCE, CONFIG, progress), progress


def test_stages_come_in_order_and_complete(trained):
    _, progress = trained
    stages = list(dict.fromkeys(stage for stage, _, _ in progress.updates))
    assert stages == ["prepare", "pair", "stage_one", "complement", "stage_two", "samples"]
    for stage in stages:
        done, total = [(step, total) for name, step, total in progress.updates if name == stage][-1]
        assert done == total, stage
    assert progress.previews
    assert progress.previews[0].size == (32, 32)


def test_the_result_says_where_it_comes_from(trained, base):
    style, _ = trained
    adapter = Adapter.from_bytes(style.adapter)
    assert adapter.manifest == style.manifest
    assert adapter.manifest["base"] == {"name": "tiny", "version": "1"}
    assert adapter.manifest["hoop_version"] == version("hoop")
    assert adapter.manifest["style_blocks"] == list(base.info.style_blocks)
    assert adapter.manifest["config"]["preset"] == "short"
    assert len(adapter.tensors) == 4 * 2 * 4 * 2
    assert len(style.samples) == CONFIG.sample_designs
    assert all(sample.picture.size == (32, 32) for sample in style.samples)
    report = style.report
    assert set(report["losses"]) == {"design", "embroidery", "contrast"}
    assert (len(report["losses"]["design"]), len(report["losses"]["contrast"])) == (7, 3)
    assert {"prepare", "pair", "stage_one", "complement", "stage_two", "samples"} <= set(report["seconds"])
    assert len(report["similarity"]["similarity"]) == 11
    assert len(report["complementary"]) == 1
    assert all(np.isfinite(value) for value in report["metrics"].values())


def test_the_same_seed_gives_the_same_file_and_another_seed_another(trained, base):
    style, _ = trained
    quiet = replace(CONFIG, preview_every=0, checkpoint_every=0)  # watching changes nothing
    again = train_style(base, SOURCE, quiet)
    ours, theirs = Adapter.from_bytes(style.adapter), Adapter.from_bytes(again.adapter)
    assert all(np.array_equal(ours.tensors[key], theirs.tensors[key]) for key in ours.tensors)
    assert [s.picture.tobytes() for s in again.samples] == [s.picture.tobytes() for s in style.samples]
    other = Adapter.from_bytes(train_style(base, SOURCE, replace(quiet, seed=7)).adapter)
    assert not all(np.array_equal(ours.tensors[key], other.tensors[key]) for key in ours.tensors)


@pytest.mark.parametrize("saves", [1, 2, 3, 4])
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(trained, base, saves):
    """Killed in stage one, at its end, after the complementary pairs, in stage two."""
    style, _ = trained
    store = CrashingStore(saves)
    with pytest.raises(Crash):
        train_style(base, SOURCE, CONFIG, None, store)
    step = Snapshot.from_bytes(store.blobs[CHECKPOINT]).values["step"]
    progress = Recorder()
    resumed = train_style(base, SOURCE, CONFIG, progress, store)
    assert resumed.adapter == style.adapter
    assert resumed.report["losses"] == style.report["losses"]
    assert [s.picture.tobytes() for s in resumed.samples] == [s.picture.tobytes() for s in style.samples]
    first = next((step for stage, step, _ in progress.updates if stage == "stage_one" and step), None)
    if 0 < step < CONFIG.stage_one_steps:
        assert first == step


def test_a_paper_optimiser_resumes_too(base):
    config = replace(CONFIG, optimiser="paper", analysis_steps=0)
    store = CrashingStore(2)
    with pytest.raises(Crash):
        train_style(base, SOURCE, config, None, store)
    assert train_style(base, SOURCE, config, None, store).adapter == train_style(base, SOURCE, config).adapter


def test_checkpoints_of_another_training_are_not_used(trained, base):
    store = CrashingStore(2)
    with pytest.raises(Crash):
        train_style(base, SOURCE, replace(CONFIG, seed=9), None, store)
    style, _ = trained
    assert train_style(base, SOURCE, CONFIG, None, store).adapter == style.adapter
    damaged = MemoryStore()
    damaged.save(CHECKPOINT, b"half a fi")
    progress = Recorder(stop_at=("stage_one", 1))
    with pytest.raises(Canceled):
        train_style(base, SOURCE, CONFIG, progress, damaged)


@pytest.mark.parametrize("at", [("prepare", 0), ("stage_one", 2), ("complement", 1), ("stage_two", 1), ("samples", 0)])
def test_cancel_leaves_a_clean_base(base, at):
    with pytest.raises(Canceled):
        train_style(base, SOURCE, CONFIG, Recorder(stop_at=at))


def test_pairs_drawn_from_text_and_automatic_blocks(base):
    config = replace(
        CONFIG,
        complement=ComplementConfig(source="text", count=4, steps=2, guidance=2.0, feature_steps=0),
        block_choice="lowest:3",
        control_tile=0.0,
        control_edge=0.0,
        crop=None,
    )
    style = train_style(base, SOURCE, config)
    assert len(style.manifest["style_blocks"]) == 3
    keys = Adapter.from_bytes(style.adapter).tensors
    assert {key.removeprefix("unet.").split(".transformer")[0] for key in keys} == set(style.manifest["style_blocks"])
    assert len(style.report["complementary"]) == 1


def test_stage_one_alone(base):
    style = train_style(base, SOURCE, replace(CONFIG, total_steps=4, analysis_steps=0))
    assert set(style.report["losses"]) == {"design", "embroidery"}
    assert style.report["complementary"] == []


def test_checkpointing_learns_the_same(base, trained):
    style = train_style(base, SOURCE, replace(CONFIG, checkpointing=True))
    for kind, losses in trained[0].report["losses"].items():
        assert style.report["losses"][kind] == pytest.approx(losses, rel=1e-4)


def test_choosing_blocks_needs_the_analysis(base):
    with pytest.raises(ValueError, match="analysis_steps"):
        train_style(base, SOURCE, replace(CONFIG, block_choice="gap", analysis_steps=0))


@pytest.mark.parametrize(
    ("words", "prompt"),
    [("", "a design"), ("red fox", "a red fox"), ("An owl.", "An owl"), ("  the   sun ", "the sun")],
)
def test_content_prompts(words, prompt):
    assert content_prompt(words) == prompt


def test_folder_store(tmp_path):
    store = FolderStore(tmp_path / "checkpoint")
    store.clear()
    assert store.load("a") is None
    store.save("a", b"1")
    store.save("a", b"22")
    assert store.load("a") == b"22"
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["a"]
    store.clear()
    assert store.load("a") is None


def test_several_photos_of_one_style(base):
    """All are looked at; killed and resumed it is the same, and another photo is another style."""
    more = replace(SOURCE, more=(stitched_photo().rotate(90), stitched_photo().rotate(180)))
    style = train_style(base, more, CONFIG)
    adapter = Adapter.from_bytes(style.adapter)
    assert adapter.manifest["photos"] == 3
    alone = Adapter.from_bytes(train_style(base, SOURCE, CONFIG).adapter)
    assert not all(torch.equal(adapter.tensors[name], alone.tensors[name]) for name in alone.tensors)
    store = CrashingStore(1)
    with pytest.raises(Crash):
        train_style(base, more, CONFIG, None, store)
    two = replace(more, more=more.more[:1])
    assert train_style(base, two, CONFIG, None, store).adapter == train_style(base, two, CONFIG).adapter
    store = CrashingStore(1)
    with pytest.raises(Crash):
        train_style(base, more, CONFIG, None, store)
    assert train_style(base, more, CONFIG, None, store).adapter == style.adapter
