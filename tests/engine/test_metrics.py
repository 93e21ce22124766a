"""Metrics: zero for the same, growing with the difference, blind to what they should be blind to."""

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.engine.sewn import flat, label_map, sew
from worker.engine.colour import to_float
from worker.engine.metrics import (
    edge_agreement,
    high_frequency_difference,
    high_frequency_energy,
    high_frequency_ratio,
    histogram_distance,
    local_contrast,
    log_gabor_distance,
    log_gabor_statistics,
    orientation_distance,
    orientation_histogram,
    sliced_wasserstein,
)

ONES = np.ones((128, 128), np.uint8)


def stripes(period, angle=0.0, size=128):
    y, x = np.mgrid[0:size, 0:size]
    wave = np.sin(2 * np.pi * (-x * np.sin(angle) + y * np.cos(angle)) / period)
    return np.repeat((0.5 + 0.2 * wave)[..., None], 3, axis=2).astype(np.float32)


def test_high_frequency_of_stripes():
    assert high_frequency_ratio(stripes(4)) > 0.97
    assert high_frequency_ratio(stripes(40)) < 0.03
    assert high_frequency_ratio(np.full((64, 64, 3), 0.4, np.float32)) == 0.0
    assert high_frequency_difference(stripes(4), stripes(40)) > 90
    assert high_frequency_energy(np.full((64, 64, 3), 0.4, np.float32)) < 1e-3
    assert high_frequency_energy(stripes(4)) == pytest.approx(local_contrast(stripes(4)) ** 2, rel=0.1)


def test_energy_counts_odd_and_even_widths_alike():
    even, odd = stripes(4, 0.7), stripes(4, 0.7, 129)
    assert high_frequency_energy(even) == pytest.approx(high_frequency_energy(odd), rel=0.02)


def test_a_mask_hides_what_is_outside():
    mask = np.zeros((128, 128), bool)
    mask[:, :64] = True
    half = np.where(mask[..., None], stripes(40, np.pi / 2), stripes(4))
    assert high_frequency_ratio(half, mask) < 0.2
    assert high_frequency_ratio(half, ~mask) > 0.8
    assert local_contrast(half, ~mask) > 5


def test_texture_distance_orders_embroideries():
    labels = ONES
    same = log_gabor_statistics(sew(labels, 4.0, seed=1))
    again = log_gabor_statistics(sew(labels, 4.0, seed=2))
    coarse = log_gabor_statistics(sew(labels, 8.0, seed=1))
    plain = log_gabor_statistics((flat(labels) * 255).astype(np.uint8))
    assert log_gabor_distance(same, same) == 0
    assert log_gabor_distance(same, again) < 0.5 * log_gabor_distance(same, coarse)
    assert log_gabor_distance(same, coarse) < log_gabor_distance(same, plain)
    assert same.magnitude.shape == (5, 6)
    assert same.correlation.shape == (30, 30)


def test_texture_statistics_do_not_mind_the_angle():
    first, second = (log_gabor_statistics(stripes(5, angle)) for angle in (0.0, np.pi / 2))
    assert log_gabor_distance(first, second) < 0.05


def test_sliced_wasserstein():
    first = sew(ONES, 4.0, seed=1)
    assert sliced_wasserstein(first, first) == 0
    near, far = sliced_wasserstein(first, sew(ONES, 4.0, seed=2)), sliced_wasserstein(first, sew(ONES, 8.0))
    assert near < far
    assert sliced_wasserstein(first, sew(ONES, 8.0)) == far, "deterministic"
    brighter = Image.fromarray(np.clip(np.asarray(first, np.int16) + 0, 0, 255).astype(np.uint8))
    assert sliced_wasserstein(first, brighter, chroma=True) < near
    with pytest.raises(ValueError, match="no window"):
        sliced_wasserstein(np.zeros((4, 4, 3), np.uint8), first)


def test_orientation():
    for angle in (0.0, 0.6, 1.5):
        histogram = orientation_histogram(stripes(5, angle))
        assert histogram.sum() == pytest.approx(1, abs=1e-5)
        assert abs((np.argmax(histogram) * np.pi / 18 - angle + np.pi / 2) % np.pi - np.pi / 2) < 0.12
    level, upright = orientation_histogram(stripes(5, 0.0)), orientation_histogram(stripes(5, np.pi / 2))
    assert orientation_distance(level, upright) == pytest.approx(90, abs=8)
    assert orientation_distance(level, upright, turn=True) < 5
    assert orientation_distance(level, level) == 0
    assert np.ptp(orientation_histogram(np.full((64, 64, 3), 0.5, np.float32))) == 0


def test_edges():
    labels = label_map(200, 200)
    design, sewn = flat(labels), sew(labels, 4.0)
    assert edge_agreement(design, design).f1 == 1
    assert edge_agreement(sewn, design).f1 > 0.85
    moved = np.roll(design, 15, axis=1)
    assert edge_agreement(moved, design).f1 < 0.6
    plain = np.full((200, 200, 3), 0.5, np.float32)
    assert edge_agreement(plain, plain).f1 == 1
    assert edge_agreement(plain, design).f1 == 0
    with pytest.raises(ValueError, match="sizes differ"):
        edge_agreement(design, plain[:100])


def test_colours():
    labels = label_map(160, 160)
    design = flat(labels)
    assert histogram_distance(design, design) < 1e-4
    assert histogram_distance(sew(labels), design) < histogram_distance(design[..., ::-1].copy(), design)
    assert histogram_distance(np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)) > 0.45


def test_metrics_take_images_and_arrays_alike():
    image = sew(ONES, 4.0)
    for other in (np.asarray(image), to_float(image)):
        assert high_frequency_ratio(other) == pytest.approx(high_frequency_ratio(image), abs=1e-6)
    resized = cv2.resize(np.asarray(image), (96, 96))
    assert log_gabor_distance(log_gabor_statistics(image), log_gabor_statistics(resized)) > 0
