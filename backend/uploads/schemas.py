"""What the upload endpoints take and give."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from backend.images.schemas import Purpose
from backend.web.schemas import Request

ContentType = Literal["image/jpeg", "image/png", "image/webp", "image/heic", "image/heif", "application/octet-stream"]


class UploadIn(Request):
    """A file that will be sent straight to the object store."""

    purpose: Purpose
    content_type: ContentType = Field(
        default="application/octet-stream",
        description="The form's Content-Type must be the same. What the file really is, its bytes say.",
    )


class UploadOut(BaseModel):
    """Where to send the file: a multipart form to `url` with all `fields`, then the file as `file`."""

    id: str
    purpose: Purpose
    url: str
    fields: dict[str, str]
    max_bytes: int
    expires_at: datetime
