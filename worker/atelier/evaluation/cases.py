"""What the base is measured on: held-out designs and styles, always the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from worker.atelier.designs import HELD_OUT_DESIGNS, caption, held_out_icons, icon_design, procedural_design
from worker.atelier.icons import Icon
from worker.atelier.stitches import SUPERSAMPLING, LabelMap, StitchStyle, flat_design, render_embroidery, sample_style
from worker.engine.colour import Bool, Picture

SEED = 5


@dataclass(frozen=True)
class Case:
    """A design that training never showed.

    Attributes:
        name: What it shows, its canonical name.
        words: A caption of it.
        map: Its areas of ink.
    """

    name: str
    words: str
    map: LabelMap

    @property
    def flat(self) -> Picture:
        """The clean design, uint8 [S, S, 3]."""
        return flat_design(self.map)

    @property
    def mask(self) -> Bool:
        """True on the motif, [S, S]: where most of a pixel's samples are ink."""
        side = self.map.labels.shape[0] // SUPERSAMPLING
        inked = (self.map.labels > 0).reshape(side, SUPERSAMPLING, side, SUPERSAMPLING).mean((1, 3))
        return np.asarray(inked >= 0.5)

    def sewn(self, style: StitchStyle) -> Picture:
        """The truth: what the renderer makes of the design in a style, uint8 [S, S, 3]."""
        return render_embroidery(self.map, style)


def held_out_cases(icons: Path | None, count: int, size: int, seed: int = SEED) -> list[Case]:
    """Different things, one drawing of each from a set of its own; beyond that many things they come again.

    Args:
        icons: Folder of the icon packages; None for procedural designs, whose kinds training knows.
        count: How many; the first ones are the same whatever the count.
        size: Pixels a side.
        seed: Of choice, placement and colours.
    """
    drawings = _drawings(icons)
    things = [sorted(drawings)[i] for i in np.random.default_rng(seed).permutation(len(drawings))]
    return [_case(number, things, drawings, size, seed) for number in range(count)]


def _drawings(icons: Path | None) -> dict[str, list[Icon]]:
    """Coloured drawings of exactly the held-out things: "fox", but no "fox head" and no "no bicycles"."""
    found: dict[str, list[Icon]] = {}
    for icon in [] if icons is None else held_out_icons(icons):
        thing = icon.names[0].replace(" ", "-")
        if thing in HELD_OUT_DESIGNS and not icon.silhouette:
            found.setdefault(thing, []).append(icon)
    return found


def _case(number: int, things: Sequence[str], drawings: dict[str, list[Icon]], size: int, seed: int) -> Case:
    rng = np.random.default_rng([seed, number])
    for attempt in range(100):
        names: tuple[str, ...]
        if things:
            of_it = drawings[things[(number + attempt // 8) % len(things)]]
            icon = of_it[int(rng.integers(len(of_it)))]
            design, names = icon_design(icon, size, rng), icon.names
        else:
            design, names = procedural_design(size, rng)
        # Less than a tenth of ink leaves too little to take statistics of.
        if design is not None and 0.1 < float((design.labels > 0).mean()) < 0.9:
            return Case(names[0], caption(names, design, rng), design)
    raise RuntimeError("no design could be drawn")


def held_out_styles(families: Sequence[str], count: int, seed: int = SEED) -> list[StitchStyle]:
    """`count` styles, the families in turn; photographed close, so that a design stays where it is drawn."""
    return [
        replace(sample_style(families[n % len(families)], np.random.default_rng([seed, 1, n])), framing="close")
        for n in range(count)
    ]


def sewn_anew(style: StitchStyle, times: int = 1) -> StitchStyle:
    """The same style sewn once more, or several times more: other stitches, cloth and light by chance."""
    return replace(style, seed=style.seed + times)
