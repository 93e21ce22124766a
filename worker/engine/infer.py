"""Rendering: a design or a brief becomes an embroidery in a learnt style (section 5 of arXiv 2509.18948).

From a design or from a brief, as :mod:`worker.engine.drawing` draws a batch: only theta_e, the style blocks' part of
the LoRA, is on the UNet.

A final is drawn twice: a draft at the base's resolution, for eyes that wait, then the same motif with more pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image
from torch import Tensor

from worker.engine.adapter import Adapter, style_on
from worker.engine.bases import Base, tensor_to_image
from worker.engine.briefs import draw_brief, similar_things
from worker.engine.colour import Bool, to_float
from worker.engine.config import RenderConfig, render_config
from worker.engine.cutout import lift_motif
from worker.engine.design import DEFAULT_GROUND
from worker.engine.drawing import imagine, lay, sew, size_of
from worker.engine.ground import find_ground
from worker.engine.notices import Notice
from worker.engine.place import place_patch
from worker.engine.prepare import PreparedDesign, prepare_design
from worker.engine.progress import NullProgress, Progress
from worker.engine.quilt import Laid, Swatch, lay_finely
from worker.engine.sampling import passes, tiling
from worker.engine.seeds import variation_seed

BATCH = 4
"""Variations drawn at once: beyond this a CPU gains nothing and memory grows."""


@dataclass(frozen=True)
class GarmentPlacement:
    """Where on which garment, as :func:`worker.engine.place.place_patch` takes it."""

    garment: Image.Image
    placement: object
    width_mm: float | None = None


@dataclass(frozen=True)
class RenderRequest:
    """What to render.

    Attributes:
        design: a picture, RGB or RGBA; or
        brief: a few words, such as "a red fox".
        config: every number; see :func:`worker.engine.config.render_config`.
        variations: pictures wanted; the i-th has the seed ``seed + i`` and is what that seed alone gives.
        garment: where to show the result, if anywhere.
    """

    design: Image.Image | None = None
    brief: str | None = None
    config: RenderConfig = field(default_factory=RenderConfig)
    variations: int = 1
    seed: int = 0
    garment: GarmentPlacement | None = None

    def __post_init__(self) -> None:
        if (self.design is None) == (not (self.brief or "").strip()):
            raise ValueError("a render needs either a design or a brief")
        if self.variations < 1:
            raise ValueError("a render needs at least one variation")


@dataclass(frozen=True)
class RenderedImage:
    """One variation.

    Attributes:
        patch: the embroidery on its cloth, RGB.
        cutout: the embroidery alone, RGBA.
        garment: the garment with it, if one was given.
        design: the prepared design that was drawn, if one was given.
        warnings: what will not sew well.
    """

    index: int
    seed: int
    patch: Image.Image
    cutout: Image.Image
    garment: Image.Image | None = None
    design: Image.Image | None = None
    warnings: tuple[Notice, ...] = ()


def _finer_threads(base: Base, adapter: Adapter | None, config: RenderConfig) -> bool:
    """Whether a final has more threads across its motif than the draft."""
    if config.threads != "sample":
        return config.threads == "finer"
    # Where the sample's threads would have been lost at the base's resolution, only a part of it was learnt from: the
    # draft then shows a motif of that part's size, and twice the threads come nearer to the whole.
    motif = 0.0 if adapter is None else float(adapter.manifest.get("motif_px", 0.0))
    return motif > 1.25 * base.info.resolution


class Renderer:
    """Renders in learnt styles with one base. One render at a time: adapters go onto the base's own weights."""

    def __init__(self, base: Base) -> None:
        self.base = base

    def render(
        self, adapter: Adapter | None, request: RenderRequest, progress: Progress | None = None
    ) -> list[RenderedImage]:
        """Renders all variations.

        A final begins with a draft at the base's resolution, which goes to ``progress.preview``. Where threads stay the
        same, every variation's draft is enlarged, dissolved a little and drawn again, with its threads held in place:
        left to itself a base draws threads of as many pixels as it knows. Where they become finer, the draft is only to
        look at and the design itself is drawn at the larger size. Laid stitches are laid anew at the larger size in
        either case, from a photo of the sample as large as there is.

        Args:
            adapter: the style; ``None`` shows what the base does without one.
            request: what to render.
            progress: stages prepare, diffuse, decode and place, and previews of the first variation. Steps of diffuse
                are runs of the UNet on one window of one picture, in a final those of both drawings.

        Raises:
            AdapterError: the style belongs to another base.
            PlacementOutsideError: the placement does not lie on the garment.
            Canceled: the caller's progress asked to stop.
        """
        progress = progress or NullProgress()
        progress.update("prepare", 0, 1)
        # The style was learnt on its own cloth; sewn on it a design is nearest to what the adapter knows.
        ground = DEFAULT_GROUND if adapter is None else adapter.manifest.get("ground_rgb", DEFAULT_GROUND)
        request, notices = self._with_drawing(request, ground)
        finer = _finer_threads(self.base, adapter, request.config)
        swatch = None if adapter is None else adapter.swatch
        work = _Work(self.base, request, ground, progress, swatch, finer=finer)
        progress.update("prepare", 1, 1)
        with style_on(self.base, adapter):
            patches = work.patches()
        progress.update("decode", len(patches), len(patches))
        finished = self._finished(work.prepared, request, work.seeds, patches, progress)
        return [replace(image, warnings=(*image.warnings, *notices)) for image in finished]

    def _with_drawing(
        self, request: RenderRequest, ground: Sequence[float]
    ) -> tuple[RenderRequest, tuple[Notice, ...]]:
        """For a base that knows no things, a brief with a drawing of what it names, and what to say about that."""
        if request.brief is None or self.base.info.draws_words:
            return request, ()
        asked, flat = request.config, render_config("flat", small=True)
        red, green, blue = (round(255 * value) for value in ground)
        drawing = draw_brief(request.brief, size_of(self.base, asked), (red, green, blue))
        if drawing is None:
            close = similar_things(request.brief)
            return request, (
                Notice(
                    "words_not_drawn",
                    "The small base model cannot draw this from words, and Hoop has no drawing of it, so only colours "
                    "and texture are shown. Please upload a design"
                    + (
                        f", or did you mean {' or '.join(close)}?"
                        if close
                        else " or name a thing, such as “a red fox”."
                    ),
                ),
            )
        kept = {name: getattr(asked, name) for name in ("size", "quality", "threads")}
        kept["hold_lightness"] = asked.hold_lightness or flat.hold_lightness
        # The steps of a text preset are for pictures from noise; a drawing needs no more than a design.
        config = replace(flat, steps=min(asked.steps, flat.steps), **kept)
        shown = " and ".join(drawing.shows)
        return replace(request, brief=None, design=drawing.picture, config=config), (
            Notice(
                "drawn_by_hoop",
                f"The small base model cannot draw from words: this shows Hoop's own drawing of {shown}. Upload a "
                "design to see yours.",
            ),
        )

    def _finished(
        self,
        prepared: PreparedDesign | None,
        request: RenderRequest,
        seeds: list[int],
        patches: list[Image.Image],
        progress: Progress,
    ) -> Iterator[RenderedImage]:
        for index, (seed, patch) in enumerate(zip(seeds, patches, strict=True)):
            cutout = cut_out(patch, None if prepared is None else prepared.mask)
            garment = None
            if request.garment is not None:
                progress.update("place", index, len(patches))
                placement = request.garment
                garment = place_patch(cutout, placement.garment, placement.placement, placement.width_mm)
            yield RenderedImage(
                index,
                seed,
                patch,
                cutout,
                garment,
                design=None if prepared is None else prepared.design,
                warnings=() if prepared is None else prepared.warnings,
            )
        if request.garment is not None:
            progress.update("place", len(patches), len(patches))


class _Work:
    """One request on its way to patches: which drawings it takes, and how far they are.

    Attributes:
        seeds: one a variation.
        prepared: the design at the result's size; from a brief ``None``.
    """

    def __init__(
        self,
        base: Base,
        request: RenderRequest,
        ground: Sequence[float],
        progress: Progress,
        swatch: Swatch | None,
        *,
        finer: bool,
    ) -> None:
        self.base, self.progress, self.brief, self.swatch = base, progress, request.brief or "", swatch
        self.design, self.ground = request.design, ground
        self.coarse: dict[int, Laid] = {}
        self.seeds = [variation_seed(request.seed, index) for index in range(request.variations)]
        size = size_of(base, request.config)
        if swatch is None:
            request = replace(request, config=request.config.without_stitches())
        self.twice = request.config.quality == "final" and size > base.info.resolution
        # Finer threads can only come from the design; a brief has none.
        self.finer = finer and self.twice and request.design is not None
        self.final = replace(request.config, size=size)
        self.draft = replace(self.final, size=base.info.resolution, preview_every=0) if self.twice else self.final
        if self.twice and self.final.lay_stitches and request.design is not None:
            scale = 1 if self.finer else size / base.info.resolution
            held = {name: scale * getattr(self.final, name) for name in ("hold_lightness", "laid_hold")}
            self.final = replace(self.final, preview_every=0, **held)
        elif self.twice and not self.finer:
            count, strength = self.final.refine_steps, self.final.refine_strength
            self.final = replace(
                self.final,
                steps=max(count, round(count / strength)),
                strength=strength,
                guidance=self.final.refine_guidance,
                hold_lightness=self.final.refine_hold * size / base.info.resolution,
            )
        self.small = self.prepared = None
        if request.design is not None:
            self.small = self.prepared = prepare_design(request.design, size_of(base, self.draft), ground_rgb=ground)
            if self.twice:
                large = prepare_design(request.design, size, ground_rgb=ground)
                # What is too thin to sew depends on how wide the threads are.
                self.prepared = large if self.finer else replace(large, warnings=self.small.warnings)
        self.done, self.total = 0, self._runs()

    def patches(self) -> list[Image.Image]:
        """Every variation's picture, RGB, at the result's size."""
        # Finer threads are drawn from the design: one draft, to look at, is enough.
        drafts = self._drafts(self.seeds[:1] if self.finer else self.seeds)
        if not self.twice:
            return drafts
        self.progress.preview(drafts[0])
        # One at a time: a picture of this size has as many pixels as a batch of drafts.
        return [self._larger(seed, drafts[index : index + 1]) for index, seed in enumerate(self.seeds)]

    def _drafts(self, seeds: list[int]) -> list[Image.Image]:
        pictures: list[Image.Image] = []
        for begin in range(0, len(seeds), BATCH):
            part = seeds[begin : begin + BATCH]
            report = self._report(self.draft, len(part), show=begin == 0)
            if self.small is None:
                pictures += imagine(self.base, self.brief, part, self.draft, report)
            else:
                designs = [self.small.design]
                laid = lay(self.draft, self.swatch, designs, part, [self.small.mask])
                self.coarse.update(zip(part, laid, strict=False))
                if laid and begin == 0:
                    self.progress.preview(laid[0].picture)
                pictures += sew(self.base, designs, part, self.draft, "", report, laid=laid)
        return pictures

    def _larger(self, seed: int, draft: list[Image.Image]) -> Image.Image:
        designs = [] if self.prepared is None else [self.prepared.design]
        size = (self.final.size or 0,) * 2
        report = self._report(self.final, 1, show=False)
        if laid := self._laid(seed):
            return sew(self.base, designs, [seed], self.final, self.brief, report, laid=laid)[0]
        enlarged = [] if self.finer else [picture.resize(size, Image.Resampling.LANCZOS) for picture in draft]
        return sew(self.base, designs, [seed], self.final, self.brief, report, enlarged)[0]

    def _laid(self, seed: int) -> list[Laid]:
        """The design at the final's size with stitches on it, as wide as in the draft or twice that."""
        if self.prepared is None or self.small is None or self.swatch is None:
            return []
        if self.finer:
            return lay(self.final, self.swatch, [self.prepared.design], [seed], [self.prepared.mask])
        if (coarse := self.coarse.get(seed)) is None:
            return []
        twice, size = self.twice_design(), self.prepared.design.size
        fine = lay_finely(self.swatch, coarse, twice.design, twice.mask)
        if fine.picture.size == size:
            return [fine]
        pictures = {name: getattr(fine, name).resize(size, Image.Resampling.LANCZOS) for name in ("picture", "colours")}
        return [replace(fine, **pictures)]

    def twice_design(self) -> PreparedDesign:
        """The design with twice the draft's pixels a side, whatever the final's size."""
        if self.prepared is None or self.small is None or self.design is None:
            raise ValueError("there is no design")
        twice = 2 * self.small.design.width
        if self.prepared.design.width == twice:
            return self.prepared
        return prepare_design(self.design, twice, ground_rgb=self.ground)

    def _runs(self) -> int:
        """Runs of the UNet on one window that the whole work takes."""
        drafts = 1 if self.finer else len(self.seeds)
        steps = self.draft.steps if self.small is None else passes(self.draft)
        runs = drafts * steps * self._windows(self.draft)
        return runs + (len(self.seeds) * passes(self.final) * self._windows(self.final) if self.twice else 0)

    def _windows(self, config: RenderConfig) -> int:
        return len(tiling(self.base, size_of(self.base, config) // self.base.downscale))

    def _report(self, config: RenderConfig, count: int, *, show: bool) -> Callable[[int, int, Tensor], None]:
        """The callback of one batch of drawings."""
        begin, weight = self.done, count * self._windows(config)

        def report(done: int, steps: int, clean: Tensor) -> None:
            self.done = begin + weight * done
            self.progress.update("diffuse", self.done, self.total)
            if show and config.preview_every and done < steps and done % config.preview_every == 0:
                self.progress.preview(tensor_to_image(self.base.decode_latents(clean[:1]))[0])

        return report


def cut_out(patch: Image.Image, mask: Bool | None) -> Image.Image:
    """The embroidery without its cloth, RGBA with a soft border.

    Args:
        patch: RGB.
        mask: true on the motif, at any size; ``None``: what differs from the cloth in the picture itself.
    """
    motif = find_ground(to_float(patch)).motif if mask is None else np.asarray(mask, dtype=bool)
    if motif.shape != (patch.height, patch.width):
        motif = np.asarray(Image.fromarray(motif).resize(patch.size, Image.Resampling.NEAREST))
    return lift_motif(patch.convert("RGB"), motif)
