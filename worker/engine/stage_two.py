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
from worker.engine.stage_one import Batch, Denoiser, Updates


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


def adapter_changes(denoiser: Denoiser, lora: TrainingLora, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the adapter changes on the noisy designs: (d_des without gradient, d_emb with), each ``[B, C, h, w]``."""
    noisy, _ = batch.designs

    def predict(style: Tensor | None) -> Tensor:
        return denoiser.predict(noisy, batch.timesteps, batch.content, batch.time_ids, style, batch.residuals)

    with torch.no_grad():
        content = predict(None)
        with lora.off():
            base_content, base_style = predict(None), predict(batch.style)
    return content - base_content, predict(batch.style) - base_style


def contrastive_step(
    denoiser: Denoiser, lora: TrainingLora, updates: Updates, batch: Batch, weight: float
) -> dict[str, float]:
    """Step 3 of an iteration on a batch whose first half is the reference pair, whose second the generated one.

    Only theta_e moves. Returns the unweighted loss.
    """
    content, embroidery = adapter_changes(denoiser, lora, batch)
    style_reference, style_generated = (embroidery - content).chunk(2)
    content_reference, content_generated = content.chunk(2)
    loss = contrastive_loss(style_reference, style_generated, content_reference, content_generated)
    updates.step("contrast", weight * loss)
    return {"contrast": float(loss.detach())}
