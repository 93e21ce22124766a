"""From digitised designs and styles to pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from worker.atelier.stitches.camera import in_hoop, on_garment, perspective, photograph
from worker.atelier.stitches.canvas import Canvas, Cover
from worker.atelier.stitches.digitise import Plans, digitise
from worker.atelier.stitches.fabric import weave
from worker.atelier.stitches.fields import groups
from worker.atelier.stitches.label_map import SUPERSAMPLING, LabelMap
from worker.atelier.stitches.light import lay_on_cloth, shade_threads
from worker.atelier.stitches.lines import LINES, rows
from worker.atelier.stitches.pieces import PIECES
from worker.atelier.stitches.style import StitchStyle

COVERS = {**LINES, **PIECES}
NEEDS_STROKE = ("satin", "puff")
"""Families whose plans need `stroke`."""


@torch.no_grad()
def render_batch(plans: Plans, styles: list[StitchStyle], *, camera: float = 1.0, askew: float = 0.0) -> Tensor:
    """Sews and photographs designs, each in its own style, on the plans' device.

    Args:
        plans: The digitised designs.
        styles: One for each; `seed` makes the picture reproducible.
        camera: 0 for a perfect camera, 1 for the usual spread of shop photographs.
        askew: Perspective, as a share of the side (`camera.perspective` warps what must stay aligned).

    Returns:
        RGB in [0, 1], [B, 3, S, S] at the output size.
    """
    if len(plans) != len(styles):
        raise ValueError(f"{len(plans)} designs for {len(styles)} styles")
    side = plans.region.shape[-1] // SUPERSAMPLING
    out = torch.empty(len(styles), 3, side, side, device=plans.region.device)
    for _, places, index in groups([s.family for s in styles], out.device):
        out[index] = _render_family(plans[index], [styles[i] for i in places], camera, askew)
    return out


def render_embroidery(
    design: LabelMap, style: StitchStyle, *, camera: float = 1.0, askew: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Sews one design on the CPU, uint8 RGB [S, S, 3] at the output size."""
    plans = Plans.of([digitise(design, stroke=style.family in NEEDS_STROKE)])
    picture = render_batch(plans, [style], camera=camera, askew=askew)[0]
    return np.asarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())


def _render_family(plans: Plans, styles: list[StitchStyle], camera: float, askew: float) -> Tensor:
    canvas = Canvas(plans, styles)
    picture = _cloth(canvas)
    if styles[0].family == "applique":
        picture = _applique(canvas, picture)
    else:
        cover = COVERS[styles[0].family](canvas)
        thread = shade_threads(canvas, cover, plans.inks_of(cover.region))
        covered = cover.covered & (cover.region > 0)
        if any(s.outline for s in styles):
            thread, covered = _outlined(canvas, thread, covered)
        picture = lay_on_cloth(canvas, thread, covered, cover.hole, picture)
    picture = functional.avg_pool2d(picture, SUPERSAMPLING)
    for framing, frame in (("hoop", in_hoop), ("garment", on_garment)):
        if any(s.framing == framing for s in styles):
            framed = canvas.is_any("framing", framing)[:, None]
            picture = torch.where(framed, frame(picture, canvas.seed), picture)
    if askew:
        picture = perspective(picture, canvas.seed, askew)
    return photograph(picture, canvas.seed, camera)


def _cloth(canvas: Canvas) -> Tensor:
    """Every style's cloth in the colour of its design's ground."""
    ground = canvas.plans.palette[:, 0, :, None, None]
    out = torch.empty(len(canvas.styles), 3, canvas.size, canvas.size, device=canvas.device)
    for fabric, _, index in groups([s.fabric for s in canvas.styles], canvas.device):
        out[index] = weave(fabric, ground[index], canvas.seed[index], canvas.size)
    return out


def _border(canvas: Canvas, position: Tensor, over: Tensor, region: Tensor, band: Tensor) -> Cover:
    """Satin across a band: `position` runs from -1 to 1 across it, `over` counts its threads along the outline."""
    heading = canvas.outline_heading() + torch.pi / 2
    cover = rows(canvas, over, over, heading, length=torch.full_like(over, 1e7), ragged=0.0, random_ends=False)
    gx, gy = torch.cos(heading), torch.sin(heading)
    bulge = 0.95 * position
    return replace(
        cover,
        region=torch.where(band, region, 0),
        covered=band,
        dive=torch.zeros_like(over),
        shade=0.7 + 0.3 * (1 - position.square()).clamp(0, 1).sqrt(),
        hole=None,
        tilt=(gx * bulge, gy * bulge),
    )


def _outlined(canvas: Canvas, thread: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
    """Adds a narrow satin border in the darkest ink, sewn across the motif's edge."""
    plans = canvas.plans
    half = (canvas.length("outline") / 2).clamp(min=1e-3)
    # The ground's side has its slope reversed: the edge's own distance is smooth across it.
    position = (plans.edge - 0.4 * half) / half
    # Narrow strokes are left alone: a border on either side would bury them.
    around = 2 * 7 * SUPERSAMPLING + 1
    wide = functional.max_pool2d(plans.width[:, None], (around, 1), 1, (around // 2, 0))
    wide = functional.max_pool2d(wide, (1, around), 1, (0, around // 2))[:, 0]
    band = (position.abs() < 1) & (canvas.of("outline") > 0) & (wide > (1.6 * half).clamp(max=20))
    used = torch.zeros(plans.palette.shape[:2], device=canvas.device).scatter_(1, plans.ink, 1.0)
    brightness = plans.palette.sum(-1) + 10 * (1 - used)
    brightness[:, 0] = 99
    darkest = plans.palette.gather(1, brightness.argmin(1)[:, None, None].expand(-1, 1, 3))[:, 0]
    cover = _border(canvas, position.clamp(-1, 1), plans.arc, torch.ones_like(plans.region), band)
    border = shade_threads(canvas, cover, 0.85 * darkest[:, :, None, None].expand(-1, -1, *band.shape[1:]))
    return torch.where(band[:, None], border, thread), covered | band


def _applique(canvas: Canvas, cloth: Tensor) -> Tensor:
    """Patches of cloth in the design's inks, each held by a satin border."""
    plans = canvas.plans
    inks = plans.inks_of(plans.region)
    patch = torch.empty_like(cloth)
    kinds = ("felt", "plain", "twill", "felt")
    for kind, _, index in groups([kinds[s.seed % 4] for s in canvas.styles], canvas.device):
        patch[index] = weave(kind, inks[index], canvas.seed[index], canvas.size, salt=1)
    inside = plans.region > 0
    picture = lay_on_cloth(canvas, patch, inside, None, cloth)
    half = canvas.length("spacing") * 2.2
    position = (plans.distance - half) / half
    band = inside & (position < 1)
    cover = _border(canvas, position.clamp(-1, 1), plans.arc, plans.region, band)
    thread = shade_threads(canvas, cover, inks * 0.9)
    return lay_on_cloth(canvas, thread, band, None, picture)
