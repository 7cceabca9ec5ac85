"""The OPC UA session against the simulated plant room: reads, locating, writes, methods, subscriptions."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opcua_world import CHILLER, by_node, plant, points

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceRefused, LinkLost
from device_profiles.reading import PointFault, Sample
from drivers.base import Address, CanIdentify, CanLearn, CanLocate, CanOperate, CanSubscribe, CanWrite, Change, Limits
from drivers.opcua import session as session_module
from drivers.opcua.driver import OpcUaDriver
from drivers.opcua.session import OpcUaSession
from firmware_sim.opcua.server import NAMESPACE

DEVICE = Address(0, "chiller-1")
DRIVER = OpcUaDriver()


@pytest.fixture
async def opened() -> AsyncIterator[OpcUaSession]:
    async with DRIVER.open(plant().link()) as session:
        yield session


async def values_of(session: OpcUaSession, chosen: list[Any], layout: Any = None) -> list[Any]:
    [batch] = DRIVER.plan(chosen, Limits(), layout, plant().link())
    return list(await session.read(DEVICE, batch))


async def next_values(changes: Any, point: str) -> list[Any]:
    """The values of a point in the next turn that has some."""
    async with asyncio.timeout(5):
        async for turn in changes:
            said = [change.values[change.points.index(point)] for change in turn if point in change.points]
            if said:
                return said
    raise AssertionError("the changes ended")


def test_the_session_can_what_opc_ua_can() -> None:
    for capability in (CanLocate, CanLearn, CanIdentify, CanSubscribe, CanWrite, CanOperate):
        assert issubclass(OpcUaSession, capability)


async def test_paths_are_located_with_type_unit_labels_and_identity(opened: OpcUaSession) -> None:
    chosen = points(f"{CHILLER}/SupplyTemperature", f"{CHILLER}/Mode", f"{CHILLER}/NotThere")
    layout = await opened.locate(DEVICE, chosen)
    assert layout["nodes"]["supplytemperature"] == f"nsu={NAMESPACE};s=ChillerPlant.Chiller1.SupplyTemperature"
    assert layout["types"] == {"supplytemperature": "Float", "mode": "UInt32"}
    assert layout["units"] == {"supplytemperature": "Cel"}
    assert layout["labels"] == {"mode": {"0": "Off", "1": "Standby", "2": "Cooling", "3": "Fault"}}
    assert layout["identity"]["model"] == "Simulated plant room"
    assert "NotThere" in layout["missing"]["notthere"]
    supply, mode, missing = await values_of(opened, chosen, layout)
    assert isinstance(supply, float)
    assert mode == 2
    assert missing == PointFault("BadNodeIdUnknown", "the server has no such node")


async def test_a_path_needs_no_namespace_where_its_names_are_unique(opened: OpcUaSession) -> None:
    from device_profiles.schema import Point

    loose = Point.model_validate({"id": "kw", "address": {"path": "ChillerPlant/Chiller1/Power"}})
    layout = await opened.locate(DEVICE, [loose])
    assert layout["nodes"] == {"kw": f"nsu={NAMESPACE};s=ChillerPlant.Chiller1.Power"}


async def test_what_was_located_outlives_another_order_of_namespaces(opened: OpcUaSession) -> None:
    chosen = points(f"{CHILLER}/Power")
    layout = await opened.locate(DEVICE, chosen)
    swapped = OpcUaSession(opened.channel, [*opened.namespaces[:2], NAMESPACE, "urn:other"], opened.limits)
    assert opened.namespaces.index(NAMESPACE) == 3
    assert b"\x02\x00" in swapped._prepare(DRIVER.plan(chosen, Limits(), layout, plant().link())[0].plan).nodes[0]
    gone = OpcUaSession(opened.channel, opened.namespaces[:2], opened.limits)
    [fault] = await values_of(gone, chosen, layout)
    assert fault == PointFault("BadNodeIdUnknown", f"the server has no namespace {NAMESPACE}")


async def test_status_and_source_time_are_kept_where_they_say_something(opened: OpcUaSession) -> None:
    server = plant().server
    path, now = f"{CHILLER}/CondenserTemperature", datetime.datetime.now(datetime.UTC)
    chosen = points(path)
    layout = await opened.locate(DEVICE, chosen)
    for status, said in (
        (0x40900000, Sample(20.5, "UncertainLastUsableValue")),
        (0x808C0000, Sample(None, "BadSensorFailure")),
        (0x00960000, Sample(20.5, "GoodLocalOverride")),
        (0x00000400, 20.5),
    ):
        await plant().on(server.put(path, 20.5, status, now))
        assert await values_of(opened, chosen, layout) == [said]


async def test_a_thousand_nodes_come_in_one_read_and_more_in_as_few_as_the_server_takes() -> None:
    names = [f"ChillerPlant.Chiller{1 + n % 2}.Power" for n in range(1000)]
    chosen = [point.model_copy(update={"id": f"p{n}"}) for n, point in enumerate(by_node(names))]
    async with DRIVER.open(plant().link()) as session:
        before = session.counts.requests
        assert len(await values_of(session, chosen)) == 1000
        assert session.counts.requests == before + 1
        session.limits["read"] = 300
        session._plans.clear()
        assert len(await values_of(session, chosen)) == 1000
        assert session.counts.requests == before + 5


async def test_a_node_that_vanishes_is_its_own_fault_and_is_found_again(
    opened: OpcUaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_SEEK_AGAIN_S", 0.0)
    server = plant().server
    await plant().on(server.add_many(2, "Vanishing"))
    chosen = points("Vanishing/Value0", "Vanishing/Value1")
    layout = await opened.locate(DEVICE, chosen)
    assert await values_of(opened, chosen, layout) == [0.0, 1.0]
    await plant().on(server.remove("Vanishing/Value0"))
    fault, other = await values_of(opened, chosen, layout)
    assert isinstance(fault, PointFault)
    assert other == 1.0
    assert opened.learned(DEVICE) is None

    async def back_elsewhere() -> None:
        index = await server.internal.get_namespace_index(NAMESPACE)
        folder = server.internal.get_node(f"ns={index};s=Vanishing")
        await folder.add_variable(f"ns={index};i=5511", f"{index}:Value0", 5.5)

    await plant().on(back_elsewhere())
    await values_of(opened, chosen, layout)
    news = opened.learned(DEVICE)
    assert news is not None
    assert news["nodes"]["value0"] == f"nsu={NAMESPACE};i=5511"
    assert await values_of(opened, chosen, news) == [5.5, 1.0]


async def test_writes_take_the_nodes_own_type_and_read_back(opened: OpcUaSession) -> None:
    setpoint, enable, kw = points(f"{CHILLER}/SupplySetpoint", f"{CHILLER}/Enable", f"{CHILLER}/Power", access="rw")
    layout = await opened.locate(DEVICE, [setpoint, enable])
    await opened.write(DEVICE, setpoint, 7.25, layout)
    assert (await opened.standing(DEVICE, setpoint, layout)).value == 7.25
    await opened.write(DEVICE, enable, 0, layout)
    assert (await opened.standing(DEVICE, enable, layout)).value is False
    await opened.write(DEVICE, enable, True, layout)
    with pytest.raises(DeviceRefused) as caught:
        await opened.write(DEVICE, kw, 5.0, await opened.locate(DEVICE, [kw]))
    assert caught.value.status in ("BadNotWritable", "BadUserAccessDenied")
    for wrong in ("seven", float("nan"), 1e39):
        with pytest.raises(ConfigError):
            await opened.write(DEVICE, setpoint, wrong, layout)
    with pytest.raises(ConfigError, match="priorities"):
        await opened.write(DEVICE, setpoint, None, layout, priority=8)


def operation(**call: Any) -> Operation:
    return Operation.model_validate({"id": "reset", "call": {"object": CHILLER, "method": "Reset", **call}})


async def test_a_method_is_called_once_with_inputs_by_name(opened: OpcUaSession) -> None:
    server = plant().server
    server.calls.clear()
    reset = operation(namespace=NAMESPACE)
    assert await opened.operate(DEVICE, reset, {"Hold": 8, "Code": 4711}, None) == {"Accepted": True, "Remaining": 4.0}
    assert server.calls == [("Reset", 4711, 8.0)]
    with pytest.raises(DeviceRefused) as caught:
        await opened.operate(DEVICE, reset, {"Hold": 8, "Code": 1}, None)
    assert caught.value.status == "BadInvalidArgument"
    for inputs in ({"Code": 4711}, {"Code": 4711, "Hold": 1, "More": 2}, {"Code": -1, "Hold": 1}):
        with pytest.raises(ConfigError):
            await opened.operate(DEVICE, reset, inputs, None)
    with pytest.raises(DeviceRefused, match="NoSuch"):
        await opened.operate(DEVICE, operation(method="NoSuch"), {}, None)
    with pytest.raises(ConfigError):
        await opened.operate(DEVICE, operation(objekt=1), {}, None)
    prefixed = operation(object="{prefix}", namespace=NAMESPACE)
    assert (await opened.operate(Address(CHILLER, "c1"), prefixed, {"Hold": 2, "Code": 4711}, None))["Accepted"] is True
    nodes = operation(object=f"nsu={NAMESPACE};s=ChillerPlant.Chiller1", method="Reset", namespace=NAMESPACE)
    assert (await opened.operate(DEVICE, nodes, {"Hold": 2, "Code": 4711}, None))["Remaining"] == 1.0


async def test_changes_come_with_the_first_values_in_order_and_none_is_lost(opened: OpcUaSession) -> None:
    server = plant().server
    path = "ChillerPlant/CoolingPower"
    chosen = points(path)
    layout = await opened.locate(DEVICE, chosen)
    assert await opened.subscribe(DEVICE, chosen, layout) == {"coolingpower"}
    changes = opened.changes()
    await next_values(changes, "coolingpower")

    async def burst() -> None:
        for n in range(8):
            await server.put(path, 1000.0 + n)

    await plant().on(burst())
    seen: list[float] = []
    while len(seen) < 8:
        seen += await next_values(changes, "coolingpower")
    assert seen == [1000.0 + n for n in range(8)]
    await opened.unsubscribe(DEVICE)


async def test_a_deadband_is_asked_for_and_false_is_polled(opened: OpcUaSession) -> None:
    server = plant().server
    [banded] = points("ChillerPlant/Header/DifferentialPressure", cov=5.0)
    [never] = points("ChillerPlant/Header/Flow", cov=False)
    layout = await opened.locate(DEVICE, [banded, never])
    assert await opened.subscribe(DEVICE, [banded, never], layout) == {banded.id}
    changes = opened.changes()
    await next_values(changes, banded.id)
    for value in (100.0, 102.0, 104.0, 111.0):
        await plant().on(server.put("ChillerPlant/Header/DifferentialPressure", value))
    seen: list[Any] = []
    while 111.0 not in seen:
        seen += await next_values(changes, banded.id)
    assert seen[-2:] == [100.0, 111.0]


async def test_a_source_time_is_said_where_it_is_not_now_but_not_with_the_first_value(opened: OpcUaSession) -> None:
    server = plant().server
    path = "ChillerPlant/Header/SupplyTemperature"
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=90)
    await plant().on(server.put(path, 6.0, 0, old))
    chosen = points(path)
    layout = await opened.locate(DEVICE, chosen)
    await opened.subscribe(DEVICE, chosen, layout)
    changes = opened.changes()
    assert await next_values(changes, "supplytemperature") == [6.0]
    later = old + datetime.timedelta(seconds=30)
    await plant().on(server.put(path, 6.5, 0, later))
    [sample] = await next_values(changes, "supplytemperature")
    assert sample == Sample(6.5, "Good", int(later.timestamp() * 1000))


async def test_what_is_not_taken_in_time_is_dropped_counted_and_given_up(
    opened: OpcUaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.opcua.subscription.QUEUE", 5)
    server = plant().server
    path = "ChillerPlant/Header/ReturnTemperature"
    chosen = points(path)
    layout = await opened.locate(DEVICE, chosen)
    await opened.subscribe(DEVICE, chosen, layout)
    for n in range(9):
        await plant().on(server.put(path, 50.0 + n))
    deadline = time.monotonic() + 5
    while opened.dropped == 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert opened.dropped > 0
    turn = await anext(opened.changes())
    given_up = [one for one in turn if not isinstance(one, Change)]
    assert [one.points for one in given_up] == [("returntemperature",)]


async def test_a_second_subscription_replaces_the_first(opened: OpcUaSession) -> None:
    first, second = points("ChillerPlant/CoolingPower"), points("ChillerPlant/OutdoorTemperature")
    layout = await opened.locate(DEVICE, [*first, *second])
    await opened.subscribe(DEVICE, first, layout)
    await opened.subscribe(DEVICE, second, layout)
    changes = opened.changes()
    await next_values(changes, "outdoortemperature")
    await plant().on(plant().server.put("ChillerPlant/CoolingPower", 1.0))
    await plant().on(plant().server.put("ChillerPlant/OutdoorTemperature", 2.0))
    [change] = await anext(changes)
    assert (change.points, list(change.values)) == (("outdoortemperature",), [2.0])


async def test_devices_that_subscribe_at_once_share_one_subscription(
    opened: OpcUaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    send = opened.channel.service

    async def counted(what: str, *rest: Any) -> Any:
        made.append(what)
        return await send(what, *rest)

    monkeypatch.setattr(opened.channel, "service", counted)
    first, second = points("ChillerPlant/CoolingPower"), points("ChillerPlant/OutdoorTemperature")
    layout = await opened.locate(DEVICE, [*first, *second])
    taken = await asyncio.gather(
        opened.subscribe(Address(0, "a"), first, layout), opened.subscribe(Address(0, "b"), second, layout)
    )
    assert [len(points_) for points_ in taken] == [1, 1]
    assert made.count("creating a subscription") == 1


async def test_a_subscription_that_ends_while_items_are_made_for_it_reports_nothing(
    opened: OpcUaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = points("ChillerPlant/CoolingPower", "ChillerPlant/OutdoorTemperature")
    layout = await opened.locate(DEVICE, chosen)
    subscription = opened._subscription
    subscription._most_items = 1
    send = opened.channel.service

    async def ended_meanwhile(what: str, *rest: Any) -> Any:
        found = await send(what, *rest)
        if what == "creating monitored items":
            subscription._end("the server was started anew")
        return found

    monkeypatch.setattr(opened.channel, "service", ended_meanwhile)
    assert await opened.subscribe(DEVICE, chosen, layout) == frozenset()
    monkeypatch.setattr(opened.channel, "service", send)
    assert not subscription._fresh
    assert len(await opened.subscribe(DEVICE, chosen, layout)) == 2
    async with asyncio.timeout(5):
        async for turn in opened.changes():
            if any(isinstance(one, Change) for one in turn):
                break


async def test_nothing_is_kept_of_items_that_were_refused_or_taken_back(opened: OpcUaSession) -> None:
    chosen = points("ChillerPlant/CoolingPower")
    layout = dict(await opened.locate(DEVICE, chosen))
    layout["nodes"] = {chosen[0].id: f"nsu={NAMESPACE};s=Nothing"}
    assert await opened.subscribe(DEVICE, chosen, layout) == frozenset()
    assert not opened._subscription._fresh


async def test_a_link_that_is_not_to_subscribe_polls() -> None:
    async with DRIVER.open(plant().link(subscribe=False)) as session:
        assert await session.subscribe(DEVICE, points("ChillerPlant/CoolingPower"), None) == frozenset()


async def test_the_channel_is_renewed_before_its_lifetime_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.opcua.channel.CHANNEL_LIFETIME_MS", 200)
    async with DRIVER.open(plant().link()) as session:
        deadline = time.monotonic() + 10
        while session.counts.errors.get("channel_renewed", 0) < 3 and time.monotonic() < deadline:
            assert len(await values_of(session, by_node(["ChillerPlant.Chiller1.Power"]))) == 1
            await asyncio.sleep(0.02)
        assert session.counts.errors["channel_renewed"] >= 3
        assert session.channel.lost is None


async def test_after_the_end_every_call_is_a_lost_link() -> None:
    async with DRIVER.open(plant().link()) as session:
        pass
    with pytest.raises(LinkLost):
        await values_of(session, by_node(["ChillerPlant.Chiller1.Power"]))
    with pytest.raises(LinkLost):
        await anext(session.changes())
