"""What the autoencoder keeps of an embroidery: it caps whatever the base can draw."""

from __future__ import annotations

import cv2
import numpy as np

from worker.atelier.evaluation.bench import Bench, Figures, mean
from worker.atelier.evaluation.cases import held_out_styles
from worker.atelier.evaluation.sheets import contact_sheet, crop_twice
from worker.atelier.stitches import FAMILIES, HELD_OUT_FAMILIES
from worker.engine.colour import Bool, Picture, to_float, to_uint8
from worker.engine.metrics import log_gabor_distance, log_gabor_statistics

CROP = 96


def psnr(result: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio of RGB in 0..1: ``-10 log10(mean squared error)``, dB."""
    error = float(((to_float(result) - to_float(truth)) ** 2).mean())
    return -10 * float(np.log10(max(error, 1e-10)))


def blurred(picture: Picture) -> Picture:
    """The picture at 90 % of its size and back: a blur that anyone would still call sharp."""
    whole = to_uint8(picture)
    side = round(whole.shape[0] * 0.9)
    small = cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, whole.shape[:2][::-1], interpolation=cv2.INTER_CUBIC))


def texture_distance(result: Picture, truth: Picture, mask: Bool) -> float:
    """Log-Gabor distance of two pictures where the motif is, see `worker.engine.metrics.texture`; 0 is the same."""
    return log_gabor_distance(log_gabor_statistics(result, mask), log_gabor_statistics(truth, mask))


def measure(bench: Bench) -> Figures:
    """Held-out designs in every family, those that training never showed included.

    Returns:
        ``psnr_db``: mean over pictures; ``psnr_held_out_db``: of the held-out families alone; ``psnr_flat_db``: of flat
        designs; ``log_gabor``: mean distance of the reconstruction's texture to the picture's, within the motif;
        ``log_gabor_blur``: the same for a blur of 10 %, the yardstick; ``families``: PSNR and distances by family.
    """
    rounds = bench.some(3, 1)
    cases = bench.cases(rounds * len(FAMILIES))
    styles = held_out_styles(FAMILIES, len(cases))
    families: dict[str, dict[str, list[float]]] = {}
    flat, rows, captions = [], [], []
    for number, (case, style) in enumerate(bench.track(list(zip(cases, styles, strict=True)), "autoencoder: designs")):
        truth, mask = case.sewn(style), case.mask
        again, soft = bench.again(truth), blurred(truth)
        found = families.setdefault(style.family, {"psnr_db": [], "log_gabor": [], "log_gabor_blur": []})
        found["psnr_db"].append(psnr(again, truth))
        found["log_gabor"].append(texture_distance(again, truth, mask))
        found["log_gabor_blur"].append(texture_distance(soft, truth, mask))
        if number < len(FAMILIES):
            flat.append(psnr(bench.again(case.flat), case.flat))
            rows.append([crop_twice(p, _middle(mask), CROP) for p in (truth, again, soft)])
            kept = [found[name][-1] for name in ("psnr_db", "log_gabor", "log_gabor_blur")]
            title = style.family + (", held out" if style.family in HELD_OUT_FAMILIES else "")
            captions.append([f"{title}: {case.name}", f"{kept[0]:.1f} dB, {kept[1]:.2f}", f"{kept[2]:.2f}"])
    columns = ["input", "reconstruction: PSNR, log-Gabor", "10 % blur: log-Gabor"]
    bench.save(contact_sheet(rows, columns, captions), "autoencoder.png")

    def over(name: str, among: tuple[str, ...] = tuple(FAMILIES)) -> float:
        return mean(value for family, found in families.items() if family in among for value in found[name])

    return {
        "psnr_db": over("psnr_db"),
        "psnr_held_out_db": over("psnr_db", tuple(HELD_OUT_FAMILIES)),
        "psnr_flat_db": mean(flat),
        "log_gabor": over("log_gabor"),
        "log_gabor_held_out": over("log_gabor", tuple(HELD_OUT_FAMILIES)),
        "log_gabor_blur": over("log_gabor_blur"),
        "pictures": len(cases),
        "families": {family: {name: mean(v) for name, v in found.items()} for family, found in families.items()},
    }


def _middle(mask: Bool) -> tuple[int, int]:
    """Centre of the motif: the inked pixel nearest to the middle of all."""
    inked = np.argwhere(mask)
    if not len(inked):
        return mask.shape[0] // 2, mask.shape[1] // 2
    nearest = inked[int(((inked - inked.mean(0)) ** 2).sum(1).argmin())]
    return int(nearest[0]), int(nearest[1])
