"""A base trained by two processes: what `accelerate launch` starts, here on the CPU."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import torch
from torch import multiprocessing

from tests.atelier.test_training import SIZE, pool, text
from worker.atelier.autoencoder import build_autoencoder, encoder_of
from worker.atelier.base import Phase, Trainer
from worker.atelier.corpus import Pool
from worker.atelier.network import LATENT_CHANNELS
from worker.atelier.parallel import Together

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pool", "text"]


def _process(rank: int, port: int, work: Path, text: Path) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
    )  # fmt: skip
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pool = Pool.load(work / "pool.pt")
    pool.encode_with(encoder_of(build_autoencoder().eval(), "cpu"), LATENT_CHANNELS, 4)
    trainer = Trainer(work / "base", work / f"state-{rank}", text)
    assert (trainer.together.count, trainer.together.rank) == (2, rank)
    with torch.no_grad():
        # Processes that begin elsewhere would never meet.
        trainer.parameters[0].add_(rank)
    trainer.together.share(trainer.parameters)
    lines: list[str] = []
    seen: list[torch.Tensor] = []
    average = trainer.together.average_gradients

    def watched(parameters: list[torch.Tensor]) -> None:
        own = parameters[0].grad.clone()
        average(parameters)
        seen.append(torch.stack([own, parameters[0].grad]))

    trainer.together.average_gradients = watched  # type: ignore[method-assign]
    trainer.run(pool, 0.12, [Phase(1.0, {SIZE: 1.0}, 1)], report=lines.append)
    torch.save(
        {
            "parameters": [p.detach() for p in trainer.parameters],
            "steps": trainer.step,
            "samples": trainer.seen,
            "first": seen[0],
        },
        work / f"end-{rank}.pt",
    )


def test_two_processes_keep_one_set_of_weights(pool: Pool, text: Path, tmp_path: Path) -> None:
    pool.save(tmp_path / "pool.pt")
    (tmp_path / "base").mkdir()
    build_autoencoder().save_pretrained(tmp_path / "base" / "vae")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(_process, (port, tmp_path, text), nprocs=2)
    one, other = (torch.load(tmp_path / f"end-{rank}.pt") for rank in (0, 1))
    assert one["steps"] == other["steps"] >= 2
    assert one["samples"] == 2 * 4 * one["steps"]
    assert all(torch.equal(a, b) for a, b in zip(one["parameters"], other["parameters"], strict=True))
    # Each looked at its own batch, and both stepped by the mean of what they found.
    assert not torch.equal(one["first"][0], other["first"][0])
    assert torch.allclose(one["first"][1], (one["first"][0] + other["first"][0]) / 2, atol=1e-6)
    assert torch.equal(one["first"][1], other["first"][1])
    assert (tmp_path / "base" / "unet").is_dir()
    assert (tmp_path / "state-0" / "state.pt").exists()
    assert not (tmp_path / "state-1" / "state.pt").exists()


def test_alone_nothing_is_shared() -> None:
    together = Together()
    assert (together.count, together.rank, together.is_first) == (1, 0, True)
    assert together.device("cuda") == "cuda"
    assert together.agree(0.25, "cpu") == 0.25
    together.wait()
