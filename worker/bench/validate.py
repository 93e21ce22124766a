"""Do the figures measure stitches? Each is asked to tell a changed style from the same one, sewn anew.

Not how small a distance is counts, but which of two is smaller: the area under the ROC curve of "same style, other
needle" against "style changed in one way". What should not count, hue and broad shading, must move a figure less than
another needle does; what cheats, noise, sharpening, the reference itself, must not come out nearer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import pi
from typing import Any

import cv2
import numpy as np
from scipy.stats import spearmanr

from worker.atelier.evaluation.bench import mean
from worker.atelier.evaluation.cases import Case, sewn_anew
from worker.atelier.stitches import StitchStyle
from worker.bench.measures import MEASURES, Scene
from worker.bench.statistics import separation
from worker.bench.suite import Reference, Suite, Track
from worker.engine.colour import Bool, Float, Picture, lab_to_rgb, rgb_to_lab, to_uint8

STITCH_MEASURES = ("texture", "patches", "directions")
FINE = 4.0
"""Pixels of blur that part threads from shading."""
DOSES = (1.1, 1.25, 1.45, 1.7)
"""Factors of the thread's width."""


def _relit(picture: Picture, change: Callable[[Float], Float]) -> Picture:
    lab = rgb_to_lab(picture)
    lab[..., 0] = np.clip(change(lab[..., 0]), 0, 100)
    return to_uint8(lab_to_rgb(lab))


def contrasted(picture: Picture, factor: float) -> Picture:
    """Threads' light and shadow ``factor`` times as strong."""

    def change(light: Float) -> Float:
        broad = cv2.GaussianBlur(light, (0, 0), FINE)
        stronger: Float = broad + np.float32(factor) * (light - broad)
        return stronger

    return _relit(picture, change)


def scrambled(picture: Picture, mask: Bool, seed: int = 0) -> Picture:
    """The same spectrum of threads in the motif without any thread: phases at random."""

    def change(light: Float) -> Float:
        broad = cv2.GaussianBlur(light, (0, 0), FINE)
        fine = np.where(mask, light - broad, 0)
        noise = np.fft.fft2(np.random.default_rng(seed).standard_normal(light.shape))
        mixed = np.fft.ifft2(np.abs(np.fft.fft2(fine)) * np.exp(1j * np.angle(noise))).real
        mixed *= fine[mask].std() / max(float(mixed[mask].std()), 1e-6)
        return np.where(mask, broad + mixed, light).astype(np.float32)

    return _relit(picture, change)


def turned_hue(picture: Picture, degrees: float = 120) -> Picture:
    """The same lightness in other hues."""
    lab, angle = rgb_to_lab(picture), np.deg2rad(degrees)
    a, b = lab[..., 1].copy(), lab[..., 2].copy()
    # Half the chroma, or much of it would be outside of sRGB and lightness would change with it.
    lab[..., 1] = 0.5 * (a * np.cos(angle) - b * np.sin(angle))
    lab[..., 2] = 0.5 * (a * np.sin(angle) + b * np.cos(angle))
    return to_uint8(lab_to_rgb(lab))


def shaded(picture: Picture, strength: float = 8.0) -> Picture:
    """Lit from one side: L* falls by twice ``strength`` across the picture."""
    return _relit(
        picture, lambda light: light + np.linspace(strength, -strength, light.shape[1], dtype=np.float32)[None]
    )


def noisy(picture: Picture, deviation: float = 4.0) -> Picture:
    """With a camera's noise."""
    noise = np.random.default_rng(1).normal(0, deviation, np.asarray(picture).shape[:2]).astype(np.float32)
    return _relit(picture, lambda light: light + noise)


def sharpened(picture: Picture) -> Picture:
    """As a phone does it."""
    return _relit(picture, lambda light: light + 1.0 * (light - cv2.GaussianBlur(light, (0, 0), 1.0)))


def _wider(style: StitchStyle, factor: float) -> StitchStyle:
    return replace(sewn_anew(style), spacing=style.spacing * factor, stitch=style.stitch * factor)


CHANGES: dict[str, Callable[[Case, StitchStyle], Picture]] = {
    "rotation by 30°": lambda case, s: case.sewn(replace(sewn_anew(s), angle=s.angle + pi / 6)),
    "threads 1.4 x as wide": lambda case, s: case.sewn(_wider(s, 1.4)),
    "contrast x 1.6": lambda case, s: contrasted(case.sewn(sewn_anew(s)), 1.6),
    "stitches half as long": lambda case, s: case.sewn(replace(sewn_anew(s), stitch=s.stitch / 2)),
    "phases scrambled": lambda case, s: scrambled(case.sewn(sewn_anew(s)), case.mask),
}
DIRECTED = ("fill", "satin", "longshort", "applique", "puff")
"""Families in which an angle means something."""
STITCHED = ("fill", "satin", "longshort", "contour", "run", "bean", "stem")
"""Families of stitches that have a length."""


def _applies(change: str, style: StitchStyle) -> bool:
    if change.startswith("rotation"):
        return style.family in DIRECTED
    return style.family in STITCHED if change.startswith("stitches") else True


def validate(suite: Suite, designs: int, track: Track[Reference]) -> dict[str, Any]:
    """Takes every stitch measure through all changes.

    Returns:
        ``auc``: change -> measure -> area under the curve; ``dose``: measure -> Spearman's rank correlation of the
        distance with the width of the threads; ``invariance``: what should not count -> measure -> distance over
        that of another needle; ``cheats``: what should not win -> measure -> the same; ``copied_edges``: how far the
        reference itself, given as the answer, has the design's outlines, which is what tells it.
    """
    same: dict[str, list[float]] = {name: [] for name in STITCH_MEASURES}
    changed: dict[str, dict[str, list[float]]] = {c: {n: [] for n in STITCH_MEASURES} for c in CHANGES}
    needle: dict[str, dict[str, list[float]]] = {c: {n: [] for n in STITCH_MEASURES} for c in CHANGES}
    dose: dict[str, list[float]] = {name: [] for name in STITCH_MEASURES}
    still = {"hue turned": turned_hue, "shading": shaded}
    cheats = {"noise": noisy, "sharpening": sharpened, "flat design": None, "flat design with noise": None}
    ratios: dict[str, dict[str, list[float]]] = {c: {n: [] for n in STITCH_MEASURES} for c in (*still, *cheats)}
    edges: list[float] = []
    for reference in track(suite.references):
        style, pair = reference.style, reference.pair
        for case in suite.designs[:designs]:
            truth = case.sewn(style)
            scene = Scene(case.flat, case.mask, truth, pair.embroidery, pair.mask)

            def far(picture: Picture, scene: Scene = scene) -> dict[str, float]:
                return {name: MEASURES[name].of(picture, scene) for name in STITCH_MEASURES}

            again = far(case.sewn(sewn_anew(style)))
            others = {name: far(change(case, style)) for name, change in CHANGES.items() if _applies(name, style)}
            doses = [again, *(far(case.sewn(_wider(style, factor))) for factor in DOSES)]
            cheating = {
                **{name: far(change(truth)) for name, change in still.items()},
                "noise": far(noisy(truth)),
                "sharpening": far(sharpened(truth)),
                "flat design": far(case.flat),
                "flat design with noise": far(noisy(case.flat, 8.0)),
            }
            edges.append(MEASURES["edges"].of(pair.embroidery, scene))
            for name in STITCH_MEASURES:
                same[name].append(again[name])
                dose[name].append(float(spearmanr(range(len(doses)), [d[name] for d in doses]).statistic))
                for change, found in others.items():
                    changed[change][name].append(found[name])
                    needle[change][name].append(again[name])
                for kind, found in cheating.items():
                    ratios[kind][name].append(found[name] / max(again[name], 1e-6))
    return {
        "pictures": len(edges),
        "auc": {
            change: {
                name: round(separation(needle[change][name], changed[change][name]), 4) for name in STITCH_MEASURES
            }
            for change in CHANGES
        },
        "dose": {name: mean(dose[name]) for name in STITCH_MEASURES},
        "invariance": {kind: {name: mean(ratios[kind][name]) for name in STITCH_MEASURES} for kind in still},
        "cheats": {kind: {name: mean(ratios[kind][name]) for name in STITCH_MEASURES} for kind in cheats},
        "copied_edges": mean(edges),
    }


def validation_lines(found: dict[str, Any]) -> list[str]:
    """The figures as a part of the page."""
    head = ["| | " + " | ".join(MEASURES[name].title for name in STITCH_MEASURES) + " |", "| --- | --- | --- | --- |"]

    def rows(part: dict[str, dict[str, float]]) -> list[str]:
        return [
            f"| {kind} | " + " | ".join(f"{values[name]:.2f}" for name in STITCH_MEASURES) + " |"
            for kind, values in part.items()
        ]

    dose = " | ".join(f"{found['dose'][name]:.2f}" for name in STITCH_MEASURES)
    asked = (
        f"`hoop bench validate`, {found['pictures']} true pictures. How often a changed style lies farther away than "
        "the same style sewn anew (area under the ROC curve; 0.5 is chance):"
    )
    ratios = (
        "Distances over that of the same style sewn anew. What should not count stays below or near 1; what cheats "
        "lies above:"
    )
    copied = (
        f"The reference itself, given as the answer, has the design's outlines by {found['copied_edges']:.2f}: "
        "stitches alone do not make a good answer, which is why content is in the table."
    )
    return [
        "## Are the figures right?",
        "",
        asked,
        "",
        *head,
        *rows(found["auc"]),
        f"| rank correlation with the threads' width | {dose} |",
        "",
        ratios,
        "",
        *head,
        *rows(found["invariance"]),
        *rows(found["cheats"]),
        "",
        copied,
    ]
