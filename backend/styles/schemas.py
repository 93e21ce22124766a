"""What the style and pair endpoints take and give."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from backend.core.config import MOST_PHOTOS
from backend.models import Image, Job, Pair, Style
from backend.web.links import Links
from backend.web.schemas import Failure, Id, Metadata, Name, Note, Request, Seed

Builder = Literal["artwork", "flatten", "diffusion"]
Preset = Literal["flat", "raised"]
StyleStatus = Literal["training", "ready", "failed", "canceled"]
JobStatus = Literal["queued", "starting", "processing", "succeeded", "failed", "canceled", "expired"]


Caption = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
BaseName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class StyleIn(Request):
    """Learn a style from one photo."""

    name: Name
    reference_image: Id = Field(description="A picture with the purpose `reference`: a photo of the embroidery.")
    artwork_image: Id | None = Field(
        default=None, description="A picture with the purpose `artwork`: the design the embroidery was made from."
    )
    more_images: list[Id] = Field(
        default_factory=list,
        max_length=MOST_PHOTOS - 1,
        description="Further photos of the same style, pictures with the purpose `reference`.",
    )
    caption: Caption = Field(default="", description="What the embroidery shows, in a few words.")
    pair_builder: Builder | None = Field(
        default=None,
        description="How the flat design is found; `artwork` when one is given, else `flatten`. `diffusion` lets a "
        "model draw it, and needs a base model that draws from words.",
    )
    preset: Preset = Field(
        default="flat", description="`raised` for beads, sequins and towelling: borders may change, colours too."
    )
    base: BaseName | None = None
    seed: Seed = 42
    metadata: Metadata = Field(default_factory=dict)


class StylePatch(Request):
    """Change a style's name or metadata; what is left out stays."""

    name: Name | None = None
    metadata: Metadata | None = None


class PairIn(Request):
    """Look at a pair before a style is learnt from it."""

    reference_image: Id
    artwork_image: Id | None = None
    builder: Builder | None = Field(default=None, description="`artwork` when one is given, else `flatten`.")
    caption: Caption = Field(default="", description="What the embroidery shows, in a few words.")
    base: BaseName | None = Field(default=None, description="That the style will be learnt on; its size is the pair's.")
    seed: Seed = 42


class PairSides(BaseModel):
    """The pair a style is learnt from: the embroidery, and the flat design that would have made it."""

    embroidery_url: str | None
    design_url: str | None
    builder: Builder


class AdapterOut(BaseModel):
    """What was learnt: LoRA weights of the style blocks."""

    sha256: str
    bytes: int
    rank: int
    url: str = Field(description="Redirects to a safetensors file that diffusers loads.")


class SampleOut(BaseModel):
    """A picture made with the finished style."""

    url: str
    prompt: str | None = None
    design_url: str | None = None
    width: int
    height: int


class StyleOut(BaseModel):
    """A style."""

    id: str
    name: str
    status: StyleStatus
    job: str | None = Field(description="The job that learns it: GET /v1/jobs/{job}.")
    reference_image: str
    reference_url: str
    artwork_image: str | None
    artwork_url: str | None
    more_images: list[str] = Field(description="Further photos that it is learnt from.")
    pair: PairSides
    preset: Preset
    base: str
    seed: int
    caption: str | None
    blocks: list[Any] = Field(description="The attention blocks that carry the style.")
    adapter: AdapterOut | None
    report: dict[str, Any] = Field(description="Quality figures, and `warnings`.")
    samples: list[SampleOut]
    error: Failure | None
    metadata: dict[str, Any]
    demo: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, style: Style, links: Links, images: Mapping[str, Image], job: Job | None) -> "StyleOut":
        """Show a row with its pictures, by id, and its job."""
        artwork = images.get(style.artwork_image_id or "")
        adapter = None
        if style.adapter_key is not None:
            adapter = {
                "sha256": style.adapter_sha256 or "",
                "bytes": style.adapter_bytes or 0,
                "rank": style.adapter_rank or 0,
                "url": links.to(f"/v1/styles/{style.id}/adapter"),
            }
        return cls.model_validate(
            {
                "id": style.id,
                "name": style.name,
                "status": style.status,
                "job": style.job_id,
                "reference_image": style.reference_image_id,
                "reference_url": links.media(images[style.reference_image_id].key),
                "artwork_image": style.artwork_image_id,
                "artwork_url": links.media(artwork.key) if artwork else None,
                "more_images": style.more_image_ids,
                "pair": {
                    "embroidery_url": links.media_or_none(style.embroidery_key),
                    "design_url": links.media_or_none(style.design_key),
                    "builder": style.pair_builder,
                },
                "preset": style.preset,
                "base": style.base,
                "seed": style.seed,
                "caption": style.caption,
                "blocks": style.blocks,
                "adapter": adapter,
                "report": style.report,
                "samples": [_sample(sample, links) for sample in style.samples],
                "error": failure_of(job),
                "metadata": style.meta,
                "demo": style.demo,
                "created_at": style.created_at,
                "updated_at": style.updated_at,
            }
        )


class PairOut(BaseModel):
    """A pair to look at."""

    id: str
    status: JobStatus
    job: str | None
    reference_image: str
    artwork_image: str | None
    builder: Builder
    embroidery_url: str | None
    design_url: str | None
    report: dict[str, Any]
    warnings: list[Note]
    error: Failure | None
    created_at: datetime

    @classmethod
    def of(cls, pair: Pair, links: Links, job: Job | None) -> "PairOut":
        """Show a row with its job."""
        return cls.model_validate(
            {
                "id": pair.id,
                "status": pair.status,
                "job": pair.job_id,
                "reference_image": pair.reference_image_id,
                "artwork_image": pair.artwork_image_id,
                "builder": pair.builder,
                "embroidery_url": links.media_or_none(pair.embroidery_key),
                "design_url": links.media_or_none(pair.design_key),
                "report": pair.report,
                "warnings": pair.report.get("warnings", []),
                "error": failure_of(job),
                "created_at": pair.created_at,
            }
        )


def failure_of(job: Job | None) -> dict[str, str] | None:
    """Why a job did not succeed, None while there is nothing to say."""
    if job is None or not job.error:
        return None
    return {name: str(job.error.get(name, "")) for name in ("type", "title", "detail")}


def _sample(sample: dict[str, Any], links: Links) -> dict[str, Any]:
    # `design` is a key in the store when the sample was made from a picture of ours, else a mere name.
    design = sample.get("design")
    design_key = sample.get("design_key") or (design if isinstance(design, str) and "/" in design else None)
    return {
        "url": links.media(sample["key"]),
        "prompt": sample.get("prompt"),
        "design_url": links.media_or_none(design_key),
        "width": sample.get("width", 0),
        "height": sample.get("height", 0),
    }
