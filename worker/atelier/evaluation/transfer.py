"""What EmoLoRA learns from one embroidery of a family that the base never saw, measured against the truth.

The truth is what the renderer makes of the same design in the same style; AE(truth) is the truth through the base's
autoencoder, the nearest that any drawing of the base's can come to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.atelier.evaluation.autoencoder import texture_distance
from worker.atelier.evaluation.bench import Bench, Figures, mean
from worker.atelier.evaluation.cases import Case, held_out_styles, sewn_anew
from worker.atelier.evaluation.sheets import contact_sheet
from worker.atelier.stitches import HELD_OUT_FAMILIES, StitchStyle
from worker.engine.adapter import Adapter
from worker.engine.colour import Picture, to_image
from worker.engine.pairs import Pair
from worker.engine.train import PairInput, style_at_a_glance

RAISED = ("knot", "bead", "sequin", "chenille", "towel", "puff")
"""Families that a shop would render with the preset for raised work."""
RESAMPLINGS = 2000
COLUMNS = ("reference", "design (distance to AE(truth))", "no adapter", "at a glance", "ours", "AE(truth)", "truth")
SHOWN = 2
"""Designs of each style on the contact sheet."""


def true_pair(case: Case, style: StitchStyle) -> Pair:
    """An embroidery with the very design it was sewn from."""
    return Pair(to_image(case.sewn(style)), to_image(case.flat), case.mask, "artwork", {})


def learnt(bench: Bench, case: Case, pair: Pair, preset: str, name: str) -> Adapter:
    """The style of one embroidery, by the product's own training on the true pair.

    The adapter is kept in `out` for as long as the base is the same, so that a broken run goes on.
    """
    source = PairInput(pair.embroidery, caption=case.name, pair=pair)

    def train() -> bytes:
        return bench.train(f"transfer: {name}", source, preset).adapter

    return Adapter.from_bytes(bench.kept(f"{name}-{preset}.safetensors", train))


def gains(ours: Sequence[float], without: Sequence[float]) -> list[float]:
    """``1 - ours / without``, item by item: 1 is the truth itself, 0 no better than without, less is worse."""
    return [1 - mine / max(plain, 1e-6) for mine, plain in zip(ours, without, strict=True)]


def interval(by_style: Sequence[Sequence[float]], share: float = 0.9) -> tuple[float, float]:
    """Bootstrap interval (Efron 1979) of the mean over styles of the means over designs.

    Styles are drawn with replacement, then within each the designs; the same draws every time.
    """
    rng = np.random.default_rng(0)
    table = [np.asarray(values) for values in by_style]
    means = []
    for _ in range(RESAMPLINGS):
        chosen = rng.integers(len(table), size=len(table))
        means.append(np.mean([rng.choice(table[i], len(table[i])).mean() for i in chosen]))
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return round(float(low), 5), round(float(high), 5)


def _one_style(
    bench: Bench, style: StitchStyle, adapter: Adapter, glance: Adapter, cases: Sequence[Case]
) -> tuple[dict[str, list[float]], list[list[Picture]]]:
    """Distances by kind over the designs, and the pictures of each design: as in `COLUMNS`."""
    config = bench.render("raised" if style.family in RAISED else "flat")
    distances: dict[str, list[float]] = {}
    shown = []
    for number, case in enumerate(cases):
        flat, truth, mask = case.flat, case.sewn(style), case.mask
        best = bench.again(truth)
        pictures = {
            "ours": bench.sew(flat, adapter, config, number),
            "no_adapter": bench.sew(flat, None, config, number),
            "glance": bench.sew(flat, glance, config, number),
            "anew": case.sewn(sewn_anew(style)),
            "design": flat,
            "ae_truth": best,
        }
        for kind, picture in pictures.items():
            for goal, other in (("ae_truth", best), ("truth", truth)):
                if kind != goal:
                    distances.setdefault(f"{kind}_to_{goal}", []).append(texture_distance(picture, other, mask))
        drawn = [pictures[kind] for kind in ("no_adapter", "glance", "ours")]
        shown.append([flat, *drawn, best, truth])
    return distances, shown


def measure(bench: Bench) -> Figures:
    """Styles of the held-out families, learnt from one design each and drawn on others that are held out too.

    Log-Gabor distances (`worker.engine.metrics.texture`) within each design's mask.

    Returns:
        ``gain``: T = 1 - d(ours, AE(truth)) / d(no adapter, AE(truth)), a mean over designs, then over styles;
        ``interval``: of T, 90 %; ``glance``: T of the reference's stitches, laid on the design and drawn again, without
        training; ``anew``: T of the truth sewn anew, with other stitches, cloth and light by chance: what one can who
        does not know these; ``gain_to_truth``: T with the truth itself in the place of
        AE(truth); ``gain_of_means``: the same of mean distances; ``distances``: means by kind, each as
        ``<picture>_to_<goal>``; ``styles``: the same by style.
    """
    count, preset = bench.some(8, len(HELD_OUT_FAMILIES)), "short" if bench.quick else "default"
    designs = bench.some(6, 3)
    cases = bench.cases(designs + count)
    styles = held_out_styles(HELD_OUT_FAMILIES, count)
    by_style: list[list[float]] = []
    found: list[Figures] = []
    rows: list[list[Picture | None]] = []
    captions: list[list[str]] = []
    for number, style in enumerate(bench.track(styles, "transfer: styles")):
        teacher = cases[designs + number]
        pair = true_pair(teacher, style)
        adapter = learnt(bench, teacher, pair, preset, f"{number}-{style.family}")
        glance = style_at_a_glance(bench.base, pair)
        distances, shown = _one_style(bench, style, adapter, glance, cases[:designs])
        without = distances["no_adapter_to_ae_truth"]
        by_style.append(gains(distances["ours_to_ae_truth"], without))
        found.append(
            {
                "family": style.family,
                "gain": mean(by_style[-1]),
                "gains": [round(gain, 5) for gain in by_style[-1]],
                "glance": mean(gains(distances["glance_to_ae_truth"], without)),
                "anew": mean(gains(distances["anew_to_ae_truth"], without)),
                "gain_to_truth": mean(gains(distances["ours_to_truth"], distances["no_adapter_to_truth"])),
                **{kind: mean(values) for kind, values in distances.items()},
            }
        )
        for i in range(min(bench.some(SHOWN, designs), designs)):
            rows.append([np.asarray(pair.embroidery) if i == 0 else None, *shown[i]])
            captions.append(
                [
                    f"{style.family}: {teacher.name}" if i == 0 else "",
                    f"{cases[i].name}: {distances['design_to_ae_truth'][i]:.2f}",
                    f"{without[i]:.2f}",
                    f"{distances['glance_to_ae_truth'][i]:.2f}",
                    f"{distances['ours_to_ae_truth'][i]:.2f} (T {by_style[-1][i]:.2f})",
                    "",
                    f"{distances['ae_truth_to_truth'][i]:.2f} from its AE",
                ]
            )
    bench.save(contact_sheet(rows, COLUMNS, captions, bench.size), "transfer.png")
    overall = {kind: mean(one[kind] for one in found) for kind in distances}
    return {
        **{name: mean(one[name] for one in found) for name in ("gain", "glance", "anew", "gain_to_truth")},
        "interval": list(interval(by_style)),
        "gain_of_means": mean(gains([overall["ours_to_ae_truth"]], [overall["no_adapter_to_ae_truth"]])),
        "preset": preset,
        "designs": designs,
        "distances": overall,
        "styles": found,
    }
