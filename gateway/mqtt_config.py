"""How agent.yaml and gateway.yaml name the broker: address, TLS files, user and password. Opens no connection."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from device_profiles.address import Strict
from device_profiles.findings import shown
from device_profiles.problems import Problems
from device_profiles.secrets import Secret, check_mode, named_file, read_secret
from device_profiles.values import KeepAlive, PathText, Text, check_host
from device_profiles.yamlfile import KeyPath
from gateway.mqtt import MqttSettings

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LOCAL = ("127.", "localhost", "::1")


class MqttEntry(Strict):
    """The broker, and who we are there."""

    url: str = Field(max_length=512, examples=["mqtts://broker.example:8883"])
    root: str = Field(default="plantroom", pattern=r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}$")
    """First levels of every topic."""
    ca: PathText | None = None
    """Who signs the broker's certificate; without it, whom this machine trusts."""
    cert: PathText | None = None
    key: PathText | None = None
    username: Text | None = None
    password: Secret | None = None
    keepalive: KeepAlive = 30


def read_mqtt(entry: MqttEntry, folder: Path, problems: Problems) -> MqttSettings | None:
    """Settings of the session. Paths are relative to the configuration's folder. None when the address is wrong."""
    at: KeyPath = ("mqtt",)
    address = _address(entry.url, (*at, "url"), problems)
    files = {name: named_file(getattr(entry, name), folder, (*at, name), problems) for name in ("ca", "cert", "key")}
    if (entry.cert is None) != (entry.key is None):
        has, lacks = ("cert", "key") if entry.key is None else ("key", "cert")
        problems.add((*at, has), f"{has} without {lacks}", f"add {lacks}, or remove {has}")
    if files["key"] is not None:
        check_mode(files["key"], (*at, "key"), problems)
    password = read_secret(entry.password, folder, (*at, "password"), problems) if entry.password else None
    if address is None:
        return None
    scheme, host, port = address
    if scheme == "mqtt":
        for name in ("ca", "cert", "key"):
            if getattr(entry, name) is not None:
                problems.add((*at, name), f"{name} is of no use to mqtt://", "write mqtts:// in url")
        if not host.startswith(_LOCAL):
            problems.warn((*at, "url"), f"readings go to {host} without encryption", "use mqtts:// and ca")
    return MqttSettings(
        host=host,
        port=port,
        root=entry.root,
        tls=scheme == "mqtts",
        username=entry.username,
        password=password,
        keepalive_s=entry.keepalive,
        ca=files["ca"],
        cert=files["cert"],
        key=files["key"],
    )


def _address(url: str, path: KeyPath, problems: Problems) -> tuple[str, str, int] | None:
    """(scheme, host, port). The URL itself is not repeated where it may hold a password."""
    step = "write mqtts://host:8883 or mqtt://host:1883"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        problems.add(path, f"this is no address ({error})", step)
        return None
    if parts.username is not None or parts.password is not None:
        problems.add(path, "a name or password stands in the address", "use username: and password: {file: PATH}")
        return None
    if parts.scheme not in _PORTS:
        problems.add(path, f"{shown(url)} has neither scheme mqtt nor mqtts", step)
        return None
    if port == 0 or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        problems.add(path, f"{shown(url)} is no broker's address", step)
        return None
    try:
        check_host(parts.hostname)
    except ValueError:
        problems.add(path, f"{shown(parts.hostname)} is no host", step)
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]
