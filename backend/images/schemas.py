"""What the image endpoints take and give."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from backend.models import Image
from backend.web.links import Links
from backend.web.schemas import Note

Purpose = Literal["reference", "artwork", "design", "garment"]
"""reference: photo of an embroidery. artwork: the design it was made from. design: to be shown in a style.
garment: photo of what it is shown on."""


class ImageOut(BaseModel):
    """A picture as we keep it: upright, 8-bit sRGB, without metadata."""

    id: str
    purpose: Purpose
    width: int
    height: int
    sha256: str = Field(description="Of the picture as we keep it.")
    bytes: int
    content_type: str
    url: str = Field(description="Signed; works for a day at least. Ask for the image again for a new one.")
    warnings: list[Note]
    created_at: datetime

    @classmethod
    def of(cls, image: Image, links: Links) -> "ImageOut":
        """Show a row."""
        return cls.model_validate(
            {
                "id": image.id,
                "purpose": image.purpose,
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "bytes": image.bytes,
                "content_type": image.content_type,
                "url": links.media(image.key),
                "warnings": image.warnings,
                "created_at": image.created_at,
            }
        )
