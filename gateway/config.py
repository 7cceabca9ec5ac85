"""Reads gateway.yaml: all errors at once, each with file, line, observed value and a next step. Secrets come by reference."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from device_profiles.errors import ConfigError
from device_profiles.findings import shown, validation_findings
from device_profiles.yamlfile import Document, KeyPath, read_yaml
from gateway.config_schema import GatewayFile, InfluxEntry, MqttEntry, Secret
from gateway.mqtt import MqttSettings
from gateway.stores.influx import InfluxSettings
from gateway.stores.sqlite_write import Retention

__all__ = ["Config", "GatewayFile", "examine", "load_config"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Config:
    """The gateway's configuration, ready to use. Tokens and passwords never show in a repr."""

    mqtt: MqttSettings
    client_id: str
    store: Path | InfluxSettings
    """The file of the embedded store, or where InfluxDB is."""
    agents: frozenset[tuple[str, str]] | None
    """(site, agent) that are registered; None = all are welcome."""
    data_dir: Path
    host: str
    port: int
    tokens: tuple[str, ...] = field(repr=False)
    retention: Retention
    log_level: str


def load_config(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError with all problems."""
    config, problems, _ = _read(path)
    if config is None:
        raise problems[0] if len(problems) == 1 else ConfigError(f"{len(problems)} problems", problems=problems)
    return config


def examine(path: Path) -> dict[str, Any]:
    """What `plantroom check` says of a gateway.yaml: file, ok, problems and warnings."""
    _, problems, warnings = _read(path)
    return {
        "file": str(path),
        "kind": "gateway",
        "ok": not problems,
        "problems": [_finding(problem) for problem in problems],
        "warnings": [_finding(warning) for warning in warnings],
    }


def _finding(error: ConfigError) -> dict[str, str]:
    return {"where": error.where, "what": error.what, "next_step": error.next_step}


def _read(path: Path) -> tuple[Config | None, list[ConfigError], list[ConfigError]]:
    try:
        document = read_yaml(path)
    except ConfigError as error:
        return None, list(error.problems or (error,)), []
    try:
        file = GatewayFile.model_validate(document.data)
    except ValidationError as error:
        return None, validation_findings(error, document, GatewayFile), []
    reader = _Reader(document, path.absolute().parent)
    config = reader.config(file)
    return (None if reader.problems else config), reader.problems, reader.warnings


class _Reader:
    """Resolves what a valid file refers to, and notes what is wrong with it."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder
        self.problems: list[ConfigError] = []
        self.warnings: list[ConfigError] = []

    def config(self, file: GatewayFile) -> Config:
        data_dir = self._folder / file.data_dir
        tokens = [
            self._secret(entry.token, ("api", "tokens", index, "token")) for index, entry in enumerate(file.api.tokens)
        ]
        if not tokens and not _is_loopback(file.api.host):
            self._problem(
                ("api", "host"),
                f"{shown(file.api.host)} is reachable from other machines and there is no token",
                "add api.tokens, or listen on 127.0.0.1",
            )
        if file.agents == ():
            self._warn((), "no agent is registered: nothing will be acknowledged", "list them under agents:")
        store: Path | InfluxSettings
        if isinstance(file.store, InfluxEntry):
            store = self._influx(file.store)
        else:
            store = data_dir / (file.store.path or "store.db")
        return Config(
            mqtt=self._mqtt(file.mqtt),
            client_id=file.mqtt.client_id or f"ingest-{file.worker}",
            store=store,
            agents=None if file.agents == "any" else frozenset((entry.site, entry.agent) for entry in file.agents),
            data_dir=data_dir,
            host=file.api.host,
            port=file.api.port,
            tokens=tuple(token for token in tokens if token),
            retention=_retention(file),
            log_level=file.log_level,
        )

    def _mqtt(self, entry: MqttEntry) -> MqttSettings:
        step = "write mqtts://host:8883 or mqtt://host:1883"
        scheme, host, port = "mqtt", "", None
        try:
            parts = urlsplit(entry.url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
            if parts.username is not None or parts.password is not None:
                self._problem(
                    ("mqtt", "url"), "a name or password stands in the address", "use username: and password:"
                )
            elif scheme not in _PORTS or not host or port == 0 or parts.path not in ("", "/"):
                self._problem(("mqtt", "url"), f"{shown(entry.url)} is no broker's address", step)
        except ValueError as error:
            self._problem(("mqtt", "url"), f"this is no address ({error})", step)
        if (entry.cert is None) != (entry.key is None):
            name = "cert" if entry.key is None else "key"
            self._problem(("mqtt", name), f"{name} stands alone", "give cert and key together")
        files = {name: self._file(getattr(entry, name), ("mqtt", name)) for name in ("ca", "cert", "key")}
        if scheme == "mqtt" and not _is_loopback(host):
            self._warn(("mqtt", "url"), f"readings come from {host} without encryption", "use mqtts:// and ca")
        return MqttSettings(
            host=host,
            port=port or _PORTS.get(scheme, 0),
            root=entry.root,
            tls=scheme == "mqtts",
            username=entry.username,
            password=self._secret(entry.password, ("mqtt", "password")),
            keepalive_s=entry.keepalive,
            ca=files["ca"],
            cert=files["cert"],
            key=files["key"],
        )

    def _influx(self, entry: InfluxEntry) -> InfluxSettings:
        if entry.url.startswith("http://") and not _is_loopback(urlsplit(entry.url).hostname or ""):
            self._warn(("store", "url"), "readings and the token go there without encryption", "use https://")
        return InfluxSettings(
            version=entry.version,
            url=entry.url.rstrip("/"),
            database=entry.database or entry.bucket or "",
            retention_policy=entry.retention_policy,
            org=entry.org,
            username=entry.username,
            password=self._secret(entry.password, ("store", "password")),
            token=self._secret(entry.token, ("store", "token")),
            gzip=entry.gzip,
            timeout_s=entry.timeout,
        )

    def _secret(self, secret: Secret | None, path: KeyPath) -> str | None:
        if secret is None:
            return None
        if secret.env is not None:
            value = os.environ.get(secret.env)
            if not value:
                self._problem((*path, "env"), f"the environment has no {secret.env}", f"set {secret.env}, or use file")
            return value or None
        file = self._file(secret.file, (*path, "file"))
        if file is None or not file.is_file():
            return None
        if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o007:
            self._warn((*path, "file"), f"{shown(str(file))} can be read by everybody", f"chmod 640 {file}")
        try:
            text = file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text or "\n" in text or len(text) > 4096:
            self._problem((*path, "file"), f"{shown(str(file))} is not one line of text", "write the secret into it")
            return None
        return text

    def _file(self, name: str | None, path: KeyPath) -> Path | None:
        if name is None:
            return None
        file = self._folder / name
        if not file.is_file():
            self._problem(
                path, f"there is no file {shown(str(file))}", "check the path; relative ones begin at this file"
            )
        elif not os.access(file, os.R_OK):
            self._problem(path, f"{shown(str(file))} cannot be read by this user", "make it readable for the gateway")
        return file

    def _problem(self, path: KeyPath, what: str, next_step: str) -> None:
        self.problems.append(ConfigError(what, where=self._document.where(path), next_step=next_step))

    def _warn(self, path: KeyPath, what: str, next_step: str) -> None:
        self.warnings.append(ConfigError(what, where=self._document.where(path), next_step=next_step))


def _retention(file: GatewayFile) -> Retention:
    keep = file.retention
    classes: Mapping[str, float | None] = dict(keep.classes)
    return Retention(raw_days=keep.raw, quarter_days=keep.quarter, event_days=keep.events, classes=classes)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
