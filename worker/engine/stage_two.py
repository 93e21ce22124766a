"""Stage two: contrastive learning with self-knowledge distillation (section 4.2 of arXiv 2509.18948).

An iteration looks at the reference pair and one generated pair of other content. After the two steps of stage one a
third asks, on the noisy designs: what the adapter adds in the style blocks beyond the content, d_emb*, should be the
same in both pairs, and differ from what it adds for content, d_des.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from worker.engine.adapter import TrainingLora
from worker.engine.bases import Base, Prompts
from worker.engine.stage_one import Batch, Updates


def contrastive_loss(
    style_reference: Tensor, style_generated: Tensor, content_reference: Tensor, content_generated: Tensor
) -> Tensor:
    """The paper's L_con, temperature 1, averaged over the batch.

    With s the cosine similarity of flattened maps, d* the style maps and d the content maps::

        -log( exp s(d*_ref, d*_gen) / (exp s(d*_ref, d_gen) + exp s(d_ref, d*_gen)) )

    Args:
        style_reference: d*_ref ``[B, ...]``; item i of each map belongs to item i of the others.
        style_generated: d*_gen.
        content_reference: d_ref.
        content_generated: d_gen.
    """

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)

    together = similarity(style_reference, style_generated)
    apart = torch.stack(
        [similarity(style_reference, content_generated), similarity(content_reference, style_generated)]
    )
    return (torch.logsumexp(apart, dim=0) - together).mean()


def adapter_changes(base: Base, lora: TrainingLora, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the adapter changes on the noisy designs: (d_des without gradient, d_emb with), each ``[B, C, h, w]``."""
    noisy, _ = batch.designs
    plain = {"time_ids": batch.time_ids, "residuals": batch.residuals}
    with torch.no_grad():
        content = base.predict(noisy, batch.timesteps, batch.content, **plain)  # type: ignore[arg-type]
        with lora.off():
            base_content, base_style = _plain_base(base, batch)
    style = base.predict(noisy, batch.timesteps, batch.content, style=batch.style, **plain)  # type: ignore[arg-type]
    return content - base_content, style - base_style


def _plain_base(base: Base, batch: Batch) -> tuple[Tensor, Tensor]:
    """theta_0 on the noisy designs under the content and under the style prompt."""
    noisy, _ = batch.designs
    if batch.style.shape != batch.content.hidden.shape:  # a reference has fewer tokens than a prompt
        content, styled = (
            base.predict(noisy, batch.timesteps, batch.content, batch.time_ids, style, batch.residuals)
            for style in (None, batch.style)
        )
        return content, styled
    # Both in one call: the routed half differs in what its style blocks read.
    both = base.predict(
        torch.cat([noisy, noisy]),
        torch.cat([batch.timesteps, batch.timesteps]),
        Prompts.join([batch.content, batch.content]),
        torch.cat([batch.time_ids, batch.time_ids]),
        style=torch.cat([batch.content.hidden, batch.style]),
        residuals=None if batch.residuals is None else batch.residuals.each(lambda t: torch.cat([t, t])),
    )
    content, styled = both.chunk(2)
    return content, styled


def contrastive_step(base: Base, lora: TrainingLora, updates: Updates, batch: Batch, weight: float) -> dict[str, float]:
    """Step 3 of an iteration on a batch whose first half is the reference pair, whose second the generated one.

    Only theta_e moves. Returns the unweighted loss.
    """
    content, embroidery = adapter_changes(base, lora, batch)
    style_reference, style_generated = (embroidery - content).chunk(2)
    content_reference, content_generated = content.chunk(2)
    loss = contrastive_loss(style_reference, style_generated, content_reference, content_generated)
    updates.step("contrast", weight * loss)
    return {"contrast": float(loss.detach())}
