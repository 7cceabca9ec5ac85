"""A link as the configuration or the command line describes it. Opens nothing."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from device_profiles.errors import ConfigError, LinkRefused

LINK_KINDS = ("tcp", "rtu+tcp", "serial", "bacnet", "opcua", "http", "http-listen", "tcp-listen", "udp", "fake")
_LINES = ("serial", "rtu+tcp")
CARRIERS: dict[str, tuple[str, ...]] = {
    "modbus": ("tcp", "rtu+tcp", "serial", "fake"),
    "bacnet": ("bacnet",),
    "opcua": ("opcua",),
    "dlt645-2007": _LINES,
    "dlt645-1997": _LINES,
    "cjt188": _LINES,
    "mbus": _LINES,
    "osdp": _LINES,
    "strings": (*_LINES, "tcp", "tcp-listen", "udp"),
    "uhppote": ("udp",),
    "isapi": ("http", "http-listen"),
    "zkteco-push": ("http-listen",),
    "rest": ("http",),
    "onvif": ("http",),
    "pjlink": ("tcp",),
}
"""The kinds of link that carry a protocol."""

SHAPES = {
    "tcp": "tcp://192.168.1.20:502",
    "rtu+tcp": "rtu+tcp://192.168.1.21:4001",
    "serial": "serial:/dev/ttyUSB0?baud=9600&parity=N",
    "bacnet": "bacnet://192.168.1.10/24",
    "opcua": "opc.tcp://192.168.1.30:4840",
    "http": "http://192.168.1.64",
    "http-listen": "http-listen://0.0.0.0:8090?allow=192.168.1.64",
    "tcp-listen": "tcp-listen://0.0.0.0:8091?allow=192.168.1.64",
    "udp": "udp://0.0.0.0:60001?broadcast=192.168.1.255",
}
"""How a link of each kind is written in short, as an example."""

MIXABLE = ("modbus", "dlt645-2007", "dlt645-1997", "cjt188", "mbus")
"""Protocols that may share a `mixed` line: nobody speaks there unasked, and none needs a cycle of its own."""
UNSHARED = {
    "osdp": "its control panel polls every reader on the line at least five times a second, and its readers need it so",
    "strings": "its devices may speak unasked, into the answers of others",
}
"""Why a serial protocol shares no line."""

BACNET_PORT = 47808
OPCUA_PORT = 4840


@dataclass(frozen=True, slots=True)
class BacnetLink:
    """What a BACnet/IP link needs beyond its own address (`LinkConfig.host`, with `/24` for the local broadcast, and `port`)."""

    bbmd: str | None = None
    """`host:port` of a BBMD where we register as a foreign device; None = we speak by local broadcast."""
    ttl_s: int = 300
    peers: tuple[str, ...] = ()
    """`host:port` of devices or routers that broadcasts do not reach: each is asked directly."""
    instance: int = 4_194_000
    """Our own device instance, unique on the whole internetwork."""
    name: str = "plantroom"
    parallel: int = 16
    """Devices that are asked at the same time; never two requests at once to one device, or into one MS/TP network."""
    apdu_timeout_s: float = 3.0
    segment_timeout_s: float = 2.0
    cov: bool = True
    """False: only polled."""


@dataclass(frozen=True, slots=True)
class OpcUaLink:
    """What an OPC UA link needs beyond `LinkConfig.host`, `port`."""

    path: str = ""
    """What follows the port in the endpoint's URL, with its slash."""
    policy: str = "none"
    """`none`, `Basic256Sha256`, `Aes128Sha256RsaOaep` or `Aes256Sha256RsaPss`."""
    mode: str = "sign_and_encrypt"
    """`sign` or `sign_and_encrypt`; nothing where the policy is `none`."""
    identity: str = "anonymous"
    """`anonymous`, `user` or `certificate`."""
    user: str = ""
    password_file: str = ""
    """The password is read from here when connecting; it never stands in the configuration."""
    certificate: str = ""
    key: str = ""
    """Our application certificate (DER or PEM) and its key; made by `plantroom` in `pki` when absent."""
    pki: str = ""
    """Folder with `own/`, `trusted/`, `rejected/`. "" = below the agent's data folder."""
    application_uri: str = "urn:plantroom:agent"
    publish_ms: int = 500
    """The publishing interval we ask for."""
    subscribe: bool = True
    """False: only polled."""


@dataclass(frozen=True, slots=True)
class HttpLink:
    """What an `http` link (we ask a host) needs beyond `LinkConfig.host`, `port`."""

    tls: bool = False
    ca_file: str = ""
    """The authority, or the device's own certificate; "" = what the system trusts."""
    verify: bool = True
    """False takes any certificate: encrypted, and nobody knows with whom. Warned of."""
    user: str = ""
    password_file: str = ""
    """Read when connecting. Digest authentication; basic only within TLS."""
    path: str = ""
    """What goes before every path of a device's interface."""
    parallel: int = 2
    """Requests to the host at the same time."""
    pictures: str = ""
    """Folder for snapshots. "" = below the agent's data folder; without an agent there are none."""


@dataclass(frozen=True, slots=True)
class ListenLink:
    """What a link where devices dial in (`http-listen`, `tcp-listen`, `udp`) needs beyond our own `LinkConfig.host`, `port`."""

    allow: tuple[str, ...] = ()
    """Addresses and networks (CIDR) that may speak to us; others are refused and counted. Empty: those of the devices (`at`)."""
    certificate: str = ""
    key: str = ""
    """Our certificate and its key (PEM) for TLS on `http-listen` and `tcp-listen`; "" = none."""
    silent_s: float = 120.0
    """A device that was not heard for so long is down."""
    broadcast: str = ""
    """`udp`: `host:port` where devices are asked all at once; "" = each at its own address only."""


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How one device on a mixed line speaks; None = as its link says."""

    baud: int | None = None
    parity: str | None = None
    stop_bits: int | None = None
    data_bits: int | None = None


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One wire or socket with one owner.

    `kind`: `tcp` (Modbus TCP), `rtu+tcp` (a serial server that passes bytes), `serial` (a port of this machine), `bacnet` (our
    UDP port on a BACnet/IP network), `opcua` (one endpoint). Times are in seconds. `turnaround_s` is the silence a line keeps
    after a reply beyond the protocol's own gap.
    """

    id: str
    kind: str
    host: str = ""
    port: int = 502
    path: str = ""
    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1
    data_bits: int = 8
    timeout_s: float = 1.0
    connect_timeout_s: float = 5.0
    turnaround_s: float = 0.0
    echo: bool = False
    mixed: bool = False
    """A line with devices of several protocols or settings."""
    bacnet: BacnetLink | None = None
    """Set on a `bacnet` link, and only there."""
    opcua: OpcUaLink | None = None
    """Set on an `opcua` link, and only there."""
    notices: int = 0
    """PJLink: our UDP port where displays of class 2 tell changes; 0 = they are only asked."""
    http: HttpLink | None = None
    """Set on an `http` link, and only there."""
    listen: ListenLink | None = None
    """Set on `http-listen`, `tcp-listen` and `udp` links, and only there."""

    @property
    def is_line(self) -> bool:
        """True where one owner speaks at a time and bytes cost time (serial ports and serial servers)."""
        return self.kind in ("serial", "rtu+tcp")

    @property
    def line_settings(self) -> tuple[int, str, int, int]:
        """Baud rate, parity, stop bits and data bits."""
        return self.baud, self.parity, self.stop_bits, self.data_bits

    def tuned(self, own: LineSettings | None) -> LinkConfig:
        """The link as a device with settings of its own uses it."""
        if own is None:
            return self
        return replace(
            self,
            baud=own.baud or self.baud,
            parity=own.parity or self.parity,
            stop_bits=own.stop_bits or self.stop_bits,
            data_bits=own.data_bits or self.data_bits,
        )

    @property
    def place(self) -> str:
        """The wire in words for people: `127.0.0.1:502`, `/dev/ttyUSB0 9600 8N1`, `opc.tcp://10.0.0.9:4840/plant`."""
        if self.kind == "serial":
            return f"{self.path} {self.baud} {self.data_bits}{self.parity}{self.stop_bits}"
        if self.opcua is not None:
            return f"opc.tcp://{self.host}:{self.port}{self.opcua.path}"
        if self.http is not None:
            return f"http{'s' * self.http.tls}://{self.host}:{self.port}{self.http.path}"
        if self.listen is not None:
            return f"{self.kind}://{self.host}:{self.port}"
        return f"{self.host}:{self.port}"

    @property
    def where(self) -> str:
        """Id and place for an error; the place alone where a link of the command line has no id of its own."""
        return self.place if self.id == self.place else f"{self.id} ({self.place})"

    @property
    def bits_per_char(self) -> int:
        """Start bit, data bits, parity bit and stop bits of one character."""
        return 1 + self.data_bits + (0 if self.parity == "N" else 1) + self.stop_bits


def refused_to_listen(link: LinkConfig, error: OSError) -> LinkRefused:
    """What a person is told when a port to listen at is not to be had."""
    steps = {
        errno.EADDRINUSE: f"see who has it (ss -lnp | grep :{link.port}) and end that, or choose another port",
        errno.EACCES: "choose a port of 1024 or above: those below need a privilege",
        errno.EADDRNOTAVAIL: "give an address of this machine (ip -br address), or 0.0.0.0 for all of them",
    }
    return LinkRefused(
        f"cannot listen at {link.host}:{link.port} ({error.strerror or error})",
        where=link.where,
        next_step=steps.get(error.errno or 0, "give an address of this machine"),
    )


_SERIAL_KEYS = {"baud": int, "stop_bits": int, "data_bits": int}
_PORT_KEYS = ("notices",)
_TIME_KEYS = ("timeout_s", "connect_timeout_s", "turnaround_s")


def parse_link(text: str, *, link_id: str = "link") -> LinkConfig:
    """A link from its short form: `tcp://host:502`, `rtu+tcp://host:4001?baud=9600`, `serial:/dev/ttyUSB0?baud=9600&parity=N`,
    `serial:COM3?baud=9600`, `bacnet://192.168.1.10/24:47808?bbmd=10.0.0.4:47808`, `opc.tcp://host:4840/path`.
    Raises ConfigError naming the part that is wrong.
    """
    where = f"--link {text!r}"
    kind, separator, _ = text.partition(":")
    shapes = f"write {SHAPES[kind]}" if kind in SHAPES else f"write it as {', '.join(SHAPES.values())}"
    if kind in _OWN_FORMS:
        return _OWN_FORMS[kind](text, link_id, where)
    if not separator or kind not in LINK_KINDS:
        meant = _meant(text)
        raise ConfigError(
            "this does not say what kind of link it is" if meant else f"unknown kind of link {kind!r}",
            where=where,
            next_step=f"write {meant}" if meant else shapes,
        )
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigError(f"this is no address ({error})", where=where, next_step=shapes) from error
    link = LinkConfig(id=link_id, kind=kind)
    if kind == "serial":
        path = parts.netloc + parts.path
        if not path:
            raise ConfigError("a serial link names no port", where=where, next_step=shapes)
        link = replace(link, path=path)
    elif kind in ("tcp", "rtu+tcp"):
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigError(
                f"port out of range ({error})", where=where, next_step="use a port of 1 to 65535"
            ) from error
        if not parts.hostname or (kind == "rtu+tcp" and port is None) or port == 0:
            raise ConfigError("a host, or a port of 1 to 65535, is missing", where=where, next_step=shapes)
        link = replace(link, host=parts.hostname, port=port or 502)
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        link = _with_option(link, key, value, where)
    return link


def _meant(text: str) -> str | None:
    """What somebody means who gives a port or an address alone; None where that cannot be told."""
    if re.match(r"/dev/|/tmp/|com[0-9]+($|\?)", text, re.IGNORECASE):
        return f"serial:{text}"
    if re.fullmatch(r"[0-9.]+|\[?[0-9a-f:]+\]", text, re.IGNORECASE):
        return f"tcp://{text}:502 (Modbus) or http://{text}"
    if re.fullmatch(r"[0-9A-Za-z.-]+:[0-9]+", text):
        return f"tcp://{text}, or rtu+tcp://{text} for a serial server"
    return None


def _with_option(link: LinkConfig, key: str, value: str, where: str) -> LinkConfig:
    try:
        if key in _SERIAL_KEYS:
            return replace(link, **{key: int(value)})  # type: ignore[arg-type]
        if key in _TIME_KEYS:
            return replace(link, **{key: float(value)})  # type: ignore[arg-type]
        if key in _PORT_KEYS and 0 < int(value) < 65536:
            return replace(link, **{key: int(value)})  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"{key}={value!r} is no number", where=where, next_step=f"give {key} as a number") from error
    if key == "parity" and value.upper() in ("N", "E", "O"):
        return replace(link, parity=value.upper())
    if key == "echo" and value in ("true", "false", "0", "1"):
        return replace(link, echo=value in ("true", "1"))
    known = ", ".join((*_SERIAL_KEYS, "parity (N, E, O)", "echo (true, false)", *_TIME_KEYS, *_PORT_KEYS))
    raise ConfigError(f"unknown option {key}={value!r}", where=where, next_step=f"known are {known}")


_BACNET_FORM = re.compile(
    r"bacnet://(?P<host>[0-9.]+(?:/[0-9]{1,2})?|\*)(?::(?P<port>[0-9]{1,5}))?(?:\?(?P<query>.*))?"
)


def _bacnet_link(text: str, link_id: str, where: str) -> LinkConfig:
    match = _BACNET_FORM.fullmatch(text)
    if match is None or not 0 < int(match["port"] or BACNET_PORT) <= 65535:
        step = (
            "write bacnet://192.168.1.10/24 or bacnet://192.168.1.10/24:47809?bbmd=10.0.0.4:47808&peers=10.0.0.7:47808"
        )
        raise ConfigError("this is no address of ours on a BACnet/IP network", where=where, next_step=step)
    host = "0.0.0.0" if match["host"] == "*" else match["host"]  # every interface, when told so
    own = BacnetLink()
    link = LinkConfig(id=link_id, kind="bacnet", host=host, port=int(match["port"] or BACNET_PORT), timeout_s=3.0)
    for key, value in parse_qsl(match["query"] or "", keep_blank_values=True):
        if key == "peers":
            own = replace(own, peers=tuple(peer.strip() for peer in value.split(",") if peer.strip()))
        elif key == "bbmd" and value:
            own = replace(own, bbmd=value)
        elif key in ("ttl", "instance") and value.isdecimal():
            own = replace(own, **{"ttl_s" if key == "ttl" else key: int(value)})  # type: ignore[arg-type]
        elif key in _TIME_KEYS:
            link = _with_option(link, key, value, where)
            own = replace(own, apdu_timeout_s=link.timeout_s)
        else:
            step = "known are bbmd, ttl, peers, instance, timeout_s"
            raise ConfigError(f"unknown option {key}={value!r}", where=where, next_step=step)
    return replace(link, bacnet=own)


def _opcua_link(text: str, link_id: str, where: str) -> LinkConfig:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(
            f"this is no endpoint ({error})", where=where, next_step="write opc.tcp://host:4840"
        ) from error
    if not parts.hostname or port == 0:
        raise ConfigError(
            "a host, or a port of 1 to 65535, is missing", where=where, next_step="write opc.tcp://host:4840"
        )
    if parts.username or parts.password:
        step = "give the user and a password_file in the configuration, or --user and --password-file"
        raise ConfigError("a password has no place in an address", where="--link", next_step=step)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    own = OpcUaLink(path=path)
    return LinkConfig(id=link_id, kind="opcua", host=parts.hostname, port=port or OPCUA_PORT, timeout_s=5.0, opcua=own)


_LISTEN_PORTS = {"http-listen": 8090, "tcp-listen": 8091, "udp": 60001}


def _http_link(text: str, link_id: str, where: str) -> LinkConfig:
    shape = "write http://192.168.1.64 or https://192.168.1.64:8443"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"this is no address ({error})", where=where, next_step=shape) from error
    if parts.username or parts.password:
        step = "give user and password_file in the configuration, or --user and --password-file"
        raise ConfigError("a password has no place in an address", where="--link", next_step=step)
    if not parts.hostname or port == 0 or parts.query:
        raise ConfigError("this is no host and port", where=where, next_step=shape)
    tls = parts.scheme == "https"
    own = HttpLink(tls=tls, path=parts.path.rstrip("/"))
    return LinkConfig(
        id=link_id, kind="http", host=parts.hostname, port=port or (443 if tls else 80), timeout_s=5.0, http=own
    )


def _listen_link(text: str, link_id: str, where: str) -> LinkConfig:
    kind = text.partition(":")[0]
    shape = f"write {kind}://0.0.0.0:{_LISTEN_PORTS[kind]}?allow=192.168.1.0/24"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"this is no address of ours ({error})", where=where, next_step=shape) from error
    if not parts.hostname or parts.username or parts.path not in ("", "/"):
        raise ConfigError("this is no address of ours to listen at", where=where, next_step=shape)
    own = ListenLink()
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "allow":
            own = replace(own, allow=tuple(each.strip() for each in value.split(",") if each.strip()))
        elif key == "broadcast" and kind == "udp" and value:
            own = replace(own, broadcast=value)
        else:
            raise ConfigError(f"unknown option {key}={value!r}", where=where, next_step="known are allow, broadcast")
    number = _LISTEN_PORTS[kind] if port is None else port
    return LinkConfig(id=link_id, kind=kind, host=parts.hostname, port=number, listen=own)


_OWN_FORMS = {
    "bacnet": _bacnet_link,
    "opc.tcp": _opcua_link,
    "http": _http_link,
    "https": _http_link,
    "http-listen": _listen_link,
    "tcp-listen": _listen_link,
    "udp": _listen_link,
}
