"""`hoop atelier`: make the bundled base from nothing but packages and time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "hoop-mini"
WORK = Path("build/atelier")

atelier = typer.Typer(help="Make, train and measure the bundled base model, hoop-mini.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="Base model folder, in diffusers' format.")]
Work = Annotated[Path, typer.Option(help="Icons, corpus and training state; may be deleted at any time.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@atelier.command()
def corpus(
    work: Work = WORK,
    designs: Annotated[int, typer.Option(help="How many; about 1 MB each.")] = 6000,
    workers: Annotated[int, typer.Option(help="Processes that draft designs.")] = 1,
    seed: int = 0,
    folder: Folder = WEIGHTS,
) -> None:
    """Fetches the icons and draws the corpus once, to be read by every later training."""
    from rich.progress import Progress

    from worker.atelier.corpus import CHUNK, Drafts, Pool
    from worker.atelier.designs import fetch_icons
    from worker.atelier.text import PROMPT_TOKENS

    fetch_icons(work / "icons")
    pool = Pool(designs, PROMPT_TOKENS)
    with Progress() as progress:
        bar = progress.add_task("designs", total=pool.capacity)
        drafts = Drafts(work / "icons", folder, pool.capacity // CHUNK, pool.size, seed)
        pool.grow(drafts, workers, together=1, report=lambda count: progress.update(bar, completed=count))
    pool.save(work / "pool.pt")


@atelier.command()
def text(
    teacher: Annotated[Path, typer.Argument(help="Folder of all-MiniLM-L6-v2, as its package ships it.")],
    out: Annotated[Path, typer.Option(help="Where the encoders and the tokenizer go.")] = WORK / "text",
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 12,
) -> None:
    """Distils the two text encoders from a sentence encoder."""
    from worker.atelier.text import make_text_encoders

    make_text_encoders(out, teacher, minutes)


@atelier.command()
def train(
    *,
    minutes: Annotated[float, typer.Option(min=0, help="Minutes for UNet, text encoders and control.")] = 120,
    autoencoder: Annotated[float, typer.Option(min=0, help="Minutes for the autoencoder before; 0 keeps it.")] = 0,
    batch: Annotated[int, typer.Option(help="Samples of a whole picture in a step.")] = 8,
    crops: Annotated[int, typer.Option(help="Crops in a step of the autoencoder.")] = 32,
    designs: Annotated[int, typer.Option(help="Corpus to draw meanwhile, unless one is saved.")] = 6000,
    workers: Annotated[int, typer.Option(help="Processes that draft designs.")] = 1,
    compiled: Annotated[bool, typer.Option(help="Compile the UNet: pays on a GPU.")] = False,
    seed: Annotated[int, typer.Option(help="Of the corpus.")] = 0,
    folder: Folder = WEIGHTS,
    work: Work = WORK,
    text: Annotated[Path, typer.Option(help="Text encoders for a new base.")] = WORK / "text",
    device: Device = "cpu",
) -> None:
    """Trains the base, on from the state or the weights that are there; a checkpoint every five minutes."""
    from worker.atelier.designs import fetch_icons
    from worker.atelier.recipe import Budget, make_base

    if not (work / "pool.pt").exists():
        fetch_icons(work / "icons")
    budget = Budget(autoencoder, minutes, designs, workers, batch, crops, compiled, seed)
    make_base(folder, work, text, budget, device, typer.echo)


@atelier.command()
def demo(
    style: Annotated[list[str] | None, typer.Option(help="Only these; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Where the styles' folders go.")] = Path("backend/demo"),
    folder: Folder = WEIGHTS,
) -> None:
    """Sews and photographs the demo shop's samples and learns their styles with the default preset."""
    from worker.atelier.demo import make_demo
    from worker.engine.progress import RichProgress

    with RichProgress() as progress:
        for made in make_demo(folder, out, progress, tuple(style or ())):
            typer.echo(f"made {made}")


def register(app: typer.Typer) -> None:
    """Adds `hoop atelier` to the command line."""
    app.add_typer(atelier, name="atelier")
