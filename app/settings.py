"""The settings, read from the environment: `AUTODIFF_PORT=9000` sets `port`. Not here: what they do."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All settings with their defaults. `python -m app` has flags for the first three."""

    model_config = SettingsConfigDict(env_prefix="AUTODIFF_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 for all.")
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 for a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="The number of processes.")
    root_path: str = Field(default="", description="The path under which a proxy shows the service, such as /autodiff.")
    compute_timeout_s: float = Field(default=30.0, gt=0.0, description="The seconds that one computation may take.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="How much is logged.")
    cache_dir: Path | None = Field(
        default=None, description="Where the machine code of the kernels is kept; by default the user's cache folder."
    )
