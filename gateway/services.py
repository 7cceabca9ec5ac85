"""What the HTTP API and the page are given to answer from: the read side of the gateway in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.completeness import Completeness
from gateway.inventory import Inventory
from gateway.stores.base import Store


@dataclass(frozen=True, slots=True)
class Services:
    """Everything here may be called from the event loop at any time; nothing but `inventory.register` writes."""

    store: Store
    inventory: Inventory
    completeness: Completeness
    ingest: Callable[[], dict[str, Any]]
    """Figures of ingest as one JSON-ready document: connected, received, stored, dead, unregistered agents, alarms."""
    metrics: Callable[[], str]
    """Everything in Prometheus text format."""
