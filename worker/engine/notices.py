"""What is worth telling the owner of a picture."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Notice"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about a picture that its owner should know, as a stable code and a sentence."""

    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """``{"code", "message"}``, as reports hold it."""
        return {"code": self.code, "message": self.message}
