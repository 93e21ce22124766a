"""All tables. Import them from here, so that the metadata is complete wherever one of them is used."""

from backend.models.api_key import ApiKey
from backend.models.idempotency_key import IdempotencyKey
from backend.models.image import Image
from backend.models.job import Job
from backend.models.job_event import JobEvent
from backend.models.login_token import LoginToken
from backend.models.pair import Pair
from backend.models.render import Render
from backend.models.render_output import RenderOutput
from backend.models.session import LoginSession
from backend.models.share import Share
from backend.models.shop import Shop
from backend.models.style import Style
from backend.models.upload import Upload
from backend.models.usage_day import UsageDay
from backend.models.user import User
from backend.models.webhook import WebhookDelivery, WebhookEndpoint

__all__ = [
    "ApiKey",
    "IdempotencyKey",
    "Image",
    "Job",
    "JobEvent",
    "LoginSession",
    "LoginToken",
    "Pair",
    "Render",
    "RenderOutput",
    "Share",
    "Shop",
    "Style",
    "Upload",
    "UsageDay",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
]
