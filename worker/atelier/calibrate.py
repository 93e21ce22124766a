"""How the stitch renderer compares with scans of real embroidery, in numbers and side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import typer
from PIL import Image, ImageDraw
from scipy.ndimage import binary_closing, binary_erosion, gaussian_filter

from worker.atelier.stitches import (
    NEEDS_STROKE,
    SUPERSAMPLING,
    LabelMap,
    Plans,
    StitchStyle,
    digitise,
    render_batch,
    sample_style,
)

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

SIDE = 160
"""Side of the compared crops, pixels of the scans as they are stored."""
DRAWS = 24
"""Random styles a scan is compared with."""
BANDS = ((2.0, 3.0), (3.0, 5.0), (5.0, 9.0), (9.0, 16.0))
"""Periods in pixels that the power of a texture is shared out to."""


@dataclass(frozen=True)
class Sample:
    """A crop of a scan and what it shows.

    Attributes:
        photo: File name without its ending.
        x, y: Upper left corner.
        family: Family of stitches to compare with.
        shape: `area`, `ring` or `line`, what is sewn in the render.
        pitch: Distance of its threads, least and most, in pixels.
    """

    photo: str
    x: int
    y: int
    family: str
    shape: str
    pitch: tuple[float, float]


SAMPLES = (
    Sample("pemb_shapes_green", 30, 190, "fill", "area", (2.8, 3.8)),
    Sample("pemb_hatch_green", 60, 0, "fill", "area", (2.8, 3.8)),
    Sample("pemb_shapes_olive", 30, 20, "fill", "area", (2.7, 3.6)),
    Sample("pemb_rings_red", 30, 40, "fill", "area", (3.0, 4.2)),
    Sample("pemb_strokes_orange", 30, 260, "fill", "area", (2.7, 3.4)),
    Sample("pemb_hatch_red", 40, 280, "contour", "area", (2.8, 3.8)),
    Sample("pemb_multicolour_heart", 340, 300, "contour", "area", (3.0, 4.2)),
    Sample("pemb_hello", 120, 200, "contour", "area", (2.7, 3.4)),
    Sample("pemb_dancers_run", 100, 60, "run", "line", (4.0, 6.0)),
    Sample("pemb_spiral_run", 460, 250, "run", "line", (3.2, 4.5)),
    Sample("pemb_text_black", 0, 0, "bean", "line", (4.0, 6.0)),
    Sample("pemb_hello", 30, 300, "satin", "ring", (2.6, 3.4)),
    Sample("pemb_density_ladder", 10, 20, "satin", "ring", (2.6, 3.4)),
)
"""Places in the 16 scans of PEmbroider's machine embroidery that show one family each."""

GAPS = (
    "flatbed scans light the thread evenly; renders vary the light far more, on purpose",
    "the cloth of every scan is one muslin (one is twill): fabrics other than plain have no scan to compare with",
    "there is no scan of sequins, beads, chenille, wool or foil: their looks rest on pictures, not on measurements",
)


def lightness(picture: Picture) -> npt.NDArray[np.float32]:
    """L*a*b* of an RGB picture, float32 [H, W, 3]."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def high_pass(light: npt.NDArray[np.float32], mask: Mask, sigma: float = 8.0) -> npt.NDArray[np.float32]:
    """Lightness less its blur inside the mask, zero outside."""
    weight = gaussian_filter(mask.astype(np.float32), sigma)
    soft = gaussian_filter(light * mask, sigma) / np.maximum(weight, 1e-4)
    return np.asarray((light - soft) * mask, np.float32)


def cloth_colour(picture: Picture) -> npt.NDArray[np.float32]:
    """L*a*b* of the cloth: the colour of the palest fifth."""
    blurred = gaussian_filter(lightness(picture), (1.2, 1.2, 0))
    pale = blurred[..., 0] - np.hypot(blurred[..., 1], blurred[..., 2])
    return np.asarray(np.median(blurred[pale >= np.quantile(pale, 0.8)], 0), np.float32)


def sewn_area(lab: npt.NDArray[np.float32], cloth: npt.NDArray[np.float32]) -> tuple[Mask, Mask]:
    """Where thread lies and where only cloth is, told apart by colour."""
    blurred = gaussian_filter(lab, (1.2, 1.2, 0))
    thread = np.linalg.norm(blurred - cloth, axis=-1) > 22
    sewn = binary_closing(np.pad(thread, 8, mode="edge"), iterations=4)[8:-8, 8:-8]
    return sewn, binary_erosion(~sewn, iterations=6, border_value=1)


def measure(picture: Picture, cloth_lab: npt.NDArray[np.float32]) -> dict[str, float]:
    """What is compared: inside the sewn area, and on the cloth.

    Returns:
        `texture`, the deviation of the high-pass L*; `low` and `high`, its 3rd and 97th percentile; `p2-3` and so on,
        the shares of its power by period; `coherence` of its structure tensor, 0-1; `hue`, the spread of a* and b*;
        `cloth`, `cloth_fine` (share of periods under 5 px): the same of the cloth. NaN for what is not in the picture.
    """
    lab = lightness(picture)
    sewn, bare = sewn_area(lab, cloth_lab)
    inside = binary_erosion(sewn, iterations=2)
    inside = inside if inside.sum() > 400 else sewn
    result = {}
    high = high_pass(lab[..., 0], inside)
    values = high[inside] if inside.any() else np.array([np.nan])
    result["texture"] = float(values.std())
    result["low"], result["high"] = (float(v) for v in np.percentile(values, (3, 97)))
    result |= {f"p{a:g}-{b:g}": s for (a, b), s in zip(BANDS, _shares(high), strict=True)}
    result["coherence"] = _coherence(high, inside)
    spread = [high_pass(lab[..., i], inside)[inside].std() for i in (1, 2)] if inside.any() else [np.nan]
    result["hue"] = float(np.hypot.reduce(spread))
    cloth = high_pass(lab[..., 0], bare)
    enough = bare.sum() > 1500
    result["cloth"] = float(cloth[bare].std()) if enough else float("nan")
    result["cloth_fine"] = sum(_shares(cloth)[:2]) if enough else float("nan")
    return result


def _shares(field: npt.NDArray[np.float32]) -> list[float]:
    power = np.abs(np.fft.fft2(field)) ** 2
    size = field.shape[0]
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    bands = [power[(frequency > 1 / b) & (frequency <= 1 / a)].sum() for a, b in BANDS]
    return [float(b / max(sum(bands), 1e-9)) for b in bands]


def _coherence(field: npt.NDArray[np.float32], mask: Mask) -> float:
    gy, gx = np.gradient(field)
    gx, gy = gx * mask, gy * mask
    xx, yy, xy = (gaussian_filter(f, 4.0) for f in (gx * gx, gy * gy, gx * gy))
    energy = xx + yy
    spread = np.hypot(xx - yy, 2 * xy)
    return float((spread * mask).sum() / max(1e-9, float((energy * mask).sum())))


def _design(sample: Sample, photo: Picture, cloth: npt.NDArray[np.float32]) -> LabelMap:
    """A shape like the scan's in its colours: the thread's ink is brighter than the scan's mean, gaps darken it."""
    sewn, _ = sewn_area(lightness(photo), cloth)
    ground = cv2.cvtColor(cloth[None, None], cv2.COLOR_LAB2RGB)[0, 0]
    ink = np.quantile(photo[binary_erosion(sewn, iterations=1)].astype(np.float32), 0.62, axis=0) / 255
    side = SIDE * SUPERSAMPLING
    labels = np.zeros((side, side), np.uint8)
    c = side // 2
    if sample.shape == "area":
        cv2.circle(labels, (c + 30, c + 50), int(0.42 * side), 1, -1)
    elif sample.shape == "ring":
        cv2.circle(labels, (c + 60, c), int(0.42 * side), 1, 20)
        cv2.line(labels, (30, 20), (60, side - 20), 1, 18)
    else:
        cv2.circle(labels, (c, c), int(0.36 * side), 1, -1)
    return LabelMap(labels, np.array([ground, ink], np.float32))


def _styles(sample: Sample, number: int) -> list[StitchStyle]:
    """Random styles as the base is trained on, at the scan's pitch, with usual thread on plain cloth."""
    rng = np.random.default_rng(1000 + number)
    styles: list[StitchStyle] = []
    while len(styles) < DRAWS:
        style = sample_style(sample.family, rng)
        if style.material not in ("rayon", "polyester"):
            continue
        pitch = rng.uniform(*sample.pitch)
        scale = pitch / style.spacing
        stitch = style.stitch * style.px_per_mm / scale
        styles.append(
            replace(
                style, px_per_mm=scale, stitch=stitch, fabric="plain", framing="close", outline=0.0, rows=style.rows
            )
        )
    return styles


@dataclass(frozen=True)
class Comparison:
    """One sample: measures of the scan, and the 5th, 50th and 95th percentile of those of its renders."""

    sample: Sample
    real: dict[str, float]
    rendered: dict[str, tuple[float, float, float]]

    @property
    def title(self) -> str:
        """Scan and family."""
        return f"{self.sample.photo} ({self.sample.family})"

    def outside(self, name: str) -> bool:
        """Whether the scan lies outside the middle 90 % of the renders."""
        low, _, high = self.rendered[name]
        return bool(np.isfinite(self.real[name])) and not low <= self.real[name] <= high


def compare(photos: Path) -> tuple[list[Comparison], list[list[Picture]]]:
    """Measures of every sample and of its renders, and the pictures: the scan first, then renders."""
    rows, pictures = [], []
    for number, sample in enumerate(SAMPLES):
        with Image.open(photos / f"{sample.photo}.jpg") as opened:
            scan = np.asarray(opened.convert("RGB"))
        cloth = cloth_colour(scan)
        photo = scan[sample.y : sample.y + SIDE, sample.x : sample.x + SIDE]
        styles = _styles(sample, number)
        plan = digitise(_design(sample, photo, cloth), stroke=sample.family in NEEDS_STROKE)
        batch = render_batch(Plans.of([plan] * len(styles)), styles)
        drawn = [np.asarray((p.permute(1, 2, 0) * 255).round().byte().numpy()) for p in batch]
        real, measured = measure(photo, cloth), [measure(d, cloth_colour(d)) for d in drawn]
        rendered = {}
        for name in real:
            values = np.array([m[name] for m in measured])
            low, middle, high = np.percentile(values[np.isfinite(values)], (5, 50, 95))
            rendered[name] = (float(low), float(middle), float(high))
        rows.append(Comparison(sample, real, rendered))
        pictures.append([photo, *drawn[:4]])
    return rows, pictures


def _picture(rows: list[Comparison], pictures: list[list[Picture]]) -> Image.Image:
    zoom, caption = 2, 16
    side = SIDE * zoom
    sheet = Image.new("RGB", ((side + 4) * len(pictures[0]), (side + caption) * len(pictures)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (row, line) in enumerate(zip(rows, pictures, strict=True)):
        top = i * (side + caption)
        for j, picture in enumerate(line):
            sheet.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC), (j * (side + 4), top))
        cells = [f"{row.title}: scan | renders"]
        for name in ("texture", "coherence", "hue", "cloth"):
            low, _, high = row.rendered[name]
            cells.append(f"{name} {row.real[name]:.1f} | {low:.1f}-{high:.1f}")
        draw.text((4, top + side + 2), "    ".join(cells), fill="black")
    return sheet


def _table(rows: list[Comparison]) -> Iterator[str]:
    names = list(rows[0].real)
    yield f"{'scan | 5-95 % of renders':32}" + "".join(f"{n:>18}" for n in names)
    for row in rows:
        line = f"{row.title:32}"
        for name in names:
            low, _, high = row.rendered[name]
            digits = 1 if name in ("texture", "low", "high", "hue", "cloth") else 2
            mark = "*" if row.outside(name) else " "
            line += f"{row.real[name]:.{digits}f}|{low:.{digits}f}-{high:.{digits}f}{mark}".rjust(18)
        yield line


def calibrate(photos: Path, out: Path) -> list[str]:
    """Compares the renderer with scans; writes `calibration.png` (scan, then renders) and `calibration.json` to `out`.

    Deterministic; prints a table. The scans are licensed test data and the picture shows crops of them: keep it out of
    the repository.

    Where renders still differ: they have more power than scans at periods under 5 px and less at 5-16 px, most so in
    contour fills (real rows run into each other); gaps between threads spread their hue more; zigzag satin by hand or
    by script is more jagged than ours; see also `GAPS`.

    Args:
        photos: Folder of the scans that `SAMPLES` names.
        out: Folder for what is written.

    Returns:
        Lines that say where the scans lie outside the middle 90 % of the renders, and what cannot be compared
        (`GAPS`).
    """
    rows, pictures = compare(photos)
    out.mkdir(parents=True, exist_ok=True)
    _picture(rows, pictures).save(out / "calibration.png")
    (out / "calibration.json").write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    for line in _table(rows):
        typer.echo(line)
    outside = [
        f"{row.title}: {name} {row.real[name]:.2f}, renders {row.rendered[name][0]:.2f}-{row.rendered[name][2]:.2f}"
        for row in rows
        for name in row.real
        if row.outside(name)
    ]
    return outside + list(GAPS)
