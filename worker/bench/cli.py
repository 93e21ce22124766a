"""`hoop bench`: measure methods against the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.atelier.cli import WEIGHTS, WORK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.atelier.evaluation.bench import Bench
    from worker.bench.suite import Cut

OUT = Path("build/bench")
PAGE = Path("docs/benchmark.md")

bench = typer.Typer(help="EmbroideryBench: methods against the truth.", no_args_is_help=True)

Quick = Annotated[bool, typer.Option("--quick", help="A fixed cut of six styles and two designs.")]
Folder = Annotated[Path, typer.Option(help="Base model folder, in diffusers' format.")]
Out = Annotated[Path, typer.Option(help="Results and pictures; a broken run goes on from here.")]
Work = Annotated[Path, typer.Option(help="Has or gets the icons that designs are made of.")]


@contextmanager
def _opened(folder: Path, out: Path, work: Path, device: str, *, quick: bool) -> Iterator[Bench]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from worker.atelier.evaluation.bench import Bench
    from worker.atelier.evaluation.run import icons_for

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bench(folder, out, work, icons_for(work, console.print), None, quick, progress, device)


@bench.command()
def make(out: Out = OUT / "suite", work: Work = WORK, size: int = 256, quick: Quick = False) -> None:
    """Draws the suite: references, designs and the truth of each design in each style."""
    from worker.bench.suite import embroidery_bench, write_suite

    with _opened(WEIGHTS, out, work, "cpu", quick=quick) as opened:
        suite = embroidery_bench(opened.icons, size, "quick" if quick else "whole")
        write_suite(suite, out, lambda items: opened.track(items, "true pictures"))
    typer.echo(f"{len(suite.references)} references, {len(suite.designs)} designs and their truth in {out}")


@bench.command()
def run(
    *,
    quick: Quick = False,
    methods: Annotated[str, typer.Option(help="Names with commas between; all by default.")] = "",
    briefs: Annotated[bool, typer.Option("--briefs", help="Text briefs instead of designs.")] = False,
    styles: Annotated[bool, typer.Option("--styles", help="A cut of all thirty styles and four designs.")] = False,
    preset: Annotated[str, typer.Option(help="Of every training: default, short or paper.")] = "",
    clip: Annotated[Path | None, typer.Option(help="Folder of a CLIP model, to take its score too.")] = None,
    folder: Folder = WEIGHTS,
    out: Out = OUT,
    work: Work = WORK,
    device: str = "cpu",
) -> None:
    """Runs methods on the suite; what is known already is not run again."""
    from worker.bench.methods import HEADLINE, METHODS, STYLES, TEXT
    from worker.bench.report import table
    from worker.bench.run import run as run_methods
    from worker.bench.suite import embroidery_bench

    if styles and (quick or briefs):
        raise typer.BadParameter("--styles is a cut of its own, of designs: leave --quick and --briefs out")
    usual = TEXT if briefs else HEADLINE if quick else STYLES if styles else tuple(METHODS)
    names = [name.strip() for name in methods.split(",") if name.strip()] or list(usual)
    cut: Cut = "quick" if quick else "styles" if styles else "whole"
    with _opened(folder, out, work, device, quick=quick) as opened:
        suite = embroidery_bench(opened.icons, opened.size, cut, of_briefs=briefs)
        try:
            results = run_methods(opened, suite, preset or ("default" if cut == "whole" else "short"), names, clip)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    typer.echo("\n".join(table(results, names)))


@bench.command()
def validate(*, quick: Quick = False, out: Out = OUT, work: Work = WORK, size: int = 256, designs: int = 2) -> None:
    """Checks that the figures measure stitches: changed styles against the same ones."""
    from worker.bench.suite import embroidery_bench
    from worker.bench.validate import validate as validate_measures
    from worker.bench.validate import validation_lines

    with _opened(WEIGHTS, out, work, "cpu", quick=quick) as opened:
        suite = embroidery_bench(opened.icons, size, "quick" if quick else "whole")
        found = validate_measures(suite, min(designs, len(suite.designs)), lambda items: opened.track(items, "styles"))
    out.mkdir(parents=True, exist_ok=True)
    (out / "validation.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    typer.echo("\n".join(validation_lines(found)))


@bench.command()
def photos(
    folder_of_photos: Annotated[Path, typer.Argument(metavar="DIR", help="Photographs of real embroidery.")],
    designs: Annotated[Path | None, typer.Option(help="Folder of designs; three of Hoop's own by default.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many of the designs.")] = 3,
    preset: Annotated[str, typer.Option(help="Of every training; none for laid stitches alone.")] = "default",
    folder: Folder = WEIGHTS,
    out: Out = OUT,
    work: Work = WORK,
    device: str = "cpu",
) -> None:
    """Learns real photographs and draws designs in their styles: a sheet to look at."""
    from worker.bench.photos import photo_sheet, pictures_in

    try:
        references = pictures_in(folder_of_photos)
        drawn = pictures_in(designs) if designs else own_designs(out / "designs")
        with _opened(folder, out, work, device, quick=False) as opened:
            found = photo_sheet(opened, references, drawn[:count], preset)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    (out / "photos.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    typer.echo(f"{len(found)} photographs: {out / 'photos.png'}")


@bench.command()
def domains(
    preset: Annotated[str, typer.Option(help="Of every training.")] = "default",
    folder: Folder = WEIGHTS,
    out: Out = OUT,
    work: Work = WORK,
    device: str = "cpu",
) -> None:
    """Photo to art, sketch colouring and appearance transfer, by the same code on other pairs."""
    from worker.bench.domains import domain_sheet

    with _opened(folder, out, work, device, quick=False) as opened:
        found = domain_sheet(opened, preset)
    (out / "domains.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, figures in found.items():
        ours, without, target = (figures[kind] for kind in ("ours", "no_adapter", "target"))
        typer.echo(f"{name}: {figures['measure']}: {ours:.3f}, no adapter {without:.3f}, target itself {target:.3f}")
    typer.echo(f"{out / 'domains.png'}")


def own_designs(folder: Path) -> list[Path]:
    """Drawings of Hoop's own as files."""
    from worker.atelier.demo import sample_design

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in ("fox", "sailboat", "tulip")]
    for path in paths:
        sample_design(path.stem, 512).save(path)
    return paths


@bench.command()
def report(
    out: Out = OUT, work: Work = WORK, page: Annotated[Path, typer.Option(help="Page to write.")] = PAGE
) -> None:
    """Writes the page from the results of `run` and `validate`."""
    from worker.bench.report import cases_sheet, write_report
    from worker.bench.run import read_results, results_path
    from worker.bench.suite import embroidery_bench
    from worker.bench.validate import validation_lines

    try:
        results = read_results(results_path(out))
    except FileNotFoundError as error:
        raise typer.BadParameter(f"no results in {out}: run `hoop bench run` first") from error
    of_briefs, of_styles = (
        read_results(path) if (path := results_path(out, name)).exists() else None for name in ("briefs", "styles")
    )
    if any("ours" not in one.figures for one in (results, of_styles) if one is not None):
        raise typer.BadParameter("these results are without Hoop's own: run `hoop bench run --methods ours,...`")
    checked: Sequence[str] = ()
    if (out / "validation.json").exists():
        checked = validation_lines(json.loads((out / "validation.json").read_text(encoding="utf-8")))
    with _opened(WEIGHTS, out, work, "cpu", quick=results.about["cut"] == "quick") as opened:
        if results.about["icons"] != (opened.icons is not None):
            raise typer.BadParameter("the results are of other designs: the icons could not be had then, or not now")
        suite = embroidery_bench(opened.icons, results.about["size"], results.about["cut"])
        sheet = page.parent / "pictures" / f"{page.stem}.jpg"
        sheet.parent.mkdir(parents=True, exist_ok=True)
        cases_sheet(results, suite, out).save(sheet, quality=88)
    page.write_text(write_report(results, checked, f"pictures/{sheet.name}", of_briefs, of_styles), encoding="utf-8")
    typer.echo(f"wrote {page} and {sheet}")


def register(app: typer.Typer) -> None:
    """Adds `hoop bench` to the command line."""
    app.add_typer(bench, name="bench")
