"""The demo shop's styles: photos of samples that were never sewn, and the styles learnt from them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import resvg_py
from PIL import Image

from worker.atelier.designs import label_map
from worker.atelier.stitches import StitchStyle, render_embroidery
from worker.engine.adapter import Adapter
from worker.engine.bases import load_base
from worker.engine.config import train_config
from worker.engine.progress import Progress
from worker.engine.train import PairInput, train_style

SAMPLES = Path(__file__).parent.parent / "engine" / "sketches"
PHOTO_SIZE = 512
"""Twice the base's resolution: threads are seven pixels apart, and still three and more after scaling down."""


@dataclass(frozen=True)
class DemoStyle:
    """A sample as a shop would sew it: which design, on which cloth, in which way."""

    slug: str
    name: str
    design: str
    caption: str
    preset: str
    cloth: tuple[float, float, float]
    style: StitchStyle


DEMO_STYLES = (
    DemoStyle(
        "tatami-fill",
        "Tatami fill, glossy rayon",
        "mountain",
        "mountain badge",
        "flat",
        (0.93, 0.91, 0.86),
        StitchStyle(
            "fill", spacing=0.45, stitch=3.6, cover=1.0, sheen=0.7, wobble=0.04, fuzz=0.2, fabric="twill", px_per_mm=16
        ),
    ),
    DemoStyle(
        "chenille-patch",
        "Chenille varsity patch",
        "monogram",
        "varsity monogram",
        "raised",
        (0.22, 0.26, 0.36),
        StitchStyle(
            "chenille",
            "wool",
            weight=12,
            spacing=1.6,
            stitch=4.0,
            sheen=0.12,
            fuzz=0.8,
            relief=0.7,
            fabric="felt",
            px_per_mm=7.5,
        ),
    ),
    DemoStyle(
        "satin-emblem",
        "Satin emblem, trilobal polyester",
        "tulip",
        "tulip",
        "flat",
        (0.30, 0.37, 0.44),
        StitchStyle(
            "satin",
            "polyester",
            spacing=0.4,
            cover=1.05,
            sheen=0.85,
            wobble=0.04,
            relief=0.8,
            fabric="twill",
            px_per_mm=17,
        ),
    ),
    DemoStyle(
        "cross-stitch",
        "Cross-stitch on Aida",
        "mushroom",
        "mushroom",
        "flat",
        (0.95, 0.93, 0.88),
        StitchStyle(
            "cross", "cotton", spacing=1.6, cover=0.95, sheen=0.25, fuzz=0.4, relief=0.3, fabric="canvas", px_per_mm=11
        ),
    ),
)


def sample_design(name: str, size: int) -> Image.Image:
    """One of our own drawings, RGBA."""
    svg = (SAMPLES / f"{name}.svg").read_text()
    data = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(data))).convert("RGBA")


def sample_photo(demo: DemoStyle, seed: int = 11) -> Image.Image:
    """The sample on its cloth, photographed: a little turned, unevenly lit."""
    rng = np.random.default_rng(seed)
    side = PHOTO_SIZE * 2
    drawing = sample_design(demo.design, int(side * 0.8))
    placed = Image.new("RGBA", (side, side))
    placed.paste(drawing, (int(side * 0.1), int(side * 0.1)))
    placed = placed.rotate(float(rng.uniform(-4, 4)), Image.Resampling.BICUBIC)
    design = label_map(np.array(placed), np.array(demo.cloth, np.float32), 6, rng)
    picture = render_embroidery(design, replace(demo.style, seed=seed)).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : PHOTO_SIZE * 1j, -1 : 1 : PHOTO_SIZE * 1j].astype(np.float32)
    shade = 1 + 0.05 * x - 0.07 * y - 0.06 * (x * x + y * y)
    return Image.fromarray(cv2.convertScaleAbs(picture * shade[..., None]))


def make_demo(base_folder: Path, out: Path, progress: Progress, slugs: tuple[str, ...] = ()) -> list[Path]:
    """Trains every demo style (or those named) with the short preset and writes its folder."""
    base = load_base(base_folder)
    made = []
    for demo in DEMO_STYLES:
        if slugs and demo.slug not in slugs:
            continue
        folder = out / demo.slug
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        photo = sample_photo(demo)
        photo.save(folder / "reference.jpg", quality=92)
        reference = Image.open(folder / "reference.jpg")
        # A longer training adds nothing to be seen on the bundled base.
        config = replace(train_config("short"), sample_render=demo.preset, sample_designs=4)
        style = train_style(base, PairInput(reference, caption=demo.caption), config, progress)
        # In half the bytes: the repository carries them, and every digit that counts is still there.
        adapter = Adapter.from_bytes(style.adapter)
        adapter = replace(adapter, tensors={name: tensor.bfloat16() for name, tensor in adapter.tensors.items()})
        (folder / "adapter.safetensors").write_bytes(adapter.to_bytes())
        style.pair.embroidery.save(folder / "embroidery.png")
        style.pair.design.save(folder / "design.png")
        listed = []
        for i, sample in enumerate(style.samples):
            sample.picture.save(folder / "samples" / f"{i}.webp", quality=90)
            sample.design.save(folder / "samples" / f"{i}-design.webp", quality=90)
            listed.append({"file": f"{i}.webp", "design": f"{i}-design.webp", "prompt": sample.words})
        (folder / "samples.json").write_text(json.dumps(listed, indent=2) + "\n")
        about = {
            "name": demo.name,
            "caption": demo.caption,
            "preset": demo.preset,
            "base": base.info.name,
            "blocks": style.manifest["style_blocks"],
            "rank": style.manifest["rank"],
            "seed": config.seed,
            "pair_builder": style.pair.builder,
            "report": style.report,
        }
        (folder / "style.json").write_text(json.dumps(about, indent=2) + "\n")
        made.append(folder)
    return made
