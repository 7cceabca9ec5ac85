"""gateway.yaml as people write it: pydantic models, no secrets, no file access."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

import gateway.mqtt_config
from device_profiles.address import Strict
from device_profiles.schema import IdText
from device_profiles.secrets import Secret

_DAYS = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*d(ays?)?")


def _days(value: Any) -> Any:
    """`400`, `"400d"` in days; `forever` is None. Anything else goes on as it is, for pydantic to refuse."""
    if value == "forever":
        return None
    if isinstance(value, str):
        match = _DAYS.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value[:40]!r} is no number of days; write 400, 400d or forever")
        return float(match[1])
    return value


Days = Annotated[
    Annotated[float, Field(gt=0, le=36500)] | None,
    BeforeValidator(_days),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number"}, {"type": "string", "examples": ["400d", "forever"]}],
            "title": "Days, or forever",
        }
    ),
]


class MqttEntry(gateway.mqtt_config.MqttEntry):
    """The broker. `mqtts://` with `ca`, and `cert` and `key` where it asks for a client certificate."""

    client_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Stable and unique a worker; default `ingest-` and the worker's name."""


class SqliteEntry(Strict):
    """The embedded store: one file, exactly one worker."""

    kind: Literal["sqlite"] = "sqlite"
    path: str | None = Field(default=None, min_length=1, max_length=4096)
    """Default `store.db` in `data_dir`."""


class InfluxEntry(Strict):
    """InfluxDB. v1 takes database, retention_policy, username, password; v2 org, bucket, token; v3 database, token."""

    kind: Literal["influx"]
    version: Literal["v1", "v2", "v3"]
    url: str = Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$", max_length=300)
    database: str | None = Field(default=None, min_length=1, max_length=200)
    retention_policy: str | None = Field(default=None, min_length=1, max_length=200)
    username: str | None = Field(default=None, min_length=1, max_length=200)
    password: Secret | None = None
    org: str | None = Field(default=None, min_length=1, max_length=200)
    bucket: str | None = Field(default=None, min_length=1, max_length=200)
    token: Secret | None = None
    gzip: bool = False
    """Worth it between machines; level 1."""
    timeout: float = Field(default=10, ge=1, le=120)
    """Seconds a request may take."""

    @model_validator(mode="after")
    def _complete(self) -> InfluxEntry:
        needs = {"v1": ("database",), "v2": ("org", "bucket", "token"), "v3": ("database", "token")}[self.version]
        takes = {"v1": ("retention_policy", "username", "password"), "v2": (), "v3": ()}[self.version]
        names = ("database", "retention_policy", "username", "password", "org", "bucket", "token")
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.version} lacks {', '.join(missing)}; add {missing[0]}")
        foreign = [name for name in names if name not in (*needs, *takes) and getattr(self, name) is not None]
        if foreign:
            raise ValueError(f"{self.version} knows no {', '.join(foreign)}; remove {foreign[0]}")
        return self


class AgentEntry(Strict):
    """A registered agent: its messages are stored and acknowledged."""

    site: IdText
    agent: IdText


class TokenEntry(Strict):
    """Who may ask the HTTP API."""

    name: str = Field(min_length=1, max_length=100)
    token: Secret


class ApiEntry(Strict):
    """Where the HTTP API and the page are. Beyond loopback it wants tokens."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    port: int = Field(default=8080, ge=0, le=65535)
    tokens: tuple[TokenEntry, ...] = ()


class RetentionEntry(Strict):
    """How many days the embedded store keeps: readings (`raw`, or by device class), quarter hours, events. Days stay for ever."""

    raw: Days = 400
    quarter: Days = 1830
    events: Days = None
    classes: dict[str, Days] = Field(default_factory=dict)


class GatewayFile(Strict):
    """gateway.yaml."""

    mqtt: MqttEntry
    store: Annotated[SqliteEntry | InfluxEntry, Field(discriminator="kind")] = SqliteEntry()
    agents: Literal["any"] | tuple[AgentEntry, ...] = ()
    """`any` welcomes every agent: for demos. Agents may also be registered later by the API."""
    api: ApiEntry = ApiEntry()
    data_dir: str = Field(default="/var/lib/plantroom-gateway", min_length=1, max_length=4096)
    worker: IdText = "1"
    retention: RetentionEntry = RetentionEntry()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
