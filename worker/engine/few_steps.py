"""Bases that draw in a few steps: a speed-up LoRA lies on the whole UNet beside the style's, for drafts.

Such a LoRA, of latent consistency (Luo et al. 2023, arXiv 2311.05556) or of trajectory consistency (Zheng et al. 2024,
arXiv 2402.19159), was distilled on pictures of everything; whether a style survives it is measured on the style's own
design when it has been learnt.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor, nn

from worker.engine.adapter import Adapter, AdapterError, style_on
from worker.engine.bases import Base
from worker.engine.colour import Bool
from worker.engine.config import RenderConfig
from worker.engine.drawing import sew
from worker.engine.layer_names import KOHYA_PREFIX, from_dotted, from_kohya
from worker.engine.lora_file import RawLora, Strengths
from worker.engine.metrics import log_gabor_distance, log_gabor_statistics
from worker.engine.swap import Layers

log = logging.getLogger(__name__)

FOLDER: Final = "few_steps"
"""Of a base's folder."""

DRAFT_LIMIT: Final = 0.4
"""Log-Gabor distance up to which a draft in few steps shows the same stitches as the drawing it stands for: two crops
of one embroidery are about 0.1 apart, a flat fill and an embroidery over 1. A shop must not judge a style by a draft
that is nearer to no stitches than to those of the final."""

DRAFT: Final = "draft"
"""Entry of a style's manifest, and of a training's report: a :class:`DraftCheck`."""


@dataclass(frozen=True)
class FewSteps:
    """A base's speed-up.

    Attributes:
        layers: its LoRA, of convolutions too.
        sampler, steps, guidance: what it was distilled for.
        skipped: layers of the file that the UNet does not have, or that cannot be merged.
    """

    layers: Layers
    sampler: str
    steps: int
    guidance: float
    skipped: tuple[str, ...] = ()

    def numbers(self, config: RenderConfig) -> RenderConfig:
        """The render with its steps, sampler and guidance."""
        changes: dict[str, Any] = {"sampler": self.sampler, "steps": self.steps, "guidance": self.guidance}
        return replace(config, bare_guidance=0.0, **changes)


@dataclass(frozen=True)
class DraftCheck:
    """How far a style's draft in few steps is from the drawing it stands for, and whether it may stand for it."""

    distance: float
    allowed: bool

    def as_json(self) -> dict[str, Any]:
        """For manifest and report."""
        return {"distance": round(self.distance, 4), "allowed": self.allowed}


def few_steps_of(base: Base) -> FewSteps | None:
    """The speed-up that came with a base, read once; ``None`` where there is none that can be used.

    A damaged one costs time and nothing else, so it is written into the log and done without.
    """
    told = base.info.few_steps
    if told is None or base.folder is None or not (path := base.folder / FOLDER / told.file).is_file():
        return None
    if base.few_steps is None:
        try:
            layers, skipped = read_speed_up(path.read_bytes(), base.unet)
        except (AdapterError, OSError) as error:
            log.warning("the speed-up %s of %s cannot be used: %s", path.name, base.info.name, error)
            base.info = replace(base.info, few_steps=None)
            return None
        if skipped:
            log.warning(
                "%s of %s: %d layers are left out, %s first", path.name, base.info.name, len(skipped), skipped[0]
            )
        base.few_steps = FewSteps(layers, told.sampler, told.steps, told.guidance, skipped)
    return base.few_steps


def read_speed_up(data: bytes, unet: nn.Module) -> tuple[Layers, tuple[str, ...]]:
    """A LoRA of any layers of a UNet, linear and convolutions, by diffusers', peft's or kohya's names.

    Args:
        data: the safetensors file.
        unet: whose layers they are.

    Returns:
        What can be merged, as :class:`~worker.engine.swap.WeightSwap` takes it, and the names of what cannot.

    Raises:
        AdapterError: it cannot be read, or no layer of it belongs to this UNet.
    """
    raw = RawLora.from_bytes(data)
    strengths = Strengths.read(raw.metadata)
    modules = {name: one for name, one in unet.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)}
    flat = {name.replace(".", "_"): name for name in modules}
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    skipped = []
    for name, part in raw.layers.items():
        layer = _layer_of(name, flat)
        if layer not in modules or part.up is None or (part.up.ndim == 4 and part.up.shape[2:] != (1, 1)):
            skipped.append(name)
            continue
        a, b = part.halves(name)
        scale = strengths.scale(layer, a.shape[0], part.alpha)
        layers[layer] = (a, b) if scale == 1 else (a, (b.float() * scale).to(b.dtype))
    if not layers:
        raise AdapterError("This LoRA has no layers of this base's UNet.")
    return layers, tuple(skipped)


def _layer_of(name: str, flat: Mapping[str, str]) -> str:
    bare = name.removeprefix("base_model.model.").removeprefix("unet.").removeprefix(KOHYA_PREFIX)
    found = flat.get(bare.replace(".", "_"))
    return found or from_kohya(name) or from_dotted(name) or ""


def speed_up_for(base: Base, adapter: Adapter | None, config: RenderConfig) -> FewSteps | None:
    """The speed-up that a render is drawn with: drafts on a base that has one, in styles that were found to bear it.

    A style that was not measured, such as an imported one, is drawn with the usual steps.
    """
    if config.quality != "draft" or not config.few_steps or base.info.few_steps is None:
        return None
    checked = {"allowed": True} if adapter is None else adapter.manifest.get(DRAFT) or {}
    return few_steps_of(base) if checked.get("allowed") else None


def check_draft(
    base: Base, adapter: Adapter, design: Image.Image, mask: Bool, final: Image.Image, config: RenderConfig, seed: int
) -> DraftCheck | None:
    """Draws a style's own design in few steps and compares the stitches with those of the usual steps.

    Args:
        base: the base.
        adapter: the style.
        design: RGB of the base's size.
        mask: where it is judged.
        final: the design as it was drawn with ``config``.
        config: of that drawing.
        seed: of that drawing.

    Returns:
        What was found; ``None`` for a base without a speed-up.
    """
    speed_up = few_steps_of(base)
    if speed_up is None:
        return None
    with style_on(base, adapter, [speed_up.layers]), torch.no_grad():
        (draft,) = sew(base, [design], [seed], speed_up.numbers(config))
    return compare_draft(draft, final, mask)


def compare_draft(draft: Image.Image, final: Image.Image, mask: Bool) -> DraftCheck:
    """Whether two drawings of one design, RGB of one size, show the same stitches where ``mask`` is true."""
    distance = log_gabor_distance(log_gabor_statistics(draft, mask), log_gabor_statistics(final, mask))
    return DraftCheck(distance, distance <= DRAFT_LIMIT)
