"""What the stitch families share: the picture they sew on and the description of the threads they give back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from worker.atelier.stitches.digitise import Plans
from worker.atelier.stitches.fields import at, blur, slopes, smooth_noise
from worker.atelier.stitches.label_map import SUPERSAMPLING
from worker.atelier.stitches.style import StitchStyle


@dataclass
class Cover:
    """Fields [B, S, S] that describe the threads seen from above.

    Attributes:
        region: Region whose thread covers the sample, 0 for bare cloth.
        covered: Whether any thread is there.
        across: Position across the thread, -1 to 1.
        heading: Direction of the thread, radians.
        dive: Slope along the thread: it goes into the cloth at its ends.
        shade: Darkening by gaps and ends, 0 to 1.
        identity: One random number per stitch, [0, 1).
        hole: Darkness of needle holes in the cloth beside the threads, 0 to 1.
        tilt: Extra slope of the surface (x, y) by padding or by the shape of a bead.
        lustre: Factor of the highlights.
    """

    region: Tensor
    covered: Tensor
    across: Tensor
    heading: Tensor
    dive: Tensor
    shade: Tensor
    identity: Tensor
    hole: Tensor | None = None
    tilt: tuple[Tensor, Tensor] | None = None
    lustre: Tensor | None = None


_NUMBERS = tuple(f.name for f in fields(StitchStyle) if f.type in ("float", "int", "bool"))


class Canvas:
    """A batch of designs with a style for each, all of one family; lengths are in samples.

    Attributes:
        plans: The digitised designs.
        styles: How each is sewn.
        size: Samples a side.
        x, y: Coordinates [1, S, S].
        seed: Seeds [B] of the hashes.
    """

    def __init__(self, plans: Plans, styles: list[StitchStyle]) -> None:
        self.plans, self.styles = plans, styles
        self.size = plans.region.shape[-1]
        self.device = plans.region.device
        steps = torch.arange(self.size, device=self.device, dtype=torch.float32)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        self.x, self.y = x[None], y[None]
        self.seed = torch.tensor([s.seed & 0xFFFFFF for s in styles], device=self.device)
        # All at once: each small copy to a GPU costs as much as a kernel.
        numbers = [[float(getattr(s, n)) for n in _NUMBERS] for s in styles]
        table = torch.tensor(numbers).to(self.device)
        self._numbers = {n: table[:, i].view(-1, 1, 1) for i, n in enumerate(_NUMBERS)}

    def of(self, name: str) -> Tensor:
        """A number of every style, [B, 1, 1]."""
        return self._numbers[name]

    def length(self, name: str) -> Tensor:
        """A length of every style, from millimetres to samples, [B, 1, 1]."""
        return self.of(name) * self.of("px_per_mm") * SUPERSAMPLING

    def is_any(self, name: str, *values: str) -> Tensor:
        """Whether a style's attribute is among `values`, [B, 1, 1]."""
        return torch.tensor([getattr(s, name) in values for s in self.styles], device=self.device).view(-1, 1, 1)

    def noise(self, cells: int, salt: int) -> Tensor:
        """Smooth noise [B, S, S] of every style's own."""
        return smooth_noise(self.seed, self.size, cells, salt)

    def wobbled(self) -> tuple[Tensor, Tensor]:
        """Coordinates with the slow drift of the cloth in its hoop, plus a little of each stitch's own."""
        amount = self.length("wobble")
        fine = max(8, self.size // 12)
        return (
            self.x + amount * (0.8 * self.noise(5, 1) + 0.16 * self.noise(fine, 2)),
            self.y + amount * (0.8 * self.noise(5, 3) + 0.16 * self.noise(fine, 4)),
        )

    @cached_property
    def near(self) -> Tensor:
        """Regions with a margin of 2 output pixels, for threads that end a little outside."""
        region = self.plans.region
        side, reach = 4 * SUPERSAMPLING + 1, 2 * SUPERSAMPLING
        wide = functional.max_pool2d(region[:, None].to(torch.float32), (side, 1), 1, (reach, 0))
        wide = functional.max_pool2d(wide, (1, side), 1, (0, reach))[:, 0]
        return torch.where(region > 0, region, wide.to(region.dtype))

    def region_at(self, x: Tensor, y: Tensor, regions: Tensor | None = None) -> Tensor:
        """Region under each of the given points, in the design's map or in another one."""
        count = len(self.styles)
        regions = self.plans.region if regions is None else regions
        return at(regions, x.expand(count, -1, -1), y.expand(count, -1, -1))

    def padding(self, strength: Tensor, reach: float = 14.0) -> tuple[Tensor, Tensor]:
        """Slope of a padded surface: stitches bulge over their regions, up to `reach` output pixels from their edge."""
        height = blur(self.plans.distance.clamp(max=reach * SUPERSAMPLING), 1.5 * SUPERSAMPLING)
        gx, gy = slopes(height)
        return -gx * strength, -gy * strength

    def outline_heading(self, sigma: float = 1.4) -> Tensor:
        """Direction along the nearest outline, radians."""
        gx, gy = slopes(blur(self.plans.distance, sigma * SUPERSAMPLING))
        return torch.atan2(gy, gx) + torch.pi / 2
