"""One request on its way to pictures: which drawings it takes, in which order, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image
from torch import Tensor

from worker.engine.bases import Base
from worker.engine.config import RenderConfig
from worker.engine.drawing import Drawing, draw, lay, size_of
from worker.engine.latent_preview import preview
from worker.engine.prepare import PreparedDesign, prepare_design
from worker.engine.progress import Progress
from worker.engine.quilt import Laid, Swatch, lay_finely
from worker.engine.requests import RenderRequest
from worker.engine.sampling import passes, tiling
from worker.engine.seeds import variation_seed

BATCH = 4
"""Drawings of the base's size made at once: beyond this a CPU gains nothing and memory grows."""


class RenderWork:
    """One request.

    A final is drawn twice: a draft at the base's resolution, then the picture at the result's size.

    Attributes:
        seeds: one a variation.
        drafted: the seeds that a draft is drawn of.
        prepared: the design at the result's size; from a brief ``None``.
        twice: a final is drawn after the drafts.
        total: runs of the UNet on one window of one picture that all of it takes.
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
        self._coarse: dict[int, Laid] = {}
        self.seeds = [variation_seed(request.seed, index) for index in range(request.variations)]
        size = size_of(base, request.config)
        if swatch is None:
            request = replace(request, config=request.config.without_stitches())
        self.twice = request.config.quality == "final" and size > base.info.resolution
        # Finer threads can only come from the design; a brief has none.
        self.finer = finer and self.twice and request.design is not None
        # Finer threads are drawn from the design: one draft, to look at, is enough.
        self.drafted = self.seeds[:1] if self.finer else self.seeds
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
        self._done, self.total = 0, self._runs()

    def patches(self) -> list[Image.Image]:
        """Every variation's picture, RGB, at the result's size, by whatever style is on the base."""
        drafts: list[Image.Image] = []
        for begin in range(0, len(self.drafted), BATCH):
            part = self.draft_of(self.drafted[begin : begin + BATCH])
            if part[0].laid is not None and begin == 0:
                self.progress.preview(part[0].laid.picture)
            drafts += draw(self.base, part, self._report(self.draft, len(part), show=begin == 0))
        if not self.twice:
            return drafts
        self.progress.preview(drafts[0])
        # One at a time: a picture of this size has as many pixels as a batch of drafts.
        return [
            draw(self.base, [self.final_of(seed, drafts[0 if self.finer else index])], self._report(self.final, 1))[0]
            for index, seed in enumerate(self.seeds)
        ]

    def draft_of(self, seeds: Sequence[int]) -> list[Drawing]:
        """The drafts of these seeds, to be drawn."""
        if self.small is None:
            return [Drawing(seed, self.draft, content=self.brief) for seed in seeds]
        design = self.small.design
        laid = lay(self.draft, self.swatch, [design], seeds, [self.small.mask])
        self._coarse.update(zip(seeds, laid, strict=False))
        stitches: Sequence[Laid | None] = laid or [None] * len(seeds)
        return [Drawing(seed, self.draft, design, laid=one) for seed, one in zip(seeds, stitches, strict=True)]

    def final_of(self, seed: int, draft: Image.Image) -> Drawing:
        """The picture at the result's size, to be drawn, from the seed's draft."""
        design = None if self.prepared is None else self.prepared.design
        if laid := self._laid(seed):
            return Drawing(seed, self.final, design, self.brief, laid=laid[0])
        if self.finer:
            return Drawing(seed, self.final, design, self.brief)
        enlarged = draft.resize((self.final.size or 0,) * 2, Image.Resampling.LANCZOS)
        return Drawing(seed, self.final, design, self.brief, draft=enlarged)

    def _laid(self, seed: int) -> list[Laid]:
        """The design at the final's size with stitches on it, as wide as in the draft or twice that."""
        if self.prepared is None or self.small is None or self.swatch is None:
            return []
        if self.finer:
            return lay(self.final, self.swatch, [self.prepared.design], [seed], [self.prepared.mask])
        if (coarse := self._coarse.get(seed)) is None:
            return []
        twice, size = self._twice_design(), self.prepared.design.size
        fine = lay_finely(self.swatch, coarse, twice.design, twice.mask)
        if fine.picture.size == size:
            return [fine]
        pictures = {name: getattr(fine, name).resize(size, Image.Resampling.LANCZOS) for name in ("picture", "colours")}
        return [replace(fine, **pictures)]

    def _twice_design(self) -> PreparedDesign:
        """The design with twice the draft's pixels a side, whatever the final's size."""
        if self.prepared is None or self.small is None or self.design is None:
            raise ValueError("there is no design")
        twice = 2 * self.small.design.width
        if self.prepared.design.width == twice:
            return self.prepared
        return prepare_design(self.design, twice, ground_rgb=self.ground)

    def _runs(self) -> int:
        steps = self.draft.steps if self.small is None else passes(self.draft)
        runs = len(self.drafted) * steps * self.windows(self.draft)
        return runs + (len(self.seeds) * passes(self.final) * self.windows(self.final) if self.twice else 0)

    def windows(self, config: RenderConfig) -> int:
        """Windows that one picture is drawn in."""
        return len(tiling(self.base, size_of(self.base, config) // self.base.downscale))

    def _report(self, config: RenderConfig, count: int, *, show: bool = False) -> Callable[[int, int, Tensor], None]:
        """The callback of one batch of drawings."""
        begin, weight = self._done, count * self.windows(config)

        def report(done: int, steps: int, clean: Tensor) -> None:
            self._done = begin + weight * done
            self.progress.update("diffuse", self._done, self.total)
            if show and config.preview_every and done < steps and done % config.preview_every == 0:
                self.progress.preview(preview(self.base, clean[:1])[0])

        return report
