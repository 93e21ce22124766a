"""`hoop atelier`: make the bundled base from nothing but npm packages and time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "hoop-mini"
WORK = Path("build/atelier")

atelier = typer.Typer(help="Make and train the bundled base model, hoop-mini.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="Base model folder, in diffusers' format.")]
Work = Annotated[Path, typer.Option(help="Icons, corpus and training state; may be deleted at any time.")]


@atelier.command()
def corpus(
    work: Work = WORK,
    large: Annotated[int, typer.Option(help="Shards of 250 pairs at 256 px.")] = 28,
    small: Annotated[int, typer.Option(help="Shards of 250 pairs at 128 px.")] = 24,
    processes: Annotated[int, typer.Option(help="Renderers side by side.")] = 2,
) -> None:
    """Fetches the icons and renders pairs of design and embroidery. Goes on where it stopped."""
    from worker.atelier.corpus import make_corpus
    from worker.atelier.designs import fetch_icons

    fetch_icons(work / "icons")
    make_corpus(work / "icons", work / "corpus", 256, large, processes)
    make_corpus(work / "icons", work / "corpus", 128, small, processes)


@atelier.command()
def autoencoder(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 14,
    folder: Folder = WEIGHTS,
    work: Work = WORK,
    device: str = "cpu",
) -> None:
    """Trains the autoencoder, on from the weights that are there. Train the base anew after it."""
    from worker.atelier.autoencoder import train_autoencoder
    from worker.atelier.corpus import load_corpus

    train_autoencoder(load_corpus(work / "corpus", 256), folder / "vae", minutes, device=device, report=typer.echo)


@atelier.command()
def train(
    *,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 120,
    finish: Annotated[float, typer.Option(help="Minutes of those at the full 256 px, at the end.")] = 20,
    batch: Annotated[int, typer.Option(help="Samples of 128 px in a batch.")] = 32,
    folder: Folder = WEIGHTS,
    work: Work = WORK,
    device: str = "cpu",
) -> None:
    """Trains UNet, text encoders and control together, on from the state or the weights that are there."""
    from diffusers import AutoencoderTiny

    from worker.atelier.base import PEAK_RATE, Material, Trainer

    vae = AutoencoderTiny.from_pretrained(folder / "vae").to(device)
    whole, crops = (Material.make(work / "corpus", size, vae, device) for size in (128, 256))
    trainer = Trainer(folder, work, work / "corpus", device)
    if minutes > finish:
        trainer.run([(0.55, whole, 128), (0.45, crops, 128)], minutes - finish, batch, report=typer.echo)
    if finish > 0:
        mixed = [(0.2, whole, 128), (0.2, crops, 128), (0.6, crops, 256)]
        trainer.run(mixed, min(minutes, finish), batch, decay_from=0.0, peak=PEAK_RATE / 3, report=typer.echo)


@atelier.command()
def evaluate(
    out: Annotated[Path, typer.Option(help="Where the contact sheet and figures go.")] = Path("build/atelier/eval"),
    folder: Folder = WEIGHTS,
    work: Work = WORK,
) -> None:
    """Autoencoder fidelity, style-block sensitivity and a contact sheet of held-out designs."""
    from worker.atelier.evaluate import evaluate_base

    for line in evaluate_base(folder, work / "icons", out):
        typer.echo(line)


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
