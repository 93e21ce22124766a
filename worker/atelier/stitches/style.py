"""What a stitch style is made of, and how one is drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

FAMILIES = (
    "fill",
    "satin",
    "longshort",
    "contour",
    "run",
    "chain",
    "cross",
    "chenille",
    "sequin",
    "knot",
    "bead",
)
"""Every family the renderer knows. `fill` is machine tatami, `contour` a fill that follows the outline."""

HELD_OUT_FAMILIES = ("chain", "knot")
"""Never shown to the base in training: references from these measure transfer to a style it has not seen."""

FABRICS = ("plain", "twill", "felt", "canvas", "jersey")


@dataclass(frozen=True)
class StitchStyle:
    """One way of sewing. Everything but the colours and the motif.

    Attributes:
        family: One of `FAMILIES`.
        pitch: Distance between neighbouring threads, or size of one cross, loop, knot, sequin, in pixels.
        stitch_length: Length of one stitch along the thread, in pixels.
        cover: Thread width over pitch, 0.5 (ground shows through) to 1 (closed).
        sheen: Strength of the highlights, 0 (wool) to 1.4 (sequins).
        jitter: Spread of brightness from thread to thread, 0 to 0.15.
        wobble: How far threads leave their line, in pixels.
        fuzz: Loose fibres along threads and edges, 0 to 1.
        angle: Direction of fills, radians.
        angle_by_region: Whether each region is sewn in a direction of its own.
        brick: Offset of stitch ends from row to row as a share of the stitch length (0.5 is a brick wall).
        outline: Width of a dark satin border, in pixels; 0 for none.
        relief: How strongly the padding bulges, 0 to 1.
        light: Direction the light comes from, radians.
        fabric: One of `FABRICS`.
        seed: Seeds everything random inside one picture.
    """

    family: str
    pitch: float = 3.4
    stitch_length: float = 20.0
    cover: float = 0.95
    sheen: float = 0.5
    jitter: float = 0.05
    wobble: float = 1.2
    fuzz: float = 0.3
    angle: float = 0.6
    angle_by_region: bool = True
    brick: float = 0.382
    outline: float = 0.0
    relief: float = 0.5
    light: float = -1.9
    fabric: str = "plain"
    seed: int = 0

    def words(self) -> list[str]:
        """Descriptor words that a caption may use, most telling first."""
        words = []
        if self.family in ("fill", "contour", "run", "longshort", "satin"):
            words.append("fine" if self.pitch < 3.0 else "thick" if self.pitch > 4.0 else "medium")
            words.append("sparse" if self.cover < 0.75 else "dense")
        words.append("shiny" if self.sheen > 0.7 else "matte" if self.sheen < 0.35 else "soft")
        if self.outline:
            words.append("outlined")
        return words


def sample_style(family: str, rng: np.random.Generator) -> StitchStyle:
    """Draws a style of `family` with everything it leaves open chosen at random."""
    style = StitchStyle(
        family=family,
        pitch=rng.uniform(2.6, 5.0),
        stitch_length=rng.uniform(11, 30),
        cover=rng.uniform(0.62, 1.0) if rng.random() < 0.5 else rng.uniform(0.9, 1.0),
        sheen=rng.uniform(0.2, 1.0),
        jitter=rng.uniform(0.03, 0.11),
        wobble=rng.uniform(0.5, 2.4),
        fuzz=rng.uniform(0.0, 0.8),
        angle=rng.uniform(0, np.pi),
        angle_by_region=bool(rng.random() < 0.6),
        brick=float(rng.choice([0.0, 0.25, 0.333, 0.382, 0.5])),
        outline=float(rng.uniform(3.0, 5.5)) if rng.random() < 0.3 else 0.0,
        relief=rng.uniform(0.1, 0.9),
        light=rng.uniform(-np.pi * 0.9, -np.pi * 0.1),
        fabric=str(rng.choice(FABRICS)),
        seed=int(rng.integers(1 << 30)),
    )
    narrow = {
        "satin": {"pitch": rng.uniform(2.4, 3.6), "sheen": rng.uniform(0.6, 1.2), "outline": 0.0, "cover": 1.0},
        "longshort": {"pitch": rng.uniform(2.2, 3.2), "stitch_length": rng.uniform(18, 38)},
        "contour": {"outline": 0.0},
        "run": {"pitch": rng.uniform(5.0, 9.0), "cover": rng.uniform(0.45, 0.7), "outline": 0.0},
        "chain": {"pitch": rng.uniform(5.5, 8.0), "outline": 0.0},
        "cross": {"pitch": rng.uniform(6.0, 9.5), "outline": 0.0, "fabric": "canvas"},
        "chenille": {"pitch": rng.uniform(4.5, 7.5), "sheen": 0.12, "fuzz": rng.uniform(0.5, 1.0)},
        "sequin": {"pitch": rng.uniform(8.0, 13.0), "sheen": rng.uniform(1.0, 1.5), "outline": 0.0},
        "knot": {"pitch": rng.uniform(5.5, 8.5), "outline": 0.0},
        "bead": {"pitch": rng.uniform(5.0, 8.0), "sheen": rng.uniform(0.8, 1.4), "outline": 0.0},
    }
    return replace(style, **narrow.get(family, {}))  # type: ignore[arg-type]
