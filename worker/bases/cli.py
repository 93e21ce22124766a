"""`hoop base`: fetch, list, check, add and remove base models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from backend.core.bases import BaseEntry, Part, add_entry, check_new_name, is_installed, registry
from backend.core.config import get_settings

if TYPE_CHECKING:
    from worker.bases.store import Report
    from worker.runtime import Runtime

base_app = typer.Typer(help="Base models: what there is, and getting others.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="As `hoop base list` calls it.")]


@contextmanager
def _bar(words: str) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description:<48}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(words, total=None)

        def report(done: int, total: int, file: str) -> None:
            progress.update(task, completed=done, total=total, description=file or words)

        yield report


@base_app.command("list")
def list_bases() -> None:
    """List the base models that Hoop knows, and which are on this machine."""
    settings = get_settings()
    console = Console(soft_wrap=True, highlight=False)
    for name, entry in registry(settings, strict=True).items():
        here = "comes with Hoop" if entry.bundled else "here" if is_installed(settings, name) else "not fetched yet"
        console.print(f"[bold]{name}[/bold]{' (default)' if name == settings.base else ''}: {entry.title}")
        pixels = "" if entry.bundled else f", {entry.resolution} px"
        console.print(f"    {here}{pixels}; {entry.licence}")
    console.print(f"Fetched ones are kept in {settings.bases}.")


@base_app.command()
def fetch(
    name: Name,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the weights' licence and accept it.")
    ] = False,
) -> None:
    """Get a base model from the hub, or what is missing or damaged of it; a broken fetch goes on where it stopped."""
    from worker.bases.store import entry_of
    from worker.bases.store import fetch as fetch_base

    settings = get_settings()
    entry = entry_of(settings, name)
    console = Console(soft_wrap=True)
    if entry.licence_url and not accept_licence and not is_installed(settings, name):
        console.print(f"{entry.title} is under the {entry.licence}: {entry.licence_url}")
        if not typer.confirm("Have you read it, and do you accept it?"):
            raise typer.Exit(1)
    with _bar(f"fetching {name}") as report:
        folder = fetch_base(settings, name, report, say=console.print)
    console.print(f"{entry.title} is in {folder}.")
    if entry.purpose == "styles" and settings.base != name:
        console.print(f"To make it the default: HOOP_BASE={name}")
    if entry.purpose == "designs" and settings.design_base != name:
        console.print(f"To let it draw the flat designs of photos: HOOP_DESIGN_BASE={name}")


@base_app.command()
def check(
    name: Name,
    draw: Annotated[bool, typer.Option(help="Also load it and draw one small picture.")] = False,
) -> None:
    """Compare every file of a base model with what was fetched, and say how it would be loaded here."""
    from worker.bases.store import check as check_base
    from worker.bases.store import entry_of

    settings = get_settings()
    entry = entry_of(settings, name)
    with _bar(f"checking {name}") as report:
        found = check_base(settings, name, report)
    console = Console(soft_wrap=True)
    for words, files in (("is missing", found.missing), ("is damaged", found.damaged)):
        for file in files:
            console.print(f"[red]{file}[/red] {words}")
    if not found.whole:
        console.print(f"{entry.title} is not whole. Get that with: hoop base fetch {name}")
        raise typer.Exit(1)
    console.print(f"{entry.title} is whole: {found.files} files, {found.bytes / 1e9:.2f} GB.")
    from worker.runtime import Runtime

    runtime = Runtime(settings)
    console.print(f"On this machine: {runtime.describe(name)}")
    if draw:
        if entry.purpose == "styles":
            _draw_something(runtime, name)
        else:
            _draw_design(runtime, name)
        console.print("It draws.")


def _draw_something(runtime: Runtime, name: str) -> None:
    with runtime.base(name) as base:
        from worker.engine.config import render_config
        from worker.engine.drawing import imagine

        side = max(base.size_multiple, base.info.resolution // 4)
        imagine(base, "a red fox", [0], render_config("flat", small=False, steps=2, size=side, guidance=1.0))


def _draw_design(runtime: Runtime, name: str) -> None:
    from PIL import Image

    from worker.engine.pairs.diffusion import DesignConfig, draw_design

    draw_design(Image.new("RGB", (256, 256), "red"), runtime.designs_of(name), 42, config=DesignConfig(steps=2))


@base_app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    checkpoint: Annotated[
        Path, typer.Argument(help="One .safetensors file in SDXL's layout, or a folder in diffusers'.", exists=True)
    ],
    licence: Annotated[str, typer.Option(help="Of its weights, for your records.")] = "see its model card",
    title: Annotated[str, typer.Option(help="For people; the name when left out.")] = "",
    like: Annotated[str, typer.Option(help="Base whose tokenizers, configuration and control it shares.")] = "sdxl",
) -> None:
    """Add a fine-tune of SDXL from a single-file checkpoint, or a folder, to the list of base models."""
    from worker.bases.store import entry_of
    from worker.bases.store import fetch as fetch_base

    settings = get_settings()
    check_new_name(name)
    model, path = entry_of(settings, like), checkpoint.expanduser().absolute()
    kept = model.model_dump(include={"resolution", "style_blocks", "style_word", "dtype", "few_steps"})
    kept |= {"short_of_memory": model.short_of_memory, "title": title or name, "licence": licence}
    if path.is_dir():
        parts = {part: given for part, given in model.parts.items() if part.startswith("control")}
        entry = BaseEntry(**kept, parts=parts | {"base": Part(folder=path)})
    else:
        entry = BaseEntry(**kept, file=path, like=like)
    with _bar(f"adding {name}") as report:
        folder = fetch_base(settings, name, report, entry)
    # Last: what is in the list can be used.
    written = add_entry(settings, name, entry)
    Console(soft_wrap=True).print(f"{entry.title} is in {folder}, and in the list {written}.")


@base_app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a base model's files, and its entry in your own list."""
    from worker.bases.store import remove as remove_base

    settings = get_settings()
    if not yes and not typer.confirm(f"Delete {settings.bases / name}? Styles learnt on it cannot be rendered then."):
        raise typer.Exit(1)
    remove_base(settings, name)
    Console(soft_wrap=True).print(f"“{name}” is removed.")


def register(app: typer.Typer) -> None:
    """Adds `hoop base` to the command line."""
    app.add_typer(base_app, name="base")
