"""Every method on every reference and design; each result is kept as soon as it is there."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from worker.atelier.evaluation.bench import Bench, digest_of, write_json
from worker.atelier.evaluation.sheets import contact_sheet
from worker.bench.measures import Extra, Scene, extra_measures, measure
from worker.bench.methods import METHODS
from worker.bench.suite import Reference, Suite
from worker.engine.colour import Picture, to_image

Figures = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """What a run found.

    Attributes:
        about: machine, base, commit, preset, what was run.
        figures: method -> reference -> one dict of figures a design.
        seconds: method -> reference -> seconds to draw all designs.
        trainings: name of an adapter -> reference -> seconds it took to learn.
    """

    about: Figures
    figures: dict[str, dict[str, list[dict[str, float]]]]
    seconds: dict[str, dict[str, float]]
    trainings: dict[str, dict[str, float]]

    def table(self, method: str, figure: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """One figure of one method, [styles, designs]; styles in the suite's order."""
        by_reference = self.figures[method]
        return np.array([[one[figure] for one in by_reference[name]] for name in sorted(by_reference)])


def about(bench: Bench, suite: Suite, preset: str, methods: Sequence[str]) -> Figures:
    """What the figures belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    ).stdout.strip()
    base = digest_of(sorted(path for path in bench.folder.rglob("*") if path.is_file()))
    return {
        "base": f"{bench.base.info.name} {bench.base.info.version}",
        "base_digest": base,
        "commit": commit or "unknown",
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {bench.device}",
        "torch": torch.__version__,
        "preset": preset,
        "cut": suite.cut,
        "references": [reference.name for reference in suite.references],
        "unseen": [reference.name for reference in suite.references if reference.unseen],
        "designs": [case.name for case in suite.designs],
        "icons": bench.icons is not None,
        "of_briefs": suite.of_briefs,
        "size": bench.size,
        "methods": list(methods),
    }


def run(bench: Bench, suite: Suite, preset: str, methods: Sequence[str], clip: Path | None = None) -> Results:
    """Runs what is not known yet, and writes `results.json` and a contact sheet a reference.

    Args:
        bench: base, folders and bars.
        suite: what to measure on.
        preset: of every training.
        methods: names of `METHODS`.
        clip: folder of a CLIP model, for its score.

    Raises:
        ValueError: no such method, or no CLIP model there.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ValueError(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    extra = extra_measures(clip)
    cut = "-".join([str(len(suite.designs)), suite.name, *extra])
    found: Figures = {}
    seconds: Figures = {}
    for reference in bench.track(suite.references, "references"):
        for name in bench.track(methods, f"{reference.name}: methods"):
            kept = json.loads(
                bench.kept(
                    f"{preset}-{reference.name}-{name}-{cut}.json",
                    lambda n=name, r=reference: _one(bench, suite, r, n, preset, extra),  # type: ignore[misc]
                )
            )
            found.setdefault(name, {})[reference.name] = kept["figures"]
            seconds.setdefault(name, {})[reference.name] = kept["seconds"]
        _sheet(bench, suite, reference, methods)
    results = Results(about(bench, suite, preset, methods), found, seconds, _trainings(bench, suite, preset))
    write_json(results_path(bench.out, suite.name), asdict(results))
    return results


def _trainings(bench: Bench, suite: Suite, preset: str) -> dict[str, dict[str, float]]:
    """What `worker.bench.methods` wrote beside each adapter."""
    found: dict[str, dict[str, float]] = {}
    for reference in suite.references:
        start = f"{reference.name}-{preset}-"
        for path in sorted((bench.out / "kept" / bench.fingerprint).glob(f"{start}*.seconds")):
            found.setdefault(path.stem.removeprefix(start), {})[reference.name] = float(path.read_text())
    return found


def read_results(path: Path) -> Results:
    """Results that `run` wrote.

    Raises:
        FileNotFoundError: there are none.
    """
    kept = json.loads(path.read_text(encoding="utf-8"))
    return Results(**kept)


def _one(bench: Bench, suite: Suite, reference: Reference, name: str, preset: str, extra: Extra) -> bytes:
    draw = METHODS[name].prepare(bench, reference, preset)
    learnt = time.monotonic()
    pictures: list[Picture] = [draw(case, number) for number, case in enumerate(suite.designs)]
    drawn = time.monotonic()
    pair = reference.pair
    figures = []
    for number, (case, picture) in enumerate(zip(suite.designs, pictures, strict=True)):
        scene = Scene(case.flat, case.mask, case.sewn(reference.style), pair.embroidery, pair.mask, case.words)
        figures.append(measure(picture, scene, extra))
        path = picture_path(bench, suite, reference, name, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        to_image(picture).save(path)
    return json.dumps({"figures": figures, "seconds": round(drawn - learnt, 2)}).encode()


def picture_path(bench: Bench, suite: Suite, reference: Reference, method: str, number: int) -> Path:
    """Where a method's picture of a design is."""
    return bench.out / "pictures" / suite.name / reference.name / f"{number:02d}-{method}.png"


def results_path(out: Path, name: str = "designs") -> Path:
    """Where the results of a run are, by the name of its suite."""
    return out / ("results.json" if name == "designs" else f"results-{name}.json")


def _sheet(bench: Bench, suite: Suite, reference: Reference, methods: Sequence[str]) -> None:
    """Reference | design | methods | truth, for the first designs."""
    pair, rows = reference.pair, []
    for number, case in enumerate(suite.designs[:4]):
        drawn = [Image.open(picture_path(bench, suite, reference, name, number)) for name in methods]
        rows.append([pair.embroidery if number == 0 else None, case.flat, *drawn, case.sewn(reference.style)])
    columns = ["reference", "design", *(METHODS[name].title.strip("*") for name in methods), "truth"]
    bench.save(contact_sheet(rows, columns, side=bench.size), f"{suite.name}-{reference.name}.png")
