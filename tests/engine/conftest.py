"""A tiny random base for the engine's tests: what the engine does must not need a trained one."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import TYPE_CHECKING

import pytest
import torch

from tests.engine.tiny_base import save_tiny_base
from worker.engine.bases import Base, load_base

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(scope="session")
def loaded_base(base_folder: Path) -> Base:
    base = load_base(base_folder)
    base.autocast_dtype = None  # comparisons to the last bit want float32 everywhere
    return base


@pytest.fixture
def base(loaded_base: Base) -> Base:
    """The shared base, checked afterwards: no test and nothing it tests may change its weights or its layers."""
    before = {name: parameter.clone() for name, parameter in loaded_base.unet.named_parameters()}
    yield loaded_base
    after = dict(loaded_base.unet.named_parameters())
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.fixture(scope="session")
def epsilon_base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    base = load_base(save_tiny_base(tmp_path_factory.mktemp("epsilon-base"), prediction_type="epsilon"))
    base.autocast_dtype = None
    return base
