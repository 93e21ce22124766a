"""The three kinds of work: what goes from a job's input into the engine, and what comes out of it into the result.

A handler takes a `Work` and returns a result to publish; it knows no queue and writes no row. The engine is imported
inside, so that a worker is up before torch is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from backend.core.config import Settings
from backend.jobs.lifecycle import Claim
from backend.jobs.outcomes import PairResult, RenderedPicture, RenderResult, Result, TrainResult
from worker.checkpoints import ObjectCheckpoints
from worker.publish import Publisher
from worker.reporting import Reporter
from worker.runtime import Runtime

if TYPE_CHECKING:
    from worker.engine.adapter import Adapter
    from worker.engine.bases import Base
    from worker.engine.config import RenderConfig, TrainConfig
    from worker.engine.infer import RenderedImage, RenderRequest


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at a job, and everything that a handler may use for it."""

    held: Claim
    reporter: Reporter
    objects: Publisher
    checkpoints: ObjectCheckpoints
    runtime: Runtime
    settings: Settings

    @property
    def input(self) -> dict[str, Any]:
        """The job's input, fully resolved."""
        return self.held.input


Handler = Callable[[Work], Result]


def train(work: Work) -> TrainResult:
    """Learn a style from one photo."""
    with work.runtime.importing():
        from worker.engine.train import PairInput, train_style  # noqa: PLC0415

    given = work.input
    artwork_key = given.get("artwork_key")
    source = PairInput(
        reference=work.objects.read_image(given["reference_key"]),
        artwork=work.objects.read_image(artwork_key) if artwork_key else None,
        builder=given["pair_builder"],
        caption=given.get("caption") or "",
        more=tuple(work.objects.read_image(key) for key in given.get("more_keys", ())),
    )
    with (
        work.runtime.base(given["base"]) as base,
        work.runtime.design_model(given["pair_builder"], given["base"]) as designs,
    ):
        config = training_config(
            given.get("training", "default"), given["seed"], given["preset"], split_prompts=base.info.split_prompts
        )
        style = train_style(base, source, config, work.reporter, work.checkpoints, designs)
    adapter = work.objects.write("adapter.safetensors", style.adapter, "application/octet-stream")
    samples = []
    for index, sample in enumerate(style.samples):
        picture = work.objects.write_png(f"sample-{index}", sample.picture)
        design = work.objects.write_png(f"sample-{index}-design", sample.design)
        samples.append(
            {
                "prompt": sample.words,
                "key": picture.key,
                "design_key": design.key,
                "width": sample.picture.width,
                "height": sample.picture.height,
            }
        )
    return TrainResult(
        embroidery_key=work.objects.write_png("embroidery", style.pair.embroidery).key,
        design_key=work.objects.write_png("design", style.pair.design).key,
        adapter_key=adapter.key,
        adapter_sha256=adapter.sha256,
        adapter_bytes=adapter.size,
        adapter_rank=int(style.manifest["rank"]),
        blocks=list(style.manifest["style_blocks"]),
        caption=style.manifest.get("caption") or None,
        report=style.report,
        samples=samples,
    )


def render(work: Work) -> RenderResult:
    """Show a design, or words, in a style."""
    with work.runtime.importing():
        from worker.engine.infer import Renderer  # noqa: PLC0415

    with work.runtime.base(work.input["base"], styled=True) as base:
        images = Renderer(base).render(*render_asked(work, base), work.reporter)
    return render_result(work, images)


def render_asked(work: Work, base: "Base") -> "tuple[Adapter, RenderRequest]":
    """The style of a render job, and what is to be shown in it."""
    given = work.input
    key = given["adapter_key"]
    adapter = work.runtime.adapter(given.get("adapter_sha256") or key, lambda: work.objects.read(key))
    return adapter, render_request(work, split_prompts=base.info.split_prompts)


def render_result(work: Work, images: "Sequence[RenderedImage]") -> RenderResult:
    """Upload what was drawn for a render job."""
    # Without its cloth, as the embroidery is: side by side the page shows both on the same.
    design = next((image.design_cutout for image in images if image.design_cutout is not None), None)
    design_key = None if design is None else work.objects.write_png("design", design).key
    outputs = []
    for image in images:
        patch = work.objects.write_png(f"patch-{image.index}", image.cutout)
        shown = None if image.garment is None else work.objects.write_jpeg(f"garment-{image.index}", image.garment)
        outputs.append(
            RenderedPicture(
                index=image.index,
                seed=image.seed,
                patch_key=patch.key,
                garment_key=None if shown is None else shown.key,
                design_key=design_key,
                width=image.cutout.width,
                height=image.cutout.height,
                sha256=patch.sha256,
            )
        )
    return RenderResult(outputs=outputs, warnings=_notes(images[0].warnings if images else ()))


def pair(work: Work) -> PairResult:
    """Build a pair to look at before training."""
    with work.runtime.importing():
        from worker.engine.pairs import build_pair  # noqa: PLC0415
        from worker.engine.prepare import prepare_reference  # noqa: PLC0415

    given = work.input
    work.reporter.update("prepare", 0, 1)
    reference = work.objects.read_image(given["reference_key"])
    artwork_key = given.get("artwork_key")
    artwork = work.objects.read_image(artwork_key) if artwork_key else None
    base = given.get("base") or work.settings.base
    prepared = prepare_reference(reference, work.runtime.info(base).resolution)
    work.reporter.update("prepare", 1, 1)
    work.reporter.update("pair", 0, 1)
    with work.runtime.design_model(given["builder"], base) as designs:
        built = build_pair(
            prepared,
            given["builder"],
            artwork,
            given.get("seed") or 0,
            designs,
            caption=given.get("caption") or "",
            on_step=partial(work.reporter.update, "pair"),
        )
    work.reporter.update("pair", 1, 1)
    return PairResult(
        embroidery_key=work.objects.write_png("embroidery", built.embroidery).key,
        design_key=work.objects.write_png("design", built.design).key,
        builder=built.builder,
        report={**built.report, "warnings": _notes(prepared.warnings)},
    )


HANDLERS: Final[dict[str, Handler]] = {"train": train, "render": render, "pair": pair}


def training_config(training: str, seed: int, render_preset: str, *, split_prompts: bool) -> "TrainConfig":
    """The numbers of a training: "default" means the paper's on a base that was not trained with split prompts."""
    from worker.engine.config import train_config  # noqa: PLC0415

    preset = "paper" if training == "default" and not split_prompts else training
    return train_config(preset, seed=seed, sample_render=render_preset)


def rendering_config(preset: str, *, from_text: bool, split_prompts: bool, **changes: Any) -> "RenderConfig":
    """The numbers of a render: the preset's for this base, with what the request says in their place."""
    from worker.engine.config import render_config  # noqa: PLC0415

    name = "text" if from_text and split_prompts else preset
    if changes.get("few_steps") is None and not (changes.get("steps") is changes.get("guidance") is None):
        changes["few_steps"] = False  # who names numbers gets them
    return render_config(name, small=split_prompts, **{k: v for k, v in changes.items() if v is not None})


def render_request(work: Work, *, split_prompts: bool) -> "RenderRequest":
    """What the engine is asked for, from a render job's input."""
    from worker.engine.infer import GarmentPlacement, RenderRequest  # noqa: PLC0415

    given = work.input
    shown, garment, control = given["input"], given.get("garment"), given.get("control") or {}
    from_text = shown["type"] == "text"
    config = rendering_config(
        given["preset"],
        from_text=from_text,
        split_prompts=split_prompts,
        steps=given.get("steps"),
        strength=given.get("strength"),
        guidance=given.get("guidance"),
        few_steps=given.get("few_steps", False),  # jobs of before do not say who named their numbers
        control_edge=control.get("edge"),
        control_tile=control.get("tile"),
        colour_fix=given.get("colour_fix"),
        size=given.get("size"),
        quality=given.get("quality"),
    )
    placed = None
    if garment is not None:
        placed = GarmentPlacement(
            garment=work.objects.read_image(garment["image_key"]),
            placement=garment["placement"],
            width_mm=garment.get("width_mm"),
        )
    return RenderRequest(
        design=None if from_text else work.objects.read_image(shown["image_key"]),
        brief=shown["brief"] if from_text else None,
        config=config,
        variations=given["variations"],
        seed=given["seed"],
        garment=placed,
    )


def _notes(warnings: Any) -> list[dict[str, Any]]:
    """Warnings as JSON, whether they come with a code or are bare sentences."""
    return [
        {"code": "note", "message": warning}
        if isinstance(warning, str)
        else {"code": warning.code, "message": warning.message}
        for warning in warnings
    ]
