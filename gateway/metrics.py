"""The gateway's figures in Prometheus text format. It asks for them when it is asked; nothing is counted here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.inventory import Inventory
from gateway.stores.base import Store

_COUNTERS = {
    "received": "Messages taken from the broker.",
    "stored": "Messages whose rows the store has.",
    "points": "Samples in stored messages.",
    "batches": "Writes to the store.",
    "retries": "Writes that the store could not take yet.",
    "receipts": "Acknowledgements published to agents.",
    "disconnects": "Sessions that ended because the store was down.",
    "replayed": "Dead letters that a replay brought into the store.",
    "seq_conflicts": "Messages under a number that another message had.",
    "dev_conflicts": "Messages of a device id that belongs to another agent.",
    "unregistered": "Messages of agents that are not registered.",
}


class _Figures(Collector):
    def __init__(self, store: Store, inventory: Inventory, ingest: Callable[[], Mapping[str, object]]) -> None:
        self._store = store
        self._inventory = inventory
        self._ingest = ingest

    def collect(self) -> Iterator[Metric]:
        figures = self._ingest()
        for name, about in _COUNTERS.items():
            yield _counter(f"plantroom_ingest_{name}", about, figures.get(name, 0))
        yield _gauge("plantroom_ingest_connected", "1 while the broker's session is up.", figures.get("connected"))
        yield _gauge("plantroom_ingest_waiting", "Messages between socket and store.", figures.get("waiting"))
        yield from self._by_reason(figures)
        yield from self._latency(figures)
        for name, value in self._store.figures().items():
            about = f"{name.removesuffix('_total').replace('_', ' ')} of the store".capitalize() + "."
            make = _counter if name.endswith("_total") else _gauge
            yield make(f"plantroom_store_{name.removesuffix('_total')}", about, value)
        yield from self._agents()

    def _by_reason(self, figures: Mapping[str, object]) -> Iterator[Metric]:
        dead = CounterMetricFamily("plantroom_ingest_dead", "Messages in the dead-letter file.", labels=["reason"])
        reasons = figures.get("dead_by_reason")
        for reason, count in sorted(reasons.items()) if isinstance(reasons, Mapping) else ():
            dead.add_metric([reason], count)
        yield dead
        alarms = GaugeMetricFamily("plantroom_ingest_alarm", "1 for what needs a person.", labels=["alarm"])
        active = figures.get("alarms")
        for name in sorted(active) if isinstance(active, Mapping) else ():
            alarms.add_metric([name], 1)
        yield alarms

    def _latency(self, figures: Mapping[str, object]) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "plantroom_ingest_latency_seconds",
            "From acquisition to the row, of recent live messages.",
            labels=["quantile"],
        )
        latency = figures.get("latency_ms")
        for name, label in (("p50", "0.5"), ("p99", "0.99")):
            value = latency.get(name) if isinstance(latency, Mapping) else None
            if value is not None:
                family.add_metric([label], value / 1000)
        yield family

    def _agents(self) -> Iterator[Metric]:
        online = GaugeMetricFamily("plantroom_agent_online", "1 while the agent says online.", labels=["site", "agent"])
        seen = GaugeMetricFamily(
            "plantroom_device_last_seen_timestamp_seconds", "Newest acquisition of a device.", labels=["site", "device"]
        )
        for agent in self._inventory.agents():
            online.add_metric([agent.site, agent.id], float(agent.online))
        for device in self._inventory.devices():
            if device.last_seen_ms is not None:
                seen.add_metric([device.site, device.id], device.last_seen_ms / 1000)
        yield online
        yield seen


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _counter(name: str, about: str, value: object) -> Metric:
    return CounterMetricFamily(name, about, value=_number(value))


def _gauge(name: str, about: str, value: object) -> Metric:
    return GaugeMetricFamily(name, about, value=_number(value))


def metrics_text(store: Store, inventory: Inventory, ingest: Callable[[], Mapping[str, object]]) -> Callable[[], str]:
    """A function that gives the text of the moment."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(store, inventory, ingest))
    return lambda: generate_latest(registry).decode()
