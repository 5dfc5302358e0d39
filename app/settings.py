"""The settings, read from the environment: `AUTODIFF_PORT=9000` sets `port`. Not here: what they do."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All settings with their defaults. `python -m app` has flags for the first three."""

    model_config = SettingsConfigDict(env_prefix="AUTODIFF_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 for all.")
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 for a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="The number of processes.")
    root_path: str = Field(
        default="",
        pattern=r"^(/[^?#]*[^/?#])?$",
        description="The path under which a proxy shows the service, such as /autodiff.",
    )
    api_keys: SecretStr = Field(
        default=SecretStr(""), description="Keys, separated by commas, one of which each request must have; none: open to all."
    )
    metrics_open: bool = Field(default=True, description="Whether /metrics is open where there are keys.")
    cors_origins: str = Field(
        default="", description="Origins, separated by commas, whose pages may call the service; * for all."
    )
    max_body_bytes: int = Field(default=64 << 20, ge=1, description="The bytes of a body, also of a compressed one unpacked.")
    max_nodes: int = Field(default=1_000_000, ge=1, description="The nodes of a graph.")
    max_text: int = Field(default=1 << 20, ge=1, description="The bytes of an expression's text.")
    max_points: int = Field(default=1_000_000, ge=1, description="The points of one request.")
    max_work: int = Field(
        default=10**15, ge=1, description="Nodes times points times passes, or parameters times rows times steps."
    )
    max_numbers: int = Field(default=16_000_000, ge=1, description="The numbers of an answer.")
    compute_timeout_s: float = Field(
        default=30.0, gt=0.0, le=86_400.0, description="The seconds that one computation may take."
    )
    max_concurrency: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 1),
        ge=1,
        description="The large computations that run at a time in a process; default: the number of processors.",
    )
    max_queue: int = Field(default=64, ge=0, description="The large computations that wait at a time in a process.")
    shutdown_s: float = Field(
        default=25.0, ge=0.0, le=86_400.0, description="The seconds that running requests get to end on SIGTERM."
    )
    telemetry: bool = Field(default=False, description="Whether to trace by OpenTelemetry, configured by its own variables.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="How much is logged.")
    cache_dir: Path | None = Field(
        default=None, description="Where the machine code of the kernels is kept; by default the user's cache folder."
    )

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The API keys."""
        return tuple(key.strip().encode() for key in self.api_keys.get_secret_value().split(",") if key.strip())

    @property
    def origins(self) -> list[str]:
        """The origins that may call."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]
