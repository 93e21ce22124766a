"""Procedural embroidery: a label map and a stitch style in, a picture of the sewn result out.

The renderer works on fields, not on single stitches: every pixel knows which thread covers it, how far it lies off
the thread's axis and which way the thread runs. That is what makes it fast enough to feed a training (about eight
256 px pictures a second and core). All lengths are pixels of the output picture; one pixel is about 0.1 mm of cloth,
so that a 40 wt thread (0.4 mm) is four pixels wide.
"""

from worker.atelier.stitches.render import flat_design, render_embroidery
from worker.atelier.stitches.style import FAMILIES, HELD_OUT_FAMILIES, StitchStyle, sample_style

__all__ = ["FAMILIES", "HELD_OUT_FAMILIES", "StitchStyle", "flat_design", "render_embroidery", "sample_style"]
