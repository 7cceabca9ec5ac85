"""Messages as an agent would send them, for the tests of ingest and its parts."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.contract.topics import Topics

NOW = 1_795_355_300_000
"""2026-11-22, a little after the contract's examples."""
EPOCH = "7Q2XK9M4TB"
SITE, AGENT, DEV = "hq", "gw-01", "meter-01"
TOPICS = Topics(SITE, AGENT)


def telemetry(seq: int = 1, t: int = NOW - 1000, s: dict[str, Any] | None = None, **more: Any) -> bytes:
    """Bytes of a telemetry message; keyword arguments replace or add keys."""
    document = {"v": 1, "cls": "electricity_meter", "epoch": EPOCH, "seq": seq, "meta": "7c1e", "clk": "ntp", "t": t}
    return msgspec.json.encode(document | {"s": {"power_active": 81.25} if s is None else s} | more)


def event(seq: int = 1, name: str = "access.denied", dev: str = DEV, **more: Any) -> bytes:
    document = {
        "specversion": "1.0",
        "id": f"{dev}-{seq}",
        "source": f"/{SITE}/{AGENT}/{dev}",
        "type": f"plantroom.{name}.v1",
        "time": "2026-11-22T13:47:25.338Z",
        "subject": dev,
        "datacontenttype": "application/json",
        "epoch": EPOCH,
        "seq": str(seq),
        "data": {"card": "hmac:k1:9f", "reason": "expired_card", "dir": "in"},
    }
    return msgspec.json.encode(document | more)
