"""Rendering: a design or a brief becomes an embroidery in a learnt style (section 5 of arXiv 2509.18948).

From a design or from a brief, as :mod:`worker.engine.drawing` draws a batch: only theta_e, the style blocks' part of
the LoRA, is on the UNet.

A final is drawn twice: a draft at the base's resolution, for eyes that wait, then the same motif with more pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from worker.engine.adapter import Adapter, style_on, style_read
from worker.engine.bases import Base
from worker.engine.briefs import draw_brief, similar_things
from worker.engine.colour import Bool, to_float
from worker.engine.config import RenderConfig, render_config
from worker.engine.cutout import lift_flat, lift_motif
from worker.engine.design import DEFAULT_GROUND
from worker.engine.drawing import size_of
from worker.engine.few_steps import speed_up_for
from worker.engine.ground import find_ground
from worker.engine.many import Order, patches_of_many
from worker.engine.notices import Notice
from worker.engine.place import place_patch
from worker.engine.prepare import PreparedDesign
from worker.engine.progress import NullProgress, Progress
from worker.engine.render_work import BATCH, RenderWork
from worker.engine.requests import GarmentPlacement, RenderedImage, RenderRequest

__all__ = ["BATCH", "Begun", "GarmentPlacement", "RenderRequest", "RenderedImage", "Renderer", "cut_out"]


@dataclass(frozen=True)
class Begun:
    """A request on its way: everything that can be refused about it has been looked at, but for where it is placed.

    Attributes:
        order: what is drawn for it.
        garment: where it is shown, if anywhere.
        notices: what its caller is told about that.
    """

    order: Order
    garment: GarmentPlacement | None
    notices: tuple[Notice, ...]


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
        begun = self.begin(adapter, request, progress)
        order = begun.order
        progress.update("prepare", 1, 1)
        with style_on(self.base, adapter, [] if order.speed_up is None else [order.speed_up.layers]):
            patches = order.work.patches()
        progress.update("decode", len(patches), len(patches))
        return self.finish(begun, patches, progress)

    def render_many(
        self,
        requests: Sequence[tuple[Adapter | None, RenderRequest]],
        progress: Progress | None = None,
        batch: int = BATCH,
    ) -> list[list[RenderedImage]]:
        """Renders several requests at once, each in its own style, and gives what :meth:`render` gives for each alone.

        Drawings with the same numbers, of the same size, are made in batches of several styles
        (:mod:`worker.engine.many`); others are made beside them. Who wants one request's refusal to be no other's takes
        the three steps one by one: :meth:`begin`, :meth:`draw_many`, :meth:`finish`.

        Args:
            requests: each with its style, if any.
            progress: stages prepare, diffuse, decode and place over all of them; no previews.
            batch: drawings of the base's size made at once.

        Raises:
            AdapterError: a style belongs to another base.
            PlacementOutsideError: a placement does not lie on its garment.
            Canceled: the caller's progress asked to stop.
        """
        progress = progress or NullProgress()
        begun = []
        for index, (adapter, request) in enumerate(requests):
            progress.update("prepare", index, len(requests))
            begun.append(self.begin(adapter, request, progress))
        progress.update("prepare", len(requests), len(requests))
        drawn = self.draw_many(begun, progress, batch)
        return [self.finish(one, patches, progress) for one, patches in zip(begun, drawn, strict=True)]

    def begin(self, adapter: Adapter | None, request: RenderRequest, progress: Progress | None = None) -> Begun:
        """Makes a request ready to be drawn, alone or with others.

        Args:
            adapter: the style, if any.
            request: what to render.
            progress: told about its drawing where it is drawn alone.

        Raises:
            AdapterError: the style belongs to another version of this base.
        """
        with style_read(self.base, adapter):
            pass  # only whether it may be used with this base: before any work is done for it, or for others beside it
        # The style was learnt on its own cloth; sewn on it a design is nearest to what the adapter knows.
        ground = DEFAULT_GROUND if adapter is None else adapter.manifest.get("ground_rgb", DEFAULT_GROUND)
        request, notices = self._with_drawing(request, ground)
        speed_up = speed_up_for(self.base, adapter, request.config)
        if speed_up is not None:
            request = replace(request, config=speed_up.numbers(request.config))
        finer = _finer_threads(self.base, adapter, request.config)
        swatch = None if adapter is None else adapter.swatch
        work = RenderWork(self.base, request, ground, progress or NullProgress(), swatch, finer=finer)
        return Begun(Order(adapter, work, speed_up), request.garment, notices)

    def draw_many(
        self, begun: Sequence[Begun], progress: Progress | None = None, batch: int = BATCH
    ) -> list[list[Image.Image]]:
        """Draws several requests at once: every one's pictures, RGB.

        Args:
            begun: by :meth:`begin` of this renderer.
            progress: stages diffuse and decode over all of them; no previews.
            batch: drawings of the base's size made at once.

        Raises:
            AdapterError: a style's layers are not this base's.
            Canceled: the caller's progress asked to stop.
        """
        progress = progress or NullProgress()
        patches = patches_of_many(self.base, [one.order for one in begun], progress, batch)
        count = sum(len(one) for one in patches)
        progress.update("decode", count, count)
        return patches

    def finish(
        self, begun: Begun, patches: Sequence[Image.Image], progress: Progress | None = None
    ) -> list[RenderedImage]:
        """What a request gets for its pictures: each cut out, placed on its garment, and with what to say about it.

        Args:
            begun: the request.
            patches: its pictures, as they were drawn.
            progress: stage place.

        Raises:
            PlacementOutsideError: the placement does not lie on the garment.
            Canceled: the caller's progress asked to stop.
        """
        work = begun.order.work
        finished = self._finished(work.prepared, begun.garment, work.seeds, patches, progress or NullProgress())
        return [replace(image, warnings=(*image.warnings, *begun.notices)) for image in finished]

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
        said = Notice(
            "drawn_by_hoop",
            f"The small base model cannot draw from words: this shows Hoop's own drawing of {shown}. Upload a design "
            "to see yours.",
        )
        lacking = Notice(
            "letters_lacking",
            f"Hoop has no letters for “{drawing.lacking}”, so the lettering is left out. Please upload it as a design.",
        )
        notices = (said, lacking) if drawing.lacking else (said,)
        return replace(request, brief=None, design=drawing.picture, config=config), notices

    def _finished(
        self,
        prepared: PreparedDesign | None,
        placement: GarmentPlacement | None,
        seeds: Sequence[int],
        patches: Sequence[Image.Image],
        progress: Progress,
    ) -> Iterator[RenderedImage]:
        bare = None if prepared is None else lift_flat(prepared.design, prepared.mask)
        for index, (seed, patch) in enumerate(zip(seeds, patches, strict=True)):
            cutout = cut_out(patch, None if prepared is None else prepared.mask)
            garment = None
            if placement is not None:
                progress.update("place", index, len(patches))
                garment = place_patch(cutout, placement.garment, placement.placement, placement.width_mm)
            yield RenderedImage(
                index,
                seed,
                patch,
                cutout,
                garment,
                design=None if prepared is None else prepared.design,
                design_cutout=bare,
                warnings=() if prepared is None else prepared.warnings,
            )
        if placement is not None:
            progress.update("place", len(patches), len(patches))


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
