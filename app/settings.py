"""Every knob of a process, read once from `TURNBACK_…` variables; only main reads it.

Rule: frozen, described, units in names, no default for a secret. docs/settings.md has a heading
for each, and a variable that is no setting is refused: a typo must not run with a default.
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.domain.catalog.models import Timeouts
from app.errors import CannotServe

PREFIX = "TURNBACK_"

# Variables other parts of the project own; they are no settings of a serving process.
_FOREIGN = frozenset({"TURNBACK_ADMIN_URL", "TURNBACK_COMPILED", "TURNBACK_OUTPUT"})

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class LogFormat(StrEnum):
    """How log events are written to stderr."""

    AUTO = "auto"  # pretty on a terminal, JSON elsewhere
    JSON = "json"
    PRETTY = "pretty"


class SettingsRefused(CannotServe):
    """A setting is missing, unknown or not acceptable."""


def _inference_host(before: dict[str, object]) -> str:  # ADR 0142
    """A gateway is for clients from elsewhere; one with an embedded server is for whoever tries it on this machine."""
    return "127.0.0.1" if before.get("database_url") is None else "0.0.0.0"  # noqa: S104 -- see above


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    database_url: Annotated[
        SecretStr | None,
        Field(description="PostgreSQL 15 to 18; without it an embedded server is started (role all only)."),
    ] = None

    inference_host: Annotated[
        str,
        Field(
            default_factory=_inference_host,
            description="Address the inference listener binds to; loopback in embedded mode, all addresses otherwise.",
        ),
    ]
    inference_port: Annotated[Port, Field(description="Port of the inference listener; 0 takes a free one.")] = 8320
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        NoDecode,
        Field(
            description="Comma-separated networks of proxies in front; only they are believed about where a"
            " request came from."
        ),
    ] = ()
    max_connections: Annotated[
        int | None,
        Field(ge=1, description="Client connections a process serves at once; as many as its files allow without."),
    ] = None
    max_connections_per_address: Annotated[
        int, Field(ge=0, description="Client connections served to one address at once; 0 for no such cap.")
    ] = 0
    admin_host: Annotated[str, Field(description="Address the admin listener binds to.")] = "127.0.0.1"
    admin_port: Annotated[Port, Field(description="Port of the admin listener; 0 takes a free one.")] = 8321
    admin_hosts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Comma-separated names and addresses, without ports, by which the admin and ops listeners may"
            " be called, beside localhost and the address itself."
        ),
    ] = ()
    ops_host: Annotated[str, Field(description="Address the ops listener binds to.")] = "127.0.0.1"
    ops_port: Annotated[Port, Field(description="Port of the ops listener; 0 takes a free one.")] = 8322
    insecure_admin: Annotated[
        bool,
        Field(description="Let the admin listener bind to an address other than loopback, though it asks for no key."),
    ] = False

    state_dir: Annotated[
        Path, Field(description="Folder for the embedded server's data and everything else kept across restarts.")
    ] = Path(".turnback")

    secret_key: Annotated[
        SecretStr | None,
        Field(
            min_length=32,
            description="What signs receipts and encrypts ids, the same in all processes; several, separated by commas:"
            " the first signs, all are believed. Made and kept in the state folder in embedded mode, else required.",
        ),
    ] = None
    feedback_keys: Annotated[
        SecretStr | None,
        Field(
            description="Comma-separated name:secret pairs, each a source of labels with its bearer token of 16"
            " characters or more; without any, labels come from anybody and from one source, `anonymous`."
        ),
    ] = None

    upstream_allow: Annotated[
        tuple[str, ...] | None,
        NoDecode,
        Field(
            description="Comma-separated hosts, host:port pairs or networks upstreams may have; loopback in"
            " embedded mode, required otherwise."
        ),
    ] = None
    upstream_ca_file: Annotated[
        Path | None,
        Field(description="PEM file of the authorities that may sign an https upstream's certificate."),
    ] = None
    upstream_cert_file: Annotated[
        Path | None, Field(description="PEM file with the certificate the gateway shows to https upstreams.")
    ] = None
    upstream_key_file: Annotated[
        Path | None, Field(description="PEM file with that certificate's private key, not encrypted.")
    ] = None
    connect_timeout_s: Annotated[
        Seconds, Field(description="Seconds to wait for an upstream's connection, unless the version says otherwise.")
    ] = 2.0
    first_byte_timeout_s: Annotated[
        Seconds, Field(description="Seconds to wait for an answer's first byte, unless the version says otherwise.")
    ] = 30.0
    idle_timeout_s: Annotated[
        Seconds, Field(description="Seconds a started answer may stand still, unless the version says otherwise.")
    ] = 30.0
    total_timeout_s: Annotated[
        Seconds, Field(description="Seconds one exchange may take in all, unless the version says otherwise.")
    ] = 300.0
    server_timing: Annotated[
        bool,
        Field(description="Tell in a server-timing field how long the upstream took to its head."),
    ] = False
    override_key: Annotated[
        SecretStr | None,
        Field(
            min_length=16, description="What an operator shows to choose a version by header; without it nobody may."
        ),
    ] = None
    probe_timeout_s: Annotated[Seconds, Field(description="Seconds one health probe may take.")] = 1.0

    tick_interval_s: Annotated[Seconds, Field(description="Seconds between two looks at the active rollouts.")] = 1.0
    poll_interval_s: Annotated[
        Seconds, Field(description="Seconds between two looks at the routing revision; a notification comes earlier.")
    ] = 0.5
    flush_interval_s: Annotated[Seconds, Field(description="Seconds between two writes of the tallies.")] = 1.0
    canary_max_stale_s: Annotated[
        Seconds, Field(description="Seconds without Postgres after which a canary gets no more traffic.")
    ] = 120.0
    tally_keep_days: Annotated[
        int,
        Field(ge=8, le=3_650, description="Days the tallies are kept; older days are dropped whole."),
    ] = 30
    observed_window_s: Annotated[
        int, Field(ge=1, le=3_600, description="Seconds the observed shares of a route are counted over.")
    ] = 60
    admin_body_max_bytes: Annotated[
        int, Field(ge=1_024, le=16_777_216, description="Largest body the admin listener reads, in bytes.")
    ] = 65_536
    drain_s: Annotated[Seconds, Field(description="Seconds running exchanges may take to finish after SIGTERM.")] = 30.0
    rollback_drain_s: Annotated[
        Seconds | None,
        Field(description="Seconds exchanges may run on after their version lost its traffic; unset: to their end."),
    ] = None
    log_format: Annotated[LogFormat, Field(description="auto, json or pretty: how log events are written.")] = (
        LogFormat.AUTO
    )

    @field_validator("admin_hosts", "upstream_allow", "trusted_proxies", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgresql://"):
            raise ValueError("it must begin with postgresql://")
        return value

    @property
    def timeouts(self) -> Timeouts:
        """Of versions that do not say their own."""
        return Timeouts(self.connect_timeout_s, self.first_byte_timeout_s, self.idle_timeout_s, self.total_timeout_s)

    @property
    def embedded(self) -> bool:
        """Whether this process starts its own Postgres."""
        return self.database_url is None


def load(**overrides: object) -> Settings:
    """Settings from the environment; an override from the command line wins unless it is None.

    Raises:
        SettingsRefused: with one sentence that names the variable.
    """
    _refuse_unknown(os.environ)
    try:
        # An init argument has the type its field declares only after pydantic has looked at it.
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as refused:
        first = refused.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]).upper() if first["loc"] else ""
        raise SettingsRefused(
            f"{PREFIX}{name} is not acceptable: {first['msg'].removeprefix('Value error, ')}."
        ) from None


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _FOREIGN
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsRefused(f"{unknown[0]} is no setting of Turnback; docs/settings.md lists all of them.")
