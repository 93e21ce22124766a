"""Where style words work: which attention blocks listen to them, and whether they differ from each other.

The change of an output is ``|v' - v| / |v|`` (Euclidean norms over the whole latent), v the prediction when all blocks
read the plain prompt, v' when some read another one; a mean over designs and timesteps. Everything in single precision:
bfloat16 alone would move outputs by some thousandths.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from worker.atelier.evaluation.bench import Bench, Figures, mean, noise_like
from worker.atelier.evaluation.cases import held_out_styles
from worker.atelier.evaluation.sheets import heat_map
from worker.atelier.stitches import FAMILIES, HELD_OUT_FAMILIES
from worker.atelier.vocabulary import FAMILY_WORDS
from worker.engine.bases import Base, Prompts
from worker.engine.colour import to_image
from worker.engine.control import Control
from worker.engine.routing import attention_blocks
from worker.engine.sampling import control_of

TIMESTEPS = (200, 500, 800, 950)
OPPOSITES = (("fine", "thick"), ("sparse", "dense"), ("shiny", "matte"), ("metallic", "wool"), ("padded", "soft"))
PAIRS_OF_FAMILIES, PAIRS_OF_DESCRIPTORS = 60, 40


@dataclass(frozen=True)
class Noised:
    """One embroidery at one timestep, with what the UNet is told besides style.

    Attributes:
        words: Its caption.
        latents: Noisy, [1, C, h, w].
        timestep: [1].
        control: Of its design.
    """

    words: str
    latents: Tensor
    timestep: Tensor
    control: Control | None


@contextmanager
def single_precision(base: Base) -> Iterator[None]:
    """Inside, the UNet runs without autocast."""
    before, base.autocast_dtype = base.autocast_dtype, None
    try:
        yield
    finally:
        base.autocast_dtype = before


def noised_cases(bench: Bench, count: int) -> list[Noised]:
    """Held-out designs, each sewn in a family of its own, at every timestep; the noise is the design's own."""
    base, cases = bench.base, bench.cases(count)
    made = []
    for number, (case, style) in enumerate(zip(cases, held_out_styles(FAMILIES, count), strict=True)):
        clean = bench.encoded(case.sewn(style))
        control = control_of(base, [to_image(case.flat)], 1.0, 1.0)
        noise = noise_like(clean.shape, number, base.device)
        for time in TIMESTEPS:
            t = torch.tensor([time], device=base.device)
            made.append(Noised(case.words, base.scheduler.add_noise(clean, noise, t), t, control))
    return made


def predict(base: Base, noised: Noised, prompts: Prompts, blocks: Sequence[str], style: Tensor | None) -> Tensor:
    """The UNet's output when `blocks` read `style` and all others `prompts`."""
    ids = base.time_ids(noised.latents.shape[-1] * base.downscale)
    with torch.no_grad(), base.style_blocks(blocks):
        return base.predict(noised.latents, noised.timestep, prompts, ids, style, noised.control)


def change(moved: Tensor, still: Tensor) -> float:
    """``|moved - still| / |still|``."""
    return float((moved - still).norm() / still.norm())


def block_sets(base: Base) -> dict[str, tuple[str, ...]]:
    """Every attention block alone, and the style blocks, all others and all together."""
    names = tuple(attention_blocks(base.unet))
    style = base.info.style_blocks
    sets = {name: (name,) for name in names}
    others = tuple(name for name in names if name not in style)
    return sets | {"style blocks": style, "all others": others, "all blocks": names}


def sensitivity(bench: Bench, noised: Sequence[Noised]) -> dict[str, list[list[float]]]:
    """Change of the output by set of blocks, [design][timestep], when "in [emb] style" is moved into that set alone.

    The row ``pooled`` gives the style prompt to the time embedding and to no block.
    """
    base = bench.base
    sets = block_sets(base)
    found: dict[str, list[list[float]]] = {name: [] for name in (*sets, "pooled")}
    for number, one in enumerate(bench.track(noised, "blocks: designs x timesteps")):
        plain = base.encode_prompts([one.words])
        styled = base.encode_prompts([base.info.style_prompt(one.words)])
        still = predict(base, one, plain, base.info.style_blocks, None)
        for name, designs in found.items():
            if number % len(TIMESTEPS) == 0:
                designs.append([])
            if name == "pooled":
                moved = predict(base, one, Prompts(plain.hidden, styled.pooled), base.info.style_blocks, None)
            else:
                moved = predict(base, one, plain, sets[name], styled.hidden)
            designs[-1].append(change(moved, still))
    return found


def word_pairs() -> list[tuple[str, str]]:
    """A hundred pairs of style words: families against each other, and opposite descriptors of one family."""
    rng = np.random.default_rng(7)
    words = [FAMILY_WORDS[family][0] for family in FAMILIES]
    families = list(combinations(words, 2))
    chosen = sorted(rng.permutation(len(families))[:PAIRS_OF_FAMILIES])
    opposites = [(f"{a} {word}", f"{b} {word}") for word in words for a, b in OPPOSITES]
    also = sorted(rng.permutation(len(opposites))[:PAIRS_OF_DESCRIPTORS])
    return [families[i] for i in chosen] + [opposites[i] for i in also]


def word_distances(bench: Bench, noised: Sequence[Noised]) -> Figures:
    """How far the output moves from one style word to another in the style blocks, and the words' own embeddings.

    Writes `words.csv`: both words, change of the output, change of the hidden states.
    """
    base = bench.base
    pairs = word_pairs()
    families = [FAMILY_WORDS[family][0] for family in FAMILIES]
    general = [(base.info.style_word, word) for word in families]
    every = list(dict.fromkeys(word for pair in (*pairs, *general) for word in pair))
    moved: dict[tuple[str, str], list[float]] = {pair: [] for pair in (*pairs, *general)}
    apart: dict[tuple[str, str], list[float]] = {pair: [] for pair in (*pairs, *general)}
    for one in bench.track(noised, "words: designs x timesteps"):
        plain = base.encode_prompts([one.words])
        told = {word: base.encode_prompts([f"{one.words} in {word} style"]).hidden for word in every}
        drawn = {word: predict(base, one, plain, base.info.style_blocks, told[word]) for word in every}
        for (first, second), values in moved.items():
            values.append(change(drawn[first], drawn[second]))
            apart[first, second].append(change(told[first], told[second]))
    output = {pair: mean(values) for pair, values in moved.items()}
    hidden = {pair: mean(values) for pair, values in apart.items()}
    bench.out.mkdir(parents=True, exist_ok=True)
    with (bench.out / "words.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["first", "second", "output_change", "embedding_change"])
        table.writerows([*pair, value, hidden[pair]] for pair, value in output.items())
    unseen = {FAMILY_WORDS[family][0] for family in HELD_OUT_FAMILIES}
    seen = [pair for pair in pairs if not any(part.endswith(tuple(unseen)) for part in pair)]
    least = min(pairs, key=output.__getitem__)
    return {
        "pairs": len(pairs),
        "mean": mean(output[pair] for pair in pairs),
        "mean_trained": mean(output[pair] for pair in seen),
        "min": output[least],
        "min_pair": list(least),
        "embedding_mean": mean(hidden[pair] for pair in pairs),
        "embedding_min": min(hidden[pair] for pair in pairs),
        "general": {word: output[general_word, word] for general_word, word in general},
        "general_min": min(output[pair] for pair in general),
    }


def measure(bench: Bench) -> Figures:
    """The sensitivity test and, in the whole evaluation, the words.

    Returns:
        ``share``: S, the mean change with the style blocks alone over the mean change with all blocks;
        ``style_blocks``, ``all_others``, ``all_blocks``, ``pooled``: mean changes; ``blocks``: by block and timestep;
        ``words``: see `word_distances`.
    """
    count = bench.some(6, 3)
    with single_precision(bench.base):
        noised = noised_cases(bench, count)
        found = sensitivity(bench, noised)
        words = None if bench.quick else word_distances(bench, noised[: 3 * len(TIMESTEPS)])
    by_time = {name: np.array(values).mean(0).tolist() for name, values in found.items()}
    style = bench.base.info.style_blocks
    rows = [f"{name} *" if name in style else name for name in by_time]
    bench.save(
        heat_map(
            list(by_time.values()),
            rows,
            [f"t = {time}" for time in TIMESTEPS],
            "Change of the output by the style word in these blocks alone (* style block)",
        ),
        "blocks.png",
    )
    overall = {name: mean(values) for name, values in by_time.items()}
    return {
        "share": round(overall["style blocks"] / max(overall["all blocks"], 1e-9), 5),
        "style_blocks": overall["style blocks"],
        "all_others": overall["all others"],
        "all_blocks": overall["all blocks"],
        "pooled": overall["pooled"],
        "designs": count,
        "timesteps": list(TIMESTEPS),
        "blocks": {name: [round(v, 5) for v in values] for name, values in by_time.items()},
        "words": words,
    }
