"""What a stitch style is made of, in real units, and how one is drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

FAMILIES = (
    "fill",
    "satin",
    "longshort",
    "contour",
    "run",
    "bean",
    "stem",
    "chain",
    "cross",
    "knot",
    "chenille",
    "towel",
    "sequin",
    "bead",
    "applique",
    "puff",
)
"""Every family the renderer knows. `fill` is machine tatami, `contour` a fill that follows the outline, `run` and
`bean` are lines of single and triple stitches, `towel` is looped pile, `puff` satin over foam."""

HELD_OUT_FAMILIES = ("stem", "chain", "knot", "bead")
"""Never shown to the base in training: references from these measure transfer to a style it has not seen."""

FABRICS = ("plain", "twill", "denim", "felt", "canvas", "jersey", "linen", "terry")
MATERIALS = ("rayon", "polyester", "cotton", "wool", "metallic")
"""What the thread is made of, from the usual machine thread to foil twisted around a core."""

THREAD_MM = {60: 0.25, 40: 0.36, 30: 0.43, 12: 0.75}
"""Diameter in millimetres of a lying thread of each weight."""

FRAMINGS = ("close", "hoop", "garment")
"""What else is in the picture: nothing, the ring of the hoop, or folds and a seam of a garment."""


@dataclass(frozen=True)
class StitchStyle:
    """One way of sewing and photographing. Everything but the colours and the motif.

    Attributes:
        family: One of `FAMILIES`.
        material: One of `MATERIALS`.
        weight: Thread weight, a key of `THREAD_MM`.
        spacing: Distance between neighbouring threads, or size of one cross, loop, knot, sequin, in mm.
        stitch: Length of one stitch along the thread, mm.
        cover: Width of the thread over the spacing, 0.45 (ground shows through) to 1.2 (closed).
        taper: How much thinner a stitch is at its ends, 0 to 1.
        sheen: Strength of the highlights, 0 (wool) to 1.5 (sequins).
        jitter: Spread of brightness from stitch to stitch, 0 to 0.2.
        wobble: How far threads leave their line, mm.
        fuzz: Loose fibres along threads and edges, 0 to 1.
        angle: Direction of fills, radians.
        angle_by_region: Whether each region is sewn in a direction of its own.
        offset: Shift of the stitch ends from row to row as a share of the stitch length (0.5 is a brick wall).
        pattern: Period in rows of a pattern of the offsets (waves, diagonals), 0 for none.
        rows: Rows that `run` and `bean` sew inside each outline, 0 for as many as fit.
        outline: Width of a satin border around the motif, mm; 0 for none.
        relief: How strongly the padding bulges, 0 to 1.
        light: Direction the light comes from, radians.
        softness: 0 for a hard lamp, 1 for an overcast sky.
        fabric: One of `FABRICS`.
        px_per_mm: Scale of the photograph.
        framing: One of `FRAMINGS`.
        seed: Seeds everything random inside one picture.
    """

    family: str
    material: str = "rayon"
    weight: int = 40
    spacing: float = 0.4
    stitch: float = 2.5
    cover: float = 0.95
    taper: float = 0.4
    sheen: float = 0.5
    jitter: float = 0.07
    wobble: float = 0.1
    fuzz: float = 0.3
    angle: float = 0.6
    angle_by_region: bool = True
    offset: float = 0.382
    pattern: int = 0
    rows: int = 0
    outline: float = 0.0
    relief: float = 0.5
    light: float = -1.9
    softness: float = 0.3
    fabric: str = "plain"
    px_per_mm: float = 9.0
    framing: str = "close"
    seed: int = 0

    def __post_init__(self) -> None:
        for value, known in (
            (self.family, FAMILIES),
            (self.material, MATERIALS),
            (self.fabric, FABRICS),
            (self.framing, FRAMINGS),
            (self.weight, THREAD_MM),
        ):
            if value not in known:
                raise ValueError(f"{value!r} is none of {', '.join(map(str, known))}")
        if self.px_per_mm * self.spacing < 1.5:
            raise ValueError("threads under 1.5 px cannot be drawn: raise px_per_mm")

    def words(self) -> list[str]:
        """Descriptor words that a caption may use, most telling first."""
        words = []
        if self.material == "metallic":
            words.append("metallic")
        if self.material == "wool":
            words.append("wool")
        pitch = self.spacing * self.px_per_mm
        if self.family in LINE_FAMILIES:
            words.append("fine" if pitch < 3.1 else "thick" if pitch > 4.2 else "medium")
            words.append("sparse" if self.cover < 0.78 else "dense")
        words.append("shiny" if self.sheen > 0.75 else "matte" if self.sheen < 0.35 else "soft")
        if self.relief > 0.75:
            words.append("padded")
        if self.outline:
            words.append("outlined")
        return words


LINE_FAMILIES = ("fill", "satin", "longshort", "contour", "run", "bean", "stem")
"""Families of plain threads side by side."""

_SIZES = {  # spacing in output pixels, and in millimetres
    "satin": ((2.6, 4.2), (0.32, 0.45)),
    "longshort": ((2.4, 3.8), (0.3, 0.5)),
    "run": ((3.6, 6.5), (0.4, 1.2)),
    "bean": ((4.4, 8.0), (0.6, 1.6)),
    "stem": ((4.5, 8.0), (0.8, 1.5)),
    "chain": ((5.5, 9.0), (1.0, 1.8)),
    "cross": ((6.0, 10.5), (1.2, 2.2)),
    "knot": ((5.5, 9.0), (1.2, 2.2)),
    "chenille": ((4.5, 8.5), (1.0, 2.4)),
    "towel": ((4.0, 7.0), (0.9, 1.8)),
    "sequin": ((8.0, 15.0), (3.0, 5.0)),
    "bead": ((5.0, 9.0), (1.5, 2.5)),
    "applique": ((2.6, 4.0), (0.35, 0.45)),
    "puff": ((2.6, 4.0), (0.3, 0.4)),
}


def _choice(rng: np.random.Generator, options: dict[str, float]) -> str:
    weights = np.array(list(options.values()))
    return str(rng.choice(list(options), p=weights / weights.sum()))


def sample_style(family: str, rng: np.random.Generator) -> StitchStyle:
    """Draws a style of `family` with everything it leaves open chosen at random."""
    material = _choice(rng, {"rayon": 3, "polyester": 3, "cotton": 2, "wool": 0.8, "metallic": 0.8})
    pixels, millimetres = _SIZES.get(family, ((2.7, 5.0), (0.35, 0.6)))
    spacing = rng.uniform(*millimetres)
    pitch = rng.uniform(*pixels)
    sheen, fuzz = {
        "rayon": (rng.uniform(0.55, 1.1), rng.uniform(0.0, 0.35)),
        "polyester": (rng.uniform(0.4, 0.95), rng.uniform(0.0, 0.35)),
        "cotton": (rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.7)),
        "wool": (rng.uniform(0.02, 0.18), rng.uniform(0.6, 1.0)),
        "metallic": (rng.uniform(1.0, 1.5), rng.uniform(0.0, 0.2)),
    }[material]
    closed = rng.random() < 0.5
    weights = sorted(THREAD_MM, key=lambda w: abs(THREAD_MM[w] - spacing))
    style = StitchStyle(
        family=family,
        material=material,
        weight=weights[0],
        spacing=spacing,
        stitch=spacing / pitch * float(rng.uniform(9, 32)),
        cover=rng.uniform(1.0, 1.22) if closed else rng.uniform(0.68, 1.02),
        taper=rng.uniform(0.1, 0.8),
        sheen=sheen,
        jitter=rng.uniform(0.03, 0.19),
        wobble=spacing * rng.uniform(0.1, 0.55),
        fuzz=fuzz,
        angle=rng.uniform(0, math.pi),
        angle_by_region=bool(rng.random() < 0.5),
        offset=float(rng.choice([0.0, 0.25, 0.333, 0.382, 0.5, -1.0])),
        pattern=int(rng.choice([0, 0, 0, 4, 6, 8, 12])),
        rows=int(rng.choice([0, 1, 1, 2, 3])),
        outline=spacing * float(rng.uniform(2.5, 4.5)) if rng.random() < 0.22 else 0.0,
        relief=rng.uniform(0.1, 0.9),
        light=rng.uniform(-math.pi, math.pi) if rng.random() < 0.3 else rng.uniform(-2.8, -0.3),
        softness=rng.uniform(0, 1),
        fabric=_choice(
            rng, {"plain": 3, "twill": 2, "denim": 1, "felt": 1, "canvas": 1, "jersey": 1.5, "linen": 1, "terry": 0.5}
        ),
        px_per_mm=pitch / spacing,
        framing=_choice(rng, {"close": 0.86, "hoop": 0.05, "garment": 0.09}),
        seed=int(rng.integers(1 << 30)),
    )
    narrow: dict[str, dict[str, object]] = {
        "satin": {"cover": rng.uniform(0.92, 1.2), "sheen": max(style.sheen, 0.3), "outline": 0.0},
        "contour": {"outline": 0.0, "cover": rng.uniform(0.62, 1.15)},
        "run": {"cover": rng.uniform(0.6, 0.95), "outline": 0.0, "taper": rng.uniform(0.1, 0.7)},
        "bean": {"cover": rng.uniform(0.65, 0.95), "outline": 0.0, "taper": rng.uniform(0.1, 0.6)},
        "stem": {"cover": rng.uniform(0.75, 1.0), "outline": 0.0},
        "chain": {"outline": 0.0},
        "cross": {"outline": 0.0, "fabric": str(rng.choice(["canvas", "canvas", "linen"])), "material": "cotton"},
        "knot": {"outline": 0.0},
        "chenille": {"sheen": 0.12, "fuzz": rng.uniform(0.5, 1.0), "material": "wool"},
        "towel": {"sheen": rng.uniform(0.05, 0.3), "fuzz": rng.uniform(0.2, 0.8)},
        "sequin": {"sheen": rng.uniform(1.0, 1.5), "outline": 0.0, "fuzz": rng.uniform(0, 0.2)},
        "bead": {"sheen": rng.uniform(0.8, 1.4), "outline": 0.0, "fuzz": rng.uniform(0, 0.2)},
        "applique": {"outline": 0.0, "sheen": max(style.sheen, 0.3), "cover": 1.0},
        "puff": {"relief": rng.uniform(0.75, 1.0), "cover": rng.uniform(0.95, 1.1), "sheen": max(style.sheen, 0.35)},
    }
    if material == "metallic" and family in ("chenille", "towel", "cross", "sequin", "bead"):
        style = replace(style, material="polyester")
    return replace(style, **narrow.get(family, {}))  # type: ignore[arg-type]
