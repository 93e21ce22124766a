"""Whether control holds a design: its outlines and its colours, drawn from nothing but noise."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np

from worker.atelier.evaluation.bench import Bench, Figures, mean, noise_like
from worker.atelier.evaluation.cases import held_out_styles
from worker.atelier.evaluation.sheets import contact_sheet
from worker.atelier.stitches import FAMILIES
from worker.engine.bases import tensor_to_image
from worker.engine.colour import Bool, Float, Picture, rgb_to_lab, to_float, to_image
from worker.engine.control_maps import edge_map
from worker.engine.metrics.edges import edge_distance
from worker.engine.sampling import conditions, control_of, denoise

DROWNED, CANNY, TOLERANCE = 2.5, (30, 60), 2.0
COLOUR_BLUR = 6.0
_Item = TypeVar("_Item")


def edges_of(picture: Picture) -> Bool:
    """Canny edges (Canny 1986) in any channel, thresholds 30 and 60 of 255, after a Gaussian blur of 2.5 px.

    The blur drowns threads, which are outlines of nothing. With these numbers true renders of all families agree with
    their designs by 0.84 and with other designs by 0.25.
    """
    blurred = cv2.GaussianBlur(to_float(picture), (0, 0), DROWNED)
    return edge_map(blurred, *CANNY) > 0


def edge_agreement(result: Picture, design: Picture, tolerance: float = TOLERANCE) -> float:
    """Soft F1 of two pictures' edges, 0..1.

    An edge pixel at d pixels from the other picture's nearest edge counts ``clip(2 - d / tolerance, 0, 1)``: wholly up
    to the tolerance, not at all from twice that on. Precision is the mean over the result's edges, recall that over the
    design's, and the figure ``2 P R / (P + R)``.
    """
    found, wanted = edges_of(result), edges_of(design)
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())

    def counted(edges: Bool, other: Bool) -> float:
        distance = edge_distance(other.astype(np.float32))[edges]
        return float(np.clip(2 - distance / tolerance, 0, 1).mean())

    precision, recall = counted(found, wanted), counted(wanted, found)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def colour_distance(result: Picture, design: Picture) -> float:
    """Mean CIE76 colour difference over the whole picture, after a Gaussian blur of both by 6 px; 0 is the same."""

    def broad(picture: Picture) -> Float:
        lab: Float = cv2.GaussianBlur(rgb_to_lab(picture), (0, 0), COLOUR_BLUR)
        return lab

    return float(np.sqrt(((broad(result) - broad(design)) ** 2).sum(-1)).mean())


def from_noise(bench: Bench, design: Picture, words: str, seed: int, *, styled: bool) -> Picture:
    """A picture from noise under the design's whole control, by the draft preset's sampler, without any colour fix."""
    base = bench.base
    config = bench.render(strength=1.0)
    control = control_of(base, [to_image(design)], 1.0, 1.0)
    noise = noise_like(bench.encoded(design).shape, seed, base.device)
    latents = denoise(base, noise, conditions(base, words, config, control, styled=styled), config)
    return np.asarray(tensor_to_image(base.decode_latents(latents))[0])


def side_by_side(rows: list[list[_Item]]) -> list[list[_Item]]:
    """Two rows as one, for a sheet that is not too tall."""
    return [[item for row in rows[i : i + 2] for item in row] for i in range(0, len(rows), 2)]


def measure(bench: Bench) -> Figures:
    """Held-out designs from noise, flat and embroidered, and as the draft preset draws them.

    Returns:
        ``edge_agreement``: E, the mean of ``flat`` and ``embroidered``; each of ``flat``, ``embroidered`` (from noise
        with control), ``preset`` (the draft preset: from the design, with its colour fix), ``truth`` (the renderer's)
        and ``other`` (embroidered against another design: what chance gives) has ``edges`` and ``colours``.
    """
    cases = bench.cases(bench.some(24, 8))
    styles = held_out_styles(FAMILIES, len(cases))
    kinds = ("flat", "embroidered", "preset", "truth", "other")
    edges: dict[str, list[float]] = {kind: [] for kind in kinds}
    colours: dict[str, list[float]] = {kind: [] for kind in kinds}
    drawn: list[list[Picture]] = []
    for number, case in enumerate(bench.track(cases, "control: designs")):
        flat = case.flat
        pictures = {
            "flat": from_noise(bench, flat, case.words, number, styled=False),
            "embroidered": from_noise(bench, flat, case.words, number, styled=True),
            "preset": bench.sew(flat, None, bench.render(), number),
            "truth": case.sewn(styles[number]),
        }
        for kind, picture in pictures.items():
            edges[kind].append(edge_agreement(picture, flat))
            colours[kind].append(colour_distance(picture, flat))
        drawn.append([flat, *pictures.values()])
    for number, row in enumerate(drawn):
        other = drawn[(number + 1) % len(drawn)][0]
        edges["other"].append(edge_agreement(row[2], other))
        colours["other"].append(colour_distance(row[2], other))
    captions = [
        [case.words, *(f"E {edges[k][i]:.2f}, dE {colours[k][i]:.1f}" for k in kinds[:4])]
        for i, case in enumerate(cases)
    ]
    columns = ["design", "flat, from noise", "[emb], from noise", "[emb], draft preset", "truth (a style)"]
    rows = side_by_side(drawn)
    bench.save(contact_sheet(rows, columns * 2, side_by_side(captions), 160), "control.png")
    found: Figures = {kind: {"edges": mean(edges[kind]), "colours": mean(colours[kind])} for kind in kinds}
    both = mean([found["flat"]["edges"], found["embroidered"]["edges"]])
    return {"edge_agreement": both, "designs": len(cases), **found}
