"""The training corpus: pairs of flat design and embroidery with captions, rendered once and kept on disk."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from worker.atelier.designs import (
    cloth_colour,
    in_words,
    label_map,
    place_on_cloth,
    procedural_design,
    shuffled,
    training_icons,
)
from worker.atelier.stitches import FAMILIES, HELD_OUT_FAMILIES, flat_design, render_embroidery, sample_style

SHARD = 250
"""Pairs in a file: small enough that an interrupted run loses a minute at most."""

FAMILY_WEIGHTS = {"fill": 3.0, "satin": 2.0, "longshort": 1.5, "contour": 2.0}
"""Machine embroidery is mostly fills; other families count 1."""


@dataclass(frozen=True)
class Pairs:
    """Pairs in memory: uint8 [N, S, S, 3] twice, and for each pair (content words, family, descriptor words)."""

    designs: npt.NDArray[np.uint8]
    embroideries: npt.NDArray[np.uint8]
    captions: list[tuple[str, str, list[str]]]


def _make_shard(icons_folder: Path, target: Path, size: int, shard: int) -> int:
    """Renders one shard. Everything in it follows from `size` and `shard`."""
    rng = np.random.default_rng([size, shard])
    icons = shuffled(training_icons(icons_folder), seed=size * 1000 + shard)
    families = [f for f in FAMILIES if f not in HELD_OUT_FAMILIES]
    weights = np.array([FAMILY_WEIGHTS.get(f, 1.0) for f in families])
    designs: list[npt.NDArray[np.uint8]] = []
    embroideries: list[npt.NDArray[np.uint8]] = []
    captions: list[tuple[str, str, list[str]]] = []
    while len(designs) < SHARD:
        if rng.random() < 0.15:
            drawing, words = procedural_design(size * 2, rng)
        else:
            icon = next(icons)
            drawing, words = icon.raster(size * 2), in_words(icon.name)
        if not 0.08 < (drawing[..., 3] > 128).mean() < 0.85:
            continue
        design = label_map(place_on_cloth(drawing, size, rng), cloth_colour(rng), int(rng.integers(4, 9)), rng)
        style = sample_style(str(rng.choice(families, p=weights / weights.sum())), rng)
        designs.append(flat_design(design))
        embroideries.append(render_embroidery(design, style))
        captions.append((words, style.family, style.words()))
    temporary = target.with_suffix(".tmp.npz")
    np.savez(temporary, designs=np.array(designs), embroideries=np.array(embroideries), captions=json.dumps(captions))
    temporary.rename(target)
    return shard


def make_corpus(icons_folder: Path, folder: Path, size: int, count: int, processes: int = 2) -> None:
    """Renders the missing shards of the corpus at `size` px, in parallel, with a progress bar."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [(i, path) for i in range(count) if not (path := folder / f"pairs-{size}-{i:03d}.npz").exists()]
    with Progress() as progress, ProcessPoolExecutor(processes) as pool:
        bar = progress.add_task(f"pairs at {size} px", total=len(todo))
        futures = [pool.submit(_make_shard, icons_folder, path, size, i) for i, path in todo]
        for future in as_completed(futures):
            future.result()
            progress.advance(bar)


def shards(folder: Path, size: int) -> list[Path]:
    """Finished shards of one size, in order."""
    return sorted(folder.glob(f"pairs-{size}-???.npz"))


def load_corpus(folder: Path, size: int) -> Pairs:
    """Reads every finished shard of one size."""
    designs, embroideries, captions = [], [], []
    for path in shards(folder, size):
        with np.load(path) as shard:
            designs.append(shard["designs"])
            embroideries.append(shard["embroideries"])
            captions += [tuple(c) for c in json.loads(str(shard["captions"]))]
    if not designs:
        raise FileNotFoundError(f"No pairs of {size} px in {folder}: run `hoop atelier corpus` first.")
    return Pairs(np.concatenate(designs), np.concatenate(embroideries), captions)
