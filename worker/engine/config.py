"""Every number of a training and of a render, with presets.

``paper`` holds the settings of arXiv 2509.18948 and its public code for SDXL. ``default`` and ``short`` are for
bases of a few million parameters, which want larger steps, several timesteps a step and the pair's control given in
training, so that control explains the content and only style is left for the adapter to learn.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args, get_type_hints

_Config = TypeVar("_Config")


@dataclass(frozen=True)
class ComplementConfig:
    """Complementary pairs (section 4.2 of the paper).

    Attributes:
        source: ``text`` draws "a (colour) (object) in [emb] style" from noise and takes the pair builder's word for its
            design; ``controlled`` draws an own flat design and sews it under control, for bases too weak at text.
        count: N embroideries; ceil(N / 2) most like the reference's stitches, and of those ceil(N / 4) least like its
            content, are kept.
        steps, guidance: of the sampler.
        strength: of ``controlled``: below 1 the reference's stitches are laid on the own design, which is dissolved so
            far and drawn again; 1 draws from noise.
        feature_steps: steps of the inversion in which features are compared; 0 keeps the first ceil(N / 4) unseen.
    """

    source: Literal["text", "controlled"] = "text"
    count: int = 10
    steps: int = 30
    guidance: float = 7.0
    strength: float = 1.0
    feature_steps: int = 50

    @property
    def similar(self) -> int:
        """How many survive the first selection."""
        return -(-self.count // 2)

    @property
    def kept(self) -> int:
        """How many survive both selections."""
        return -(-self.count // 4)


@dataclass(frozen=True)
class TrainConfig:
    """One training.

    Attributes:
        rank: of the LoRA; alpha equals it.
        stage_one_steps, total_steps: stage two goes on from the first to the second.
        rate_decay: share of all steps, the last ones, over which the learning rate falls to zero.
        timesteps_per_step: noised copies of a pair in one step.
        late_bias: how much oftener late, little noised timesteps are looked at, where stitches are drawn: timesteps
            are distributed as u^(1 + late_bias), u uniform.
        crop: side in pixels of the random windows a step looks at; ``None``: whole images.
        unnamed_share: share of steps whose prompts name no content: a design that is uploaded has no name either.
        control_tile, control_edge: how much of the pair's own control is given in training; 0: none, the paper's way.
        warm_start: in place of the style prompt the style blocks read what the base's reference reader sees in the
            embroidery, in training and ever after: a start from which less is left to learn. For bases that have one.
        checkpointing: keep fewer activations and compute them anew in the backward pass, for cards with little memory;
            the same numbers.
        optimiser: ``paper`` shares one AdamW among the three updates; ``separate`` gives each its own moments.
        generated_weight, contrastive_weight: of the generated pair's loss and of the contrastive loss.
        block_choice: ``base`` takes the base's style blocks, ``all`` all, names with commas between them those blocks;
            ``lowest:K`` and ``gap`` choose by measured similarity, ``soft`` takes all blocks and keeps the more of a
            block's LoRA the less alike it finds E and D.
        analysis_steps: steps of the inversion behind the similarity map; 0: no map.
        checkpoint_every, preview_every: in steps; 0: never.
        sample_designs: pictures made with the finished style.
    """

    preset: str = "paper"
    seed: int = 42
    rank: int = 32
    learning_rate: float = 1e-4
    rate_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2
    epsilon: float = 1e-8
    stage_one_steps: int = 400
    total_steps: int = 600
    timesteps_per_step: int = 1
    late_bias: float = 0.0
    crop: int | None = None
    unnamed_share: float = 0.0
    control_tile: float = 0.0
    control_edge: float = 0.0
    warm_start: bool = False
    checkpointing: bool = False
    optimiser: Literal["paper", "separate"] = "paper"
    generated_weight: float = 0.1
    contrastive_weight: float = 1e-4
    complement: ComplementConfig = field(default_factory=ComplementConfig)
    block_choice: str = "base"
    analysis_steps: int = 50
    checkpoint_every: int = 50
    preview_every: int = 100
    sample_designs: int = 4
    sample_render: str = "flat"

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0 over both stages."""
        falling = self.rate_decay * self.total_steps
        return self.learning_rate * min(1.0, (self.total_steps - step) / falling) if falling else self.learning_rate

    def as_json(self) -> dict[str, Any]:
        """For manifests and to tell whether a checkpoint belongs to this training."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values


TRAIN_PRESETS = {
    "paper": TrainConfig(),
    "default": TrainConfig(
        preset="default",
        learning_rate=1e-3,
        rate_decay=0.5,
        stage_one_steps=200,
        total_steps=260,
        timesteps_per_step=4,
        crop=128,
        unnamed_share=0.5,
        control_tile=1.0,
        control_edge=1.0,
        optimiser="separate",
        complement=ComplementConfig(
            source="controlled", count=8, steps=10, guidance=1.0, strength=0.5, feature_steps=10
        ),
        analysis_steps=10,
        checkpoint_every=40,
        preview_every=40,
    ),
    "short": TrainConfig(
        preset="short",
        learning_rate=1e-3,
        rate_decay=0.5,
        stage_one_steps=60,
        total_steps=70,
        timesteps_per_step=4,
        crop=128,
        unnamed_share=0.5,
        control_tile=1.0,
        control_edge=1.0,
        optimiser="separate",
        complement=ComplementConfig(source="controlled", count=2, steps=8, guidance=1.0, strength=0.5, feature_steps=0),
        analysis_steps=0,
        checkpoint_every=20,
        preview_every=25,
        sample_designs=2,
    ),
}


def train_config(preset: str, **changes: Any) -> TrainConfig:
    """A preset with some fields changed.

    Raises:
        ValueError: no such preset.
    """
    return replace(_preset(TRAIN_PRESETS, preset), **changes)


@dataclass(frozen=True)
class RenderConfig:
    """How one design or brief becomes an embroidery (section 5 of the paper).

    Attributes:
        strength: how far the design is dissolved into noise before it is drawn again, 0 to 1 (SDEdit); from text 1.
        lay_stitches: lay the sample's own stitches on the design first (:mod:`worker.engine.quilt`), so that what is
            dissolved and drawn again has rows of threads already.
        laid_hold: sigma in pixels of the draft above which lightness is that of the laid stitches; 0: it is drawn anew
            on every scale.
        bare_strength, bare_guidance: what the others are at least where no stitches are laid.
        guidance: classifier-free guidance; at 1 the base runs once a step instead of twice.
        control_edge, control_tile: weights of the two control branches; 0 skips one.
        colour_fix: take lightness from the result and colour from the design.
        sampler: ``ddim``, ``euler`` or ``dpm`` (multistep DPM-Solver++); ``lcm`` and ``tcd`` for bases sped up for
            them (:mod:`worker.engine.few_steps`).
        route: style blocks read the style prompt and the others the plain one, as in training; off: all read the
            style prompt, the paper's inference.
        size: pixels of the result's side; ``None``: the base's resolution, and twice that for a final.
        preview_every: steps between intermediate pictures; 0: none. A final shows its draft instead.
        quality: ``draft`` draws once. ``final`` draws a draft at the base's resolution, which is shown at once, and
            then, in tiles, the picture at ``size``; see :meth:`worker.engine.infer.Renderer.render`.
        few_steps: a draft may be drawn in the few steps of a base's speed-up, if it has one and the style bears it.
        threads: of a final. ``same``: as many across the motif as in the draft, drawn with more pixels. ``finer``: as
            many pixels wide as in the draft, so more across the motif. ``sample``: whichever is nearer to the sample
            that the style was learnt from.
        refine_steps, refine_strength, refine_guidance: passes, strength and guidance of the second drawing of a final
            whose threads stay the same.
        refine_hold: sigma in pixels of the draft above which that drawing keeps the draft's lightness, so that threads
            stay where they were and only what the draft had no pixels for is new; 0: it keeps nothing.
        hold_lightness: sigma in pixels of the draft above which lightness is the design's, so that flat areas are
            evenly light; 0: lightness is the result's on every scale.
    """

    preset: str = "flat"
    steps: int = 30
    strength: float = 0.95
    lay_stitches: bool = False
    laid_hold: float = 0.0
    bare_strength: float = 0.0
    bare_guidance: float = 0.0
    guidance: float = 7.0
    control_edge: float = 0.5
    control_tile: float = 0.5
    colour_fix: bool = True
    sampler: Literal["ddim", "euler", "dpm", "lcm", "tcd"] = "ddim"
    route: bool = False
    negative_prompt: str = "lowres, bad anatomy, cropped, worst quality, low quality"
    size: int | None = None
    preview_every: int = 0
    quality: Literal["draft", "final"] = "draft"
    few_steps: bool = True
    threads: Literal["sample", "same", "finer"] = "sample"
    refine_steps: int = 4
    refine_strength: float = 0.35
    refine_guidance: float = 7.0
    refine_hold: float = 0.75
    hold_lightness: float = 0.0

    def without_stitches(self) -> RenderConfig:
        """The same where none are laid."""
        strength, guidance = max(self.strength, self.bare_strength), max(self.guidance, self.bare_guidance)
        return replace(self, lay_stitches=False, strength=strength, guidance=guidance)


RENDER_PRESETS = {
    "flat": RenderConfig(preview_every=5),
    "raised": RenderConfig(
        preset="raised", preview_every=5, strength=0.85, control_edge=0.0, control_tile=0.4, colour_fix=False
    ),
}

SMALL_RENDER_PRESETS = {
    "flat": RenderConfig(
        steps=8,
        strength=0.25,  # more of it and a small base draws its own over the laid stitches
        lay_stitches=True,
        laid_hold=0.35,
        bare_strength=0.8,  # above it a base of this size fills the cloth with blotches
        bare_guidance=1.5,
        guidance=1.0,
        control_edge=1.0,
        control_tile=1.0,
        sampler="dpm",
        route=True,
        negative_prompt="",
        preview_every=3,
        refine_guidance=1.0,
        hold_lightness=8.0,  # what is wider than a few threads is a blotch
    ),
    "raised": RenderConfig(
        preset="raised",
        steps=8,
        strength=0.25,
        lay_stitches=True,
        laid_hold=0.35,
        bare_strength=0.9,
        bare_guidance=1.5,
        guidance=1.0,
        control_edge=0.5,
        control_tile=1.0,
        colour_fix=True,
        sampler="dpm",
        route=True,
        negative_prompt="",
        preview_every=3,
        refine_guidance=1.0,
        hold_lightness=8.0,
    ),
    "text": RenderConfig(
        preset="text",
        steps=20,
        strength=1.0,
        guidance=3.0,
        control_edge=0.0,
        control_tile=0.0,
        colour_fix=False,
        route=True,
        negative_prompt="",
        preview_every=5,
        refine_guidance=1.0,
    ),
}
"""For bases trained with split prompts: guidance adds artefacts to a small base, and control carries the colours."""


def render_config(preset: str, *, small: bool, **changes: Any) -> RenderConfig:
    """A preset with some fields changed; ``small`` picks the numbers for bases trained with split prompts.

    Raises:
        ValueError: no such preset.
    """
    return replace(_preset(SMALL_RENDER_PRESETS if small else RENDER_PRESETS, preset), **changes)


def render_number(assignment: str) -> dict[str, Any]:
    """One field of a :class:`RenderConfig` from text such as ``sampler=euler`` or ``hold_lightness=10``.

    Raises:
        ValueError: no such field, or not a value of its kind.
    """
    name, _, text = assignment.partition("=")
    kinds = {item.name: str(item.type) for item in fields(RenderConfig)}
    if name not in kinds or not text:
        raise ValueError(f"{assignment!r} is none of {', '.join(f'{known}=…' for known in kinds)}")
    kind = kinds[name]
    if kind.startswith("Literal"):
        words = get_args(get_type_hints(RenderConfig)[name])
        if text not in words:
            raise ValueError(f"{name} is one of {', '.join(words)}")
        return {name: text}
    try:
        if kind == "bool":
            return {name: {"true": True, "false": False}[text.lower()]}
        return {name: {"int": int, "int | None": int, "float": float, "str": str}[kind](text)}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{name} takes a {kind}, not {text!r}") from error


def _preset(presets: dict[str, _Config], name: str) -> _Config:
    try:
        return presets[name]
    except KeyError:
        raise ValueError(f"no preset {name!r}; there are {', '.join(presets)}") from None
