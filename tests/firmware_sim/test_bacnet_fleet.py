"""BACnet links of a fleet and of the command line."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from firmware_sim.bacnet import names, npdu
from firmware_sim.bacnet.models import BACNET_MODELS
from firmware_sim.cli import app
from firmware_sim.control import reply_to
from firmware_sim.fleet import CAMPUS, PLANT_ROOM, Fleet, Place, Placed
from tests.firmware_sim.bacnet_asker import asker, reading, value_of

NAME = reading(names.object_id(0, 1), names.OBJECT_NAME)


def peers(url: str) -> list[tuple[str, int]]:
    texts = parse_qs(urlsplit(url).query)["peers"][0].split(",")
    return [(host, int(port)) for host, _, port in (text.partition(":") for text in texts)]


async def test_the_plant_room_stands_on_two_links() -> None:
    async with Fleet(PLANT_ROOM) as fleet, asker() as client:
        devices = {entry["id"]: entry for entry in fleet.describe()["devices"]}
        assert len(devices) == 43
        assert [devices[id]["unit"] for id in ("ahu-1", "chiller-plant-1", "lift-bank-1", "vav-3-40")] == [
            1001,
            2001,
            3001,
            4040,
        ]
        assert devices["vav-3-07"]["prefix"] == "VAV-3-07."
        first = peers(devices["ahu-1"]["link"])
        assert len(first) == 3
        floor = reading(names.object_id(0, 101), names.OBJECT_NAME)
        assert value_of(await client.ask(first[2], 12, floor)) == "LIFT1.FLOOR"
        [router] = peers(devices["vav-3-07"]["link"])
        assert value_of(await client.ask(router, 12, NAME, net=(20, b"\x07"))) == "VAV-3-07.ZN-T"
        assert fleet.stats()["requests"]["vav-3-07"] == 1
        own = {urlsplit(entry["link"]).port for entry in devices.values()}
        assert not own & {port for entry in devices.values() for _, port in peers(entry["link"])}
    assert not {place.id for place in PLANT_ROOM} & {place.id for place in CAMPUS}


async def test_orders_reach_bacnet_devices() -> None:
    async with Fleet((Place("b", "bacnet", (Placed("ahu-1", "bacnet-ahu", 1001),)),)) as fleet, asker() as client:

        def order(**fields: object) -> dict[str, object]:
            answer: dict[str, object] = json.loads(reply_to(fleet, json.dumps(fields)))
            return answer

        [address] = peers(fleet.links[0].url)
        assert order(op="fault", device="ahu-1", kind="override", object="AO:1", value=41)["ok"]
        values = order(op="values", device="ahu-1")["values"]
        assert isinstance(values, dict)
        assert values["HTG-VLV"] == 41
        assert order(op="fault", device="ahu-1", kind="abort", code=4)["ok"]
        assert await client.ask(address, 12, NAME) == npdu.abort(client.invoke, 4)
        assert order(op="heal")["ok"]
        assert value_of(await client.ask(address, 12, NAME)) == "SA-T"
        assert "unknown fault" in str(order(op="fault", device="ahu-1", kind="nope")["error"])
        assert "known are ahu-1" in str(order(op="fault", device="ahu-2", kind="late")["error"])
        assert order(op="deaf", link="b", on=True)["ok"]
        assert all(server.deaf for _, server in fleet.links[0].bacnet.devices.values())  # type: ignore[union-attr]


async def test_a_port_that_is_taken_opens_nothing() -> None:
    place = Place("b", "bacnet", (Placed("ahu-1", "bacnet-ahu", 1001),))
    async with Fleet((place,)) as fleet:
        taken = Place(
            "c", "bacnet-router", (Placed("vav-1", "bacnet-vav", 4001),), port=peers(fleet.links[0].url)[0][1]
        )
        second = Fleet((taken,))
        with pytest.raises(OSError, match="in use"):
            await second.start()
        assert second.links == []


def test_the_command_line_lists_bacnet_makes_and_refuses_other_wires() -> None:
    runner = CliRunner()
    listed = {entry["model"] for entry in json.loads(runner.invoke(app, ["list", "--json"]).stdout)}
    assert set(BACNET_MODELS) <= listed
    assert "override" in runner.invoke(app, ["faults"]).stdout
    refused = runner.invoke(app, ["device", "bacnet-ahu", "--tcp", "0"])
    assert refused.exit_code == 2
    assert "bacnet-ahu speaks BACnet/IP" in " ".join(refused.output.split())


def test_the_command_line_runs_a_device_until_its_input_ends() -> None:
    result = CliRunner().invoke(app, ["device", "bacnet-vav", "--unit", "4001-4003", "--json", "--fault", "nope"])
    assert result.exit_code == 2
    assert "unknown fault" in " ".join(result.output.split())
