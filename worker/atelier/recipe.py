"""The whole road from icons to a base, on any device: the corpus grows while the first networks train."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diffusers import AutoencoderTiny
from torch import Tensor

from worker.atelier.autoencoder import encoder_of, train_autoencoder
from worker.atelier.base import WORDS_ALONE, Phase, Trainer, draw_batch
from worker.atelier.corpus import Pool
from worker.atelier.drafts import CHUNK, Drafts
from worker.atelier.network import INFO, LATENT_CHANNELS
from worker.atelier.parallel import Together
from worker.atelier.text import PROMPT_TOKENS
from worker.engine.base_info import INFO_FILE, BaseInfo
from worker.engine.bases import quiet_libraries

FACTOR = 4
ENOUGH = 1536
"""Designs after which a training starts while the rest of the corpus is still being drawn."""


@dataclass(frozen=True)
class Budget:
    """What a training may take.

    Attributes:
        autoencoder: Minutes for the autoencoder, or for its decoder alone where a UNet has learnt its latents; 0 keeps
            the one that is there.
        base: Minutes for everything else.
        designs: Size of the corpus: about 1 MB each, 1.3 MB with latents, in the device's memory.
        workers: Processes that draft designs.
        batch: Samples of a whole picture in a step.
        crops: Crops in a step of the autoencoder.
        compiled: Whether to compile the UNet.
        words: Share of the samples that are drawn from words alone.
        seed: Of the corpus; another one for another session's designs.
    """

    autoencoder: float
    base: float
    designs: int = 6000
    workers: int = 1
    batch: int = 8
    crops: int = 32
    compiled: bool = False
    words: float = WORDS_ALONE
    seed: int = 0


def phases(batch: int) -> list[Phase]:
    """Textures and prompts first, from crops, four times as many; then whole pictures."""
    return [
        Phase(0.6, {128: 0.6, 256: 0.4}, batch),
        Phase(0.4, {128: 0.25, 256: 0.75}, batch),
    ]


def warm_up(trainer: Trainer, pool: Pool, batch: int) -> None:
    """Runs a step on whole pictures without learning: a compiler takes its minute here."""
    for _ in range(2):
        trainer.loss(draw_batch(pool, batch, pool.size)).backward()  # type: ignore[no-untyped-call]
    trainer.optimiser.zero_grad()


def make_base(
    folder: Path,
    work: Path,
    parts: Path,
    budget: Budget,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> Trainer:
    """Trains a base, on from the weights in `folder`; a new one starts from the parts that are trained already.

    Args:
        folder: The base's folder.
        work: Icons, a saved corpus (`pool.pt`, used if there is one) and the training's state.
        parts: Folder of the distilled text encoders and, perhaps, of an autoencoder: `vae`.
        budget: Time and sizes.
        device: `cpu` or `cuda`.
        report: Takes lines of log.

    Raises:
        ValueError: `folder` holds a base of another generation, which this code would ruin, or several processes
            are to train an autoencoder.
    """
    together = Together()
    device = together.device(device)
    if together.count > 1 and budget.autoencoder > 0:
        raise ValueError("an autoencoder is trained by one process: train it first, then the rest by several")
    _check_generation(folder)
    quiet_libraries()
    if not (folder / "vae").exists() and (parts / "vae").exists():
        shutil.copytree(parts / "vae", folder / "vae")
    trained = (folder / "unet").exists()
    begin = time.monotonic()

    def say(line: str) -> None:
        if together.is_first:
            report(f"{time.monotonic() - begin:7.1f} s  {line}")

    saved = work / "pool.pt"
    if saved.exists():
        pool = Pool.load(saved, device)
        say(f"{pool.count} designs read")
    else:
        pool = Pool(budget.designs, PROMPT_TOKENS, device=device)
        # Processes that train together draw designs of their own.
        seed = budget.seed + 1_000 * together.rank
        drafts = Drafts(work / "icons", parts, -(-budget.designs // CHUNK), pool.size, seed)
        pool.grow_aside(drafts, budget.workers)
    trainer = Trainer(folder, work, parts, device, compiled=budget.compiled)
    if budget.compiled:
        # Anything will do to compile with: the first designs, as latents of nothing.
        _wait(pool, CHUNK * 8)
        pool.encode_with(_nothing, LATENT_CHANNELS, FACTOR)
        say("compiling")
        warm_up(trainer, pool, budget.batch)
        say("compiled")
    _wait(pool, min(ENOUGH, pool.capacity))
    say(f"{pool.count} designs drawn, more to come" if pool.count < pool.capacity else f"{pool.count} designs")
    if budget.autoencoder > 0:
        vae = train_autoencoder(
            pool, folder / "vae", budget.autoencoder, device, budget.crops, say, decoder_alone=trained
        )
    else:
        vae = AutoencoderTiny.from_pretrained(folder / "vae").to(device).eval()
    if budget.base > 0:
        pool.encode_with(encoder_of(vae, device), LATENT_CHANNELS, FACTOR)
        say(f"{pool.ready} designs encoded")
        trainer.run(pool, budget.base, phases(budget.batch), words_alone=budget.words, report=say)
    say(f"done: {pool.count} designs, {trainer.seen} samples")
    return trainer


def _check_generation(folder: Path) -> None:
    if (folder / INFO_FILE).exists() and (found := BaseInfo.read(folder).version) != INFO.version:
        raise ValueError(
            f"{folder} holds version {found} of the base, and this code trains version {INFO.version}: "
            "name another folder for the new one (--folder)."
        )


def _nothing(pictures: Tensor) -> Tensor:
    cells = pictures.shape[-1] // FACTOR
    return pictures.new_zeros(len(pictures), LATENT_CHANNELS, cells, cells)


def _wait(pool: Pool, count: int) -> None:
    while pool.count < count:
        if pool.failure:
            raise RuntimeError("the corpus could not be rendered") from pool.failure
        time.sleep(0.2)
