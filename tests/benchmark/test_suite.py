"""What EmbroideryBench measures on, and the statistics of what it finds."""

import json
import math

import numpy as np
import pytest

from worker.atelier.evaluation.cases import Case
from worker.bench import suite as suites
from worker.bench.measures import MEASURES, Scene, measure
from worker.bench.report import against_ours, table, write_report
from worker.bench.run import Results
from worker.bench.statistics import Estimate, difference, separation
from worker.bench.suite import embroidery_bench, write_suite
from worker.bench.validate import CHANGES, STITCH_MEASURES, shaded, turned_hue, validate, validation_lines


@pytest.fixture(scope="module")
def suite():
    return embroidery_bench(None, 128)


def test_thirty_styles_of_many_families_ten_of_them_unseen(suite):
    assert len(suite.references) == 30
    assert len({reference.style.family for reference in suite.references}) >= 10
    assert sum(reference.unseen for reference in suite.references) >= 8
    assert (len(suite.designs), len(suite.briefs)) == (50, 20)
    assert len({(r.style.spacing, r.style.angle, r.style.fabric) for r in suite.references}) == 30


def test_the_quick_cut_is_a_part_of_the_whole(suite):
    quick = embroidery_bench(None, 128, "quick")
    styles = {reference.number: reference.style for reference in suite.references}
    assert all(styles[reference.number] == reference.style for reference in quick.references)
    assert [case.name for case in quick.designs] == [case.name for case in suite.designs[: len(quick.designs)]]
    assert np.array_equal(
        quick.references[1].pair.embroidery, suite.references[quick.references[1].number].pair.embroidery
    )


def test_a_cut_has_every_style(suite):
    styles = embroidery_bench(None, 128, "styles")
    assert [reference.style for reference in styles.references] == [reference.style for reference in suite.references]
    assert [case.name for case in styles.designs] == [case.name for case in suite.designs[:4]]
    assert len({embroidery_bench(None, 64, cut).name for cut in ("whole", "styles")}) == 2


def test_it_is_drawn_once_and_a_broken_run_goes_on(suite, tmp_path):
    small = suites.Suite(suite.references[:2], suite.designs[:1], suite.briefs, "quick")
    seen = []

    def track(items):
        for item in items:
            seen.append(item)
            yield item

    write_suite(small, tmp_path, track)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert files == [
        "designs/00.png",
        "references/00-fill-design.png",
        "references/00-fill.png",
        "references/01-satin-design.png",
        "references/01-satin.png",
        "truth/00-fill/00.png",
        "truth/01-satin/00.png",
    ]
    assert json.loads((tmp_path / "suite.json").read_text())["references"]["01-satin"]["style"]["family"] == "satin"
    before = (tmp_path / "truth/00-fill/00.png").stat().st_mtime_ns
    (tmp_path / "truth/01-satin/00.png").unlink()
    write_suite(small, tmp_path, track)
    assert (tmp_path / "truth/00-fill/00.png").stat().st_mtime_ns == before
    assert (tmp_path / "truth/01-satin/00.png").exists()


def test_the_truth_is_the_best_answer_and_the_design_keeps_its_outlines(suite):
    reference, case = suite.references[0], suite.designs[0]
    pair, truth = reference.pair, case.sewn(reference.style)
    scene = Scene(case.flat, case.mask, truth, pair.embroidery, pair.mask)
    of_truth, of_design = measure(truth, scene), measure(case.flat, scene)
    for name in STITCH_MEASURES:
        assert of_truth[name] == pytest.approx(0, abs=1e-4)
        assert of_design[name] > 0.01
    assert of_design["edges"] == pytest.approx(1)
    assert of_design["structure"] == pytest.approx(1)
    assert of_design["colour"] == pytest.approx(0, abs=1e-6)
    assert set(of_truth) == set(MEASURES)


def test_intervals_are_over_styles():
    table_ = np.array([[1.0, 1.0], [3.0, 3.0]])
    one = Estimate.of(table_)
    assert one.mean == 2
    assert (one.low, one.high) == (1, 3)
    assert difference(table_, table_) == Estimate(0, 0, 0)
    assert difference(table_ + 0.5, table_).low == pytest.approx(0.5)


def test_separation_by_hand():
    assert separation([1, 2], [3, 4]) == 1
    assert separation([3, 4], [1, 2]) == 0
    assert separation([1, 3], [2, 3]) == pytest.approx((1 + 0 + 1 + 0.5) / 4)


def test_figures_see_changed_stitches_and_no_hue(suite):
    small = suites.Suite((suite.references[0], suite.references[20]), suite.designs[:1], (), "quick")
    found = validate(small, 1, iter)
    assert set(found["auc"]) == set(CHANGES)
    assert found["auc"]["phases scrambled"]["texture"] == 1
    assert found["auc"]["threads 1.4 x as wide"]["texture"] == 1
    assert found["invariance"]["hue turned"]["texture"] < 1
    assert found["cheats"]["flat design"]["texture"] > 3
    assert all(math.isfinite(value) for value in found["dose"].values())
    assert any("rotation" in line for line in validation_lines(found))


def test_hue_and_shading_leave_threads_alone(suite):
    from worker.engine.colour import lightness

    picture = suite.references[0].pair.embroidery
    assert np.abs(lightness(turned_hue(picture)) - lightness(picture)).mean() < 1
    change = lightness(shaded(picture)) - lightness(picture)
    assert change[:, :5].mean() > 4
    assert change[:, -5:].mean() < -4


def results(**tables):
    figures = {
        method: {
            f"{place:02d}-fill": [dict.fromkeys(MEASURES, value) for value in row] for place, row in enumerate(rows)
        }
        for method, rows in tables.items()
    }
    about = {
        "references": ["00-fill", "01-fill"],
        "unseen": ["01-fill"],
        "designs": ["fox"],
        "cut": "quick",
        "preset": "short",
        "icons": True,
        **dict.fromkeys(("base", "base_digest", "commit", "machine", "torch"), "x"),
    }
    return Results(about, figures, {method: {"00-fill": 2.0} for method in tables}, {"emolora": {"00-fill": 30.0}})


def test_the_page_says_what_was_found():
    found = results(ours=[[0.1], [0.2]], none=[[0.4], [0.3]], oracle=[[0.0], [0.0]])
    rows = table(found, ("ours", "none", "oracle"))
    ours = next(line for line in rows if "Hoop" in line)
    assert "**0.150** (0.100..0.200)" in ours  # a bound is never the best
    assert any("no adapter | +0.200 | +0.100..+0.300 | 2 of 2 |" in line for line in against_ours(found, "texture"))
    page = write_report(found, ["## Are the figures right?"], "pictures/x.jpg")
    assert "quick cut" in page
    assert "Every style" not in page
    every = write_report(found, [], "x.jpg", of_styles=results(ours=[[0.3], [0.4]], quilt=[[0.2], [0.6]]))
    assert "All 2 reference styles, 1 designs each, preset `short`" in every
    assert "| **Hoop** | **0.350** (0.300..0.400)" in every
    assert "other weights" not in every
    before = results(ours=[[0.3], [0.4]])
    before.about["base_digest"] = "y"
    assert "base `y`, commit `x`. These are other weights" in write_report(found, [], "x.jpg", of_styles=before)
    assert "| 01-fill | yes | 0.400 |  | 0.600 |" in every
    assert "![Best, median and worst pictures](pictures/x.jpg)" in page


def test_teachers_show_nothing_that_the_designs_show(monkeypatch):
    """Sixty-two things in several drawings each, as the icons have them."""
    things = [Case(f"thing {n % 62}", "", None) for n in range(400)]
    monkeypatch.setattr(suites, "held_out_cases", lambda _icons, count, _size, _seed: things[:count])
    whole = embroidery_bench(None, 128)
    shown = {case.name for case in whole.designs}
    for reference in whole.references:
        assert {reference.teacher.name, *(case.name for case in reference.more)}.isdisjoint(shown)
    assert len({reference.teacher.name for reference in whole.references}) == 12


def test_briefs_are_drawn_as_areas_that_the_renderer_sews():
    text = embroidery_bench(None, 64, "quick", of_briefs=True)
    assert [case.name for case in text.designs] == list(text.briefs[:4])
    for case in text.designs:
        assert 0.05 < case.mask.mean() < 0.8
        assert len(case.map.palette) >= 2
        assert case.sewn(text.references[0].style).shape == (64, 64, 3)
    again = embroidery_bench(None, 64, "quick", of_briefs=True)
    assert np.array_equal(again.designs[1].flat, text.designs[1].flat)
