"""Faults and events of BACnet devices by command: what `--fault` and control.py ask for, carried out on a device and its server.

Owns the storms, which need tasks of their own; everything else is done by the device, its faults or its server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping

from firmware_sim.bacnet import names, npdu, tags
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.exchange import Route
from firmware_sim.bacnet.faults import AT_ONCE, BacnetFault, make_bacnet_fault
from firmware_sim.bacnet.server import BacnetServer
from firmware_sim.faults import BadFault

Emit = Callable[[npdu.Udp], None]
_TICK_S = 0.01
_STORM_SECONDS = 30.0
"""A storm ends by itself."""


def apply_fault(server: BacnetServer, device: BacnetDevice, kind: str, options: Mapping[str, object]) -> None:
    """Starts a fault, or lets something happen. Raises BadFault. Call it within the server's event loop."""
    if kind in AT_ONCE:
        _happen(server, device, kind, options)
        return
    fault = make_bacnet_fault(kind, options)
    device.faults.add(fault)
    if kind == "small_apdu":
        device.about.max_apdu, device.about.segmentation = fault.size, 3
    elif kind in ("iam_storm", "cov_storm"):
        storm = _i_ams if kind == "iam_storm" else _notifications
        server.keep(asyncio.create_task(storm(server, device, fault), name=f"bacnet-sim-{kind}"))
    elif kind == "duplicate":
        server.keep(asyncio.create_task(_double(server, device), name="bacnet-sim-duplicate"))


def heal(server: BacnetServer, device: BacnetDevice) -> None:
    """Everything but what happened once is as before."""
    device.faults.heal()
    device.about.max_apdu, device.about.segmentation = device.model.max_apdu, device.model.segmentation
    gone, server.impostor = server.impostor, None
    if gone is not None:
        server.keep(asyncio.create_task(gone.stop(), name="bacnet-sim-impostor-stop"))


def _happen(server: BacnetServer, device: BacnetDevice, kind: str, options: Mapping[str, object]) -> None:
    if kind == "restart":
        device.restart()
        for client in server.clients:
            server.announce(device.i_am(), Route(client, None, server.place_of(device)))
    elif kind == "renamed":
        device.rename(str(options.get("name", f"{device.me.name}-renamed")))
    elif kind == "replaced":
        device.replace()
    elif kind == "moved":
        server.move(device)
    elif kind == "override":
        one = _named(options)
        try:
            value = options.get("value")
            number = None if value in (None, "", "null") else float(str(value))
            device.override(*one, number, int(str(options.get("priority", 5))))
        except (KeyError, ValueError, IndexError) as error:
            raise BadFault(f"override of {one[0]}:{one[1]}: {error}") from error
    else:
        one = _named(options)
        try:
            device.object(*one).reliability = int(str(options.get("code", 1)))
            device.refresh(force=True)
        except (KeyError, ValueError) as error:
            raise BadFault(f"sensor {one[0]}:{one[1]}: {error}") from error


def _named(options: Mapping[str, object]) -> tuple[str, int]:
    """The object of `object=AI:1`. Raises BadFault."""
    kind, _, number = str(options.get("object", "")).partition(":")
    if kind not in names.KINDS or not number.isdigit():
        raise BadFault(f"object={options.get('object')!r} is not like AI:1")
    return kind, int(number)


async def _i_ams(server: BacnetServer, device: BacnetDevice, fault: BacnetFault) -> None:
    """Devices of random instance announce themselves to every client, `rate` a second."""
    rng = random.Random(1)

    def one(to: npdu.Udp) -> None:
        key = tags.object_identifier(names.object_id(8, rng.randrange(100_000, 4_000_000)))
        body = key + tags.unsigned(1476) + tags.enumerated(3) + tags.unsigned(999)
        server.send(Route(to).wrap(bytes((0x10, names.I_AM)) + body), to)

    await _storm(server, device, fault, one)


async def _notifications(server: BacnetServer, device: BacnetDevice, fault: BacnetFault) -> None:
    """Every subscriber is told changes that never end, `rate` a second in all, as from a value that flutters."""
    step = 0

    def one(to: npdu.Udp) -> None:
        nonlocal step
        held = [
            each for each in device.subscriptions.held.values() if isinstance(each.peer, Route) and each.peer.udp == to
        ]
        if held:
            step += 1
            each = held[step % len(held)]
            assert isinstance(each.peer, Route)
            body = each.notification(device.me.key, asyncio.get_running_loop().time())
            server.send(each.peer.wrap(bytes((0x10, names.UNCONFIRMED_COV)) + body), to)

    await _storm(server, device, fault, one)


async def _storm(server: BacnetServer, device: BacnetDevice, fault: BacnetFault, one: Emit) -> None:
    loop = asyncio.get_running_loop()
    begun, sent = loop.time(), 0
    while device.faults.get(fault.kind) is not None and loop.time() - begun < _STORM_SECONDS:
        due = int((loop.time() - begun) * fault.rate)
        for _ in range(min(due - sent, 1000)):
            for client in server.clients:
                one(client)
        sent = due
        device.faults.hits[fault.kind] = sent
        await asyncio.sleep(_TICK_S)


async def _double(server: BacnetServer, device: BacnetDevice) -> None:
    """A second device appears at another port and claims the same instance."""
    twin = BacnetDevice(
        device.model, id=f"{device.id}-twin", instance=device.instance, name=f"{device.me.name}-twin", seed=99, now=device.now,
        utc_offset_s=device.about.utc_offset_min * 60,
    )  # fmt: skip
    impostor = BacnetServer(twin, host=server.host)
    with contextlib.suppress(OSError):
        await impostor.start()
        server.impostor = impostor
