"""What the usage endpoint gives."""

from datetime import date

from pydantic import BaseModel, Field


class UsageDayOut(BaseModel):
    """One day (UTC)."""

    day: date
    gpu_seconds: float = Field(description="Time on the device that computes, a CPU included.")
    renders: int
    trainings: int


class UsageNow(BaseModel):
    """What counts against the quotas at this moment."""

    open_jobs: int
    gpu_seconds: float = Field(description="Today, UTC.")
    storage_bytes: int


class UsageOut(BaseModel):
    """What a shop used, and how much it may use."""

    days: list[UsageDayOut] = Field(description="Days on which something was used, oldest first.")
    used: UsageNow
    quotas: UsageNow
