"""Three more domains, by the same code on other pairs: what differs inside a pair is the style, whatever that is.

- photo to art: a shaded picture and its painting. Style: the painter's hand.
- sketch colouring: the Canny map of a picture and the picture. Style: colours and shading.
- appearance transfer: the Canny map of an object and the object; drawn on a soft edge map of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from worker.atelier.domains import paint
from worker.atelier.evaluation.autoencoder import texture_distance
from worker.atelier.evaluation.bench import Bench, Figures, mean, quiet
from worker.atelier.evaluation.cases import Case
from worker.atelier.evaluation.sheets import contact_sheet
from worker.engine.adapter import Adapter
from worker.engine.colour import Picture, lightness, to_image, to_uint8
from worker.engine.control_maps import edge_map
from worker.engine.metrics import histogram_distance
from worker.engine.pairs import Pair
from worker.engine.train import PairInput

TARGETS = 3
SEED = 4


def painted(case: Case, domain: str, seed: int = SEED) -> Picture:
    """A design in one of `worker.atelier.domains.DOMAINS`, uint8 [S, S, 3]; the same hand for the same seed."""
    labels = torch.from_numpy(np.asarray(case.map.labels, np.int64))[None]
    palette = torch.from_numpy(np.asarray(case.map.palette, np.float32))[None]
    picture = paint(domain, labels, palette, torch.Generator().manual_seed(seed))[0]
    return to_uint8(picture.permute(1, 2, 0).numpy())


def line_map(picture: Picture) -> Picture:
    """The Canny map as a drawing: black on white."""
    return to_uint8(np.repeat(1 - edge_map(picture)[..., None], 3, 2))


def soft_edges(picture: Picture) -> Picture:
    """A soft edge map as a drawing: the gradient of L* after a blur of 2 px, dark on white."""
    plane = cv2.GaussianBlur(lightness(picture), (0, 0), 2.0)
    slope = np.hypot(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1))
    drawn = 1 - np.clip(slope / max(float(np.percentile(slope, 99.5)), 1e-6), 0, 1)
    return to_uint8(np.repeat(drawn[..., None].astype(np.float32), 3, 2))


@dataclass(frozen=True)
class Domain:
    """One domain.

    Attributes:
        title: of its rows.
        picture: E of a design.
        design: D of it, in training.
        target: what is drawn on, of another design.
        tile: weight of the control by colours; without colours in D there is none to give.
        judge: distance of a result to what it should be, from (result, E of the target's design, E of the reference,
            the target's design); less is better.
        measure: what the distance is, in words.
    """

    title: str
    picture: Callable[[Case], Picture]
    design: Callable[[Case], Picture]
    target: Callable[[Case], Picture]
    tile: float
    judge: Callable[[Picture, Picture, Picture, Case], float]
    measure: str


def _palette(result: Picture, _truth: Picture, reference: Picture, _case: Case) -> float:
    return histogram_distance(result, reference)


def _hand(result: Picture, truth: Picture, _reference: Picture, case: Case) -> float:
    return texture_distance(result, truth, case.mask)


DOMAINS: dict[str, Domain] = {
    "art": Domain(
        "photo to art",
        lambda case: painted(case, "watercolour"),
        lambda case: painted(case, "gradient"),
        lambda case: painted(case, "gradient"),
        1.0,
        _hand,
        "log-Gabor distance to the target's own painting",
    ),
    "sketch": Domain(
        "sketch colouring",
        lambda case: painted(case, "gradient"),
        lambda case: line_map(painted(case, "gradient")),
        lambda case: line_map(painted(case, "gradient")),
        0.0,
        _palette,
        "histogram distance to the reference's colours",
    ),
    "appearance": Domain(
        "appearance transfer",
        lambda case: painted(case, "felt"),
        lambda case: line_map(painted(case, "felt")),
        lambda case: soft_edges(painted(case, "felt")),
        0.0,
        _palette,
        "histogram distance to the reference's colours",
    ),
}


def domain_sheet(bench: Bench, preset: str, names: Sequence[str] = tuple(DOMAINS)) -> Figures:
    """Trains a pair of each domain, draws other designs and writes `domains.png`.

    Returns:
        By domain: ``measure``, and the mean over targets of ``ours``, of ``no_adapter`` and of the ``target`` itself.
    """
    cases = bench.cases(len(names) + TARGETS)
    rows, captions = [], []
    found: Figures = {}
    for number, name in enumerate(bench.track(names, "domains")):
        domain, teacher = DOMAINS[name], cases[TARGETS + number]
        reference = domain.picture(teacher)
        pair = Pair(to_image(reference), to_image(domain.design(teacher)), np.ones_like(teacher.mask), "artwork", {})
        config = quiet(preset)
        # Complementary pairs are flat designs sewn, which is another relation than this domain's.
        config = replace(config, control_tile=domain.tile, stage_one_steps=config.total_steps)
        source = PairInput(pair.embroidery, caption=teacher.name, pair=pair)
        adapter = Adapter.from_bytes(
            bench.kept(
                f"domain-{name}-{preset}.safetensors",
                lambda s=source, c=config, t=domain.title: bench.trained(t, s, c).adapter,  # type: ignore[misc]
            )
        )
        render = bench.render(
            colour_fix=False,
            lay_stitches=False,
            hold_lightness=0.0,
            strength=0.95,
            guidance=1.5,
            control_tile=domain.tile,
        )
        scores: dict[str, list[float]] = {"ours": [], "no_adapter": [], "target": []}
        for place, case in enumerate(cases[:TARGETS]):
            target, truth = domain.target(case), domain.picture(case)
            drawn = {
                "target": target,
                "no_adapter": bench.sew(target, None, render, place),
                "ours": bench.sew(target, replace(adapter, swatch=None), render, place),
            }
            for kind, picture in drawn.items():
                scores[kind].append(domain.judge(picture, truth, reference, case))
            first = [reference, domain.design(teacher)] if place == 0 else [None, None]
            rows.append([*first, target, drawn["no_adapter"], drawn["ours"]])
            shown = [f"{scores[kind][-1]:.2f}" for kind in ("no_adapter", "ours")]
            captions.append([domain.title if place == 0 else "", "", case.name, *shown])
        found[name] = {"measure": domain.measure, **{kind: mean(values) for kind, values in scores.items()}}
    columns = ("style", "its design", "target", "no adapter", "ours")
    bench.save(contact_sheet(rows, columns, captions, bench.size), "domains.png")
    return found
