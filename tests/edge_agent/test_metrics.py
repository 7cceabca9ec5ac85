"""The agent's figures in Prometheus text format, parsed back by the library's own parser."""

import asyncio
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from edge_agent.metrics import render, serve

FIGURES: Mapping[str, Any] = {
    "agent": "gw-01",
    "acquisitions": 12,
    "process": {"rss_mb": 41.5, "uptime_s": 3},
    "uplink": {"connected": True, "probing": None},
    "links": {"rs485-1": {"state": "open", "devices": 2, "load": 0.25}, 'odd"link': {"state": "closed", "devices": 1}},
}
DEVICES = [
    {"id": "m1", "state": "ok", "ok": 5, "err": 1, "rtt_ms": 12.5},
    {"id": "m2", "state": "down", "ok": 0, "err": 9},
]


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_number_is_there_once_and_nothing_else() -> None:
    found = samples(render(FIGURES, DEVICES))
    assert found["plantroom_agent_acquisitions", ""] == 12
    assert found["plantroom_agent_process_rss_mb", ""] == 41.5
    assert found["plantroom_agent_uplink_connected", ""] == 1
    assert found["plantroom_link_load", "rs485-1"] == 0.25
    assert found["plantroom_link_devices", 'odd"link'] == 1
    assert found["plantroom_device_rtt_ms", "m1"] == 12.5
    assert (found["plantroom_device_up", "m1"], found["plantroom_device_up", "m2"]) == (1, 0)
    assert (found["plantroom_link_up", "rs485-1"], found["plantroom_link_up", 'odd"link']) == (1, 0)
    assert not any("probing" in name for name, _ in found)


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_the_port_serves_metrics_and_nothing_else(unused_tcp_port: int) -> None:
    serving = asyncio.create_task(serve(unused_tcp_port, lambda: "plantroom_up 1\n"))
    try:
        while True:
            try:
                answer = await _ask(unused_tcp_port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nplantroom_up 1\n")
        assert (await _ask(unused_tcp_port, b"GET /etc/passwd HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404")
        assert await _ask(unused_tcp_port, b"x" * 20_000) == b""
    finally:
        serving.cancel()
