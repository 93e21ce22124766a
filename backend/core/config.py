"""Settings: the only place that reads the environment.

Every setting is an environment variable with the prefix ``HOOP_``; ``PORT`` and ``DATA_DIR`` work without it. Where
``database_url``, ``broker_url`` or ``s3_endpoint`` is empty, the embedded part is used: SQLite, Valkey, SeaweedFS.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: frontend/, migrations/ and the bundled weights lie under it."""

MOST_PHOTOS: Final = 5
"""Of one style, the first one included."""


class Settings(BaseSettings):
    """All settings, with defaults that work on a laptop without any configuration."""

    model_config = SettingsConfigDict(env_prefix="HOOP_", populate_by_name=True, extra="ignore", frozen=True)

    run_mode: Literal["embedded", "production"] = "embedded"
    data_dir: Path = Field(default=Path("data"), validation_alias=AliasChoices("HOOP_DATA_DIR", "DATA_DIR"))
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535, validation_alias=AliasChoices("HOOP_PORT", "PORT"))
    public_url: str = ""
    """Where browsers reach us, without a trailing slash; http://localhost:PORT when empty."""

    database_url: str = ""
    broker_url: str = ""
    s3_endpoint: str = ""
    s3_public_endpoint: str = ""
    """Where browsers reach the object store for presigned uploads, if that differs from `s3_endpoint`."""
    s3_region: str = "us-east-1"
    s3_bucket: str = "media"
    s3_access_key: str = ""
    s3_secret_key: str = ""

    secret_key: str = ""
    """Signs media addresses. Created once in DATA_DIR/secret when empty; set it when several hosts serve one shop."""
    session_days: int = Field(default=30, ge=1)
    share_max_days: int = Field(default=90, ge=1)
    login_token_minutes: int = Field(default=24 * 60, ge=1)

    base: str = "hoop-mini"
    base_dir: Path = ROOT / "worker" / "weights" / "hoop-mini"
    """Folder of the bundled base model, in diffusers' layout."""
    design_base: str = ""
    """What draws flat designs for the pair builder "diffusion", such as "sd3"; the style's own base when empty."""
    bases_dir: str = ""
    """Where other base models are kept; DATA_DIR/bases when empty."""
    offline: bool = False
    """Never ask a model hub."""
    hub: str = ""
    """Address of the model hub or of a mirror; Hugging Face's when empty."""
    style_preset: Literal["default", "short"] = "default"
    """How long styles train; "short" is for tests."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of a worker; 0 leaves it to torch."""
    cuda_visible_devices: str = Field(default="all", validation_alias="CUDA_VISIBLE_DEVICES")
    """CUDA's own setting: the GPUs that may be used, with commas; empty for none."""
    training_gpus: int = Field(default=0, ge=0)
    """Of several GPUs, how many learn styles too; 0 for half of them. The others render only."""
    gpu_workers: int = Field(default=1, ge=1)
    """How many workers share one GPU and its memory; `hoop up` says it to those that it starts on the same one."""
    renders_together: int = Field(default=0, ge=0, le=16)
    """Pictures of waiting drafts, whoever's they are, that a worker draws in one batch, 1 to 16; 0 for one on a CPU,
    where a batch gains little and the first customer waits for the last, and for four on a GPU."""
    queues: str = "train,render,io"
    """Which jobs a worker does, with commas; `hoop worker --queues` says it for one."""

    lease_seconds: float = Field(default=60, gt=0)
    heartbeat_seconds: float = Field(default=10, gt=0)

    upload_max_bytes: int = Field(default=25_000_000, gt=0)
    image_max_pixels: int = Field(default=40_000_000, gt=0)

    log_json: bool = False
    log_level: str = "INFO"

    @field_validator("data_dir", "base_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Subprocesses and the services may run in other folders.
        return value.expanduser().absolute()

    @field_validator("bases_dir")
    @classmethod
    def _absolute_if_given(cls, value: str) -> str:
        return str(Path(value).expanduser().absolute()) if value else ""

    @field_validator("public_url", "s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def address(self) -> str:
        """Where people open Hoop, without a trailing slash."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies may only travel over https."""
        return self.address.startswith("https://")

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database, the embedded one included."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir / 'hoop.db'}"
        # One driver, psycopg 3, whatever name a hosting company puts into the URL.
        for scheme in ("postgres://", "postgresql://"):
            if self.database_url.startswith(scheme):
                return "postgresql+psycopg://" + self.database_url.removeprefix(scheme)
        return self.database_url

    @property
    def trains(self) -> bool:
        """Whether a worker of these settings learns styles: its GPU's memory has to do for that too."""
        return "train" in self._queues

    @property
    def renders(self) -> bool:
        """Whether a worker of these settings draws previews: several at once take memory too."""
        return "render" in self._queues

    @property
    def _queues(self) -> list[str]:
        return [queue.strip() for queue in self.queues.split(",")]

    @property
    def bases(self) -> Path:
        """Where base models that do not come with Hoop are kept."""
        return Path(self.bases_dir) if self.bases_dir else self.data_dir / "bases"

    @property
    def run_file(self) -> Path:
        """What the running embedded services wrote down about themselves (mode 600)."""
        return self.data_dir / "run.json"

    def to_env(self) -> dict[str, str]:
        """Return these settings as environment variables, for a subprocess."""
        env = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            env[f"HOOP_{name.upper()}"] = ("1" if value else "0") if isinstance(value, bool) else str(value)
        return env


def with_running_services(settings: Settings) -> Settings:
    """Fill empty addresses from what a running `hoop up` wrote down, so that commands in a second terminal reach it."""
    if settings.run_mode != "embedded":
        return settings
    try:
        noted: Any = json.loads(settings.run_file.read_text())
        found = noted.get("settings", {})
    except (OSError, ValueError, AttributeError):
        return settings
    fields = ("broker_url", "s3_endpoint", "s3_access_key", "s3_secret_key")
    missing = {name: found[name] for name in fields if not getattr(settings, name) and name in found}
    return settings.model_copy(update=missing)


@lru_cache
def get_settings() -> Settings:
    """Read the settings once."""
    return with_running_services(Settings())
