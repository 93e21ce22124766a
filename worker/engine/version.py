"""What a style's manifest says about the program that wrote it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

STYLE_FORMAT: Final = "hoop-style/1"
"""Of a manifest; a number more when an older Hoop could no longer read it."""


def hoop_version() -> str:
    """This package's version."""
    try:
        return version("hoop")
    except PackageNotFoundError:
        return "unknown"  # run from a bare checkout
