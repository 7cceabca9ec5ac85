"""Reads gateway.yaml: all errors at once, each with file, line, observed value and a next step. Secrets come by reference."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from device_profiles.errors import ConfigError
from device_profiles.findings import shown, validation_findings
from device_profiles.problems import Problems, finding
from device_profiles.secrets import Secret, read_secret
from device_profiles.yamlfile import Document, KeyPath, read_yaml
from gateway.config_schema import GatewayFile, InfluxEntry
from gateway.mqtt import MqttSettings
from gateway.mqtt_config import read_mqtt
from gateway.stores.influx import InfluxSettings
from gateway.stores.sqlite_write import Retention

__all__ = ["Config", "GatewayFile", "examine", "load_config"]


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
    _, problems, warnings = _read(path, strict=True)
    return {
        "file": path.name,
        "kind": "gateway",
        "ok": not problems,
        "problems": [finding(problem) for problem in problems],
        "warnings": [finding(warning) for warning in warnings],
    }


Findings = Sequence[ConfigError]


def _read(path: Path, *, strict: bool = False) -> tuple[Config | None, Findings, Findings]:
    """(configuration or None, problems, warnings). `strict` refuses secrets that others can read."""
    try:
        document = read_yaml(path, shown=path.name)
    except ConfigError as error:
        return None, error.problems or (error,), ()
    try:
        file = GatewayFile.model_validate(document.data)
    except ValidationError as error:
        return None, validation_findings(error, document, GatewayFile), ()
    reader = _Reader(document, path.absolute().parent, strict=strict)
    config = reader.config(file)
    return config, reader.findings.problems, reader.findings.warnings


class _Reader:
    """Resolves what a valid file refers to, and notes what is wrong with it."""

    def __init__(self, document: Document, folder: Path, *, strict: bool) -> None:
        self._folder = folder
        self.findings = Problems(document, strict=strict)

    def config(self, file: GatewayFile) -> Config | None:
        """The configuration; None when something is wrong with it."""
        data_dir = self._folder / file.data_dir
        tokens = [
            self._secret(entry.token, ("api", "tokens", index, "token")) for index, entry in enumerate(file.api.tokens)
        ]
        if not tokens and not _is_loopback(file.api.host):
            self.findings.add(
                ("api", "host"),
                f"{shown(file.api.host)} is reachable from other machines and there is no token",
                "add api.tokens, or listen on 127.0.0.1",
            )
        if file.agents == ():
            self.findings.warn((), "no agent is registered: nothing will be acknowledged", "list them under agents:")
        store: Path | InfluxSettings
        if isinstance(file.store, InfluxEntry):
            store = self._influx(file.store)
        else:
            store = data_dir / (file.store.path or "store.db")
        mqtt = read_mqtt(file.mqtt, self._folder, self.findings)
        if mqtt is None or self.findings.count:
            return None
        return Config(
            mqtt=mqtt,
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

    def _influx(self, entry: InfluxEntry) -> InfluxSettings:
        if entry.url.startswith("http://") and not _is_loopback(urlsplit(entry.url).hostname or ""):
            self.findings.warn(("store", "url"), "readings and the token go there without encryption", "use https://")
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
        return read_secret(secret, self._folder, path, self.findings) if secret is not None else None


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
