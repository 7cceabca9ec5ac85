"""The broker of agent.yaml: address, TLS files and secrets. Reads secret files, logs and repeats none of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from device_profiles.findings import shown
from device_profiles.yamlfile import KeyPath
from edge_agent.config_problems import Problems
from edge_agent.config_schema import MqttEntry, check_host
from edge_agent.config_values import Secret
from gateway.mqtt import MqttSettings

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LOCAL = ("127.", "localhost", "::1")
MAX_SECRET_BYTES = 4096


def read_mqtt(entry: MqttEntry, folder: Path, problems: Problems) -> MqttSettings | None:
    """Settings of the session. Paths are relative to the configuration's folder. None when the address is wrong."""
    at: KeyPath = ("mqtt",)
    address = _address(entry.url, (*at, "url"), problems)
    files = {name: _file(getattr(entry, name), folder, (*at, name), problems) for name in ("ca", "cert", "key")}
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


def _file(text: str | None, folder: Path, path: KeyPath, problems: Problems) -> Path | None:
    if text is None:
        return None
    file = folder / text
    if not file.is_file():
        problems.add(path, f"there is no file {shown(str(file))}", "check the path; relative ones begin at this file")
    elif not os.access(file, os.R_OK):
        problems.add(
            path, f"{shown(str(file))} cannot be read by this user", f"make it readable: chown it to {_user()}"
        )
    return file


def _user() -> str:
    return os.environ.get("USER") or "the agent's user"


def read_secret(secret: Secret, folder: Path, path: KeyPath, problems: Problems) -> str | None:
    """The secret behind a reference, without the line end. What is wrong is noted, without the secret."""
    if secret.env is not None:
        value = os.environ.get(secret.env)
        if not value:
            problems.add((*path, "env"), f"the environment has no {secret.env}", f"set {secret.env}, or use file")
        return value or None
    file = _file(secret.file, folder, (*path, "file"), problems)
    if file is None or not file.is_file():
        return None
    check_mode(file, (*path, "file"), problems)
    try:
        content = file.read_bytes()[: MAX_SECRET_BYTES + 1]
        text = content.decode().rstrip("\r\n")
    except OSError:
        return None  # `_file` has said so
    except UnicodeDecodeError:
        problems.add((*path, "file"), f"{shown(str(file))} is not UTF-8", "write the secret into it as text")
        return None
    if not text or len(content) > MAX_SECRET_BYTES or "\n" in text:
        problems.add((*path, "file"), f"{shown(str(file))} is empty or not one line", "write the secret into one line")
        return None
    return text


def check_mode(file: Path, path: KeyPath, problems: Problems) -> None:
    """Notes when others than owner and group can read a secret, or more than its owner can change it."""
    if os.name != "posix" or not file.is_file():
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o027:
        problems.expose(
            path, f"{shown(str(file))} has mode {mode:04o}: others can read or change it", f"chmod 640 {file}"
        )
