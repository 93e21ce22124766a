"""Laying a sample's own stitches on another design: image analogies by image quilting.

The pair says how a flat design looks when it is sewn: D is to E as another design is to what is made here (Hertzmann
et al. 2001, Image Analogies). Square blocks of the sample's stitches are laid in rows, each chosen to lie about as far
from an outline as in the sample, on the same side of it, and to go on with its neighbours; they are joined along the
seam that shows least (Efros and Freeman 2001, Image Quilting). Only lightness is taken, relative to the ink under it,
and which ink shows at an outline: beads and sequins do not end where the design does. Colours stay the design's.

A base that is too small to make rows of threads from noise keeps those that are in its input. What is laid here is that
input: dissolved a little and drawn again, seams close and light becomes even.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.engine.colour import Bool, Float, Picture, lab_to_rgb, rgb_to_lab, to_image
from worker.engine.control_maps import edge_map
from worker.engine.seeds import generator

__all__ = ["Laid", "Swatch", "lay_finely", "lay_stitches"]

_BLOCK: Final = 30
_OVERLAP: Final = 8
"""Side of a block and what two neighbours have in common, in pixels: some threads."""
_REACH: Final = 6.0
"""Pixels from an outline within which the ink on its other side may show."""
_NEAR: Final = 5.0
"""Pixels over which nearness to an outline falls to 1/e."""
_WEIGHTS: Final = (1.0, 1.5, 1.5, 2.5, 0.5)
"""Of nearness, of the outline's direction (two), of cloth against motif, and of lightness."""
_CLOTH: Final = 3
"""Which of them is that of cloth against motif."""
_RELIEF: Final = 2.0
"""Of the cloth's own relief: an enclosed area of the cloth's colour with more is sewn."""
_LARGEST: Final = 3.0
"""Standard deviations of the stitches' lightness at which what is taken of it ends: beyond lie wrong outlines."""
_TOLERANCE: Final = 0.1
"""Blocks this much worse than the best are as good: which of them is taken is chance, or one would come every time."""
_DARKEST: Final = 120.0
"""Added to L* before light is taken relative to it: a share of the light is about a share of L* + 16."""
_SMOOTH: Final = 0.5
"""Pixels of blur under which a pixel's colour is taken."""
_SHARES: Final = (0.4, 0.9)
"""Of the way from a pixel's ink to the other colour: up to the first all ink, from the second on all the other."""
_ASTRAY: Final = 2.0
"""Pixels nearer to an outline or farther from it than in the sample, from which on no other colour shows: cloth that
peeps in at the sample's edge would be a speck deeper in a design."""
_APART: Final = 12.0
"""Lab units by which two colours differ at least if one is told from the other."""
_HUE: Final = np.array([0.2, 1.0, 1.0], np.float32)
"""Weights of L*, a* and b* away from outlines."""


@dataclass(frozen=True, eq=False)
class Swatch:
    """What is kept of a sample to lay its stitches from.

    Attributes:
        embroidery: RGB, at the base's resolution.
        design: the same motif flat, pixel on pixel.
        mask: true on the motif.
        fine: the embroidery with twice the pixels a side, if the photo has them.
    """

    embroidery: Image.Image
    design: Image.Image
    mask: Bool
    fine: Image.Image | None = None

    def as_json(self) -> dict[str, Any]:
        """Its pictures by name, as WebP in base 64: `fine` of high quality, the others without loss."""
        pictures = {"embroidery": self.embroidery, "design": self.design, "mask": Image.fromarray(self.mask)}
        kept: dict[str, Any] = {name: _packed(picture, lossless=True) for name, picture in pictures.items()}
        if self.fine is not None:
            kept["fine"] = _packed(self.fine, lossless=False)
        return kept

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Swatch:
        """Reads what `as_json` gave.

        Raises:
            ValueError: it is damaged.
        """
        try:
            embroidery, design, mask = (_unpacked(kept[name]) for name in ("embroidery", "design", "mask"))
            fine = _unpacked(kept["fine"]) if "fine" in kept else None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ValueError(f"not a swatch: {error}") from error
        if not embroidery.size == design.size == mask.size:
            raise ValueError("not a swatch: its pictures differ in size")
        return cls(embroidery, design, np.asarray(mask)[..., 0] > 127, fine)

    @cached_property
    def stitches(self) -> _Stitches:
        """What blocks are cut from; taken once, for every design."""
        return _Stitches.of(self.embroidery, self.design, self.mask)

    @cached_property
    def fine_stitches(self) -> _Stitches:
        """The same with twice the pixels a side, interpolated where the photo has no more."""
        size = (2 * self.embroidery.width, 2 * self.embroidery.height)
        sewn = self.fine or self.embroidery.resize(size, Image.Resampling.LANCZOS)
        mask = np.repeat(np.repeat(self.mask, 2, 0), 2, 1)
        return _Stitches.of(sewn.resize(size), self.design.resize(size, Image.Resampling.BICUBIC), mask, scale=2)


def _packed(picture: Image.Image, *, lossless: bool) -> str:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "WEBP", lossless=lossless, quality=92)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _unpacked(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


@dataclass(frozen=True)
class Laid:
    """A design with stitches laid on it.

    Attributes:
        picture: RGB, of the design's size.
        colours: RGB, the same without light: the design with its outlines as the stitches have them.
        source: row and column of the swatch's pixel that each pixel's stitch is from, [H, W, 2].
    """

    picture: Image.Image
    colours: Image.Image
    source: npt.NDArray[np.int32]


def lay_stitches(swatch: Swatch, design: Picture, mask: Bool | None = None, seed: int = 0) -> Laid:
    """Lays a sample's stitches on a design.

    Args:
        swatch: the sample.
        design: flat, H x W x 3; threads come as many pixels wide as in the swatch, whatever its size.
        mask: H x W bool, true on the motif; ``None``: what is not of the colour that prevails along the border.
        seed: of the choice between blocks that are as good.
    """
    flat = _Flat.of(design, mask)
    source = _quilted(swatch.stitches, flat.guide(), np.random.default_rng(generator(seed, "stitches").initial_seed()))
    return _lit(swatch.stitches, source, flat)


def lay_finely(swatch: Swatch, laid: Laid, design: Picture, mask: Bool | None = None) -> Laid:
    """The same stitches in the same places with twice the pixels a side.

    Args:
        swatch: the sample that was laid.
        laid: the design with its stitches, H x W.
        design: the same design, flat, 2H x 2W x 3.
        mask: 2H x 2W bool, as for :func:`lay_stitches`.
    """
    rows, columns = np.mgrid[: 2 * laid.picture.height, : 2 * laid.picture.width].astype(np.int32) % 2
    source = 2 * laid.source.repeat(2, 0).repeat(2, 1) + np.stack([rows, columns], -1)
    return _lit(swatch.fine_stitches, source, _Flat.of(design, mask, 2))


def _lit(stitches: _Stitches, source: npt.NDArray[np.int32], flat: _Flat) -> Laid:
    light, shows, thread, depth = np.moveaxis(stitches.planes[source[..., 0], source[..., 1]], -1, 0)
    at_home = np.clip(_ASTRAY - np.abs(depth - flat.depth()), 0, 1)
    light = np.where(flat.mask, light, light * (1 - (1 - at_home) * np.maximum(shows, thread)))
    shows = shows * at_home
    colours = (flat.lab + shows[..., None] * (flat.other() - flat.lab)).astype(np.float32)
    lit = colours.copy()
    # A sample that shows no cloth has none to lay: cloth stays plain, but for what hangs over an outline.
    stray = ~flat.mask & (thread > 0.5) & (flat.distance > _REACH * flat.scale)
    light = np.where(stray, 0, light) * stitches.contrast * (colours[..., 0] + _DARKEST)
    lit[..., 0] = np.clip(colours[..., 0] + light, 0, 100)
    return Laid(to_image(lab_to_rgb(lit)), to_image(lab_to_rgb(colours)), source)


@dataclass(frozen=True)
class _Flat:
    """A flat design, and where its outlines are.

    Attributes:
        lab: [H, W, 3].
        mask: true on the motif, [H, W].
        distance: to the nearest outline, pixels.
        x, y: direction away from it.
        scale: pixels to one at the base's resolution.
    """

    lab: Float
    mask: Bool
    distance: Float
    x: Float
    y: Float
    scale: float

    @classmethod
    def of(cls, design: Picture, mask: Bool | None, scale: float = 1.0) -> _Flat:
        lab = rgb_to_lab(to_image(design))
        if mask is None:
            border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
            mask = np.linalg.norm(lab - np.median(border, axis=0), axis=-1) > 4
        distance = cv2.distanceTransform((edge_map(design) == 0).astype(np.uint8), cv2.DIST_L2, 5)
        # Without any outline the distance is whatever OpenCV makes of infinity.
        distance = np.minimum(distance, np.float32(sum(distance.shape)))
        smooth = cv2.GaussianBlur(distance, (0, 0), 1.0)
        x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
        length = np.hypot(x, y) + np.float32(1e-3)
        return cls(lab, np.asarray(mask, bool), distance, x / length, y / length, scale)

    def other(self) -> Float:
        """What may show in place of a pixel's ink, [H, W, 3]: what lies across the nearest outline, if one is near.

        Elsewhere in the motif the cloth, between open stitches; elsewhere on the cloth nothing else.
        """
        rows, columns = np.mgrid[: self.lab.shape[0], : self.lab.shape[1]].astype(np.float32)
        far = 2 * self.distance + 2
        across = cv2.remap(
            self.lab, columns - self.x * far, rows - self.y * far, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        cloth = np.median(self.lab[~self.mask], axis=0) if not self.mask.all() else self.lab
        inside = np.where(self.mask[..., None], cloth, self.lab)
        other: Float = np.where((self.distance < _REACH * self.scale)[..., None], across, inside).astype(np.float32)
        return other

    def depth(self) -> Float:
        """Pixels inside the motif's or an ink's outline, negative on the cloth, no more than `_REACH`."""
        deep = np.minimum(self.distance / self.scale, _REACH)
        signed: Float = np.where(self.mask, deep, -deep).astype(np.float32)
        return signed

    def guide(self) -> Float:
        """What two places must have in common to be sewn alike, [H, W, 5]."""
        near = np.exp(-self.distance / _NEAR)
        planes = (near, self.x * near, self.y * near, self.mask, self.lab[..., 0] / 100)
        return np.stack(planes, -1).astype(np.float32) * np.array(_WEIGHTS, np.float32)


@dataclass(frozen=True)
class _Stitches:
    """A swatch, taken apart.

    Attributes:
        planes: [H, W, 4]: light in standard deviations, share of another colour than the ink, 1 on the motif, depth.
        guide: five planes [H, W].
        contrast: the standard deviation, as a share of L* + `_DARKEST`.
    """

    planes: Float
    guide: tuple[Float, ...]
    contrast: float

    @classmethod
    def of(cls, embroidery: Picture, design: Picture, mask: Bool, scale: float = 1.0) -> _Stitches:
        sewn = rgb_to_lab(embroidery)
        whole = _Flat.of(design, mask, scale)
        flat, other = whole.lab, whole.other()
        smooth = cv2.GaussianBlur(sewn, (0, 0), _SMOOTH * scale)
        # Between stitches dark may be shadow and light may be shine: there only hue tells cloth from thread.
        weight = np.where((whole.distance < _REACH * scale)[..., None], np.float32(1), _HUE)
        step, apart = weight * (smooth - flat), weight * (other - flat)
        square = np.square(apart).sum(-1)
        share = ((step * apart).sum(-1) / np.maximum(square, 1e-3) - _SHARES[0]) / (_SHARES[1] - _SHARES[0])
        shows = np.where(square > _APART**2, np.clip(share, 0, 1), 0).astype(np.float32)
        ink = flat[..., 0] + shows * (other[..., 0] - flat[..., 0])
        light = (sewn[..., 0] - ink) / (ink + _DARKEST)
        fine = (light - cv2.GaussianBlur(light, (0, 0), 4 * scale))[mask]
        contrast = float(np.sqrt(np.mean(fine**2))) + 1e-3 if fine.size else 1e-3
        planes = np.stack([np.clip(light / contrast, -_LARGEST, _LARGEST), shows, mask, whole.depth()], -1)
        planes = planes.astype(np.float32)
        guide = whole.guide()
        guide[_sewn_like_cloth(sewn[..., 0], mask, scale), _CLOTH] = -_WEIGHTS[_CLOTH]  # wanted by none
        return cls(planes, tuple(np.ascontiguousarray(guide[..., i]) for i in range(guide.shape[-1])), contrast)


def _sewn_like_cloth(lightness: Float, mask: Bool, scale: float) -> Bool:
    """True where cloth that the motif cuts off from the rest has much more relief: thread of the cloth's colour."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8))
    found = np.zeros(mask.shape, bool)
    if count < 3:
        return found
    fine = lightness - cv2.GaussianBlur(lightness, (0, 0), 4 * scale)
    # Beside the motif lies its shadow.
    inner = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) > 2 * scale
    values = [fine[inner & (pieces == number)] for number in range(count)]
    relief = [float(np.linalg.norm(one)) / max(len(one), 1) ** 0.5 for one in values]
    cloth = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    for number in range(1, count):
        if relief[number] > _RELIEF * relief[cloth]:
            found |= pieces == number
    return found


def _places(side: int, block: int, step: int) -> Iterator[int]:
    """Where blocks begin so that they cover `side`; the last one ends with it."""
    yield from range(0, side - block, step)
    yield side - block


def _quilted(stitches: _Stitches, wanted: Float, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Rows and columns of the stitches, block by block, where the guide [H, W, 5] wants such, [H, W, 2]."""
    height, width = wanted.shape[:2]
    block = min(_BLOCK, height, width, len(stitches.planes) // 2)
    overlap = block * _OVERLAP // _BLOCK
    light = np.ascontiguousarray(stitches.planes[..., 0])
    out, known = np.zeros((height, width, stitches.planes.shape[-1]), np.float32), np.zeros((height, width), bool)
    source = np.zeros((height, width, 2), np.int32)
    within = np.moveaxis(np.mgrid[:block, :block], 0, -1).astype(np.int32)
    for top in _places(height, block, block - overlap):
        for left in _places(width, block, block - overlap):
            here = np.s_[top : top + block, left : left + block]
            old, fixed = out[here].copy(), known[here].copy()
            cost = _mismatch(stitches.guide, wanted[here]) / block**2
            if fixed.any():
                there, where = np.ascontiguousarray(old[..., 0]), fixed.astype(np.float32)
                cost += cv2.matchTemplate(light, there, cv2.TM_SQDIFF, mask=where) / fixed.sum()
            cost = np.maximum(cost, 0)
            rows, columns = np.nonzero(cost <= cost.min() * (1 + _TOLERANCE) + 0.02)
            chosen = int(rng.integers(len(rows)))
            place = within + np.array((rows[chosen], columns[chosen]), np.int32)
            new = stitches.planes[place[..., 0], place[..., 1]]
            taken = _seam(np.square(new - old)[..., :2].sum(-1), fixed)[..., None]
            out[here], source[here] = np.where(taken, new, old), np.where(taken, place, source[here])
            known[here] = True
    return source


def _mismatch(guide: tuple[Float, ...], wanted: Float) -> Float:
    """Squared difference of a block's guide to every block of the sample's."""
    planes = [
        cv2.matchTemplate(plane, np.ascontiguousarray(wanted[..., i]), cv2.TM_SQDIFF) for i, plane in enumerate(guide)
    ]
    total: Float = np.sum(planes, axis=0)
    return total


def _seam(error: Float, fixed: Bool) -> Bool:
    """True where the new block is taken: right of and below the seams of least error through what is there already."""
    taken = np.ones_like(fixed)
    wide, high = int(fixed.all(0).argmin()), int(fixed.all(1).argmin())
    if fixed.all():
        return np.zeros_like(fixed)
    if wide:
        taken[:, :wide] &= _cut(error[:, :wide])
    if high:
        taken[:high] &= _cut(error[:high].T).T
    return taken


def _cut(error: Float) -> Bool:
    """True right of the path of least error from the first row to the last, which it moves by at most one a row."""
    sums, steps = error.copy(), np.zeros(error.shape, int)
    for row in range(1, len(error)):
        before = np.pad(sums[row - 1], 1, constant_values=np.inf)
        three = np.stack([before[:-2], before[1:-1], before[2:]])
        steps[row] = three.argmin(0) - 1
        sums[row] += three.min(0)
    right = np.zeros(error.shape, bool)
    column = int(sums[-1].argmin())
    for row in range(len(error) - 1, -1, -1):
        right[row, column:] = True
        column += int(steps[row, column])
    return right
