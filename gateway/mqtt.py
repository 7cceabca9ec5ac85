"""One MQTT 5 session for both sides, over paho driven by its socket callbacks, so that reading can pause.

It owns connecting, TLS, reconnecting with backoff and acknowledging; it knows no topic of the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Where the broker is and who we are. The password never shows in a repr."""

    host: str = "127.0.0.1"
    port: int = 1883
    root: str = "plantroom"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    tls: bool = False
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30

    def __repr__(self) -> str:
        scheme = "mqtts" if self.tls else "mqtt"
        return f"MqttSettings({scheme}://{self.host}:{self.port})"
