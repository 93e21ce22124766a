"""Which blocks carry style: the analysis behind the choice (section 4.1 of arXiv 2509.18948).

Embroidery E and design D are inverted to noise; on the way the outputs of every self-attention layer are compared.
What the two share is content, so a block whose features differ carries style. Segments are counted as in the paper,
along denoising: 0 is the noisiest tenth, 9 the last; stitches show in 5 to 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.engine.bases import Base, Prompts
from worker.engine.control import Control
from worker.engine.progress import Progress
from worker.engine.routing import attention_blocks

SEGMENTS = 10
STYLE_SEGMENTS = range(5, SEGMENTS)


@contextmanager
def recorded_self_attention(unet: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Inside, every forward pass leaves each block's self-attention outputs ``[B, tokens, C]`` in the dict.

    One entry a layer; clear the lists between passes.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in attention_blocks(unet)}

    def keep(name: str) -> Any:
        return lambda _module, _args, output: found[name].append(output.detach())

    hooks = [
        layer.attn1.register_forward_hook(keep(name))
        for name, block in attention_blocks(unet).items()
        for layer in block.transformer_blocks  # type: ignore[union-attr]
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def invert(
    base: Base,
    latents: Tensor,
    prompts: Prompts,
    steps: int,
    residuals: Control | None = None,
    style: Tensor | None = None,
    until: float = 1.0,
    reached: Callable[[int, Tensor], object] = lambda _timestep, _latents: None,
) -> Iterator[int]:
    """DDIM inversion (Song et al. 2021, arXiv 2010.02502) of clean latents ``[B, C, h, w]``, one step at a time.

    Yields the segment of each step right after the UNet has run. ``until`` stops early: 0.5 goes to half the noise.
    ``reached`` is called after each step with (timestep, the latents as noisy as that).
    """
    total = base.scheduler.config.num_train_timesteps
    alphas = base.scheduler.alphas_cumprod.to(base.device)
    # Trailing steps, from clean to noisy. The UNet looks at the level it leaves, which for clean latents is level 0.
    levels = [0, *(round((index + 1) * total / steps) - 1 for index in range(steps))]
    x = latents
    side = x.shape[-1] * base.downscale
    for index in range(int(steps * until)):
        now, after = levels[index], levels[index + 1]
        out = base.predict(
            x, torch.full((len(x),), now, device=base.device), prompts, base.time_ids(side), style, residuals
        )
        clean, noise = clean_and_noise(base, x, out, alphas[now])
        yield SEGMENTS - 1 - index * SEGMENTS // steps
        x = alphas[after].sqrt() * clean + (1 - alphas[after]).sqrt() * noise
        reached(after, x)


def clean_and_noise(base: Base, x: Tensor, out: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """What a prediction ``out`` takes ``x`` for, at the noise level whose cumulated alpha is given: (clean, noise)."""
    a, b = alpha.sqrt(), (1 - alpha).sqrt()
    if base.prediction_type == "v_prediction":
        return a * x - b * out, a * out + b * x
    return (x - b * out) / a, out


@dataclass(frozen=True)
class BlockSimilarity:
    """Mean cosine similarity of E's and D's self-attention outputs.

    Attributes:
        blocks: names, in the order of the UNet's forward pass.
        similarity: ``[block][segment]``, -1 to 1; 10 segments from noisy to clean.
    """

    blocks: tuple[str, ...]
    similarity: tuple[tuple[float, ...], ...]

    def scores(self) -> dict[str, float]:
        """Block to mean similarity over the segments that carry style; low means style."""
        return {
            block: sum(row[segment] for segment in STYLE_SEGMENTS) / len(STYLE_SEGMENTS)
            for block, row in zip(self.blocks, self.similarity, strict=True)
        }

    def weights(self) -> dict[str, float]:
        """Block to a share of its LoRA that is kept, instead of a hard choice: 1 the least alike, 0 the most."""
        scores = self.scores()
        most, least = max(scores.values()), min(scores.values())
        return {block: (most - score) / max(most - least, 1e-9) for block, score in scores.items()}

    def choose(self, rule: str) -> tuple[str, ...]:
        """Style blocks by ``lowest:K``, or by ``gap``: all below the widest gap in the lower half of the ranking.

        Raises:
            ValueError: no such rule.
        """
        scores = self.scores()
        ranked = sorted(scores, key=scores.__getitem__)
        kind, _, value = rule.partition(":")
        if kind == "lowest" and value.isdigit() and 0 < int(value) <= len(ranked):
            count = int(value)
        elif kind == "gap":
            candidates = range(2, max(3, len(ranked) // 2 + 1))
            count = max(candidates, key=lambda n: scores[ranked[n]] - scores[ranked[n - 1]])
        else:
            raise ValueError(f"no rule {rule!r} to choose style blocks; there are lowest:K and gap")
        return tuple(block for block in self.blocks if block in ranked[:count])

    def as_json(self) -> dict[str, Any]:
        """For the report and the heat map."""
        return {"blocks": list(self.blocks), "similarity": [[round(v, 5) for v in row] for row in self.similarity]}


@torch.no_grad()
def block_similarity(
    base: Base,
    embroidery: Tensor,
    design: Tensor,
    prompts: Prompts,
    steps: int,
    residuals: Control | None = None,
    progress: Progress | None = None,
) -> BlockSimilarity:
    """Compares the latents ``[1, C, h, w]`` of one pair along ``steps`` (at least 10) steps of inversion."""
    sums: dict[str, list[float]] = {}
    counts = [0] * SEGMENTS
    with recorded_self_attention(base.unet) as found:
        for segment in invert(base, torch.cat([embroidery, design]), prompts, steps, residuals):
            counts[segment] += 1
            if progress is not None:
                progress.update("blocks", sum(counts), steps)
            for name, layers in found.items():
                row = sums.setdefault(name, [0.0] * SEGMENTS)
                row[segment] += sum(
                    float(F.cosine_similarity(out[:1].float(), out[1:].float(), dim=-1).mean()) for out in layers
                ) / len(layers)
                layers.clear()
    return BlockSimilarity(
        tuple(sums),
        tuple(tuple(value / max(1, count) for value, count in zip(row, counts, strict=True)) for row in sums.values()),
    )


@torch.no_grad()
def likeness(
    base: Base, images: Tensor, reference: Tensor, prompts: Prompts, steps: int, blocks: Sequence[str] | None = None
) -> Tensor:
    """How alike the self-attention outputs of ``images`` ``[B, ...]`` and one ``reference`` ``[1, ...]`` are, ``[B]``.

    Both are latents; only the low-noise half of the inversion is run, where segments 5 to 9 lie.
    """
    total = torch.zeros(len(images), device=base.device)
    count = 0
    with recorded_self_attention(base.unet) as found:
        for _ in invert(base, torch.cat([images, reference]), prompts, steps, until=0.5):
            for name, layers in found.items():
                if blocks is None or name in blocks:
                    for out in layers:
                        total += F.cosine_similarity(out[:-1].float(), out[-1:].float(), dim=-1).mean(dim=1)
                        count += 1
                layers.clear()
    return total / max(1, count)
