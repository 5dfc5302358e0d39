"""The settings, read from the environment: `AUTODIFF_PORT=9000` sets `port`."""

import os
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.machine import memory_budget, open_files

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of the machine itself."""


def _is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Settings(BaseSettings):
    """All settings with their defaults. `python -m app` has flags for the first three."""

    model_config = SettingsConfigDict(env_prefix="AUTODIFF_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 for all addresses.")
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 for any free port.")
    workers: int = Field(default=1, ge=1, le=256, description="The number of worker processes.")
    root_path: str = Field(
        default="",
        pattern=r"^(/[^?#]*[^/?#])?$",
        description="The path under which a proxy serves the app, such as /autodiff.",
    )
    api_keys: SecretStr = Field(
        default=SecretStr(""), description="API keys, separated by commas; empty for a service that is open to all."
    )
    metrics_open: bool = Field(default=True, description="Whether /metrics needs no key.")
    cors_origins: str = Field(
        default="", description="Origins whose pages may call the service, separated by commas; * for all."
    )
    allowed_hosts: str = Field(
        default="",
        description="Names by which /mcp may be called, separated by commas; * for any. Default: localhost, 127.0.0.1 and ::1 "
        "if AUTODIFF_HOST is one of them, else any.",
    )
    max_body_bytes: int = Field(default=64 << 20, ge=1, description="Maximum body size in bytes, after decompression.")
    max_nodes: int = Field(
        default=1_000_000, ge=1, description="Maximum number of nodes in a graph; of arguments, four times as many."
    )
    max_text: int = Field(default=1 << 20, ge=1, description="Maximum length of an expression's text in bytes.")
    max_points: int = Field(default=1_000_000, ge=1, description="Maximum number of points in a request.")
    max_work: int = Field(
        default=10**12, ge=1, description="Maximum work: nodes times points times passes, or parameters times rows times steps."
    )
    max_numbers: int = Field(default=16_000_000, ge=1, description="Maximum number of numbers in a response or a model.")
    max_variables: int = Field(
        default=1000, ge=1, description="Maximum number of variables, or of correlated inputs, whose matrix is factorised."
    )
    max_drawn_nodes: int = Field(
        default=500, ge=1, description="Maximum number of nodes in a picture of a graph, numbers among the arguments included."
    )
    max_drawn_points: int = Field(
        default=5_000, ge=1, description="Maximum number of points or steps in a picture of data, of a fit or of a history."
    )
    compute_timeout_s: float = Field(
        default=30.0, gt=0.0, le=86_400.0, description="Maximum run time of a computation in seconds."
    )
    max_concurrency: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 1),
        ge=1,
        description="Number of large computations that run at once in a process; default: the number of processors.",
    )
    max_queue: int = Field(default=64, ge=0, description="Number of large computations that may wait in a process.")
    max_concurrency_per_client: int = Field(
        default=0,
        ge=0,
        description="Number of large computations that one key, or one address without keys, may have in flight; 0: no limit.",
    )
    memory_bytes: int = Field(
        default_factory=lambda values: memory_budget(values["workers"]),
        ge=1,
        description="Memory in bytes that the requests of a process may take; default: half of what the machine or the "
        "container has, divided by the number of workers, at most 4 GiB.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks of proxies whose X-Forwarded-For names the client, separated by commas; * for all.",
    )
    max_connections: int = Field(
        default_factory=lambda: max(open_files() - 100, 64),
        ge=1,
        description="Maximum number of connections of a process; default: 100 less than it may open files.",
    )
    max_connections_per_client: int = Field(
        default=0, ge=0, description="Maximum number of connections of one address that is no trusted proxy; 0: no limit."
    )
    max_head_bytes: int = Field(default=65_536, ge=100, description="Maximum size of a request's head in bytes.")
    head_timeout_s: float = Field(
        default=10.0, gt=0.0, le=86_400.0, description="Seconds that a client may take to send a request's head."
    )
    body_timeout_s: float = Field(
        default=30.0,
        gt=0.0,
        le=86_400.0,
        description="Seconds that a client may take to send a request's body, and one more for every 10,000 bytes.",
    )
    send_timeout_s: float = Field(
        default=60.0,
        gt=0.0,
        le=86_400.0,
        description="Seconds that a client may take to read what waits of a response, and one more for every 10,000 bytes.",
    )
    shutdown_s: float = Field(
        default=25.0, ge=0.0, le=86_400.0, description="Seconds that requests under way get to finish after SIGTERM."
    )
    telemetry: bool = Field(
        default=False, description="Whether to send OpenTelemetry traces, configured by OpenTelemetry's own variables."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level that is logged."
    )
    cache_dir: Path | None = Field(
        default=None, description="Folder for the kernels' machine code; default: a folder in the user's cache."
    )

    @field_validator("api_keys")
    @classmethod
    def _holds_a_key(cls, value: SecretStr) -> SecretStr:
        """A value without any key would leave the service open by mistake."""
        if value.get_secret_value() and not value.get_secret_value().replace(",", "").strip():
            raise ValueError("there is no key between the commas; leave it empty for a service that is open to all")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _holds_addresses(cls, value: str) -> str:
        """A proxy that is misspelt would not be trusted, and all of its clients would count as one."""
        for proxy in value.split(",") if value.strip() not in ("", "*") else ():
            try:
                ip_network(proxy.strip())
            except ValueError:
                raise ValueError(
                    f"{proxy.strip()!r} is neither an address such as 10.0.0.1 nor a network such as 10.0.0.0/8"
                ) from None
        return value.strip()

    @field_validator("allowed_hosts")
    @classmethod
    def _holds_names(cls, value: str) -> str:
        """A name with a scheme, a path or a port would never match."""
        for name in value.split(",") if value.strip() not in ("", "*") else ():
            if not name.strip() or "*" in name or "/" in name or (":" in name and not _is_address(name.strip())):
                raise ValueError(f"{name.strip()!r} is no host name such as autodiff.example; leave out scheme and port")
        return value.strip()

    @property
    def hosts(self) -> frozenset[str] | None:
        """The names by which /mcp may be called, in lower case; None for any."""
        if self.allowed_hosts == "*" or not (self.allowed_hosts or self.host in LOOPBACK):
            return None
        named = {name.strip().lower() for name in self.allowed_hosts.split(",") if self.allowed_hosts}
        return frozenset(named or LOOPBACK)

    @cached_property
    def proxies(self) -> list[IPv4Network | IPv6Network]:
        """The proxies that are trusted; none where all are."""
        named = self.trusted_proxies if self.trusted_proxies != "*" else ""
        return [ip_network(proxy.strip()) for proxy in named.split(",") if named]

    def is_proxy(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        try:
            return self.trusted_proxies == "*" or any(ip_address(address) in network for network in self.proxies)
        except ValueError:  # of a socket in the file system
            return False

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The API keys."""
        return tuple(key.strip().encode() for key in self.api_keys.get_secret_value().split(",") if key.strip())

    @property
    def origins(self) -> list[str]:
        """The origins that may call."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]
