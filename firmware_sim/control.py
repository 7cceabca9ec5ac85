"""Orders to a running simulator: JSON lines on its standard input, one JSON line back for each on its standard output.

    {"op": "fault", "device": "floor-2", "kind": "late", "delay_s": 1.4, "chance": 0.1}
    {"op": "fault", "device": "incomer-1", "kind": "absent", "quantity": "kw"}
    {"op": "heal", "device": "floor-2"}          {"op": "heal"}  (everything)
    {"op": "drop", "link": "incomer"}            reset its TCP connections
    {"op": "deaf", "link": "incomer", "on": true}
    {"op": "unplug", "link": "rs485-1"}          {"op": "plug", "link": "rs485-1"}
    {"op": "fault", "device": "ahu-1", "kind": "override", "object": "AO:1", "value": 40}      BACnet devices
    {"op": "fault", "device": "vav-3-07", "kind": "restart"}
    {"op": "stats"}    {"op": "describe"}    {"op": "values", "device": "floor-2"}

An answer is `{"ok": true, ...}` or `{"ok": false, "error": "..."}`. The end of the input stops the simulator, so that it never
outlives the program that started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from firmware_sim.device import Device
from firmware_sim.faults import BadFault, add_fault
from firmware_sim.fleet import Fleet, Running
from firmware_sim.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from firmware_sim.bacnet.device import BacnetDevice
    from firmware_sim.bacnet.server import BacnetServer


class BadOrder(ValueError):
    """An order that cannot be understood; the message is for the one who wrote it."""


def obey(fleet: Fleet, order: dict[str, Any]) -> dict[str, Any]:
    """Carries out one order. Raises BadOrder."""
    op = order.get("op")
    bacnet = fleet.bacnet_device(str(order.get("device")))
    if bacnet is not None and op in ("fault", "heal", "values"):
        return _obey_bacnet(*bacnet, order)
    if op == "fault":
        link, device = _device(fleet, order)
        options = {key: value for key, value in order.items() if key not in ("op", "device", "kind")}
        try:
            _on_link(link, lambda: add_fault(device.faults, str(order.get("kind")), options, device.now()))
        except BadFault as error:
            raise BadOrder(str(error)) from error
        return {}
    if op == "heal":
        chosen = (
            [_device(fleet, order)] if "device" in order else [(k, d) for k in fleet.links for d in k.devices.values()]
        )
        for link, device in chosen:
            _on_link(link, device.faults.heal)
        for side in (link.bacnet for link in fleet.links if "device" not in order):
            for name in side.devices if side is not None else ():
                obey(fleet, {"op": "heal", "device": name})
        return {}
    if op == "stats":
        return dict(fleet.stats())
    if op == "describe":
        return fleet.describe()
    if op == "values":
        return {"values": dict(_device(fleet, order)[1].snapshot)}
    if op in ("drop", "deaf", "unplug", "plug"):
        _disturb(_link(fleet, order), str(op), bool(order.get("on", True)))
        return {}
    raise BadOrder(f"unknown op {op!r}; known are fault, heal, drop, deaf, unplug, plug, stats, describe, values")


def _obey_bacnet(server: BacnetServer, device: BacnetDevice, order: dict[str, Any]) -> dict[str, Any]:
    from firmware_sim.bacnet.orders import apply_fault, heal

    if order["op"] == "values":
        return {"values": device.snapshot()}
    if order["op"] == "heal":
        heal(server, device)
        return {}
    options = {key: value for key, value in order.items() if key not in ("op", "device", "kind")}
    try:
        apply_fault(server, device, str(order.get("kind")), options)
    except BadFault as error:
        raise BadOrder(str(error)) from error
    return {}


def _disturb(link: Running, op: str, on: bool) -> None:
    if op == "deaf" and link.bacnet is not None:
        for server in link.bacnet.servers:
            server.deaf = on
    elif op in ("drop", "deaf"):
        if link.server is None:
            raise BadOrder(f"link {link.place.id} has no TCP connections")
        if op == "drop":
            link.server.drop_connections()
        else:
            link.server.deaf = on
    elif link.line is None:
        raise BadOrder(f"link {link.place.id} is no serial line")
    else:
        link.line.ask(link.line.unplug if op == "unplug" else link.line.plug)


def _on_link(link: Running, call: Callable[[], None]) -> None:
    """Devices of a serial line are touched by its thread only; errors come back to the caller."""
    failed: list[BadFault] = []

    def guarded() -> None:
        try:
            call()
        except BadFault as error:
            failed.append(error)

    if link.line is not None:
        link.line.ask(guarded)
    else:
        guarded()
    if failed:
        raise failed[0]


def _device(fleet: Fleet, order: dict[str, Any]) -> tuple[Running, Device]:
    try:
        return fleet.device(str(order.get("device")))
    except KeyError:
        known = ", ".join(placed.id for link in fleet.links for placed in link.place.devices)
        raise BadOrder(f"unknown device {order.get('device')!r}; known are {known}") from None


def _link(fleet: Fleet, order: dict[str, Any]) -> Running:
    for link in fleet.links:
        if link.place.id == order.get("link"):
            return link
    raise BadOrder(f"unknown link {order.get('link')!r}; known are {', '.join(link.place.id for link in fleet.links)}")


def reply_to(fleet: Fleet, line: str) -> str:
    """The answer line to an order line."""
    try:
        order = json.loads(line)
        if not isinstance(order, dict):
            raise BadOrder("an order is a JSON object")
        return json.dumps({"ok": True, **obey(fleet, order)})
    except (BadOrder, json.JSONDecodeError) as error:
        return json.dumps({"ok": False, "error": str(error)})


def treat(proxy: TcpProxy, line: str) -> str:
    """The answer line to an order to a proxy: `blackhole`, `heal`, `cut`, or a JSON object of treatment fields."""
    word = line.strip()
    if word in ("blackhole", "heal"):
        proxy.blackhole(word == "blackhole")
    elif word == "cut":
        proxy.cut()
    else:
        try:
            changes = json.loads(word)
        except json.JSONDecodeError as error:
            return json.dumps({"ok": False, "error": f"neither blackhole, heal, cut nor JSON: {error}"})
        known = asdict(proxy.treatment)
        for name, value in changes.items() if isinstance(changes, dict) else ():
            if name not in known or not isinstance(value, int | float):
                return json.dumps(
                    {"ok": False, "error": f"{name}={value!r}; known are {', '.join(known)}, all numbers"}
                )
            setattr(proxy.treatment, name, value)
    return json.dumps(
        {"ok": True, "accepted": proxy.accepted, "open": len(proxy.pairs), "treatment": asdict(proxy.treatment)}
    )


async def until_told_to_stop(obey_line: Callable[[str], None]) -> None:
    """Hands each line of standard input to `obey_line` until SIGTERM, SIGINT or the end of the input.

    A terminal or /dev/null as input is left alone.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    mode = os.fstat(sys.stdin.fileno()).st_mode if sys.stdin is not None and not sys.stdin.closed else 0
    reading = None
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        reading = asyncio.create_task(_read_lines(reader, obey_line, stop), name="sim-orders")
    await stop.wait()
    if reading is not None:
        reading.cancel()


async def _read_lines(reader: asyncio.StreamReader, obey_line: Callable[[str], None], stop: asyncio.Event) -> None:
    while line := await reader.readline():
        if line.strip():
            obey_line(line.decode("utf-8", "replace"))
    stop.set()
