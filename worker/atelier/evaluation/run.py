"""All parts one after another, each kept as soon as it is done; then one table and one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from worker.atelier.designs import ICON_SETS, fetch_icons
from worker.atelier.evaluation import autoencoder, blocks, control, photos, speed, text, transfer
from worker.atelier.evaluation.bench import Bench, Figures, write_json

PARTS: dict[str, Callable[[Bench], Figures]] = {
    "autoencoder": autoencoder.measure,
    "blocks": blocks.measure,
    "control": control.measure,
    "transfer": transfer.measure,
    "text": text.measure,
    "photos": photos.measure,
    "speed": speed.measure,
}
QUICK_PARTS = ("autoencoder", "blocks", "control", "transfer")


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        folder: The base's.
        out: Gets `figures.json`, a JSON file a part, pictures and tables.
        work: Has or gets `icons/`.
        photos: Folder of real photographs; skipped when it is not there.
        quick: A small cut of the parts that need no other packages.
        only: Names of `PARTS`; empty for all.
        device: ``cpu`` or ``cuda``.
    """

    folder: Path
    out: Path
    work: Path
    photos: Path | None = None
    quick: bool = False
    only: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts to run, in their order.

        Raises:
            ValueError: no such part.
        """
        unknown = [name for name in self.only if name not in PARTS]
        if unknown:
            raise ValueError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
        wanted = self.only or (QUICK_PARTS if self.quick else tuple(PARTS))
        return tuple(name for name in PARTS if name in wanted)


def icons_for(work: Path, say: Callable[[str], object]) -> Path | None:
    """The folder of icons, fetched once; None where npm is not there or reaches nothing."""
    folder = work / "icons"
    if all((folder / part).exists() for part in ("emoji.json", *(f"{name}/icons.json" for name in ICON_SETS))):
        return folder
    try:
        fetch_icons(folder)
    except RuntimeError as error:
        say(f"No icons, procedural designs only: {error}")
        return None
    return folder


def evaluate_base(request: Request, console: Console) -> Figures:
    """Runs what was asked for and is not known yet.

    Args:
        request: What to evaluate.
        console: Where bars and notices go.

    Returns:
        Figures by part; also in `figures.json`.

    Raises:
        ValueError: no such part.
        worker.engine.bases.BaseError: the base cannot be loaded.
    """
    parts = request.parts
    say = console.print
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bench = Bench(
            request.folder,
            request.out,
            request.work,
            icons_for(request.work, say),
            request.photos if request.photos is not None and request.photos.is_dir() else None,
            request.quick,
            progress,
            request.device,
        )
        figures: Figures = {"base": bench.base.info.name, "version": bench.base.info.version, "quick": request.quick}
        for part in parts:
            found = bench.remembered(part)
            if found is None:
                found = PARTS[part](bench)
                # What was left out is tried again the next time.
                if "skipped" not in found:
                    bench.remember(part, found)
            if "skipped" in found:
                say(f"{part} was left out: {found['skipped']}")
            figures[part] = found
    write_json(request.out / "figures.json", figures)
    return figures


TABLE: tuple[tuple[str, str, str, str], ...] = (
    ("autoencoder", "psnr_db", ".1f", "autoencoder, held-out embroidery, dB"),
    ("autoencoder", "psnr_held_out_db", ".1f", "... families never shown, dB"),
    ("autoencoder", "psnr_flat_db", ".1f", "... flat designs, dB"),
    ("autoencoder", "log_gabor", ".3f", "log-Gabor distance of its reconstructions"),
    ("autoencoder", "log_gabor_blur", ".3f", "... of a 10 % blur, for comparison"),
    ("blocks", "share", ".2f", "S: share of the style word's change that the style blocks make alone"),
    ("blocks", "style_blocks", ".3f", "output moved by the style word in the style blocks"),
    ("blocks", "all_others", ".3f", "... in all others"),
    ("blocks", "all_blocks", ".3f", "... in all blocks"),
    ("blocks", "words.mean", ".4f", "output moved from one style word to another, mean of 100 pairs"),
    ("blocks", "words.min", ".4f", "... least"),
    ("blocks", "words.general_min", ".4f", "... from the general word to the nearest family's"),
    ("control", "edge_agreement", ".2f", "E: edges kept from noise, flat and embroidered"),
    ("control", "flat.edges", ".2f", "... flat"),
    ("control", "embroidered.edges", ".2f", "... embroidered"),
    ("control", "truth.edges", ".2f", "... of true renders"),
    ("control", "other.edges", ".2f", "... by chance"),
    ("control", "flat.colours", ".1f", "colour difference, flat"),
    ("control", "embroidered.colours", ".1f", "... embroidered"),
    ("transfer", "gain", ".2f", "T: transfer gain"),
    ("transfer", "interval", "", "... 90 % interval"),
    ("transfer", "glance", ".2f", "... of the reference's stitches laid on the design, without training"),
    ("transfer", "anew", ".2f", "... of the truth itself, sewn a second time"),
    ("transfer", "gain_to_truth", ".2f", "... of ours against the truth instead of AE(truth)"),
    ("transfer", "distances.ours_to_ae_truth", ".3f", "distance to AE(truth), ours"),
    ("transfer", "distances.no_adapter_to_ae_truth", ".3f", "... without an adapter"),
    ("transfer", "distances.design_to_ae_truth", ".3f", "... of the untouched design"),
    ("transfer", "distances.ae_truth_to_truth", ".3f", "distance of AE(truth) to the truth"),
    ("text", "flat.top_1", ".0%", "briefs found again, flat pictures, first of 100"),
    ("text", "flat.top_5", ".0%", "... among the first five"),
    ("text", "embroidered.top_1", ".0%", "briefs found again, embroidered pictures, first of 100"),
    ("text", "embroidered.top_5", ".0%", "... among the first five"),
    ("text", "true.flat.top_1", ".0%", "... of true renders, flat: the ceiling"),
    ("text", "true.embroidered.top_1", ".0%", "... of true renders, embroidered"),
    ("text", "synonyms.flat.top_1", ".0%", "synonyms found again, flat pictures"),
    ("text", "plain.flat.top_1", ".0%", "... their plain forms"),
    ("text", "answers.flat.top_1", ".0%", "briefs as customers are shown them, the drawing, first of 100"),
    ("text", "answers.embroidered.top_1", ".0%", "... embroidered"),
    ("text", "synonym_answers.flat.top_1", ".0%", "... the same of synonyms, the drawing"),
    ("speed", "train_default.seconds", ".0f", "training, default, s"),
    ("speed", "train_default.peak_mb", ".0f", "... peak memory, MB"),
    ("speed", "train_short.seconds", ".0f", "training, short, s"),
    ("speed", "train_short.peak_mb", ".0f", "... peak memory, MB"),
    ("speed", "preview_draft.seconds", ".1f", "one preview, draft, s"),
    ("speed", "preview_final.seconds", ".1f", "one preview, final, s"),
    ("speed", "preview_final.peak_mb", ".0f", "... peak memory, MB"),
)
"""Part, figure (dots lead inwards), format, words."""


def looked_up(figures: Figures, part: str, path: str) -> Any:
    """A figure by its path, or None."""
    found: Any = figures.get(part)
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def table_of(figures: Figures) -> Table:
    """What was measured, as a table."""
    table = Table(title=f"{figures['base']} {figures['version']}", show_header=False)
    last = ""
    for part, path, form, words in TABLE:
        value = looked_up(figures, part, path)
        if value is None:
            continue
        if last and part != last:
            table.add_section()
        last = part
        shown = " to ".join(f"{v:.2f}" for v in value) if isinstance(value, Sequence) else format(value, form)
        table.add_row(words, shown)
    return table


def headline(figures: Figures) -> str | None:
    """The four figures that decide whether a base will do, in one line; None unless all of them are there."""
    wanted = (("blocks", "share"), ("control", "edge_agreement"), ("transfer", "gain"), ("autoencoder", "psnr_db"))
    values = [looked_up(figures, part, name) for part, name in wanted]
    if any(value is None for value in values):
        return None
    share, edges, gain, psnr = values
    return (
        f"{figures['base']}: style-block share {share:.2f}, edge agreement {edges:.2f}, transfer gain {gain:.2f}, "
        f"autoencoder {psnr:.1f} dB"
    )
