"""The API's description, OpenAPI 3.1. `python -m backend.openapi` writes docs/openapi.json; a test compares."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from backend.core.config import ROOT, Settings
from backend.web.problems import MEDIA_TYPE, Problem

PATH: Final = ROOT / "docs" / "openapi.json"

SUMMARY: Final = "Learn an embroidery style from one photo and preview any design in it."
DESCRIPTION: Final = """\
Send `Authorization: Bearer hoop_live_…`. What takes time answers 202 with a job: follow it at `/v1/jobs/{id}`, as a \
stream at `/v1/jobs/{id}/events`, by webhook, or let the answer wait with `Prefer: wait=30`. Send an `Idempotency-Key` \
with every POST that makes something, and repeat it without fear. Lists are paged by `cursor`. Everything that goes \
wrong answers a problem document (RFC 9457): `type` is stable, `detail` is a sentence for people. `RateLimit` headers \
tell how many requests are left.
"""
TAGS: Final[list[dict[str, Any]]] = [
    {"name": "images", "description": "Photos, designs and garments."},
    {"name": "styles", "description": "What was learnt from one photo."},
    {"name": "renders", "description": "Designs shown in a style."},
    {"name": "jobs", "description": "Work that takes time."},
    {"name": "shares", "description": "Links for customers."},
    {"name": "shared", "description": "What a customer does with a link."},
    {"name": "webhooks", "description": "Tell other programs (Standard Webhooks)."},
    {"name": "usage", "description": "What was used, and how much may be."},
    {"name": "bases", "description": "Base models and their defaults."},
    {"name": "shop", "description": "Who is calling."},
    {"name": "media", "description": "Files by signed address."},
    {"name": "health", "description": "For those who run Hoop."},
]
PROBLEM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add what FastAPI cannot know: the problem document, which endpoints never name."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def dump() -> str:
    """Return the description as it is written to docs/openapi.json."""
    from backend.app import create_app  # noqa: PLC0415 - the application imports this module for its texts

    # No part of it depends on where it runs.
    app = create_app(Settings(s3_endpoint="http://127.0.0.1:1"))
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    PATH.parent.mkdir(parents=True, exist_ok=True)
    Path(PATH).write_text(dump(), encoding="utf-8")
    sys.stdout.write(f"wrote {PATH}\n")


if __name__ == "__main__":
    main()
