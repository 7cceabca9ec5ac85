"""The devices of the running agent as the command path sees them: found, reached through their pollers, known to be down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from device_profiles.errors import CommandRefused
from device_profiles.schema import Point
from drivers.base import Address, Driver, Layout, LinkConfig, Session
from edge_agent.clock import Clock
from edge_agent.commands.act import Ask, Fresh, Target
from edge_agent.commands.limits import on_device
from edge_agent.model import Device
from gateway.contract.messages import State

_T = TypeVar("_T")


class Poller(Protocol):
    """The part of a link's poller that is needed here."""

    link: LinkConfig

    async def ask(
        self, device_id: str, job: Callable[[Session, Address], Awaitable[_T]], *, is_command: bool = False
    ) -> _T: ...

    def layout_of(self, device_id: str) -> Layout | None: ...

    def states(self) -> Iterable[tuple[Device, State]]: ...


class Configured(Protocol):
    """The part of the configuration that is needed here."""

    @property
    def devices(self) -> Sequence[Device]: ...


class AgentPlant:
    """`config()` is the configuration in force; `poller(device id)` None for a device that nobody polls."""

    def __init__(
        self,
        *,
        config: Callable[[], Configured],
        poller: Callable[[str], Poller | None],
        driver: Callable[[str], Driver],
        fresh: Fresh,
        clock: Clock,
        republish: Callable[[], None],
        restart: Callable[[], None],
    ) -> None:
        self._config = config
        self._poller = poller
        self._driver = driver
        self._fresh = fresh
        self._clock = clock
        self._of: Configured | None = None
        self._devices: dict[str, Device] = {}
        self.republish = republish
        self.restart = restart

    def device(self, device_id: str) -> Device | None:
        config = self._config()
        if config is not self._of:
            self._of = config
            self._devices = {device.id: device for device in config.devices}
        return self._devices.get(device_id)

    def target(self, device: Device, point: Point) -> Target:
        poller = self._poller(device.id)
        if poller is None:
            raise CommandRefused(
                "it is computed from other devices, nobody can be asked",
                code="unsupported",
                where=device.id,
                next_step="name the device that it is computed from",
            )
        layout = poller.layout_of(device.id)
        return Target(
            device,
            on_device(point, layout),
            self._driver(device.protocol),
            device.on(poller.link),
            _asking(poller, device.id),
            self._clock,
            layout,
            self._fresh,
            self._elsewhere,
        )

    def _elsewhere(self, device_id: str, point_id: str) -> Target | None:
        """A point of another device that can be asked, for an interlock."""
        device = self.device(device_id)
        point = next((each for each in device.points if each.id == point_id), None) if device is not None else None
        if device is None or point is None or "r" not in point.access:
            return None
        try:
            return self.target(device, point)
        except CommandRefused:
            return None  # it is computed from others, or its unit is a mistake: what was said last is all there is

    def is_down(self, device_id: str) -> str | None:
        poller = self._poller(device_id)
        if poller is None:
            return None
        for device, state in poller.states():
            if device.id == device_id and state.state == "down":
                return f"it does not answer ({state.sc}); it is asked again within a minute"
        return None


def _asking(poller: Poller, device_id: str) -> Ask:
    async def ask(job: Callable[[Session], Awaitable[_T]], /) -> _T:
        return await poller.ask(device_id, lambda session, _: job(session), is_command=True)

    return ask
