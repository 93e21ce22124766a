"""More domains than embroidery, by the same code."""

import numpy as np
import pytest
from rich.progress import Progress

from worker.atelier.evaluation.bench import Bench
from worker.atelier.evaluation.cases import held_out_cases
from worker.bench.domains import DOMAINS, domain_sheet, line_map, painted, soft_edges
from worker.engine.config import TRAIN_PRESETS, TrainConfig

TINY = TrainConfig(
    preset="tiny", rank=4, learning_rate=1e-2, stage_one_steps=2, total_steps=2, control_edge=1.0, optimiser="separate"
)


@pytest.fixture(scope="module")
def case():
    return held_out_cases(None, 1, 128)[0]


def test_a_hand_is_the_same_for_the_same_seed(case):
    assert np.array_equal(painted(case, "watercolour"), painted(case, "watercolour"))
    assert not np.array_equal(painted(case, "watercolour"), painted(case, "watercolour", 5))


def test_maps_hold_outlines_and_no_colour(case):
    for picture in (line_map(painted(case, "gradient")), soft_edges(painted(case, "felt"))):
        drawn = np.asarray(picture, int)
        assert drawn.shape == (128, 128, 3)
        assert np.ptp(drawn, axis=2).max() == 0
        assert drawn.min() < 60
        assert np.median(drawn) > 200


def test_every_domain_is_trained_and_drawn(base, base_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(TRAIN_PRESETS, "tiny", TINY)
    with Progress(disable=True) as progress:
        bench = Bench(base_folder, tmp_path, tmp_path, None, None, quick=True, progress=progress)
        bench.__dict__["base"] = base
        found = domain_sheet(bench, "tiny")
    assert set(found) == set(DOMAINS)
    assert (tmp_path / "domains.png").exists()
    assert all(np.isfinite(figures[kind]) for figures in found.values() for kind in ("ours", "no_adapter", "target"))
