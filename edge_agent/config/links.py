"""Links of agent.yaml: from what people write to LinkConfig, and no wire with two owners. Opens nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from device_profiles.errors import ConfigError
from device_profiles.findings import shown
from device_profiles.problems import Problems
from device_profiles.secrets import check_mode, named_file
from device_profiles.yamlfile import KeyPath
from drivers.link import BACNET_PORT, OPCUA_PORT, BacnetLink, HttpLink, LinkConfig, ListenLink, OpcUaLink, parse_link
from edge_agent.config.schema import LinkEntry
from gateway.contract.topics import is_id

T = TypeVar("T")
_SAME = ("kind", "host", "port", "path", "baud", "parity", "stop_bits", "data_bits", "echo", "mixed", "notices")
_TIMES = {"timeout": "timeout_s", "connect_timeout": "connect_timeout_s", "turnaround": "turnaround_s"}
_NEEDS = {
    "tcp": ("host",),
    "rtu+tcp": ("host", "port"),
    "serial": ("path",),
    "bacnet": ("host",),
    "opcua": ("host",),
    "http": ("host",),
    "http-listen": ("host", "port"),
    "tcp-listen": ("host", "port"),
    "udp": ("host", "port"),
    "fake": (),
}
_PORTS = {"bacnet": BACNET_PORT, "opcua": OPCUA_PORT, "http": 80}
_LISTENING = ("http-listen", "tcp-listen", "udp")
_SECONDS = {
    "ttl": "ttl_s",
    "apdu_timeout": "apdu_timeout_s",
    "segment_timeout": "segment_timeout_s",
    "silent": "silent_s",
}
_SECTIONS = ("bacnet", "opcua", "http", "listen")
_FILES = {
    "opcua": ("password_file", "certificate", "key"),
    "http": ("password_file", "ca_file"),
    "listen": ("certificate", "key"),
}
"""Keys of a section that name files."""
_SERIAL_ONLY = ("path",)
_NETWORK_ONLY = ("host", "port")


@dataclass(frozen=True, slots=True)
class Link:
    """A link with what only the configuration needs to know of it."""

    config: LinkConfig
    allow_overload: bool
    path: KeyPath

    @property
    def wire(self) -> tuple[str, ...]:
        """The same for two links that are one wire or one peer."""
        return wire_of(self.config)


def wire_of(link: LinkConfig) -> tuple[str, ...]:
    """What makes two links the same wire: the port behind its names, or host and port."""
    if link.kind == "serial":
        return ("serial", os.path.realpath(link.path) if link.path.startswith("/") else link.path.upper())
    if link.kind == "fake":
        return ("fake", link.id)
    if link.kind in ("bacnet", *_LISTENING):
        return ("tcp-listen" if "listen" in link.kind else "udp", link.host.partition("/")[0], str(link.port))
    return ("network", link.host.lower(), str(link.port))


def read_links(data: Any, problems: Problems) -> dict[str, Link]:
    """The links by id. What is wrong is noted; a wrong link is left out."""
    links: dict[str, Link] = {}
    if data is None:
        return links
    if not isinstance(data, Mapping):
        problems.add(("links",), f"links is {shown(data)}", "write `name: tcp://host:502` lines below it")
        return links
    for key, value in data.items():
        path: KeyPath = ("links", key)
        if not isinstance(key, str) or not is_id(key):
            step = "use 1 to 48 of a-z, 0-9, _ and -, beginning with a letter or digit"
            problems.add(path, f"link id {shown(key)} is not valid", step)
            continue
        link = _read_link(key, value, path, problems)
        if link is not None:
            links[key] = link
    _refuse_shared_wires(links, problems)
    return links


def _read_link(link_id: str, value: Any, path: KeyPath, problems: Problems) -> Link | None:
    entry = problems.parse(LinkEntry, {"url": value} if isinstance(value, str) else value, path)
    if entry is None:
        return None
    base = LinkConfig(id=link_id, kind="")
    if entry.url is not None:
        try:
            base = parse_link(entry.url, link_id=link_id)
        except ConfigError as error:
            problems.add(path, error.what, error.next_step)
            return None
    given = {name: value for name in _SAME if (value := getattr(entry, name)) is not None}
    given |= {name: value for key, name in _TIMES.items() if (value := getattr(entry, key)) is not None}
    if given.get("kind") in _PORTS and "port" not in given:
        base = replace(base, port=_PORTS[given["kind"]])
    config = LinkConfig(**{**_fields(base), **given, "id": link_id})
    config = replace(
        config,
        bacnet=_own(config, entry, "bacnet", BacnetLink),
        opcua=_own(config, entry, "opcua", OpcUaLink),
        http=_own(config, entry, "http", HttpLink),
        listen=_own(config, entry, "listen", ListenLink),
    )
    before = problems.count
    _check(config, given.keys() | _said_by(entry), path, problems)
    _refuse_foreign_keys(config, entry, path, problems)
    return Link(config, entry.allow_overload, path) if problems.count == before else None


def _own(link: LinkConfig, entry: LinkEntry, name: str, model: Callable[[], T]) -> T | None:
    """What a link of this kind has beyond address and port: the short form, then the section of the entry."""
    if not _is_of(name, link.kind):
        return None
    section = getattr(entry, name)
    given = {} if section is None else section.model_dump(exclude_none=True)
    base: Any = getattr(link, name) or model()
    found: T = replace(base, **{_SECONDS.get(key, key): value for key, value in given.items()})
    return found


def _is_of(name: str, kind: str) -> bool:
    """The section of this name belongs to links of this kind."""
    return kind in _LISTENING if name == "listen" else kind == name


def with_files(link: Link, folder: Path, data_dir: Path, problems: Problems) -> LinkConfig:
    """The link with the files that it names as whole paths; relative ones begin at `folder`. Missing ones are noted.

    Certificates that nobody names are kept, and made, below `data_dir`.
    """
    config, changed = link.config, {}
    for name, files in _FILES.items():
        own = getattr(config, name)
        if own is None:
            continue
        at = (*link.path, name)
        found: dict[str, Any] = {}
        for key in files:
            file = named_file(getattr(own, key) or None, folder, (*at, key), problems)
            if file is not None:
                found[key] = str(file)
                if key in ("password_file", "key"):
                    check_mode(file, (*at, key), problems)
        if name == "opcua":
            found["pki"] = str(folder / own.pki if own.pki else data_dir / "pki")
        if name == "http":
            found["pictures"] = str(data_dir / "pictures")
        changed[name] = replace(own, **found)
    if config.http is not None and config.http.tls and not config.http.verify:
        step = "give ca_file: the device's own certificate will do"
        problems.warn((*link.path, "http", "verify"), "any certificate is taken, so anybody can be the device", step)
    return replace(config, **changed)


def _fields(link: LinkConfig) -> dict[str, Any]:
    return {name: getattr(link, name) for name in link.__dataclass_fields__}


def _said_by(entry: LinkEntry) -> set[str]:
    """Keys that a short form has said by its kind: it always carries its own host and port, or path."""
    return {"host", "port"} if entry.url and not entry.url.startswith("serial") else {"path"} if entry.url else set()


def _refuse_foreign_keys(link: LinkConfig, entry: LinkEntry, path: KeyPath, problems: Problems) -> None:
    for name in _SECTIONS:
        if getattr(entry, name) is not None and not _is_of(name, link.kind):
            kinds = " or ".join(_LISTENING) if name == "listen" else name
            problems.add((*path, name), f"a {link.kind} link has no {name}", f"remove {name}, or write kind: {kinds}")


def _check(link: LinkConfig, said: set[str], path: KeyPath, problems: Problems) -> None:
    if not link.kind:
        problems.add(path, "kind is missing", f"add kind: one of {', '.join(_NEEDS)}")
        return
    for name in _NEEDS[link.kind]:
        if name not in said:
            problems.add(path, f"a {link.kind} link without {name}", f"add {name}")
    strange = _NETWORK_ONLY if link.kind == "serial" else _SERIAL_ONLY
    for name in strange:
        if name in said:
            problems.add((*path, name), f"a {link.kind} link has no {name}", f"remove {name}")
    # The short form is parsed without bounds; the same model that checks the long form checks its numbers.
    rest = {name: getattr(link, name) for name in _SAME if name not in ("kind", "host", "port", "path", "echo")}
    rest |= {key: getattr(link, name) for key, name in _TIMES.items()}
    rest["notices"] = link.notices or None
    if link.notices and link.kind != "tcp":
        problems.add((*path, "notices"), f"a {link.kind} link has no notices", "remove notices")
    if link.host:
        rest["host"] = link.host
    if link.path:
        rest["path"] = link.path
    problems.parse(LinkEntry, rest, path)


def _refuse_shared_wires(links: Mapping[str, Link], problems: Problems) -> None:
    """A line has one owner. Two links to one TCP host are two connections, which most devices bear."""
    owners: dict[tuple[str, ...], Link] = {}
    for link in links.values():
        other = owners.setdefault(link.wire, link)
        if other is not link and (
            link.config.is_line or other.config.is_line or link.config.kind in ("bacnet", *_LISTENING)
        ):
            same = "port" if link.config.kind == "serial" else "host and port"
            problems.add(
                link.path,
                f"{link.config.id} is the same {same} as {other.config.id} ({link.config.place})",
                f"put its devices on {other.config.id} and remove {link.config.id}: a line has one owner",
            )
