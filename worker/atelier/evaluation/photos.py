"""Real photographs: learnt as a customer's are, from the photo alone. There is no truth, only a look."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from worker.atelier.evaluation.bench import Bench, Figures
from worker.atelier.evaluation.sheets import contact_sheet
from worker.engine.adapter import Adapter
from worker.engine.colour import Picture, to_image
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.prepare import prepare_reference
from worker.engine.train import PairInput

COUNT = 6
DESIGNS = 2
FIRST = ("multicolour_heart", "hatch_green", "hatch_red", "hello", "strokes_orange", "shapes_green", "man_blue")
"""Parts of file names that are taken before others: fills, satin and lines, in one colour and in many."""


def chosen_photos(folder: Path, count: int = COUNT) -> list[Path]:
    """The photographs to learn from, the most telling first."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))

    def rank(path: Path) -> int:
        return next((place for place, part in enumerate(FIRST) if part in path.stem), len(FIRST))

    return sorted(found, key=rank)[:count]


def families_of(folder: Path) -> dict[str, str]:
    """What `INDEX.tsv` says each photograph shows, by file name."""
    index = folder / "INDEX.tsv"
    if not index.exists():
        return {}
    with index.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row.get("family", "") for row in csv.DictReader(file, delimiter="\t")}


def learnt(bench: Bench, name: str, photo: Image.Image) -> tuple[Adapter, Figures]:
    """The photo's style by the default preset, and the training's own figures; both are kept in `out`."""
    report: Figures = {}

    def train() -> bytes:
        style = bench.train(f"photos: {name}", PairInput(photo), "default")
        report.update(style.report["metrics"], seconds=style.report["seconds"], warnings=style.report["warnings"])
        return style.adapter

    adapter = Adapter.from_bytes(bench.kept(f"{name}-default.safetensors", train))
    kept = bench.kept(f"{name}-default.json", lambda: json.dumps(report).encode())
    return adapter, json.loads(kept)


def measure(bench: Bench) -> Figures:
    """Trains the default preset with the pair builder `flatten` and draws held-out designs as a customer's draft.

    Returns:
        ``photos``: for each its file, family, the training's own figures (`report` of `train_style`) and warnings.
    """
    if bench.photos is None:
        return {"skipped": "no folder of photographs"}
    families = families_of(bench.photos)
    cases = bench.cases(DESIGNS)
    rows: list[list[Picture | None]] = []
    captions: list[list[str]] = []
    found: list[Figures] = []
    for path in bench.track(chosen_photos(bench.photos), "photos: styles"):
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        prepared = prepare_reference(photo, bench.size)
        adapter, report = learnt(bench, path.stem, photo)
        row: list[Picture | None] = [prepared.embroidery]
        for number, case in enumerate(cases):
            request = RenderRequest(design=to_image(case.flat), config=bench.render(), seed=number)
            image = Renderer(bench.base).render(adapter, request)[0]
            row += [np.asarray(image.design) if image.design else case.flat, image.patch]
        rows.append(row)
        captions.append([f"{path.stem}: {families.get(path.name, '')}", *(w for c in cases for w in (c.name, "ours"))])
        found.append({"photo": path.name, "family": families.get(path.name, ""), **report})
    columns = ["reference", *(("design", "ours") * DESIGNS)]
    bench.save(contact_sheet(rows, columns, captions, bench.size), "photos.png")
    return {"photos": found}
