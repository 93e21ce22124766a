"""Real photographs: there is no truth to measure against, only the look. Every photo's style on a few designs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from worker.atelier.evaluation.bench import Bench, Figures, digest_of, quiet
from worker.atelier.evaluation.photos import families_of
from worker.atelier.evaluation.sheets import contact_sheet
from worker.engine.adapter import Adapter
from worker.engine.infer import Renderer, RenderRequest
from worker.engine.pairs import build_pair
from worker.engine.prepare import prepare_reference
from worker.engine.train import PairInput, style_at_a_glance

KINDS = (".jpg", ".jpeg", ".png", ".webp")
"""File names' endings that are looked at."""


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        ValueError: there are none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in KINDS) if folder.is_dir() else []
    if not found:
        raise ValueError(f"there are no pictures ({', '.join(KINDS)}) in {folder}")
    return found


def opened(path: Path) -> Image.Image:
    """Upright; RGB, or RGBA where it has transparency."""
    picture = ImageOps.exif_transpose(Image.open(path))
    return picture.convert("RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB")


def photo_sheet(bench: Bench, photos: Sequence[Path], designs: Sequence[Path], preset: str) -> Figures:
    """Learns every photo's style, draws the designs in it and writes `photos.png`.

    Args:
        bench: base, folders and bars.
        photos: of real embroidery.
        designs: to draw, with transparency or on a plain background.
        preset: of the training; ``none`` for the laid stitches alone, without training.

    Returns:
        By file name: ``family`` as `INDEX.tsv` has it, ``builder`` and ``warnings``.
    """
    families = families_of(photos[0].parent) if photos else {}
    drawings = [opened(path) for path in designs]
    renderer, rows, captions = Renderer(bench.base), [], []
    found: Figures = {}
    for path in bench.track(photos, "photos"):
        photo = opened(path).convert("RGB")
        prepared = prepare_reference(photo, bench.size)
        pair = build_pair(prepared, "flatten")
        figures: Figures = {
            "family": families.get(path.name, ""),
            "builder": pair.builder,
            "warnings": [warning.code for warning in prepared.warnings],
        }
        if preset == "none":
            style = style_at_a_glance(bench.base, pair)
            style.manifest["ground_rgb"] = list(prepared.ground_rgb)
        else:
            config = quiet(preset)

            def learn(photo: Image.Image = photo, path: Path = path) -> bytes:
                return bench.trained(path.stem, PairInput(photo), config).adapter  # noqa: B023 - called at once

            style = Adapter.from_bytes(bench.kept(f"{path.stem}-{digest_of([path])}-{preset}.safetensors", learn))
        row = [prepared.embroidery, pair.design]
        for number, drawing in enumerate(drawings):
            request = RenderRequest(design=drawing, config=bench.render(), seed=number)
            row.append(renderer.render(style, request)[0].patch)
        rows.append(row)
        captions.append([f"{path.stem}: {figures['family']}", ", ".join(figures["warnings"]), *("" for _ in drawings)])
        found[path.name] = figures
    columns = ["reference", "its design", *(path.stem for path in designs)]
    bench.save(contact_sheet(rows, columns, captions, bench.size), "photos.png")
    return found
