"""What the share endpoints take and give, to shops and to their customers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from backend.models import Share
from backend.renders.schemas import Input, OutputOut, RenderOut
from backend.styles.schemas import JobStatus, PairSides, SampleOut, StyleOut, StyleStatus
from backend.web.schemas import Failure, Id, Name, Note, Request, Seed, Showable

Permission = Literal["preview", "brief", "upload", "approve"]
"""preview: look. brief: describe designs. upload: send designs. approve: say yes to one."""


class ShareIn(Request):
    """Make a link for a customer."""

    style: Id | None = None
    render: Id | None = None
    expires_in: Annotated[int, Field(ge=60, le=366 * 86_400)] = Field(
        default=14 * 86_400, description="Seconds until the link stops working."
    )
    may: list[Permission] = Field(default=["preview"], min_length=1, max_length=4)

    @model_validator(mode="after")
    def _one_target(self) -> "ShareIn":
        if (self.style is None) == (self.render is None):
            raise ValueError("shares either a `style` or a `render`")
        return self


class Approval(BaseModel):
    """What a customer said yes to."""

    render: str | None
    index: int | None
    name: str | None
    note: str | None


class ShareOut(BaseModel):
    """A link for a customer."""

    id: str
    url: str | None = Field(description="The link, with its token. Shown once, when it is made; null ever after.")
    style: str | None
    render: str | None
    may: list[Permission]
    expires_at: datetime
    revoked_at: datetime | None
    approved_at: datetime | None
    approval: Approval | None
    created_at: datetime

    @classmethod
    def of(cls, share: Share, url: str | None = None) -> "ShareOut":
        """Show a row; `url` only when the link is made."""
        return cls.model_validate(
            {
                "id": share.id,
                "url": url,
                "style": share.style_id,
                "render": share.render_id,
                "may": share.may,
                "expires_at": share.expires_at,
                "revoked_at": share.revoked_at,
                "approved_at": share.approved_at,
                "approval": share.approval,
                "created_at": share.created_at,
            }
        )


class SharedShop(BaseModel):
    """Whose link it is."""

    name: str


class SharedStyle(BaseModel):
    """What a customer sees of a style: no adapter, no figures, no metadata."""

    id: str
    name: str
    status: StyleStatus
    pair: PairSides
    samples: list[SampleOut]

    @classmethod
    def of(cls, style: StyleOut) -> "SharedStyle":
        """The public part of a style."""
        return cls(id=style.id, name=style.name, status=style.status, pair=style.pair, samples=style.samples)


class SharedRender(BaseModel):
    """What a customer sees of a render."""

    id: str
    style: str
    status: JobStatus
    job: str | None
    input: dict[str, Any]
    design_url: str | None
    outputs: list[OutputOut]
    warnings: list[Note]
    error: Failure | None
    created_at: datetime

    @classmethod
    def of(cls, render: RenderOut) -> "SharedRender":
        """The public part of a render: of the input, only what the customer gave or may know."""
        return cls(
            id=render.id,
            style=render.style,
            status=render.status,
            job=render.job,
            input={"input": render.input.get("input", {}), "variations": render.variations},
            design_url=render.design_url,
            outputs=render.outputs,
            warnings=render.warnings,
            error=render.error,
            created_at=render.created_at,
        )


class SharedOut(BaseModel):
    """What a link shows."""

    kind: Literal["style", "render"]
    shop: SharedShop
    style: SharedStyle | None
    render: SharedRender | None
    may: list[Permission]
    expires_at: datetime
    approved_at: datetime | None
    approval: Approval | None


class SharedRenderIn(Request):
    """A customer's own design, in the shared style and, for a shared render, on the same garment."""

    input: Input
    variations: Annotated[int, Field(ge=1, le=4)] = 1
    seed: Seed | None = None


class ApproveIn(Request):
    """Say yes."""

    render: Id | None = Field(default=None, description="Which render, when several were made through the link.")
    index: Annotated[int, Field(ge=0, le=7)] | None = Field(default=None, description="Which of its variations.")
    name: Name | None = Field(default=None, description="Who says so.")
    note: Annotated[str, StringConstraints(max_length=2000), Showable] | None = None
