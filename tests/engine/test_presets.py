"""The API names the numbers of a render before a worker sees it; both sides must mean the same."""

import pytest

from backend.bases import service
from worker.engine.config import RENDER_PRESETS, SMALL_RENDER_PRESETS, TRAIN_PRESETS


@pytest.mark.parametrize(
    ("api", "engine"),
    [(service._PAPER, RENDER_PRESETS), (service._SMALL, SMALL_RENDER_PRESETS)],
    ids=["paper", "small"],
)
def test_render_defaults_agree(api, engine):
    for name, config in engine.items():
        numbers = api[name]
        assert (numbers.steps, numbers.strength, numbers.guidance, numbers.colour_fix) == (
            config.steps,
            config.strength,
            config.guidance,
            config.colour_fix,
        ), name
        assert (numbers.edge, numbers.tile) == (config.control_edge, config.control_tile), name


def test_the_paper_preset_is_the_papers():
    paper = TRAIN_PRESETS["paper"]
    assert (paper.rank, paper.learning_rate, paper.stage_one_steps, paper.total_steps) == (32, 1e-4, 400, 600)
    assert (paper.generated_weight, paper.contrastive_weight, paper.optimiser) == (0.1, 1e-4, "paper")
    assert (paper.complement.count, paper.complement.similar, paper.complement.kept) == (10, 5, 3)
