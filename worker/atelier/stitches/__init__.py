"""The stitch renderer: designs as areas of ink in, photographs of embroidery out, in real units, on CPU or GPU."""

from __future__ import annotations

from worker.atelier.stitches.digitise import Plan, Plans, digitise
from worker.atelier.stitches.label_map import SUPERSAMPLING, LabelMap, flat_design
from worker.atelier.stitches.render import NEEDS_STROKE, render_batch, render_embroidery
from worker.atelier.stitches.style import FABRICS, FAMILIES, HELD_OUT_FAMILIES, MATERIALS, StitchStyle, sample_style

__all__ = [
    "FABRICS",
    "FAMILIES",
    "HELD_OUT_FAMILIES",
    "MATERIALS",
    "NEEDS_STROKE",
    "SUPERSAMPLING",
    "LabelMap",
    "Plan",
    "Plans",
    "StitchStyle",
    "digitise",
    "flat_design",
    "render_batch",
    "render_embroidery",
    "sample_style",
]
