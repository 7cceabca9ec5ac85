"""The pollers of an agent, one a link, each in a task of its own: started, changed and ended as the configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import structlog

from drivers.base import LinkConfig
from edge_agent.model import Config, Device
from edge_agent.polling.poller import LinkPoller

_STOP_S = 8.0
_log = structlog.get_logger("agent")


class Links:
    """`make` gives the poller of a link and its devices."""

    def __init__(self, make: Callable[[LinkConfig, Sequence[Device]], LinkPoller]) -> None:
        self._make = make
        self._running: dict[str, tuple[LinkConfig, LinkPoller, asyncio.Task[None]]] = {}

    def __iter__(self) -> Iterator[tuple[LinkConfig, LinkPoller]]:
        return ((link, poller) for link, poller, _ in self._running.values())

    def of(self, device_id: str) -> LinkPoller | None:
        """The poller of a device; None for a virtual one, or one that is not here."""
        return next((poller for _, poller in self if poller.has(device_id)), None)

    def start(self, group: asyncio.TaskGroup, config: Config) -> None:
        """From now on links run in `group`."""
        self._group = group
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Starts, changes and stops what differs; a link that stays keeps its connection and misses no poll."""
        wanted = {link.id: link for link in config.links}
        for link_id in [link_id for link_id, (link, *_) in self._running.items() if wanted.get(link_id) != link]:
            self._running.pop(link_id)[2].cancel()
        for link in config.links:
            devices = [device for device in config.devices if device.link == link.id]
            if link.id in self._running:
                self._running[link.id][1].replace(devices)
            elif devices:
                poller = self._make(link, devices)
                task = self._group.create_task(poller.run(), name=f"link {link.id}")
                self._running[link.id] = (link, poller, task)

    async def stop(self) -> None:
        """Ends all pollers; a device that hangs does not hold it up."""
        tasks = [task for *_, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, hanging = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in hanging:
                _log.warning("a link did not end in time", link=task.get_name())
