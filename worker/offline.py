"""Learning and rendering on files: what a worker does, without queue, database or object store."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from backend.core.config import Settings
from backend.core.errors import HoopError, InvalidInput, PlacementOutside
from backend.core.images import decode_image
from backend.jobs.problems import CannotBeUsed
from worker.handlers import rendering_config, training_config
from worker.runtime import Runtime

if TYPE_CHECKING:
    from worker.engine.adapter import Adapter
    from worker.engine.blocks import BlockSimilarity
    from worker.engine.progress import Progress
    from worker.engine.train import TrainedStyle

ADAPTER: str = "style.safetensors"
_MIN_SIDE = 256


def open_picture(path: Path, settings: Settings) -> Image.Image:
    """Decode a picture as the service does an upload: upright, 8-bit sRGB, RGB or RGBA.

    Raises:
        ImageRejected: one of its kinds, with the file's name.
    """
    try:
        decoded = decode_image(
            path.read_bytes(),
            max_bytes=settings.upload_max_bytes,
            max_pixels=settings.image_max_pixels,
            min_side=_MIN_SIDE,
        )
    except HoopError as error:
        raise type(error)(f"{path}: {error.detail}") from error
    return decoded.image


def learn(
    settings: Settings,
    folder: Path,
    *,
    reference: Image.Image,
    artwork: Image.Image | None,
    builder: str,
    caption: str,
    preset: str,
    training: str,
    base: str,
    seed: int,
    progress: "Progress",
    more: Sequence[Image.Image] = (),
) -> "TrainedStyle":
    """Learn a style and write it into `folder`: adapter, pair, samples and report.

    A run that was interrupted left its state in the folder; the same call goes on from there.

    Raises:
        HoopError: the base is missing, or the engine refuses the photo.
    """
    from worker.engine.checkpoint import FolderStore  # noqa: PLC0415
    from worker.engine.train import PairInput, train_style  # noqa: PLC0415

    checkpoints = FolderStore(folder / "checkpoint")
    source = PairInput(reference=reference, artwork=artwork, builder=builder, caption=caption, more=tuple(more))
    runtime = Runtime(settings)
    with runtime.base(base) as model, runtime.design_model(builder, base) as designs:
        config = training_config(training, seed, preset, split_prompts=model.info.split_prompts)
        try:
            style = train_style(model, source, config, progress, checkpoints, designs)
        except ValueError as error:
            raise CannotBeUsed(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ADAPTER).write_bytes(style.adapter)
    style.pair.embroidery.save(folder / "embroidery.png")
    style.pair.design.save(folder / "design.png")
    for index, sample in enumerate(style.samples):
        sample.picture.save(folder / f"sample-{index}.png")
        sample.design.save(folder / f"sample-{index}-design.png")
    report = {"manifest": style.manifest, **style.report}
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    checkpoints.clear()
    if checkpoints.folder.is_dir():
        checkpoints.folder.rmdir()
    return style


def read_style(style: Path) -> "Adapter":
    """The style in a folder, or in a file.

    Raises:
        HoopError: there is none.
    """
    from worker.engine.adapter import Adapter  # noqa: PLC0415

    file = style / ADAPTER if style.is_dir() else style
    try:
        return Adapter.from_bytes(file.read_bytes())
    except OSError as error:
        raise InvalidInput(f"There is no style in {style}: {error.strerror}.") from error
    except ValueError as error:
        raise CannotBeUsed(f"{file}: {error}") from error


def compare_blocks(
    settings: Settings,
    reference: Image.Image,
    artwork: Image.Image | None,
    *,
    caption: str,
    base: str,
    steps: int,
    progress: "Progress",
) -> "tuple[BlockSimilarity, Image.Image]":
    """How unlike embroidery and design are in every block, and the heat map of it: dark is unlike, which is style.

    Raises:
        HoopError: the base is missing, or the engine refuses the photo.
    """
    from worker.atelier.evaluation.sheets import heat_map  # noqa: PLC0415
    from worker.engine.blocks import SEGMENTS, block_similarity  # noqa: PLC0415
    from worker.engine.config import train_config  # noqa: PLC0415
    from worker.engine.loop import Material  # noqa: PLC0415
    from worker.engine.pairs import build_pair  # noqa: PLC0415
    from worker.engine.prepare import prepare_reference  # noqa: PLC0415

    with Runtime(settings).base(base) as model:
        progress.update("pair", 0, 1)
        try:
            prepared = prepare_reference(reference, model.info.resolution)
            pair = build_pair(prepared, "artwork" if artwork else "flatten", artwork)
        except ValueError as error:
            raise CannotBeUsed(str(error)) from error
        made = Material.make(model, pair, caption, train_config("paper")).training
        progress.update("pair", 1, 1)
        found = block_similarity(model, made.embroidery, made.design, made.named.content, steps, progress=progress)
        chosen = model.info.style_blocks
    rows = [f"{name} *" if name in chosen else name for name in found.blocks]
    columns = [f"{10 * (SEGMENTS - n - 1)}-{10 * (SEGMENTS - n)} %" for n in range(SEGMENTS)]
    title = "Unlikeness of embroidery and design in each block, by noise (* the base's style blocks)"
    return found, heat_map([[1 - value for value in row] for row in found.similarity], rows, columns, title)


def draw(
    settings: Settings,
    style: Path,
    folder: Path,
    *,
    design: Image.Image | None,
    brief: str,
    garment: Image.Image | None,
    placement: dict[str, Any] | None,
    variations: int,
    seed: int,
    preset: str,
    numbers: dict[str, Any],
    progress: "Progress",
) -> list[Path]:
    """Render a design or a brief in a style and write the pictures into `folder`; returns their paths.

    Raises:
        HoopError: no style there, the base is missing, or the engine refuses the request.
    """
    from worker.engine.infer import GarmentPlacement, Renderer, RenderRequest  # noqa: PLC0415

    adapter = read_style(style)
    runtime = Runtime(settings.model_copy(update={"queues": "render"}))
    with runtime.base(adapter.manifest["base"]["name"]) as base:
        config = rendering_config(preset, from_text=design is None, split_prompts=base.info.split_prompts, **numbers)
        placed = None if garment is None or placement is None else GarmentPlacement(garment, placement)
        request = RenderRequest(
            design=design, brief=brief or None, config=config, variations=variations, seed=seed, garment=placed
        )
        try:
            images = Renderer(base).render(adapter, request, progress)
        except ValueError as error:
            raise CannotBeUsed(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for image in images:
        pictures = {"patch": image.cutout, "cloth": image.patch, "garment": image.garment}
        for name, picture in pictures.items():
            if picture is not None:
                path = folder / f"{name}-{image.seed}.png"
                picture.save(path)
                written.append(path)
    return written


def placement_at(text: str, size: tuple[int, int]) -> dict[str, Any]:
    """Placement on a garment of `size` pixels from "X,Y,WIDTH[,DEGREES]"; the middle third when empty.

    Raises:
        PlacementOutside: it cannot be read.
    """
    width, height = size
    if not text:
        return {"center": [width / 2, height / 2], "width_px": min(size) / 3, "rotation_deg": 0.0}
    try:
        x, y, wide, *turn = (float(part) for part in text.split(","))
        (degrees,) = turn or [0.0]
    except ValueError as error:
        raise PlacementOutside("--at takes X,Y,WIDTH or X,Y,WIDTH,DEGREES, for example 400,300,200.") from error
    return {"center": [x, y], "width_px": wide, "rotation_deg": degrees}
