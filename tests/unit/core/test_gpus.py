"""Which GPUs there are, and what each of them does."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from backend.core.config import Settings
from backend.core.gpus import use_gpu, visible_gpus, workers_for

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", ["0"]),
        ("2, 3", ["2", "3"]),
        ("GPU-8f,GPU-9a", ["GPU-8f", "GPU-9a"]),
    ],
)
def test_cudas_own_setting_says_which_may_be_used(chosen: str, expected: list[str]) -> None:
    assert visible_gpus(chosen) == expected


def test_the_setting_is_read_by_cudas_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Settings().cuda_visible_devices == "all"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Settings().cuda_visible_devices == ""


@pytest.mark.parametrize(("script", "expected"), [("printf '0\\n1\\n2\\n'", ["0", "1", "2"]), ("exit 9", [])])
def test_the_driver_is_asked(script: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert visible_gpus() == expected


def test_without_several_gpus_renders_never_wait_for_trainings() -> None:
    for gpus in ([], ["0"]):
        assert workers_for(gpus) == {"worker-render": ("render,io", {}), "worker-train": ("train", {})}


def test_every_gpu_has_a_worker_and_one_is_left_to_renders() -> None:
    found = workers_for(["0", "1", "2", "3"])
    assert [queues for queues, _ in found.values()] == ["train,render,io"] * 2 + ["render,io"] * 2
    assert [env["CUDA_VISIBLE_DEVICES"] for _, env in found.values()] == ["0", "1", "2", "3"]
    assert [queues for queues, _ in workers_for(["0", "1"], training=9).values()] == ["train,render,io", "render,io"]


def test_a_worker_can_be_given_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    use_gpu("1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
