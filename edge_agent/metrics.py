"""The agent's figures in Prometheus text format, and the optional loopback port that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_REQUEST_BYTES = 8192
_UP = ("ok", "degraded", "open")
"""States of a device, and of a link, in which values come."""
_TIME_LIMIT_S = 10.0


def render(figures: Mapping[str, Any], devices: Iterable[Mapping[str, Any]]) -> str:
    """Every number of `figures` as `plantroom_agent_<path>`, and each device's reads, failures and state."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Once(Collector):
        def collect(self) -> Iterable[GaugeMetricFamily]:
            links = figures.get("links", {})
            for name, value in _numbers({key: value for key, value in figures.items() if key != "links"}, ()):
                yield GaugeMetricFamily(f"plantroom_agent_{name}", name.replace("_", " "), value=value)
            yield from _labelled("link", "plantroom_link", links.items())
            yield from _labelled("device", "plantroom_device", ((device["id"], device) for device in devices))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry).decode()


def _labelled(label: str, prefix: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    families: dict[str, GaugeMetricFamily] = {}
    for row_id, row in rows:
        for name, value in _numbers({key: value for key, value in row.items() if key not in ("t", "unit")}, ()):
            family = families.setdefault(
                name, GaugeMetricFamily(f"{prefix}_{name}", name.replace("_", " "), labels=[label])
            )
            family.add_metric([row_id], value)
        if "state" in row:
            family = families.setdefault("up", GaugeMetricFamily(f"{prefix}_up", "answers", labels=[label]))
            family.add_metric([row_id], 1.0 if row["state"] in _UP else 0.0)
    return families.values()


def _numbers(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[tuple[str, float]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _numbers(inner, (*path, key))
        elif isinstance(inner, bool | int | float):
            yield "_".join((*path, key)), float(inner)


async def serve(port: int, text: Callable[[], str]) -> None:
    """Answers `GET /metrics` on loopback until cancelled. Raises OSError when the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIME_LIMIT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                found = request.startswith((b"GET /metrics ", b"GET / "))
                body = text().encode() if found else b"only /metrics is here\n"
                head = (
                    f"HTTP/1.1 {'200 OK' if found else '404 Not Found'}\r\nContent-Type: text/plain; version=0.0.4\r\n"
                )
                writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a scraper that goes away or talks nonsense concerns nobody else
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=_REQUEST_BYTES)
    async with server:
        await server.serve_forever()
