"""What else a design may look like than sewn: drawn, painted, cut or printed. Batched, on the device of the labels.

Each domain draws every sample in its own way; all of them keep the design's colours where the medium allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from worker.atelier.stitches.label_map import SUPERSAMPLING

DOMAIN_WORDS: dict[str, tuple[str, ...]] = {
    "flat": ("", "flat vector", "vector artwork", "clip art", "flat icon"),
    "lineart": ("line art", "ink drawing", "line drawing", "outline sketch"),
    "watercolour": ("watercolour", "watercolour painting", "aquarelle"),
    "felt": ("felt", "felt applique", "cut felt"),
    "fabric": ("fabric print", "printed on cloth", "textile print"),
    "crayon": ("crayon", "crayon drawing", "wax crayon"),
    "gradient": ("airbrush", "soft gradients", "airbrushed artwork"),
}
"""How captions call each domain; an empty one says nothing."""

DOMAINS = tuple(DOMAIN_WORDS)


def paint(domain: str, labels: Tensor, palettes: Tensor, generator: torch.Generator) -> Tensor:
    """Designs in one of `DOMAINS`.

    Args:
        domain: Which.
        labels: Inks, whole numbers [B, 2S, 2S] below K; 0 is the ground.
        palettes: RGB in [0, 1] of the inks, [B, K, 3].
        generator: On the device of `labels`; decides on everything random.

    Returns:
        RGB in [0, 1], [B, 3, S, S].
    """
    return _PAINTERS[domain](_Layers.of(labels, palettes.float(), generator)).clamp(0, 1)


@dataclass(frozen=True)
class _Layers:
    """Designs at the size of the picture.

    Attributes:
        colour: Anti-aliased colours [B, 3, S, S].
        ink: Share of inks other than the ground [B, 1, S, S].
        level: A random height of each ink, 0 for the ground and 0.4 to 1 for others [B, 1, S, S].
        edge: Share of the samples that lie at a border of inks [B, 1, S, S].
        cloth: The ground's RGB [B, 3, 1, 1].
        generator: Where random numbers come from.
    """

    colour: Tensor
    ink: Tensor
    level: Tensor
    edge: Tensor
    cloth: Tensor
    generator: torch.Generator

    @classmethod
    def of(cls, labels: Tensor, palettes: Tensor, generator: torch.Generator) -> _Layers:
        batch, inks, _ = palettes.shape
        level = 0.4 + 0.6 * torch.rand((batch, inks, 1), generator=generator, device=labels.device)
        level[:, 0] = 0
        table = torch.cat([palettes, (level > 0).float(), level], 2).flatten(0, 1)
        offset = torch.arange(batch, device=labels.device).view(-1, 1, 1) * inks
        corners = [
            labels[:, i::SUPERSAMPLING, j::SUPERSAMPLING] for i in range(SUPERSAMPLING) for j in range(SUPERSAMPLING)
        ]
        # Samples of a pixel one after another: the sums stay in the cache.
        small = torch.stack([functional.embedding(c.long() + offset, table) for c in corners]).mean(0)
        small = small.permute(0, 3, 1, 2).contiguous()
        border = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
        border[:, 1:] = labels[:, 1:] != labels[:, :-1]
        border[:, :, 1:] |= labels[:, :, 1:] != labels[:, :, :-1]
        edge = functional.avg_pool2d(border[:, None].float(), SUPERSAMPLING)
        return cls(small[:, :3], small[:, 3:4], small[:, 4:], edge, palettes[:, 0, :, None, None], generator)

    @property
    def size(self) -> int:
        return self.ink.shape[-1]

    def uniform(self, low: float, high: float, channels: int = 1) -> Tensor:
        """A random number for every sample, [B, channels, 1, 1]."""
        shape = (len(self.ink), channels, 1, 1)
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.ink.device)

    def chance(self, share: float) -> Tensor:
        """1 for about this share of the samples, else 0, [B, 1, 1, 1]."""
        return (self.uniform(0, 1) < share).float()

    def noise(self, feature: float, channels: int = 1, stretch: float = 1.0) -> Tensor:
        """Smooth noise of unit deviation, features about `feature` pixels high and `stretch` times as long."""
        rows = max(2, round(self.size / feature))
        columns = max(2, round(self.size / feature / stretch))
        shape = (len(self.ink), channels, rows, columns)
        grid = torch.randn(shape, generator=self.generator, device=self.ink.device)
        if rows >= self.size and columns >= self.size:
            return grid[..., : self.size, : self.size]
        return 1.4 * functional.interpolate(grid, (self.size, self.size), mode="bilinear", align_corners=False)

    def wobbled(self, amount: float | Tensor, feature: float) -> _Layers:
        """Everything displaced by up to about `amount` pixels, as by an unsteady hand."""
        steps = (torch.arange(self.size, device=self.ink.device) + 0.5) * 2 / self.size - 1
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        shift = self.noise(feature, 2) * amount * 2 / self.size
        grid = torch.stack([x, y], -1) + shift.permute(0, 2, 3, 1)
        fields = torch.cat([self.colour, self.ink, self.level, self.edge], 1)
        moved = functional.grid_sample(fields, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return _Layers(moved[:, :3], moved[:, 3:4], moved[:, 4:5], moved[:, 5:], self.cloth, self.generator)

    def turned_noise(self, feature: float, stretch: float) -> Tensor:
        """Streaks of noise, in a direction of each sample's own."""
        angle = self.uniform(0, math.pi)[:, 0, 0, 0]
        cos, sin = 0.7 * angle.cos(), 0.7 * angle.sin()
        zero = torch.zeros_like(cos)
        turn = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
        streaks = self.noise(feature * 0.7, stretch=stretch)
        grid = functional.affine_grid(turn, list(streaks.shape), align_corners=False)
        return functional.grid_sample(streaks, grid, padding_mode="reflection", align_corners=False)


def _blur(field: Tensor, radius: float) -> Tensor:
    """Two box blurs, close to a Gaussian of deviation `radius` pixels; wide ones at a lower resolution."""
    size = field.shape[-1]
    if radius > 6:
        small = functional.interpolate(field, scale_factor=0.25, mode="area")
        return functional.interpolate(_blur(small, radius / 4), (size, size), mode="bilinear", align_corners=False)
    half = max(1, round(radius * 1.1))
    side = 2 * half + 1
    for _ in range(2):
        field = functional.avg_pool2d(functional.pad(field, (half,) * 4, mode="replicate"), (side, 1), 1)
        field = functional.avg_pool2d(field, (1, side), 1)
    return field


def _mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return first + (second - first) * share


def _light(height: Tensor, angle: Tensor) -> Tensor:
    """Slope of a height field towards a lamp at that angle [B, 1, 1, 1]."""
    wide = functional.pad(height, (1, 1, 1, 1), mode="replicate")
    dx, dy = wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2], wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]
    return (dx * angle.cos() + dy * angle.sin()) / 2


def _paper(layers: _Layers) -> Tensor:
    """White to cream paper with a little grain, [B, 3, S, S]."""
    tone = torch.tensor([0.99, 0.975, 0.94], device=layers.ink.device).view(1, 3, 1, 1)
    tone = _mix(torch.ones_like(tone), tone, layers.uniform(0, 1)) - layers.uniform(0, 0.04)
    return tone + 0.012 * layers.noise(1) + 0.008 * layers.noise(3)


def _flat(layers: _Layers) -> Tensor:
    """Clean areas; some with an outline, some with a soft shadow on the ground."""
    shift = max(1, layers.size // 50)
    shadow = _blur(torch.roll(layers.ink, (shift, shift), (2, 3)), layers.size / 100) * (1 - layers.ink)
    picture = layers.colour * (1 - 0.35 * layers.chance(0.2) * shadow)
    line = (_blur(layers.edge, 1) * 2.5).clamp(max=1)
    return _mix(picture, layers.uniform(0.05, 0.2).expand_as(picture), line * layers.chance(0.12))


def _lineart(layers: _Layers) -> Tensor:
    """Outlines by pen, some hatched or tinted; mostly dark on paper, some light on dark."""
    size = layers.size
    drawn = layers.wobbled(layers.uniform(0.2, 1.2) * size / 256, size / 12)
    thin, thick = (drawn.edge * 1.8).clamp(max=1), (_blur(drawn.edge, 1.2 * size / 256) * 3.6).clamp(max=1)
    line = _mix(thin, thick, (layers.uniform(0, 1) + 0.25 * layers.noise(size / 8)).clamp(0, 1))
    grey = drawn.colour.mean(1, keepdim=True)
    steps = torch.arange(size, device=grey.device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    pitch, angle = layers.uniform(3.5, 8) * size / 256, layers.uniform(0, math.pi)
    wave = torch.sin((x * angle.cos() + y * angle.sin() + layers.noise(size / 6)) * 2 * math.pi / pitch)
    hatch = ((wave - 0.35 - 1.1 * grey) * 4).clamp(0, 1) * drawn.ink * layers.chance(0.35)
    line = torch.maximum(line, 0.85 * hatch) * (0.9 + 0.1 * layers.noise(2).clamp(-1, 1))
    paper = _paper(layers)
    tint = layers.chance(0.25) * layers.uniform(0.3, 0.8) * drawn.ink
    paper = _mix(paper, paper * drawn.colour, tint)
    pen = layers.uniform(0.03, 0.22, 3) * layers.uniform(0.4, 1)
    picture = _mix(paper, pen.expand_as(paper), line)
    return _mix(picture, 1 - picture * (0.85 + 0.1 * layers.cloth), layers.chance(0.12))


def _watercolour(layers: _Layers) -> Tensor:
    """Transparent washes on paper: pigment gathers at edges, in the paper's hollows and where it was wet."""
    size = layers.size
    scale = size / 256
    wet = layers.wobbled(layers.uniform(1, 2.5) * scale, size / 16).wobbled(0.6 * scale, size / 36)
    # Pigment times its cover, for the ground must not run into the washes.
    pigment = torch.cat([wet.colour * wet.ink, wet.ink], 1)
    bleeding = (0.5 + 0.5 * layers.noise(size / 5)).clamp(0, 1) * layers.uniform(0.3, 0.9)
    pigment = _mix(_blur(pigment, 0.8 * scale), _blur(pigment, 3 * scale), bleeding)
    ink = pigment[:, 3:]
    colour = torch.where(ink > 0.02, pigment[:, :3] / ink.clamp(min=0.02), layers.cloth)
    ink = _mix(ink, ((ink - 0.3) * 3).clamp(0, 1), layers.uniform(0.3, 1) * (1 - bleeding))
    rim = (_blur(wet.edge, 1.2 * scale) - 0.5 * _blur(wet.edge, 4 * scale)).clamp(0, 0.5)
    grain = layers.noise(2.2 * scale)
    density = layers.uniform(0.65, 0.95) + 0.2 * layers.noise(size / 4) + 0.12 * layers.noise(size / 14)
    density = density + layers.uniform(1, 3) * rim + layers.uniform(0.04, 0.12) * grain
    paper = _paper(layers) + 0.02 * grain
    ground = layers.chance(0.3) * layers.uniform(0.2, 0.6)
    cover = torch.maximum(ink, ground * (1 - ink))
    # Beer's law: more pigment is darker and more vivid.
    wash = colour.clamp(min=0.04) ** density.clamp(0.15, 2)
    return _mix(paper, paper * wash, cover)


def _felt(layers: _Layers) -> Tensor:
    """Pieces of felt, cut out and laid on another: fibres, thickness and shadows."""
    size = layers.size
    scale = size / 256
    cut = layers.wobbled(0.6 * scale, size / 40)
    fibres = 0.5 * layers.turned_noise(1.5, 7) + 0.5 * layers.turned_noise(1.5, 7) + 0.6 * layers.noise(1.3)
    lamp = layers.uniform(0, 2 * math.pi)
    height = _blur(cut.level, 2.0 * scale)
    bevel = _light(height, lamp) * layers.uniform(1.2, 2.6)
    # Lower pieces lie in the shade of higher ones near by.
    shade = (_blur(cut.level, 5 * scale) - cut.level).clamp(0, 1) * layers.uniform(0.5, 1.1)
    blotches = 0.03 * layers.noise(size / 5) + 0.03 * layers.noise(9 * scale)
    picture = cut.colour * (1 + bevel.clamp(-0.4, 0.3) - shade + blotches)
    heather = layers.uniform(0.035, 0.07)
    return picture * (1 + 0.5 * heather * fibres) + heather * fibres * 0.6 + 0.02


def _fabric(layers: _Layers) -> Tensor:
    """Printed on woven cloth and photographed: weave, folds, uneven light, ink that lets the cloth through."""
    size = layers.size
    scale = size / 256
    still = layers.wobbled(0.35 * scale, size / 80)
    steps = torch.arange(size, device=still.ink.device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    pitch, angle = layers.uniform(2.6, 5.5) * scale, layers.uniform(-0.25, 0.25)
    drift = 0.5 * layers.noise(size / 6)
    u = (x * angle.cos() + y * angle.sin() + drift) * math.pi / pitch
    v = (y * angle.cos() - x * angle.sin() + drift) * math.pi / pitch
    plain = torch.sin(u) * torch.sin(v)  # over and under, like a chequerboard
    twill = torch.sin(u + v) * 0.8 + 0.2 * torch.sin(2 * u)
    weave = _mix(plain, twill, layers.chance(0.4))
    threads = weave + 0.5 * layers.noise(1.2, stretch=6) + 0.5 * layers.noise(1.2, stretch=6).transpose(2, 3)
    folds = _light(_blur(layers.noise(size / 3), 10 * scale), layers.uniform(0, 6.3)) * layers.uniform(0, 9)
    opacity = (layers.uniform(0.75, 0.97) - 0.12 * layers.uniform(0, 1) * weave).clamp(0, 1)
    picture = _mix(layers.cloth, still.colour, opacity)
    light = 1 + 0.12 * layers.noise(size / 2) * layers.uniform(0, 1) + folds.clamp(-0.25, 0.25)
    return _blur_some(picture * (1 + layers.uniform(0.05, 0.13) * threads) * light, layers)


def _blur_some(picture: Tensor, layers: _Layers) -> Tensor:
    """A third of the samples a little out of focus."""
    soft = functional.avg_pool2d(functional.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return _mix(picture, soft, 0.8 * layers.chance(0.35))


def _crayon(layers: _Layers) -> Tensor:
    """Wax strokes that catch on the grain of paper, white or in the ground's colour."""
    size = layers.size
    scale = size / 256
    hand = layers.wobbled(layers.uniform(0.6, 2) * scale, size / 16)
    strokes = layers.turned_noise(2.6 * scale, 14)
    grain = 0.7 * layers.noise(1.6 * scale) + 0.5 * layers.noise(3 * scale)
    press = layers.uniform(0.5, 1.8) + 0.3 * layers.noise(size / 6)
    outline = (_blur(hand.edge, 1.6 * scale) * 2.2).clamp(0, 1) * layers.chance(0.6)
    wax = torch.sigmoid(2.2 * (press + 0.55 * strokes + 0.8 * grain + 1.2 * outline)) * hand.ink
    paper = _mix(_paper(layers), layers.cloth * (1 + 0.05 * grain), layers.chance(0.35))
    colour = hand.colour * (1 - 0.3 * outline) * (1 + 0.07 * strokes)
    return _mix(paper, colour, wax * layers.uniform(0.85, 0.97))


def _gradient(layers: _Layers) -> Tensor:
    """Airbrushed: every area runs from light to dark, rounded at its edges, on a softly lit ground."""
    size = layers.size
    scale = size / 256
    lamp = layers.uniform(0, 2 * math.pi)
    body = _blur(torch.cat([layers.level, layers.edge], 1), 9 * scale)
    fine = _blur(layers.level, 3 * scale)
    steps = torch.linspace(-1, 1, size, device=body.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    ramp = x * lamp.cos() + y * lamp.sin()
    pillow = _light(body[:, :1], lamp) * 14 + 2.2 * _light(fine, lamp)
    shading = layers.uniform(0.6, 1.3) * pillow.clamp(-0.35, 0.35) - 0.16 * ramp * layers.uniform(0.3, 1)
    shading = shading - layers.uniform(0, 0.8) * (body[:, 1:] - 0.1).clamp(0, 0.4) + 0.05 * layers.noise(size / 3)
    soft = _mix(layers.colour, _blur(layers.colour, 1.5 * scale), layers.uniform(0, 0.7))
    # Towards white where lit, towards a darker and more vivid tone where not.
    lit = _mix(soft, torch.ones_like(soft), (0.8 * shading).clamp(0, 0.6) * layers.ink)
    lit = lit.clamp(min=1e-3) ** (1 + 1.6 * (-shading).clamp(0, 0.8))
    shadow = _blur(torch.roll(layers.ink, int(6 * scale), 2), 7 * scale) * (1 - layers.ink)
    vignette = 1 - layers.uniform(0, 0.25) * (x * x + y * y).clamp(max=1.5)
    return lit * (1 - layers.uniform(0, 0.5) * shadow) * vignette + 0.008 * layers.noise(1)


_PAINTERS: dict[str, Callable[[_Layers], Tensor]] = {
    "flat": _flat,
    "lineart": _lineart,
    "watercolour": _watercolour,
    "felt": _felt,
    "fabric": _fabric,
    "crayon": _crayon,
    "gradient": _gradient,
}
