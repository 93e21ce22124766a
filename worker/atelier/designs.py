"""Designs to sew: permissively licensed colour icons from npm packages, and procedural badges and monograms."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import resvg_py
from PIL import Image, ImageDraw, ImageFont

from worker.atelier.stitches.fields import Field
from worker.atelier.stitches.render import SUPERSAMPLING, LabelMap

ICON_SETS = {
    "fluent-emoji-flat": "1.2.6",  # MIT, Microsoft
    "noto": "1.2.9",  # Apache-2.0, Google
    "twemoji": "1.2.5",  # CC-BY-4.0, Twitter
    "fxemoji": "1.2.2",  # Apache-2.0, Mozilla
    "flat-color-icons": "1.2.3",  # MIT, Icons8
    "emojione": "1.2.3",  # CC-BY-4.0, EmojiOne
}
"""`@iconify-json/<name>` at the version the corpus was made from. Share-alike sets are left out on purpose."""

HELD_OUT_DESIGNS = frozenset(
    {
        "fox",
        "bear",
        "butterfly",
        "rose",
        "sunflower",
        "cherries",
        "strawberry",
        "rainbow",
        "anchor",
        "heart-on-fire",
        "mushroom",
        "basketball",
        "hibiscus",
        "parrot",
        "penguin",
        "sailboat",
        "cheese-wedge",
        "delivery-truck",
        "salt",
        "squirrel",
        "pineapple",
        "cactus",
        "owl",
        "guitar",
        "bicycle",
        "teapot",
        "lighthouse",
        "hot-air-balloon",
        "turtle",
        "croissant",
        "crown",
        "snail",
        "rocket",
        "tulip",
        "whale",
        "violin",
        "maple-leaf",
        "dolphin",
        "lemon",
    }
)
"""Names never drawn in training, in any icon set."""

_UNUSABLE = re.compile(
    r"(skin-tone|^flag-|-flag$|keycap|^regional|^tag-|light-skin|dark-skin|medium-|^input-|squared-|^emoji|letter|digit"
    r"|latin|cjk|clock-face|oclock|-oclock|thirty|button|^family|^couple|^kiss-|holding-hands|^people-|^men-|^women-"
    r"|^woman-|^man-)"
)

CLOTHS = (
    (0.92, 0.90, 0.84),
    (0.25, 0.28, 0.36),
    (0.75, 0.72, 0.66),
    (0.55, 0.65, 0.75),
    (0.85, 0.60, 0.60),
    (0.95, 0.95, 0.95),
    (0.20, 0.20, 0.20),
    (0.45, 0.55, 0.45),
    (0.96, 0.92, 0.80),
    (0.70, 0.20, 0.22),
)
"""RGB of the cloths designs are sewn on, before jitter."""


@dataclass(frozen=True)
class Icon:
    """One vector drawing: which set it is from, its name in words and its SVG."""

    source: str
    name: str
    svg: str

    def raster(self, size: int) -> npt.NDArray[np.uint8]:
        """RGBA uint8 [size, size, 4]."""
        data = resvg_py.svg_to_bytes(svg_string=self.svg, width=size, height=size, skip_system_fonts=True)
        return np.array(Image.open(io.BytesIO(bytes(data))).convert("RGBA"))


def fetch_icons(folder: Path) -> None:
    """Gets the icon packages from the npm registry into `folder` (once).

    Raises:
        RuntimeError: npm is missing or cannot reach its registry.
    """
    if shutil.which("npm") is None:
        raise RuntimeError("The icon corpus comes from npm packages: install Node.js (npm) first.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in ICON_SETS.items():
        if (folder / name / "icons.json").exists():
            continue
        packed = subprocess.run(
            ["npm", "pack", f"@iconify-json/{name}@{version}", "--silent"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if packed.returncode:
            raise RuntimeError(f"npm could not fetch @iconify-json/{name}: {packed.stderr.strip()[-300:]}")
        archive = folder / packed.stdout.strip().splitlines()[-1]
        with tarfile.open(archive) as tar:
            for member in ("icons.json", "info.json"):
                source = tar.extractfile(f"package/{member}")
                if source is None:
                    raise RuntimeError(f"@iconify-json/{name} has no {member}")
                (folder / name).mkdir(exist_ok=True)
                (folder / name / member).write_bytes(source.read())
        archive.unlink()


def load_icons(folder: Path) -> list[Icon]:
    """All usable icons, in a fixed order. People in skin tones, flags, letters and clock faces are left out."""
    icons = []
    for source in ICON_SETS:
        data: dict[str, Any] = json.loads((folder / source / "icons.json").read_text())
        for key, icon in sorted(data["icons"].items()):
            body = icon["body"]
            if (
                icon.get("hidden")
                or _UNUSABLE.search(key)
                or len(key) < 3
                or ("currentColor" in body and source != "noto")
            ):
                continue
            width, height = icon.get("width", data.get("width", 16)), icon.get("height", data.get("height", 16))
            box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
            icons.append(
                Icon(
                    source,
                    key,
                    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="{box}">{body}</svg>',
                )
            )
    return icons


def training_icons(folder: Path) -> list[Icon]:
    """`load_icons` without the held-out designs."""
    return [icon for icon in load_icons(folder) if icon.name not in HELD_OUT_DESIGNS]


_COLOURS = {
    "red": (0.80, 0.12, 0.15),
    "orange": (0.95, 0.50, 0.10),
    "yellow": (0.97, 0.80, 0.15),
    "green": (0.15, 0.55, 0.25),
    "blue": (0.12, 0.32, 0.70),
    "purple": (0.45, 0.20, 0.60),
    "pink": (0.95, 0.55, 0.70),
    "brown": (0.45, 0.28, 0.15),
    "black": (0.08, 0.08, 0.10),
    "white": (0.97, 0.97, 0.95),
    "grey": (0.50, 0.52, 0.55),
    "teal": (0.05, 0.50, 0.52),
    "navy": (0.08, 0.12, 0.30),
    "gold": (0.80, 0.62, 0.20),
}


def _shape_points(kind: str, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A closed outline in [-1, 1]."""
    t = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    if kind == "circle":
        r = np.ones_like(t)
    elif kind == "flower":
        petals = rng.integers(5, 9)
        r = 0.72 + 0.28 * np.cos(petals * t)
    elif kind == "star":
        points = int(rng.integers(5, 9))
        t = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False)
        r = np.where(np.arange(2 * points) % 2 == 0, 1.0, rng.uniform(0.4, 0.6))
    elif kind == "heart":
        x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x / 17, -y / 17], 1)
    elif kind == "blob":
        r = np.full_like(t, 0.75)
        for n in range(2, 7):
            r += rng.normal(0, 0.12 / n) * np.cos(n * t + rng.uniform(0, 6.28))
    else:  # polygons
        sides = {"triangle": 3, "square": 4, "diamond": 4, "hexagon": 6, "shield": 5}[kind]
        t = np.linspace(0, 2 * np.pi, sides, endpoint=False) + (np.pi / 4 if kind == "square" else np.pi / 2)
        r = np.ones_like(t)
    return np.stack([r * np.cos(t - np.pi / 2), r * np.sin(t - np.pi / 2)], 1)


_SHAPES = ("circle", "flower", "star", "heart", "blob", "triangle", "square", "diamond", "hexagon", "shield")


def procedural_design(size: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], str]:
    """A badge, a pattern of simple shapes, bars of several widths or a monogram; RGBA and its caption."""
    big = size * 2
    image = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    names = list(rng.permutation(list(_COLOURS)))
    colours = [tuple(int(255 * v) for v in _COLOURS[n]) for n in names]

    def place(points: npt.NDArray[np.float64], x: float, y: float, radius: float) -> list[tuple[float, float]]:
        return [(float(x + radius * px), float(y + radius * py)) for px, py in points]

    kind = rng.choice(["badge", "shapes", "bars", "monogram"])
    if kind == "badge":
        outer, inner = str(rng.choice(_SHAPES)), str(rng.choice(_SHAPES))
        draw.polygon(place(_shape_points(outer, rng), big / 2, big / 2, big * 0.44), fill=colours[0])
        draw.polygon(place(_shape_points(outer, rng), big / 2, big / 2, big * 0.36), fill=colours[1])
        draw.polygon(place(_shape_points(inner, rng), big / 2, big / 2, big * 0.22), fill=colours[2])
        caption = f"{names[0]} {outer} badge with {names[2]} {inner}"
    elif kind == "shapes":
        shape = str(rng.choice(_SHAPES))
        count = int(rng.integers(1, 4))
        step = big / count
        for i in range(count):
            for j in range(count):
                points = place(_shape_points(shape, rng), (i + 0.5) * step, (j + 0.5) * step, step * 0.40)
                draw.polygon(points, fill=colours[(i + j) % 2] if rng.random() < 0.3 else colours[0])
        caption = f"{names[0]} {shape}" + ("s" if count > 1 else "")
    elif kind == "bars":
        y = big * 0.08
        while y < big * 0.88:
            thick = big * rng.uniform(0.01, 0.12)
            draw.rectangle([big * 0.1, y, big * 0.9, y + thick], fill=colours[int(rng.integers(3))])
            y += thick + big * rng.uniform(0.03, 0.08)
        caption = f"{names[0]} stripes"
    else:
        text = "".join(rng.choice(list("ABCDEFGHJKLMNPRSTUVWXYZ23456789&"), int(rng.integers(1, 4))))
        font = ImageFont.load_default(int(big * (0.75 if len(text) == 1 else 0.85 / len(text) * 1.3)))
        weight = int(big * rng.uniform(0.0, 0.02))
        draw.text((big / 2, big / 2), text, colours[0], font, anchor="mm", stroke_width=weight)
        caption = f"{names[0]} monogram {text.lower()}"
    if rng.random() < 0.4:
        image = image.rotate(float(rng.uniform(-180, 180)), Image.Resampling.BICUBIC)
    return np.array(image.resize((size, size), Image.Resampling.BOX)), caption


def label_map(rgba: npt.NDArray[np.uint8], ground: Field, inks: int, rng: np.random.Generator) -> LabelMap:
    """Reduces a drawing to a few inks on a ground.

    Args:
        rgba: uint8 [S, S, 4] at `SUPERSAMPLING` x the output size.
        ground: RGB of the cloth in [0, 1].
        inks: Most inks to use; near-equal ones are merged, so fewer may come out.
        rng: Chooses the pixels the palette is found from.
    """
    opaque = rgba[..., 3] > 110
    lab = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2LAB)
    pixels = lab[opaque]
    if len(pixels) < 50:
        return LabelMap(np.zeros(opaque.shape, np.int32), ground[None].astype(np.float32))
    sample = pixels[rng.integers(0, len(pixels), min(2500, len(pixels)))].astype(np.float32)
    cv2.setRNGSeed(1)
    labels0 = np.zeros((len(sample), 1), np.int32)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 8, 1.0)
    _, _, centres = cv2.kmeans(sample, min(inks, len(sample)), labels0, criteria, 1, cv2.KMEANS_PP_CENTERS)
    kept: list[Field] = []
    for centre in centres:
        if all(np.linalg.norm(centre - other) > 14 for other in kept):
            kept.append(centre)
    palette = np.array(kept, np.float32)
    nearest = ((lab.astype(np.float32)[:, :, None] - palette) ** 2).sum(-1).argmin(-1) + 1
    labels = cv2.medianBlur(nearest.astype(np.uint8), 5).astype(np.int32)
    labels[~opaque] = 0
    rgb = cv2.cvtColor(palette.clip(0, 255).astype(np.uint8)[None], cv2.COLOR_LAB2RGB)[0].astype(np.float32) / 255
    return LabelMap(labels, np.concatenate([ground[None].astype(np.float32), rgb]))


def place_on_cloth(rgba: npt.NDArray[np.uint8], size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Scales and shifts a drawing within a square of `SUPERSAMPLING` x `size`, sometimes mirrored or recoloured."""
    side = size * SUPERSAMPLING
    inner = int(side * rng.uniform(0.72, 0.98))
    canvas = np.zeros((side, side, 4), np.uint8)
    y, x = rng.integers(0, side - inner + 1, 2)
    drawing = cv2.resize(rgba, (inner, inner), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        drawing = drawing[:, ::-1]
    if rng.random() < 0.15:
        drawing = drawing[..., [*rng.permutation(3), 3]]
    canvas[y : y + inner, x : x + inner] = drawing
    return canvas


def cloth_colour(rng: np.random.Generator) -> Field:
    """RGB of a cloth, a little different every time."""
    base = np.array(CLOTHS[int(rng.integers(len(CLOTHS)))]) + rng.normal(0, 0.03, 3)
    return np.asarray(base.clip(0.03, 0.98), np.float32)


def in_words(name: str) -> str:
    """An icon's key as words a caption uses."""
    return re.sub(r"\s+", " ", re.sub(r"[-_]|\d+$", " ", name)).strip()


def shuffled(icons: list[Icon], seed: int) -> Iterator[Icon]:
    """Endless passes over the icons, each in another order."""
    rng = np.random.default_rng(seed)
    while True:
        for i in rng.permutation(len(icons)):
            yield icons[i]
