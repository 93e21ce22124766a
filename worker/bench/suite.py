"""What is measured on: reference styles, designs and briefs, always the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from worker.atelier.colours import cloth_colour
from worker.atelier.designs import label_map
from worker.atelier.evaluation.cases import Case, held_out_cases, sewn_anew
from worker.atelier.held_out import HELD_OUT_BRIEFS
from worker.atelier.stitches import HELD_OUT_FAMILIES, SUPERSAMPLING, StitchStyle, sample_style
from worker.engine.briefs import draw_brief
from worker.engine.colour import to_image
from worker.engine.pairs import Pair

SEED = 2025
FAMILIES = (
    *("fill", "satin", "longshort", "contour", "run", "bean", "cross", "chenille", "towel", "sequin", "applique"),
    *("puff", "fill", "satin", "longshort", "contour", "cross", "chenille", "sequin", "towel"),
    *("stem", "chain", "knot", "bead", "stem", "chain", "knot", "bead", "stem", "bead"),
)
"""Of the 30 reference styles; the last ten are of families that the bundled base never saw in training."""
DESIGNS, BRIEFS = 50, 20
QUICK_STYLES, QUICK_DESIGNS = (0, 7, 20, 21, 22, 23), 2
"""The fixed cut that fits two cores: a fill, a chenille, and one style of each family that was held out."""
STYLES_DESIGNS = 4
"""Of the cut that has every style."""
Cut = Literal["whole", "quick", "styles"]
_Item = TypeVar("_Item")
Track = Callable[[Sequence[_Item]], Iterator[_Item]]


@dataclass(frozen=True)
class Reference:
    """One sample of embroidery.

    Attributes:
        number: its place among the 30.
        style: how it is sewn; everything but colours and motif.
        teacher: the design that it shows, which is none of the suite's designs.
        more: further designs for further samples of the style.
    """

    number: int
    style: StitchStyle
    teacher: Case
    more: tuple[Case, ...] = ()

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.number:02d}-{self.style.family}"

    @property
    def unseen(self) -> bool:
        """Whether its family was held out of the bundled base's training."""
        return self.style.family in HELD_OUT_FAMILIES

    @property
    def pair(self) -> Pair:
        """The embroidery with the very design it was sewn from, as the builder `artwork` has it at best."""
        return self._pair(self.teacher, self.style)

    @property
    def further(self) -> list[Pair]:
        """Two more samples of the style, sewn anew."""
        return [self._pair(case, sewn_anew(self.style, 1 + n)) for n, case in enumerate(self.more)]

    def _pair(self, case: Case, style: StitchStyle) -> Pair:
        return Pair(to_image(case.sewn(style)), to_image(case.flat), case.mask, "artwork", {})


@dataclass(frozen=True)
class Suite:
    """Everything to measure on.

    Attributes:
        references: reference styles.
        designs: drawn in each of them.
        briefs: texts, of things and colours that training never showed together.
        cut: everything, the quick cut, or every style with some of the designs.
        of_briefs: its designs are the drawings that briefs get on a base that knows no things.
    """

    references: tuple[Reference, ...]
    designs: tuple[Case, ...]
    briefs: tuple[str, ...]
    cut: Cut
    of_briefs: bool = False

    @property
    def name(self) -> str:
        """What its results are called."""
        return "briefs" if self.of_briefs else "styles" if self.cut == "styles" else "designs"


def embroidery_bench(icons: Path | None, size: int, cut: Cut = "whole", *, of_briefs: bool = False) -> Suite:
    """The suite, of held-out designs.

    Args:
        icons: folder of the icon packages; ``None`` for procedural designs, which is another suite.
        size: pixels a side.
        cut: styles and designs of a cut are those of the whole.
        of_briefs: instead of the designs the drawings of the text briefs.
    """
    numbers = QUICK_STYLES if cut == "quick" else range(len(FAMILIES))
    cases = held_out_cases(icons, 4 * DESIGNS, size, SEED)
    # There are about sixty things: those that the designs show are no teachers, the others come in several drawings.
    shown = {case.name for case in cases[:DESIGNS]}
    others = [case for case in cases[DESIGNS:] if case.name not in shown] or cases[DESIGNS:]
    teachers = [others[n % len(others)] for n in range(len(FAMILIES))]
    further = {n: tuple(teachers[(n + step) % len(teachers)] for step in (1, 2)) for n in numbers}
    references = tuple(Reference(n, _style(n), teachers[n], further[n]) for n in numbers)
    briefs = tuple(brief.text for brief in HELD_OUT_BRIEFS[:BRIEFS])
    if of_briefs:
        designs = tuple(
            _drawn(brief, size, number) for number, brief in enumerate(briefs[: 4 if cut == "quick" else None])
        )
    else:
        count = {"whole": DESIGNS, "quick": QUICK_DESIGNS, "styles": STYLES_DESIGNS}[cut]
        designs = tuple(cases[:count])
    return Suite(references, designs, briefs, cut, of_briefs)


def _drawn(brief: str, size: int, number: int) -> Case:
    """The drawing of a brief, as areas of ink that the renderer can sew."""
    rng = np.random.default_rng([SEED, number])
    cloth = cloth_colour(rng)
    red, green, blue = (round(255 * float(value)) for value in cloth)
    drawn = draw_brief(brief, size * SUPERSAMPLING, (red, green, blue))
    if drawn is None:
        raise ValueError(f"there is no drawing for {brief!r}")
    rgb = np.asarray(drawn.picture)
    inked = np.abs(rgb.astype(np.int16) - (red, green, blue)).max(-1) > 6
    rgba = np.dstack([rgb, np.where(inked, 255, 0).astype(np.uint8)])
    return Case(brief, brief, label_map(rgba, cloth, 7, rng))


def _style(number: int) -> StitchStyle:
    # Photographed close, so that a design stays where it is drawn and truth and rendering lie pixel on pixel.
    return replace(sample_style(FAMILIES[number], np.random.default_rng([SEED, number])), framing="close")


def write_suite(suite: Suite, folder: Path, track: Track[tuple[Reference, int]]) -> None:
    """Draws the suite into a folder: references with their designs, designs, and the truth of each in each style.

    What is there already is kept, so that a broken run goes on.

    Args:
        suite: what to draw.
        folder: gets ``references``, ``designs``, ``truth/<reference>/<design>.png`` and ``suite.json``.
        track: shows a bar over the true pictures.
    """
    for part in ("references", "designs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(suite.designs):
        to_image(case.flat).save(folder / "designs" / f"{number:02d}.png")
    for reference in suite.references:
        pair = reference.pair
        pair.embroidery.save(folder / "references" / f"{reference.name}.png")
        pair.design.save(folder / "references" / f"{reference.name}-design.png")
    for reference, number in track([(r, n) for r in suite.references for n in range(len(suite.designs))]):
        path = folder / "truth" / reference.name / f"{number:02d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new.png")
            to_image(suite.designs[number].sewn(reference.style)).save(fresh)
            fresh.replace(path)
    listed = {
        "seed": SEED,
        "references": {
            reference.name: {
                "shows": reference.teacher.name,
                "unseen_family": reference.unseen,
                "style": asdict(reference.style),
            }
            for reference in suite.references
        },
        "designs": [case.name for case in suite.designs],
        "briefs": list(suite.briefs),
    }
    (folder / "suite.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
