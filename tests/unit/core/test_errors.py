"""The tree of errors and its rendering."""

import pytest

from backend.core import errors


def all_errors(base=errors.HoopError):
    yield base
    for child in base.__subclasses__():
        yield from all_errors(child)


ALL = sorted({one for one in all_errors() if one.__module__ == errors.__name__}, key=lambda one: one.__name__)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_can_be_shown(kind):
    shown = errors.problem(kind())
    assert shown["type"].startswith(errors.PROBLEM_BASE)
    assert 400 <= shown["status"] <= 599
    assert shown["detail"].endswith(".")
    assert shown["title"]


def test_types_are_unique():
    assert len({one.slug for one in ALL}) == len(ALL)


def test_members():
    error = errors.InvalidInput("No.", errors=[{"field": "name", "message": "Missing."}], limit=3)
    assert errors.problem(error) == {
        "type": errors.PROBLEM_BASE + "invalid-input",
        "title": errors.InvalidInput.title,
        "status": 422,
        "detail": "No.",
        "errors": [{"field": "name", "message": "Missing."}],
        "limit": 3,
    }
