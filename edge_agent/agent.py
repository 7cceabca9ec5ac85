"""The agent: one process that polls the links of a site, keeps what it hears and hands it to the centre.

It composes the parts and owns their life: one TaskGroup, every task named, shutdown in the reverse order of the start. No
protocol, no message and no schedule is known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog

from device_profiles.errors import ConfigError
from drivers.base import Driver, LinkConfig
from drivers.registry import load_driver
from edge_agent import describe, metrics
from edge_agent.clock import Clock, SystemClock
from edge_agent.commands.engine import Engine
from edge_agent.commands.envelope import Me
from edge_agent.commands.plant import AgentPlant
from edge_agent.config.desired import DesiredConfig
from edge_agent.events import known_keys
from edge_agent.events.own_key import own_key
from edge_agent.events.register import NAMESPACE as EVENTS
from edge_agent.events.register import Register
from edge_agent.health import Health, notify
from edge_agent.latest import latest, points_of
from edge_agent.local_api import LocalApi
from edge_agent.model import Config, Device
from edge_agent.polling.fresh import FreshValues
from edge_agent.polling.links import Links
from edge_agent.polling.polled import NAMESPACES
from edge_agent.polling.poller import LinkPoller
from edge_agent.publish import Publisher
from edge_agent.spool import Entry, Spool
from edge_agent.uplink import Uplink
from edge_agent.virtual import VirtualMeters
from gateway.contract import messages
from gateway.contract.topics import CONTRACT, Topics

_log = structlog.get_logger("agent")
_STOP_S = 8.0
VIRTUAL = "virtual"
_DRAIN_S = 18.0
_METRICS_S = 30.0


def software() -> str:
    """The version of this distribution."""
    try:
        return version("plantroom")
    except PackageNotFoundError:
        return "unknown"


def _split(config: Config) -> tuple[list[Device], list[Device]]:
    """(virtual devices, the others)."""
    virtual = [device for device in config.devices if device.protocol == VIRTUAL]
    return virtual, [device for device in config.devices if device.protocol != VIRTUAL]


def _row(
    device: Device,
    state: messages.State | None,
    t_ms: int,
    values: Mapping[str, Any],
    flags: Mapping[str, Any],
    published: messages.State | None,
) -> dict[str, Any]:
    """A device for people on the box; `state` is of this moment, `published` may be a minute old."""
    state = state or published
    return {
        "id": device.id,
        "name": device.name,
        "link": device.link,
        "unit": device.unit,
        "state": state.state if state else ("disabled" if device.disabled else "unknown"),
        "sc": state.sc if state else None,
        "ok": state.ok if state else 0,
        "err": state.err if state else 0,
        "rtt_ms": state.rtt_ms if state else None,
        "t": t_ms or None,
        "good": len(values),
        "flagged": len(flags),
        "note": device.disabled,
    }


class Agent:
    """One agent. `reload` gives the configuration anew, or raises ConfigError."""

    def __init__(self, config: Config, *, reload: Callable[[], Config], clock: Clock | None = None) -> None:
        self._config = config
        self._read_config = reload
        self._clock: Clock = clock or SystemClock()
        self._health = Health()
        self._links = Links(self._poller)
        self._revision = 1
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`, SIGTERM or SIGINT. Raises PlantroomError when another agent has this data folder or socket."""
        config = self._config
        handlers = {
            "status": self._on_status,
            "latest": self._on_latest,
            "events": self._on_events,
            "metrics": self._on_metrics,
            "reload": self._on_reload,
            "drain": self._on_drain,
            "command": self._on_command,
            "operations": self._on_operations,
        }
        self._spool = Spool.open(
            config.spool, site=config.site, agent=config.agent, on_commit=self._on_commit, on_trouble=self._on_trouble
        )
        try:
            self._compose()
            try:
                async with LocalApi(config.socket, handlers):
                    await self._serve()
                    _log.info("stopped")
            finally:
                await self._commands.journal.close()
        finally:
            await self._spool.close()

    def _compose(self) -> None:
        """What stands between the links and the spool, and between the spool and the broker. Nothing runs yet."""
        config, clock = self._config, self._clock
        self._uplink = Uplink(
            settings=config.mqtt,
            topics=Topics(config.site, config.agent, config.mqtt.root),
            spool=self._spool,
            status=self._status,
            delivery=config.delivery,
            wall_ms=clock.wall_ms,
        )
        DesiredConfig(self._uplink, wall_ms=clock.wall_ms, applied=lambda: self._revision)
        self._publisher = Publisher(
            config, spool=self._spool, retain=self._uplink.retain, clock=clock, layouts=self._memory()["layouts"]
        )
        self._fresh = FreshValues(self._publisher, lambda: [poller for _, poller in self._links], clock.wall_ms)
        self._events = self._register()
        self._commands = self._engine()
        self._virtual = VirtualMeters(*_split(config), sink=self._publisher, clock=clock, memory=self._memory())
        self._announce_start()

    def _register(self) -> Register:
        privacy = self._config.privacy
        if not privacy.keys:
            privacy = replace(privacy, keys=(own_key(self._config.data_dir),))
        return Register(
            put=self._publisher.event,
            remember=self._spool.save_state,
            retain=self._uplink.retain,
            settle=self._spool.flush,
            privacy=privacy,
            clock=self._clock,
            memory=self._spool.load_state(EVENTS),
            devices={device.id for device in self._config.devices},
        )

    def _engine(self) -> Engine:
        config = self._config
        plant = AgentPlant(
            config=lambda: self._config,
            poller=self._links.of,
            driver=load_driver,
            fresh=self._fresh,
            clock=self._clock,
            republish=self._uplink.republish,
            restart=self.stop,
        )
        return Engine(
            folder=config.data_dir,
            me=Me(f"{config.site}/{config.agent}", Topics(config.site, config.agent, config.mqtt.root).up("cmd/")),
            policy=config.commands,
            line=self._uplink,
            plant=plant,
            clock=self._clock,
            event=self._publisher.event,
            retain=self._uplink.retain,
        )

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(self._reload_on_signal(), name="reload"))
        async with asyncio.TaskGroup() as group:
            uplink = group.create_task(self._uplink.run(), name="uplink")
            beside = [
                group.create_task(self._publisher.gate.run(), name="clock"),
                group.create_task(self._virtual.run(), name="virtual meters"),
                group.create_task(self._health.run(), name="health"),
                group.create_task(self._commands.run(), name="commands"),
                group.create_task(self._snapshots(), name="snapshots"),
                group.create_task(self._figures(), name="metrics"),
            ]
            if self._config.metrics_port is not None:
                serving = metrics.serve(self._config.metrics_port, self._metrics)
                beside.append(group.create_task(serving, name="metrics port"))
            self._links.start(group, self._config)
            notify("READY=1")
            _log.info("started", agent=self._config.agent, site=self._config.site, devices=len(self._config.devices))
            await self._stop.wait()
            notify("STOPPING=1")
            await self._commands.close()
            await self._links.stop()
            for task in beside:
                task.cancel()
            self._publisher.close()
            await self._spool.flush()
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._uplink.stop()
            except TimeoutError:
                _log.warning("the broker did not take the farewell in time")
            uplink.cancel()

    def stop(self) -> None:
        """Ends `run` cleanly."""
        self._stop.set()

    def _poller(self, link: LinkConfig, devices: Sequence[Device]) -> LinkPoller:
        if link.mixed:
            from drivers.mixed import MixedDriver  # a box without lines needs no pyserial

            driver: Driver = MixedDriver()
        else:
            driver = load_driver(devices[0].protocol)
        return LinkPoller(
            link,
            driver,
            devices,
            sink=self._virtual,
            clock=self._clock,
            memory=self._memory(),
            events=self._events,
            tz=self._config.tz,
        )

    def _memory(self) -> dict[str, dict[str, Any]]:
        return {namespace: self._spool.load_state(namespace) for namespace in NAMESPACES}

    def _announce_start(self) -> None:
        previous = self._spool.previous
        data: dict[str, Any] = {"reason": "start", "boot_id": self._clock.boot_id}
        if previous is not None:
            data |= {"prev_epoch": previous[0], "prev_last": previous[1]}
        self._publisher.event("", "system.restart", data, key=self._spool.epoch)
        known_keys.tell_changed(
            self._events.privacy.keys,
            self._spool.load_state(known_keys.NAMESPACE),
            self._spool.save_state,
            self._publisher.event,
            self._clock.wall_ms(),
        )
        reported = describe.reported(revision=self._revision, state="applied", t_ms=self._clock.wall_ms())
        self._uplink.retain("config/reported", reported)

    def _on_commit(self, entries: Sequence[Entry]) -> None:
        self._uplink.committed(entries)

    def _on_trouble(self, what: str, facts: Mapping[str, Any]) -> None:
        if what == "data_lost":
            _log.error("messages were lost at the edge", **facts)
            key = f"{facts.get('epoch')}:{facts.get('ranges')}"
            self._publisher.event("", "system.data_lost", facts, key=key)
        else:
            _log.error("the spool has trouble", kind=what, **facts, **_free(self._config.data_dir))

    def _status(self, state: str, sid: int) -> bytes:
        """The status document; the will (`lost`) carries neither time nor fill."""
        if state == "lost":
            return messages.encode(messages.Status(state="lost", epoch=self._spool.epoch, sid=sid))
        fill = self._spool.fill()
        return messages.encode(
            messages.Status(
                state=state,
                epoch=self._spool.epoch,
                sid=sid,
                t=self._clock.wall_ms(),
                sw=software(),
                contract=[CONTRACT],
                spool=messages.SpoolFill(msgs=fill.msgs, oldest=fill.oldest_ms),
            )
        )

    async def _snapshots(self) -> None:
        while True:
            await self._clock.sleep(self._config.snapshot_s)
            self._publisher.snapshots()

    async def _figures(self) -> None:
        while True:
            await self._clock.sleep(_METRICS_S)
            self._uplink.transient("metrics", messages.encode_any(self.figures()), qos=0, expiry_s=60)

    def figures(self) -> dict[str, Any]:
        """The agent's own figures, JSON-ready."""
        fill = self._spool.fill()
        return {
            "t": self._clock.wall_ms(),
            "agent": self._config.agent,
            "process": asdict(self._health.figures()),
            "acquisitions": self._publisher.acquisitions,
            "values": self._publisher.values,
            "last_seq": self._publisher.last_seq,
            "spool": {"msgs": fill.msgs, "bytes": fill.bytes, "oldest": fill.oldest_ms},
            "uplink": self._uplink.figures(),
            "commands": self._commands.figures(),
            "links": {link.id: poller.figures() for link, poller in self._links},
        }

    async def _reload_on_signal(self) -> None:
        try:
            await self._on_reload({})
        except ConfigError as error:
            _log.error("the changed configuration was refused; the old one stays in force", problems=str(error))

    async def _on_reload(self, request: Mapping[str, Any]) -> Any:
        """Takes up the changed configuration. What the process was started with (ids, broker, spool) stays until a restart."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config = await asyncio.to_thread(self._read_config)
            fixed = ("agent", "site", "mqtt", "spool", "socket", "data_dir", "delivery", "commands", "privacy")
            changed = [name for name in fixed if getattr(config, name) != getattr(self._config, name)]
            if changed:
                raise ConfigError(
                    f"{', '.join(changed)} cannot change while the agent runs",
                    where="reload",
                    next_step="restart the agent to take it up",
                )
        finally:
            notify("READY=1")
        before = {device.id: device for device in self._config.devices}
        after = {device.id: device for device in config.devices}
        facts = {
            "added": sorted(after.keys() - before.keys()),
            "removed": sorted(before.keys() - after.keys()),
            "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
        }
        self._revision += 1
        self._config = config
        self._publisher.adopt(config)
        self._virtual.replace(*_split(config))
        for device_id in facts["removed"]:
            self._events.forget(device_id)
        self._links.apply(config)
        key = f"{self._spool.epoch}:{self._revision}"
        self._publisher.event("", "system.config_applied", {"rev": self._revision, **facts}, key=key)
        reported = describe.reported(revision=self._revision, state="applied", t_ms=self._clock.wall_ms())
        self._uplink.retain("config/reported", reported)
        _log.info("configuration taken up", **facts)
        return facts

    async def _on_status(self, request: Mapping[str, Any]) -> Any:
        return self.figures() | {"site": self._config.site, "epoch": self._spool.epoch, "devices": self._devices()}

    async def _on_command(self, request: Mapping[str, Any]) -> Any:
        return await self._commands.local(request)

    async def _on_operations(self, request: Mapping[str, Any]) -> Any:
        return self._commands.operations(str(request.get("device")))

    async def _on_drain(self, request: Mapping[str, Any]) -> Any:
        """Stops polling for good and waits until ingest has stored everything, or 18 s; then the figures."""
        await self._commands.close()
        await self._links.stop()
        await self._spool.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while self._spool.fill().msgs:
                    await self._clock.sleep(0.05)
        return await self._on_status(request)

    def _devices(self) -> list[dict[str, Any]]:
        states = {device.id: state for _, poller in self._links for device, state in poller.states()}
        said = {
            device_id: (t_ms, values, flags, state)
            for device_id, t_ms, values, flags, state in self._publisher.latest()
        }
        return [
            _row(device, states.get(device.id), *said[device.id]) | {"events": self._events.figures(device.id)}
            for device in self._config.devices
            if device.id in said
        ]

    async def _on_latest(self, request: Mapping[str, Any]) -> Any:
        wanted, found = request.get("device"), latest(self._publisher, self._links.of)
        device = next((device for device in self._config.devices if device.id == wanted), None)
        if device is None:
            return found if wanted is None else {}
        points = points_of(device, self._fresh, self._links.of(device.id))
        return {device.id: {**found[device.id], "points": points}} if device.id in found else {}

    async def _on_events(self, request: Mapping[str, Any]) -> Any:
        """Events above the number `after`, of `device` or all; without `after` only the number to begin with."""
        after, device = request.get("after"), request.get("device")
        return self._publisher.recent.after(after if isinstance(after, int) else None, device)

    async def _on_metrics(self, request: Mapping[str, Any]) -> Any:
        return self._metrics()

    def _metrics(self) -> str:
        return metrics.render(self.figures(), self._devices())


def _free(folder: Path) -> dict[str, int]:
    """`free_mb` of a folder's disk: SQLite calls a full disk an I/O error."""
    try:
        return {"free_mb": shutil.disk_usage(folder).free // 1_000_000}
    except OSError:
        return {}
