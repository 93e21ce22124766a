"""`hoop style blocks` on files."""

import pytest
from PIL import Image
from typer.testing import CliRunner

from backend.core.config import get_settings
from tests.engine.test_train import stitched_photo
from worker.cli import style_app


@pytest.fixture
def ask(base_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HOOP_BASE_DIR", str(base_folder))
    monkeypatch.setenv("HOOP_BASE", "tiny")
    get_settings.cache_clear()
    stitched_photo(256).save(tmp_path / "sample.png")
    yield lambda *options: CliRunner().invoke(style_app, ["blocks", str(tmp_path / "sample.png"), *options])
    get_settings.cache_clear()


def test_it_writes_a_heat_map_and_names_the_blocks(ask, tmp_path):
    answer = ask("--steps", "10")
    assert answer.exit_code == 0, answer.output
    with Image.open(tmp_path / "sample.blocks.png") as picture:
        # Eleven blocks by ten segments, each cell with its number.
        assert picture.width > 700
        assert picture.height > 11 * 24
        assert len(picture.getcolors(1 << 24)) > 20
    lines = answer.output.splitlines()
    scores = [float(line.split()[0]) for line in lines if line.endswith(".attentions.0") and line[0].isdigit()]
    assert scores == sorted(scores)
    assert "lowest:4 would choose" in answer.output


def test_too_few_steps_are_refused(ask):
    assert ask("--steps", "3").exit_code == 2
