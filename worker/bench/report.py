"""docs/benchmark.md, from a run's own results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from worker.atelier.evaluation.sheets import contact_sheet
from worker.bench.measures import EXTRA, MEASURES
from worker.bench.methods import ABLATIONS, HEADLINE, METHODS
from worker.bench.run import Results
from worker.bench.statistics import Estimate, difference
from worker.bench.suite import Reference, Suite

SAME = (
    "All on the same base, from the same pair, with as many iterations of training and the same control. From the flat "
    "design: strength 0.8, guidance 1.5. From laid stitches: strength 0.25, no guidance. Methods that train nothing: "
    "20 steps of DDIM's inversion and back, up to a strength of 0.8."
)

READING = (
    "Threads have shade and shine, and a histogram of colours counts them: the truth itself is far from the design in "
    "colours, and what is drawn flat is near. Who has the colours that would be sewn is told by those to truth. Edges "
    "and structure are to be read beside the truth's own, too: beads and knots do not end where a design does."
)


def columns_of(results: Results) -> list[str]:
    """The figures there are."""
    some = next(iter(next(iter(results.figures.values())).values()))[0]
    return [name for name in (*MEASURES, *EXTRA) if name in some]


def title_of(column: str) -> str:
    """With an arrow to where it gets better."""
    title = EXTRA[column][0] if column in EXTRA else MEASURES[column].title
    return f"{title} {'↓' if _lower(column) else '↑'}"


def _lower(column: str) -> bool:
    return EXTRA[column][1] if column in EXTRA else MEASURES[column].lower


def table(results: Results, methods: Sequence[str]) -> list[str]:
    """Markdown rows: means with their intervals; the best that is no bound is bold."""
    shown = [name for name in methods if name in results.figures]
    columns = columns_of(results)
    estimates = {(m, c): Estimate.of(results.table(m, c)) for m in shown for c in columns}
    ranked = [name for name in shown if METHODS[name].group != "bound"]
    best: dict[str, str] = {}
    for column in columns:
        sign = 1 if _lower(column) else -1
        if ranked:
            best[column] = min(ranked, key=lambda m: sign * estimates[m, column].mean)
    lines = [
        "| method | " + " | ".join(title_of(column) for column in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name in shown:
        cells = []
        for column in columns:
            one = estimates[name, column]
            mean = f"**{one.mean:.3f}**" if best.get(column) == name else f"{one.mean:.3f}"
            cells.append(f"{mean} ({one.low:.3f}..{one.high:.3f})")
        lines.append(f"| {METHODS[name].title} | " + " | ".join(cells) + " |")
    return lines


def against_ours(results: Results, column: str) -> list[str]:
    """Markdown rows: how much farther from the truth every other method is, style by style."""
    lines = [
        "| method | farther than Hoop by | 95 % interval | styles where Hoop is nearer |",
        "| --- | --- | --- | --- |",
    ]
    ours = results.table("ours", column)
    for name in results.figures:
        if name == "ours" or METHODS[name].group == "bound":
            continue
        other = results.table(name, column)
        one = difference(other, ours)
        nearer = int((other.mean(1) > ours.mean(1)).sum())
        lines.append(
            f"| {METHODS[name].title} | {one.mean:+.3f} | {one.low:+.3f}..{one.high:+.3f} | {nearer} of {len(ours)} |"
        )
    return lines


def _text(results: Results) -> list[str]:
    about = results.about
    return [
        "## Text briefs",
        "",
        f"{len(about['designs'])} briefs in {len(about['references'])} styles, preset `{about['preset']}`; "
        f"base `{about['base_digest']}`, commit `{about['commit']}`: "
        + ", ".join(f"“{brief}”" for brief in about["designs"][:6])
        + (" and so on" if len(about["designs"]) > 6 else "")
        + ". The bundled base knows no things, so every method draws from the drawing that Hoop gives a brief, and the "
        "truth is that drawing sewn: what is measured is whether the style comes without the sample's colours and "
        "motif."
        + ("" if "clip" in columns_of(results) else " CLIP's score is taken where its weights are (`--clip`)."),
        "",
        *table(results, list(results.figures)),
    ]


def _styles(results: Results, base_digest: str) -> list[str]:
    about = results.about
    other = (
        "" if about["base_digest"] == base_digest else " These are other weights of the base than the page begins with."
    )
    cut = f"All {len(about['references'])} reference styles, {len(about['designs'])} designs each"
    return [
        "## Every style",
        "",
        f"{cut}, preset `{about['preset']}`; base `{about['base_digest']}`, commit `{about['commit']}`.{other}",
        "",
        *table(results, list(results.figures)),
        "",
        "Distance to the truth (log-Gabor), against Hoop style by style:",
        "",
        *against_ours(results, "texture"),
    ]


def _by_style(results: Results) -> list[str]:
    lines = [
        "| reference | family unseen | Hoop | no adapter | image analogies | AE(truth) |",
        "| --- |" + " --- |" * 5,
    ]
    names = sorted(results.figures["ours"])
    for place, name in enumerate(names):
        cells = [
            f"{results.table(method, 'texture').mean(1)[place]:.3f}" if method in results.figures else ""
            for method in ("ours", "none", "quilt", "oracle")
        ]
        unseen = "yes" if name in results.about["unseen"] else ""
        lines.append(f"| {name} | {unseen} | " + " | ".join(cells) + " |")
    return lines


def cases_sheet(results: Results, suite: Suite, folder: Path, count: int = 3) -> Image.Image:
    """Best, median and worst pictures of ours by distance to the truth: reference, design, ours, truth."""
    names = sorted(results.figures["ours"])
    values = results.table("ours", "texture")
    order = np.argsort(values, axis=None)
    middle = len(order) // 2
    picked = [*order[:count], *order[middle : middle + count], *order[-count:]]
    of_name: dict[str, Reference] = {reference.name: reference for reference in suite.references}
    rows, captions = [], []
    for place, flat in enumerate(picked):
        style, design = np.unravel_index(flat, values.shape)
        reference, case = of_name[names[style]], suite.designs[design]
        ours = Image.open(folder / "pictures" / suite.name / reference.name / f"{design:02d}-ours.png").convert("RGB")
        rows.append([reference.pair.embroidery, case.flat, ours, case.sewn(reference.style)])
        kind = ("best", "median", "worst")[place // count]
        captions.append([f"{kind}: {reference.name}", case.name, f"{values[style, design]:.2f}", ""])
    return contact_sheet(rows, ("reference", "design", "Hoop", "truth"), captions)


def write_report(
    results: Results,
    validation: Sequence[str],
    sheet: str,
    of_briefs: Results | None = None,
    of_styles: Results | None = None,
) -> str:
    """The page.

    Args:
        results: of designs.
        validation: lines of :func:`worker.bench.validate.validation_lines`, if the figures were validated.
        sheet: address of the picture of best, median and worst cases.
        of_briefs: results of text briefs, if there are.
        of_styles: results of every style, if there are.
    """
    about = results.about
    cut = (
        f"the fixed quick cut: {len(about['references'])} styles x {len(about['designs'])} designs, preset "
        f"`{about['preset']}`"
        if about["cut"] == "quick"
        else f"{len(about['references'])} styles x {len(about['designs'])} designs, preset `{about['preset']}`"
    )
    count = max(1, len(about["designs"]))
    drawing = [
        f"| {METHODS[name].title} | {np.mean(list(by.values())) / count:.1f} |" for name, by in results.seconds.items()
    ]
    learning = [f"| {name} | {np.mean(list(by.values())):.0f} |" for name, by in results.trainings.items()]
    question = (
        "How well does a method carry a sample's stitches to other designs? Our stitch renderer draws each design in "
        "each reference style, so that for every picture there is the truth it should show. This page is written by "
        "`hoop bench report` from the results of `hoop bench run`."
    )
    families = ", ".join(sorted({name.split("-")[1] for name in about["unseen"]}))
    ran = (
        f"Run: {cut}; base {about['base']} (`{about['base_digest']}`), commit `{about['commit']}`, {about['machine']}, "
        f"torch {about['torch']}. Designs: {'held-out icons' if about['icons'] else 'procedural'}. Means over styles "
        "with 95 % bootstrap intervals over styles; ↓ less is better. Never shown to the base in training: "
        f"{families}."
    )
    parts = [
        "# EmbroideryBench",
        "",
        question,
        "",
        ran,
        "",
        "## Methods",
        "",
        SAME,
        "",
        *table(results, HEADLINE),
        "",
        *(f"- {METHODS[name].title}: {METHODS[name].about}." for name in results.figures),
        "",
        READING,
        "",
        "Distance to the truth (log-Gabor), against Hoop style by style:",
        "",
        *against_ours(results, "texture"),
        "",
    ]
    if of_styles is not None:
        parts += [*_styles(of_styles, about["base_digest"]), ""]
    if any(METHODS[name].group == "ablation" for name in results.figures):
        parts += ["## Ablations", "", *table(results, ABLATIONS), ""]
    if of_briefs is not None:
        parts += [*_text(of_briefs), ""]
    parts += [
        "## By style",
        "",
        "Log-Gabor distance to the truth.",
        "",
        *_by_style(of_styles or results),
        "",
        f"![Best, median and worst pictures]({sheet})",
        "",
        "## Time",
        "",
        "Seconds to learn a style, by adapter (the same one is drawn with in two ways), and to draw a picture:",
        "",
        "| adapter | seconds |",
        "| --- | --- |",
        *learning,
        "",
        "| method | seconds |",
        "| --- | --- |",
        *drawing,
        "",
        *validation,
    ]
    return "\n".join(parts).rstrip() + "\n"
