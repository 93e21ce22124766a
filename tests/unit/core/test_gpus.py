"""Which GPUs there are, and what each of them does."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from backend.core.config import Settings
from backend.core.gpus import fair_share, use_gpu, visible_gpus, workers_for

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
    assert workers_for([]) == {"worker-render": ("render,io", {}), "worker-train": ("train", {})}
    shared = {"HOOP_GPU_WORKERS": "2"}
    assert workers_for(["0"]) == {"worker-render": ("render,io", shared), "worker-train": ("train", shared)}


def test_every_gpu_has_a_worker_and_one_is_left_to_renders() -> None:
    found = workers_for(["0", "1", "2", "3"])
    assert [queues for queues, _ in found.values()] == ["train,render,io"] * 2 + ["render,io"] * 2
    assert [env for _, env in found.values()] == [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in "0123"], "each its own"
    assert [queues for queues, _ in workers_for(["0", "1"], training=9).values()] == ["train,render,io", "render,io"]


def test_a_worker_can_be_given_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    use_gpu("1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


class Card:
    """A GPU's memory, in GB, with what each of its users holds."""

    def __init__(self, note: Path, total: float = 80, **held: float) -> None:
        self.note, self.total, self.held = note, total, held

    def share(self, worker: str, workers: int = 2) -> float:
        free = self.total - sum(self.held.values())
        return fair_share(self.note, workers, free=free, total=self.total, own=self.held.get(worker, 0))


def test_workers_of_one_gpu_get_equal_parts_whoever_comes_first(tmp_path: Path) -> None:
    card = Card(tmp_path / "run" / "gpu-free", desktop=20)
    assert card.share("render") == 30
    card.held["render"] = 25
    assert card.share("train") == 30, "as much as if the other one had nothing yet"
    card.held["train"] = 30
    assert card.share("render") == 5, "beside what it holds"
    # One that was started again, or loads another base.
    card.held["render"] = 0
    assert card.share("render") == 30
    assert [path.name for path in card.note.parent.iterdir()] == ["gpu-free"]


def test_no_more_is_shared_than_there_is(tmp_path: Path) -> None:
    card = Card(tmp_path / "gpu-free")
    assert card.share("render") == 40
    card.held["game"] = 60
    assert card.share("train") == 20
    card.held = {"render": 50, "train": 30}
    assert card.share("render") == 0
    # The file is of a larger GPU, or cannot be read.
    assert Card(card.note, total=24).share("render") == 12
    card.note.write_text("")
    assert Card(card.note, total=24).share("render") == 12
    assert Card(tmp_path / "none", total=24).share("alone", workers=1) == 24
    assert not (tmp_path / "none").exists()


def test_without_a_place_for_the_file_a_worker_goes_by_what_it_finds(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Card(tmp_path / "file" / "gpu-free").share("render") == 40
