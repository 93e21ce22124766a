"""What the render endpoints take and give."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from backend.models import Image, Job, Render, RenderOutput
from backend.styles.schemas import JobStatus, Preset, failure_of
from backend.web.links import Links
from backend.web.schemas import Failure, Id, Metadata, Note, Request, Seed, Showable

Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Point = tuple[Coordinate, Coordinate]
Quality = Literal["draft", "final"]


class ImageInput(Request):
    """A design as a picture."""

    type: Literal["image"]
    image: Id = Field(description="A picture with the purpose `design` or `artwork`.")


class TextInput(Request):
    """A design in words."""

    type: Literal["text"]
    # The limit of 500 is checked later, with a sentence of its own; this one only bounds the work.
    brief: Annotated[str, StringConstraints(max_length=20_000), Showable] = Field(
        description="What to show, in 1 to 500 characters.", examples=["a red fox"]
    )


Input = Annotated[ImageInput | TextInput, Field(discriminator="type")]


class Placement(Request):
    """Where on the garment's picture, in its pixels: four corners, or a centre with width and rotation."""

    quad: Annotated[list[Point], Field(min_length=4, max_length=4)] | None = Field(
        default=None,
        description="The embroidery's top left, top right, bottom right and bottom left corner.",
        examples=[[[100, 100], [300, 110], [290, 310], [95, 300]]],
    )
    center: Point | None = None
    width_px: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    rotation_deg: Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)] | None = Field(
        default=None, description="Clockwise; 0 when left out."
    )

    @model_validator(mode="after")
    def _one_way(self) -> "Placement":
        others = (self.center, self.width_px, self.rotation_deg)
        if self.quad is not None:
            if any(value is not None for value in others):
                raise ValueError("takes either `quad`, or `center` with `width_px`, not both")
        elif self.center is None or self.width_px is None:
            raise ValueError("needs `quad`, or `center` with `width_px`")
        return self


class GarmentIn(Request):
    """What the embroidery is shown on."""

    image: Id = Field(description="A picture with the purpose `garment`.")
    placement: Placement
    width_mm: Annotated[float, Field(gt=0, le=2000, allow_inf_nan=False)] | None = Field(
        default=None, description="How wide the embroidery really is; threads are drawn to that scale."
    )


class ControlIn(Request):
    """How closely the design is followed."""

    edge: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    tile: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None


class RenderOptions(Request):
    """What a render may set; the preset's value for the style's base holds for what is left out."""

    input: Input
    garment: GarmentIn | None = None
    variations: Annotated[int, Field(ge=1, le=8)] = 1
    seed: Seed | None = Field(default=None, description="Drawn when left out; the render tells it.")
    steps: Annotated[int, Field(ge=1, le=100)] | None = None
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    guidance: Annotated[float, Field(ge=1, le=20, allow_inf_nan=False)] | None = None
    preset: Preset | None = Field(default=None, description="The style's when left out.")
    control: ControlIn | None = None
    colour_fix: bool | None = Field(default=None, description="Take the colours from the design.")
    quality: Quality = Field(
        default="draft",
        description="`draft` is quick. `final` shows the draft as the job's preview, and then draws the picture again "
        "with more pixels, for looking closely.",
    )
    size: Annotated[int, Field(ge=128, le=2048, multiple_of=64)] | None = Field(
        default=None,
        description="Pixels of the longer side, twice the base's resolution at most. When left out: the base's "
        "resolution for a draft, twice that for a final.",
    )
    metadata: Metadata = Field(default_factory=dict)


class RenderIn(RenderOptions):
    """Show a design in a style."""

    style: Id


class OutputOut(BaseModel):
    """One variation."""

    index: int
    seed: int
    patch_url: str = Field(description="The embroidery on transparency.")
    garment_url: str | None = Field(description="The same on the garment.")
    design_url: str | None = Field(description="The design at the same size, without a cloth too, to compare.")
    width: int
    height: int
    sha256: str


class RenderOut(BaseModel):
    """A render."""

    id: str
    style: str
    status: JobStatus
    job: str | None
    input: dict[str, Any] = Field(description="The request with every default filled in.")
    design_url: str | None = Field(description="The design that was given, when it was a picture.")
    variations: int
    seed: int
    preset: Preset
    outputs: list[OutputOut]
    warnings: list[Note]
    error: Failure | None
    metadata: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(
        cls,
        render: Render,
        links: Links,
        outputs: Sequence[RenderOutput],
        images: Mapping[str, Image],
        job: Job | None,
    ) -> "RenderOut":
        """Show a row with its outputs, the pictures it names, by id, and its job."""
        design = images.get(str(render.input.get("input", {}).get("image")))
        return cls.model_validate(
            {
                "id": render.id,
                "style": render.style_id,
                "status": render.status,
                "job": render.job_id,
                "input": render.input,
                "design_url": links.media(design.key) if design else None,
                "variations": render.variations,
                "seed": render.seed,
                "preset": render.preset,
                "outputs": [
                    {
                        "index": output.index,
                        "seed": output.seed,
                        "patch_url": links.media(output.patch_key),
                        "garment_url": links.media_or_none(output.garment_key),
                        "design_url": links.media_or_none(output.design_key),
                        "width": output.width,
                        "height": output.height,
                        "sha256": output.sha256,
                    }
                    for output in outputs
                ],
                "warnings": render.warnings,
                "error": failure_of(job),
                "metadata": render.meta,
                "created_at": render.created_at,
            }
        )
