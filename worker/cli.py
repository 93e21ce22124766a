"""Commands of `hoop` that compute: the worker, and learning and rendering on files, without a server."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from backend.core.config import MOST_PHOTOS, Settings, get_settings
from backend.core.errors import InvalidInput
from backend.core.processes import CannotStart
from backend.core.telemetry import configure_logging

Builder = Literal["artwork", "flatten", "diffusion"]
Preset = Literal["flat", "raised"]
Quality = Literal["draft", "final"]
Training = Literal["default", "short", "paper"]
Format = Literal["diffusers", "kohya"]

style_app = typer.Typer(help="Styles on files, without a server.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands `worker`, `style` and `render`."""
    app.command()(worker)
    app.command()(render)
    app.add_typer(style_app, name="style")


def worker(
    queues: Annotated[
        str, typer.Option(help="Which jobs to do, with commas: train, render, io; the settings' when left out.")
    ] = "",
    gpu: Annotated[str, typer.Option(help="Which GPU to use, by number; the first one when left out.")] = "",
) -> None:
    """Do jobs until told to stop, on one GPU or the CPU. Start one for every GPU."""
    from backend.core.gpus import use_gpu
    from worker.app import run

    if gpu:
        use_gpu(gpu)

    if not get_settings().broker_url:
        raise CannotStart(
            "There is no Hoop running on this data folder that a worker could help. Start one with `hoop up`, or set "
            "HOOP_BROKER_URL, HOOP_DATABASE_URL and HOOP_S3_ENDPOINT."
        )
    try:
        code = run([queue.strip() for queue in (queues or get_settings().queues).split(",") if queue.strip()])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--queues") from error
    raise typer.Exit(code)


@style_app.command("train")
def train(
    photo: Annotated[Path, typer.Argument(help="Photo of one embroidery.", exists=True, dir_okay=False)],
    artwork: Annotated[
        Path | None, typer.Option(help="The design it was sewn from, if you have it.", exists=True, dir_okay=False)
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help=f"A further photo of the same style; may be given up to {MOST_PHOTOS - 1} times.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the style; beside the photo when left out.")] = None,
    caption: Annotated[str, typer.Option(help="What it shows, for example “red fox”.")] = "",
    builder: Annotated[Builder | None, typer.Option(help="How the flat design is made from the photo.")] = None,
    preset: Annotated[Preset, typer.Option(help="What the samples are drawn with.")] = "flat",
    training: Annotated[Training | None, typer.Option(help="How long to train; the settings' when left out.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model; the settings' when left out.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same style.")] = 42,
) -> None:
    """Learn a style from a photo. If it is interrupted, the same command goes on where it stopped."""
    from worker.engine.progress import RichProgress
    from worker.offline import learn, open_picture

    settings = _quiet_settings()
    folder = out or photo.with_suffix(".style")
    reference = open_picture(photo, settings)
    design = open_picture(artwork, settings) if artwork else None
    if len(also or ()) > MOST_PHOTOS - 1:
        raise typer.BadParameter(f"a style is learnt from {MOST_PHOTOS} photos at most", param_hint="--also")
    if builder == "artwork" and design is None:
        raise typer.BadParameter("the builder “artwork” needs --artwork", param_hint="--builder")
    with RichProgress() as bars:
        style = learn(
            settings,
            folder,
            reference=reference,
            artwork=design,
            builder=builder or ("artwork" if design else "flatten"),
            caption=caption,
            preset=preset,
            training=training or settings.style_preset,
            base=base or settings.base,
            seed=seed,
            progress=bars,
            more=[open_picture(path, settings) for path in also or ()],
        )
    console = Console()
    for warning in style.report.get("warnings", []):
        console.print(f"[yellow]{warning['message']}[/yellow]")
    console.print(f"The style is in [bold]{folder}[/bold]. Try it: hoop render {folder} --brief “a red fox”")


@style_app.command("blocks")
def blocks(
    photo: Annotated[Path, typer.Argument(help="Photo of one embroidery.", exists=True, dir_okay=False)],
    artwork: Annotated[
        Path | None, typer.Option(help="The design it was sewn from, if you have it.", exists=True, dir_okay=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Heat map to write; beside the photo when left out.")] = None,
    caption: Annotated[str, typer.Option(help="What it shows, for example “red fox”.")] = "",
    base: Annotated[str | None, typer.Option(help="Base model; the settings' when left out.")] = None,
    steps: Annotated[int, typer.Option(min=10, max=1000, help="Of the inversion; the paper's are 50.")] = 50,
) -> None:
    """Show which of the base's blocks tell the embroidery from its design: those carry the style."""
    from worker.engine.progress import RichProgress
    from worker.offline import compare_blocks, open_picture

    settings = _quiet_settings()
    with RichProgress() as bars:
        found, picture = compare_blocks(
            settings,
            open_picture(photo, settings),
            open_picture(artwork, settings) if artwork else None,
            caption=caption,
            base=base or settings.base,
            steps=steps,
            progress=bars,
        )
    picture.save(written := out or photo.with_suffix(".blocks.png"))
    scores = found.scores()
    console = Console()
    for name in sorted(scores, key=scores.__getitem__):
        console.print(f"{scores[name]:.4f}  {name}", highlight=False)
    for rule in ("lowest:4", "gap"):
        console.print(f"{rule} would choose {', '.join(found.choose(rule))}", highlight=False)
    console.print(f"The heat map is in [bold]{written}[/bold].")


@style_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A LoRA of another program, .safetensors.", exists=True, dir_okay=False)],
    out: Annotated[Path | None, typer.Option(help="Folder for the style; beside the file when left out.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model it is for; the settings' when left out.")] = None,
    blocks: Annotated[
        str, typer.Option(help="Blocks to keep: “all”, or names with commas; those that carry style when left out.")
    ] = "",
    style_word: Annotated[str, typer.Option(help="The word it listens to; the base's when left out.")] = "",
    name: Annotated[str, typer.Option(help="What the style is called.")] = "",
) -> None:
    """Make a style of a LoRA from diffusers, kohya-ss, A1111, ComfyUI or another Hoop."""
    from worker.style_files import import_style

    folder = out or file.with_suffix(".style")
    settings = _quiet_settings()
    for notice in import_style(
        settings, file, folder, base=base or settings.base, blocks=blocks, style_word=style_word, name=name
    ):
        Console().print(f"[yellow]{notice.message}[/yellow]")
    Console().print(f"The style is in [bold]{folder}[/bold]. Try it: hoop render {folder} --brief “a red fox”")


@style_app.command("export")
def export(
    style: Annotated[Path, typer.Argument(help="Folder of a style, or its .safetensors file.", exists=True)],
    format_: Annotated[
        Format, typer.Option("--format", help="“kohya” is also what A1111 and ComfyUI read.")
    ] = "diffusers",
    out: Annotated[Path | None, typer.Option(help="File to write; beside the style when left out.")] = None,
    swatch: Annotated[
        bool, typer.Option(help="Keep the sample's stitches in the file, for when it comes back to Hoop.")
    ] = True,
) -> None:
    """Write a style as a file that other programs load."""
    from worker.style_files import export_style

    _quiet_settings()
    written, notices = export_style(style, out, layout=format_, swatch=swatch)
    for notice in notices:
        Console().print(f"[yellow]{notice.message}[/yellow]")
    Console().print(f"The LoRA is in [bold]{written}[/bold].")


def render(
    style: Annotated[Path, typer.Argument(help="Folder of a style, or its .safetensors file.", exists=True)],
    design: Annotated[Path | None, typer.Option(help="Design to show, a picture.", exists=True, dir_okay=False)] = None,
    brief: Annotated[str, typer.Option(help="Or what to show, in words.")] = "",
    garment: Annotated[
        Path | None, typer.Option(help="Photo of what it is sewn on.", exists=True, dir_okay=False)
    ] = None,
    at: Annotated[
        str, typer.Option(help="Centre, width and rotation on the garment: X,Y,WIDTH[,DEGREES] in its pixels.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("renders"),
    variations: Annotated[int, typer.Option(min=1, max=8)] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same pictures.")] = 0,
    preset: Annotated[
        Preset, typer.Option(help="“raised” for beads, sequins and towel: the border may change.")
    ] = "flat",
    steps: Annotated[int | None, typer.Option(min=1, max=100)] = None,
    strength: Annotated[float | None, typer.Option(min=0.01, max=1.0)] = None,
    guidance: Annotated[float | None, typer.Option(min=1.0, max=20.0)] = None,
    size: Annotated[int | None, typer.Option(min=128, max=2048, help="Pixels of the longer side.")] = None,
    quality: Annotated[
        Quality, typer.Option(help="“draft” is quick; “final” has twice the pixels a side, drawn in a second pass.")
    ] = "final",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other number of a render, for trying: sampler=euler, threads=finer, …"),
    ] = None,
) -> None:
    """Show a design, or words, in a style."""
    from worker.engine.config import render_number
    from worker.engine.progress import RichProgress
    from worker.offline import draw, open_picture, placement_at

    if (design is None) == (not brief.strip()):
        raise typer.BadParameter("give either --design or --brief", param_hint="--design / --brief")
    numbers = {"steps": steps, "strength": strength, "guidance": guidance, "size": size, "quality": quality}
    try:
        for assignment in set_ or []:
            numbers |= render_number(assignment)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    settings = _quiet_settings()
    shown = open_picture(design, settings) if design else None
    cloth = open_picture(garment, settings) if garment else None
    placement = None if cloth is None else placement_at(at, cloth.size)
    if at and cloth is None:
        raise InvalidInput("--at says where on the garment, so it needs --garment.")
    with RichProgress() as bars:
        written = draw(
            settings,
            style,
            out,
            design=shown,
            brief=brief,
            garment=cloth,
            placement=placement,
            variations=variations,
            seed=seed,
            preset=preset,
            numbers=numbers,
            progress=bars,
        )
    for path in written:
        typer.echo(str(path))


def _quiet_settings() -> Settings:
    """The settings, with a terminal that belongs to the progress bars."""
    settings = get_settings()
    configure_logging(settings.model_copy(update={"log_level": "ERROR"}))
    return settings
