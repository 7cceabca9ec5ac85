"""What agent.yaml may say: the pydantic models behind it, which also give the JSON Schema for editors.

Shape only. What needs the rest of the file, the profiles or the machine is checked by `links`, `devices`,
`virtual` and `gateway.mqtt_config`.
"""

from __future__ import annotations

from datetime import date
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

import gateway.mqtt_config
from device_profiles.address import Strict
from device_profiles.bacnet import MAX_INSTANCE
from device_profiles.control import Interlock
from device_profiles.schema import IdText, PointId
from device_profiles.secrets import Secret
from device_profiles.values import (
    Align,
    Bytes,
    Heartbeat,
    Host,
    PathText,
    Pause,
    Poll,
    Port,
    Snapshot,
    Text,
    Timeout,
)


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no date; write it as 2027-01-31") from error


Day = Annotated[str, AfterValidator(_day)]


class Calendar(Strict):
    """Days that differ from the week: holidays, and days off that are worked."""

    holidays: tuple[Day, ...] = ()
    workdays: tuple[Day, ...] = ()


class SpoolEntry(Strict):
    """Bounds of the spool on this box's disk."""

    max_bytes: Annotated[Bytes, Field(ge=1024**2)] = 2 * 1024**3
    floor_free_bytes: Bytes = 256 * 1024**2
    commit_ms: int = Field(default=1000, ge=10, le=60_000)
    ballast: Annotated[Bytes, Field(le=1024**3)] = 16 * 1024**2


class AgentEntry(Strict):
    """This agent and the site it stands on."""

    id: IdText
    site: IdText
    tz: Text
    """IANA time zone of the site: what "a day" means here."""
    name: Text | None = None
    """The site in words for people."""
    building: Text | None = None
    calendar: Calendar = Calendar()
    data_dir: PathText = "/var/lib/plantroom"
    socket: PathText = "/run/plantroom/agent.sock"
    profiles: tuple[PathText, ...] = ()
    """Folders with profiles of this site; they come before the shipped ones."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_port: Port | None = None
    snapshot_s: Snapshot = 300
    """How often the retained last values of each device are refreshed."""
    spool: SpoolEntry = SpoolEntry()


class MqttEntry(gateway.mqtt_config.MqttEntry):
    """The broker, and who we are there."""

    delivery: Literal["ingest", "broker"] = "ingest"
    """`broker` forgets a message at the broker's PUBACK, which is no proof that it is stored."""


class BacnetEntry(Strict):
    """A BACnet/IP network beyond our own address there. See `drivers.link.BacnetLink`."""

    bbmd: Text | None = None
    ttl: int | None = Field(default=None, ge=30, le=65535)
    peers: tuple[Text, ...] | None = Field(default=None, max_length=1024)
    instance: int | None = Field(default=None, ge=0, le=MAX_INSTANCE)
    name: Text | None = None
    parallel: int | None = Field(default=None, ge=1, le=256)
    apdu_timeout: Timeout | None = None
    segment_timeout: Timeout | None = None
    cov: bool | None = None


class OpcUaEntry(Strict):
    """An OPC UA endpoint beyond host and port: security, identity, subscription. See `drivers.link.OpcUaLink`."""

    path: Annotated[str, Field(pattern=r"^/[^\x00-\x20\x7f]*$", max_length=1024)] | None = None
    policy: Literal["none", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] | None = None
    mode: Literal["sign", "sign_and_encrypt"] | None = None
    identity: Literal["anonymous", "user", "certificate"] | None = None
    user: Text | None = None
    password_file: PathText | None = None
    certificate: PathText | None = None
    key: PathText | None = None
    pki: PathText | None = None
    application_uri: Text | None = None
    publish_ms: int | None = Field(default=None, ge=50, le=60_000)
    subscribe: bool | None = None

    @model_validator(mode="after")
    def _identity_is_whole(self) -> OpcUaEntry:
        if self.identity == "user" and not (self.user and self.password_file):
            raise ValueError("identity user needs user and password_file")
        if self.identity in (None, "anonymous") and (self.user or self.password_file):
            raise ValueError("user and password_file are for identity: user; add it")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; give both, or neither and they are made")
        return self


class HttpEntry(Strict):
    """A host that is asked over HTTP. See `drivers.link.HttpLink`."""

    tls: bool | None = None
    ca_file: PathText | None = None
    verify: bool | None = None
    user: Text | None = None
    password_file: PathText | None = None
    path: Annotated[str, Field(pattern=r"^/[^\x00-\x20\x7f]*[^\x00-\x20\x7f/]$", max_length=1024)] | None = None
    parallel: int | None = Field(default=None, ge=1, le=16)

    @model_validator(mode="after")
    def _login_is_whole(self) -> HttpEntry:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together; give both, or neither")
        return self


class ListenEntry(Strict):
    """Where devices dial in. See `drivers.link.ListenLink`."""

    allow: tuple[Text, ...] | None = Field(default=None, max_length=1024)
    certificate: PathText | None = None
    key: PathText | None = None
    silent: float | None = Field(default=None, ge=5, le=86_400)
    broadcast: Text | None = None

    @field_validator("allow")
    @classmethod
    def _networks(cls, allow: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for text in allow or ():
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(f"{text[:40]!r} is no address and no network; write 192.168.1.0/24") from error
        return allow

    @model_validator(mode="after")
    def _pair(self) -> ListenEntry:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; give both, or neither")
        return self


class LinkEntry(Strict):
    """One wire or socket. `url` is the short form; the other keys go before what it says."""

    url: str | None = Field(default=None, max_length=1024, examples=["serial:/dev/ttyUSB0?baud=9600&parity=E"])
    kind: (
        Literal["tcp", "rtu+tcp", "serial", "bacnet", "opcua", "http", "http-listen", "tcp-listen", "udp", "fake"]
        | None
    ) = None
    host: Host | Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$")] | None = None
    """Of the peer; on a `bacnet` link our own address there, as 192.168.1.10/24."""
    port: Port | None = None
    path: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f\x7f]+|COM[0-9]{1,3})$", max_length=4096)] | None = None
    baud: int | None = Field(default=None, ge=110, le=4_000_000)
    parity: Literal["N", "E", "O"] | None = None
    stop_bits: Literal[1, 2] | None = None
    data_bits: Literal[7, 8] | None = None
    timeout: Timeout | None = None
    connect_timeout: Timeout | None = None
    turnaround: Pause | None = None
    echo: bool | None = None
    mixed: bool | None = None
    """Devices of several protocols, baud rates or character formats on one line."""
    notices: Port | None = None
    """PJLink on a `tcp` link: our UDP port where displays of class 2 tell changes by themselves."""
    allow_overload: bool = False
    """Start even though the line cannot carry what is asked of it; the readings will be late."""
    bacnet: BacnetEntry | None = None
    """Only where kind is bacnet."""
    opcua: OpcUaEntry | None = None
    """Only where kind is opcua."""
    http: HttpEntry | None = None
    """Only where kind is http."""
    listen: ListenEntry | None = None
    """Only where devices dial in: kind is http-listen, tcp-listen or udp."""


class WriteEntry(Strict):
    """How one point of one device is written here: it narrows what the profile allows, and never widens it."""

    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    per_hour: int | None = Field(default=None, ge=1, le=100_000)
    min_interval: float | None = Field(default=None, ge=0, le=86400)
    priority: int | None = Field(default=None, ge=8, le=16)
    hold_max: float | None = Field(default=None, gt=0, le=31_536_000)
    interlocks: tuple[Interlock, ...] = ()
    """Beside those of the profile."""


class PointEntry(Strict):
    """How one point of one device is read here; goes before the profile."""

    poll: Poll | None = None
    deadband: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    heartbeat: Heartbeat | None = None
    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)
    align: Align | None = None
    write: WriteEntry | Literal[False] | None = None
    """`false`: not written here, whatever the profile allows."""

    @model_validator(mode="after")
    def _limits_agree(self) -> PointEntry:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}; exchange them")
        return self


class CommandKey(Strict):
    """Who may sign commands: a public Ed25519 key in PEM, and the operations that it is good for."""

    public_key_file: PathText
    operations: tuple[Annotated[str, Field(pattern=r"^[a-z*][a-z_*]*(\.[a-z_*]+)?$", max_length=64)], ...] = ("*",)
    """Names or patterns: `point.*`, `gate.open`."""


class CommandsEntry(Strict):
    """Whose commands the agent takes. Without it: those that the broker's access list lets through."""

    signatures: Literal["off", "required"] = "off"
    keys: dict[IdText, CommandKey] = Field(default_factory=dict)
    timeout: float = Field(default=30, ge=2, le=300)
    """Seconds from the arrival of a command after which it is not begun any more."""

    @model_validator(mode="after")
    def _has_keys(self) -> CommandsEntry:
        if self.signatures == "required" and not self.keys:
            raise ValueError("signatures: required, and there is no key; add keys: {k1: {public_key_file: PATH}}")
        return self


class LimitsEntry(Strict):
    """What this very device can bear in one request; goes before the profile."""

    max_registers: int | None = Field(default=None, ge=1, le=125)
    max_bits: int | None = Field(default=None, ge=1, le=2000)
    max_gap: int | None = Field(default=None, ge=0, le=125)
    forbidden: tuple[tuple[Literal["holding", "input", "coil", "discrete"], int, int], ...] = ()


class _Described(Strict):
    """What every device may say about its place in the building."""

    name: Text | None = None
    space: Text | None = None
    parent: IdText | None = None
    asset: Text | None = None
    serial: Text | None = None
    codes: dict[IdText, Text] = Field(default_factory=dict)
    ext: dict[str, Any] = Field(default_factory=dict)
    disabled: Text | None = None
    """Why nobody polls it now."""

    @model_validator(mode="before")
    @classmethod
    def _disabled_with_reason(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("disabled"), bool):
            raise ValueError('disabled needs a reason; write disabled: "why", or leave it out')
        return data


class InstanceEntry(_Described):
    """One instance (branch) of a device with several."""

    id: IdText | None = None


class LineEntry(Strict):
    """How one device speaks on a mixed line, where that differs from the link."""

    baud: int | None = Field(default=None, ge=110, le=4_000_000)
    parity: Literal["N", "E", "O"] | None = None
    stop_bits: Literal[1, 2] | None = None
    data_bits: Literal[7, 8] | None = None


class DeviceEntry(_Described):
    """One device on a link. `instances` describes its branches by number."""

    id: IdText
    link: IdText
    unit: int | Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z._:-]+$")] | None = None
    """Modbus unit, BACnet device instance; an OPC UA endpoint needs none."""
    prefix: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    """What `{prefix}` in the profile's BACnet names and OPC UA nodes and paths stands for: one controller, many devices."""
    profile: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    params: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    options: dict[str, Text] = Field(default_factory=dict)
    poll: Poll | None = None
    heartbeat: Heartbeat | None = None
    points: dict[PointId, PointEntry | Literal[False]] = Field(default_factory=dict)
    """Overrides by point; `false` leaves a point out."""
    limits: LimitsEntry = LimitsEntry()
    at: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,253}(:[0-9]{1,5})?$")] | None = None
    """`host` or `host:port` of the device itself, on links that have many or where devices dial in."""
    line: LineEntry | None = None
    """On a link with `mixed: true`: this device's own baud rate and character format."""
    secret: Secret | None = None
    """The device's own secret: the key of an OSDP reader, the token of a device that dials in."""
    dir: Literal["in", "out"] | None = None
    """Which way one goes who is let through here, for readers and gates that do not say."""
    instances: dict[Annotated[int, Field(ge=1, le=256)], InstanceEntry] = Field(default_factory=dict)


class VirtualPoint(PointEntry):
    """The sum of `plus` less the sum of `minus`, each `device/point`."""

    plus: tuple[str, ...] = Field(default=(), max_length=512)
    minus: tuple[str, ...] = Field(default=(), max_length=512)

    @model_validator(mode="after")
    def _has_terms(self) -> VirtualPoint:
        if not self.plus and not self.minus:
            raise ValueError("a virtual point adds nothing up; name its parts: plus: [device/point, ...]")
        return self


class VirtualEntry(_Described):
    """A device that is computed from others, like the rest of an incomer that no branch meter sees."""

    id: IdText
    protocol: Literal["virtual"]
    class_: str = Field(alias="class")
    poll: Poll | None = None
    heartbeat: Heartbeat | None = None
    points: dict[PointId, VirtualPoint] = Field(min_length=1)


class PseudonymKeyEntry(Strict):
    """A key of the pseudonyms of cards and plates: 32 characters or more, the same for all agents that see the same cards."""

    id: IdText
    """Stands in front of each pseudonym; never used again for another key."""
    secret: Secret
    since: Day | None = None
    """The day (UTC) from which on it is used; the one before stays for what is told late."""


class PrivacyEntry(Strict):
    """What leaves the site of cards and plates."""

    cards: Literal["pseudonym", "clear"] = "pseudonym"
    plates: Literal["pseudonym", "clear"] = "pseudonym"
    keys: tuple[PseudonymKeyEntry, ...] = Field(default=(), max_length=32)
    """None: the agent makes one of its own."""


class AgentFile(Strict):
    """agent.yaml: the configuration of one agent."""

    agent: AgentEntry
    mqtt: MqttEntry
    commands: CommandsEntry = CommandsEntry()
    privacy: PrivacyEntry = PrivacyEntry()
    links: dict[IdText, str | LinkEntry] = Field(default_factory=dict)
    devices: tuple[DeviceEntry | VirtualEntry, ...]
