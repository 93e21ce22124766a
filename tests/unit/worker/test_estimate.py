"""The estimate of the time left."""

import pytest

from worker.estimate import Estimate


def test_it_says_nothing_before_it_has_seen_some_work():
    estimate = Estimate("train")
    assert estimate.remaining(0.0) is None
    estimate.note("prepare", 0, 1, 0.0)
    estimate.note("prepare", 1, 1, 1.0)
    assert estimate.remaining(1.0) is None


def test_it_goes_by_the_speed_seen():
    estimate = Estimate("train")
    estimate.note("prepare", 0, 1, 0.0)
    # Half of stage one: 3 % before it and half of its 50 %.
    estimate.note("stage_one", 50, 100, 28.0)
    assert estimate.remaining(28.0) == pytest.approx(72.0, abs=0.5)
    estimate.note("samples", 4, 4, 100.0)
    assert estimate.remaining(100.0) == 0.0


def test_a_resumed_attempt_does_not_count_what_was_done_before():
    estimate = Estimate("train")
    estimate.note("stage_two", 0, 60, 0.0)
    assert estimate.remaining(5.0) is None
    estimate.note("stage_two", 60, 60, 29.0)
    assert estimate.remaining(29.0) == pytest.approx(6.0, abs=0.5)


def test_it_never_walks_back_and_bears_stages_it_does_not_know():
    estimate = Estimate("render")
    estimate.note("prepare", 0, 1, 0.0)
    estimate.note("diffuse", 12, 12, 10.0)
    before = estimate.remaining(10.0)
    estimate.note("diffuse", 1, 12, 10.0)
    estimate.note("something new", 1, 0, 10.0)
    assert estimate.remaining(10.0) == before
