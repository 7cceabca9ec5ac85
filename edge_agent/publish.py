"""Where readings, states and events become messages and retained documents.

It stands between the pollers (as their sink), the spool and the uplink, knows the contract, and does no I/O of its own: putting
into the spool and retaining are queued by their owners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from device_profiles.reading import Acquisition, Severity, Value, severity_of
from drivers.base import Layout
from edge_agent import describe
from edge_agent.clock import Clock, Quality
from edge_agent.clock_gate import ClockGate
from edge_agent.encode import builders, flag_of
from edge_agent.events.recent import Recent
from edge_agent.model import Config, Device
from edge_agent.spool import Kind
from gateway.contract import messages
from gateway.contract.events import make_event


class Keeper(Protocol):
    """The part of the spool that is needed here."""

    epoch: str

    def put(
        self,
        kind: Kind,
        device: str,
        t_ms: int,
        build: Callable[[str, int], bytes],
        *,
        cls: str = "",
        now: bool = False,
        state: tuple[str, str, Any] | None = None,
    ) -> int: ...

    def save_state(self, namespace: str, key: str, value: Any | None) -> None: ...


Retain = Callable[[str, bytes], None]


class _LastValues:
    """What a device said last, point by point."""

    __slots__ = ("changed", "flags", "t_ms", "values")

    def __init__(self) -> None:
        self.t_ms = 0
        self.values: dict[str, Any] = {}
        self.flags: dict[str, messages.Flag] = {}
        self.changed = False

    def take(self, acquisition: Acquisition) -> None:
        self.t_ms = max(self.t_ms, acquisition.t_ms)
        self.values.update(acquisition.good)
        if self.flags:
            for name in acquisition.good:
                self.flags.pop(name, None)
        for flagged in acquisition.flagged:
            is_good = not flagged.status or severity_of(flagged.status) is Severity.GOOD
            if is_good and flagged.value is not None:
                self.values[flagged.point] = flagged.value
                self.flags.pop(flagged.point, None)
            else:
                self.values.pop(flagged.point, None)
                self.flags[flagged.point] = flag_of(flagged)
        self.changed = True


class Publisher:
    """The sink of all pollers. `layouts` is what was learned of the devices before, by id."""

    def __init__(
        self,
        config: Config,
        *,
        spool: Keeper,
        retain: Retain,
        clock: Clock,
        layouts: Mapping[str, Layout] | None = None,
    ) -> None:
        self._spool = spool
        self._retain = retain
        self._clock = clock
        self._config = config
        self._layouts: dict[str, Layout] = dict(layouts or {})
        self._revisions: dict[str, str] = {}
        self._last: dict[str, _LastValues] = {}
        self._states: dict[str, messages.State] = {}
        self.recent = Recent()
        self.gate = ClockGate(clock, event=self.event)
        self.acquisitions = 0
        self.values = 0
        """Samples with a value that were put into the spool."""
        self.last_seq = 0
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Announces the site and every device; takes back those that are no longer there."""
        self._config = config
        self._places = {link.id: link.place for link in config.links}
        gone = self._revisions.keys() - {device.id for device in config.devices}
        for device_id in gone:
            del self._revisions[device_id]
            self._last.pop(device_id, None)
            self._states.pop(device_id, None)
            self._layouts.pop(device_id, None)
            for what in ("meta", "state", "last"):
                self._retain(f"dev/{device_id}/{what}", b"")
        self._retain("caps", describe.caps(config))
        self._retain("site", describe.site(config))
        for device in config.devices:
            self.announce(device, self._places.get(device.link, ""))

    def announce(self, device: Device, place: str) -> None:
        """Publishes a device's meta when it changed, and that nobody polls it where it is disabled."""
        meta = describe.meta(device, place, self._layouts.get(device.id))
        if self._revisions.get(device.id) == meta.rev:
            return
        self._revisions[device.id] = meta.rev
        self._last.setdefault(device.id, _LastValues())
        self._retain(f"dev/{device.id}/meta", messages.encode(meta))

    def learned(self, device: Device, layout: Layout | None) -> None:
        """The device said more of itself: its meta gets another revision where that shows."""
        self._layouts[device.id] = layout or {}
        if device.id in self._revisions:
            self.announce(device, self._places.get(device.link, ""))

    def acquired(self, device: Device, acquisition: Acquisition) -> None:
        """A device was read: one message, or several where one does not hold it."""
        self.acquisitions += 1
        last = self._last.get(device.id)
        if last is None:
            return  # its last reading arrived after a reload had removed it
        if acquisition.src is None:
            last.take(acquisition)
        if self.gate.is_open or acquisition.src is not None:  # what a device remembers has the device's own time
            self._keep(device, acquisition, self._clock.quality())
        else:
            self.gate.put(acquisition.t_ms, partial(self._release, device, acquisition))

    def _release(self, device: Device, acquisition: Acquisition, t_ms: int, clk: Quality) -> None:
        acquisition.t_ms = t_ms
        self._keep(device, acquisition, clk)

    def _keep(self, device: Device, acquisition: Acquisition, clk: Quality) -> None:
        kind = Kind.TELEMETRY if acquisition.mark_ms is None else Kind.MARK
        meta = self._revisions.get(device.id, "")
        for t_ms, build in builders(acquisition, cls=device.cls, meta=meta, clk=clk):
            self.last_seq = self._spool.put(kind, device.id, t_ms, build)
        self.values += len(acquisition.good)
        if acquisition.flagged:
            self.values += sum(1 for flagged in acquisition.flagged if flag_of(flagged).val is not None)

    def close(self) -> None:
        """Lets go what still waits for the clock, so that the spool has it."""
        self.gate.open_now()

    def state(self, device: Device, state: messages.State) -> None:
        """A device's reachability changed, or a minute went by."""
        self._states[device.id] = state
        self._retain(f"dev/{device.id}/state", messages.encode(state))

    def event(
        self,
        device_id: str,
        name: str,
        data: Mapping[str, Any],
        key: str,
        *,
        t_ms: int | None = None,
        state: tuple[str, str, Any] | None = None,
    ) -> None:
        """Something happened (to the agent itself where `device_id` is ""), at `t_ms` or now; committed at once.

        `key` tells it from all others of its kind, so a repeat has the same id. `state` (namespace, key, value) is remembered
        in the same commit.
        """
        t_ms = self._clock.wall_ms() if t_ms is None else t_ms
        config = self._config
        device_id = device_id or config.agent

        def build(epoch: str, seq: int) -> bytes:
            return make_event(
                name,
                site=config.site,
                agent=config.agent,
                device=device_id,
                data=data,
                key=key,
                t_ms=t_ms,
                epoch=epoch,
                seq=seq,
            )

        self.last_seq = self._spool.put(
            Kind.EVENT, device_id, t_ms, build, cls=name.partition(".")[0], now=True, state=state
        )
        self.recent.note(device_id, name, t_ms, data)

    def remember(self, namespace: str, key: str, value: Any) -> None:
        """State that outlives the process."""
        self._spool.save_state(namespace, key, value)

    def latest_of(self, device_id: str, point: str) -> tuple[Value | None, int, str] | None:
        """(value, t_ms of the device's last message, status) of one point; None when nothing was said of it yet."""
        last = self._last.get(device_id)
        if last is None:
            return None
        flag = last.flags.get(point)
        if flag is not None:
            return flag.val, last.t_ms, flag.sc or "Good"
        return (last.values[point], last.t_ms, "Good") if point in last.values else None

    def snapshots(self) -> None:
        """Refreshes the last values of every device that had any since the last call."""
        for device_id, last in self._last.items():
            if not last.changed or device_id not in self._revisions:
                continue
            last.changed = False
            message = messages.Last(
                t=last.t_ms, meta=self._revisions[device_id], s=dict(last.values), x=list(last.flags.values())
            )
            self._retain(f"dev/{device_id}/last", messages.encode(message))

    def latest(
        self,
    ) -> Iterable[tuple[str, int, Mapping[str, Any], Mapping[str, messages.Flag], messages.State | None]]:
        """(device, t_ms, good values, flags, state) of every device, for people on the box."""
        for device_id, last in self._last.items():
            yield device_id, last.t_ms, last.values, last.flags, self._states.get(device_id)
