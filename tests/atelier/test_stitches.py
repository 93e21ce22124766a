"""The stitch renderer: one label map, many ways to sew it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from worker.atelier.designs import HELD_OUT_DESIGNS, label_map, procedural_design
from worker.atelier.stitches import FAMILIES, HELD_OUT_FAMILIES, flat_design, render_embroidery, sample_style
from worker.atelier.stitches.fields import hash01
from worker.atelier.stitches.render import LabelMap
from worker.engine.metrics.frequency import high_frequency_ratio

SIZE = 96


def disc() -> LabelMap:
    y, x = np.mgrid[0 : 2 * SIZE, 0 : 2 * SIZE]
    labels = (np.hypot(x - SIZE, y - SIZE) < 0.7 * SIZE).astype(np.int32)
    return LabelMap(labels, np.array([[0.9, 0.9, 0.85], [0.75, 0.15, 0.2]], np.float32))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_sews_its_own_texture_and_keeps_the_colours(family: str) -> None:
    design = disc()
    style = sample_style(family, np.random.default_rng(3))
    sewn, flat = render_embroidery(design, style), flat_design(design)
    assert sewn.shape == (SIZE, SIZE, 3)
    assert sewn.dtype == np.uint8
    inside = np.zeros((SIZE, SIZE), bool)
    inside[30:66, 30:66] = True
    assert high_frequency_ratio(sewn, inside) > 2 * high_frequency_ratio(flat, inside)
    mean = sewn[inside].mean(0)
    assert mean[0] > 1.3 * mean[1], "red thread stays red"
    assert mean[0] > 1.3 * mean[2]


@pytest.mark.parametrize("family", ["fill", "chenille"])
def test_a_seed_fixes_the_picture(family: str) -> None:
    style = sample_style(family, np.random.default_rng(8))
    first = render_embroidery(disc(), style)
    assert np.array_equal(first, render_embroidery(disc(), style))
    assert not np.array_equal(first, render_embroidery(disc(), replace(style, seed=style.seed + 1)))


def test_the_angle_turns_the_threads() -> None:
    style = replace(
        sample_style("fill", np.random.default_rng(1)),
        angle_by_region=False,
        outline=0.0,
        wobble=0.0,
        fuzz=0.0,
        cover=0.8,
    )
    level, upright = (
        render_embroidery(disc(), replace(style, angle=a)).astype(float).mean(2) for a in (0.0, np.pi / 2)
    )
    middle = slice(30, 66)

    def change(picture: np.ndarray, axis: int) -> float:
        return float(np.abs(np.diff(picture[middle, middle], axis=axis)).mean())

    assert change(level, 0) > change(level, 1), "threads that run across change most from row to row"
    assert change(upright, 1) > change(upright, 0)


def test_the_flat_design_shows_exactly_the_palette() -> None:
    flat = flat_design(disc())
    assert np.abs(flat[48, 48] / 255 - [0.75, 0.15, 0.2]).max() < 0.01
    assert np.abs(flat[2, 2] / 255 - [0.9, 0.9, 0.85]).max() < 0.01


def test_hashes_are_uniform_and_repeatable() -> None:
    values = hash01(np.arange(20000), 5)
    assert np.array_equal(values, hash01(np.arange(20000), 5))
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02


def test_label_maps_use_few_inks_and_leave_the_ground_alone() -> None:
    rng = np.random.default_rng(2)
    drawing, words = procedural_design(2 * SIZE, rng)
    design = label_map(drawing, np.array([0.1, 0.2, 0.3], np.float32), 5, rng)
    assert words
    assert 2 <= len(design.palette) <= 6
    assert not design.labels[drawing[..., 3] == 0].any()


def test_held_out_lists_are_what_the_figures_rest_on() -> None:
    assert set(HELD_OUT_FAMILIES) < set(FAMILIES)
    assert len(HELD_OUT_DESIGNS) >= 30
    assert "fox" in HELD_OUT_DESIGNS
