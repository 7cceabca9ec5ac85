"""Requests whose answers do not come: their invoke ids, and what is said of them."""

from __future__ import annotations

import asyncio

import pytest
from bacnet_device import Device
from bacnet_talking import talking

from device_profiles.errors import DeviceError, DeviceTimeout
from drivers.bacnet import codec
from drivers.bacnet.codec import Ref

READ = codec.encode_read(Ref(2, 7, 85))


async def test_the_id_of_a_request_without_answer_is_not_used_soon() -> None:
    async with talking(Device()) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = lambda asked, answers: []
        with pytest.raises(DeviceTimeout):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
        owed = wire.heard[-1][8]
        wire.mood = lambda asked, answers: answers
        used = []
        for _ in range(600):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
            used.append(wire.heard[-1][8])
        assert owed not in used
        assert len(set(used)) == 255


async def test_a_device_that_owes_all_its_answers_is_asked_no_more_for_a_while() -> None:
    async with talking(Device(), apdu_timeout_s=0.3) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = lambda asked, answers: []
        asked = [client.confirmed(peer, codec.READ_PROPERTY, READ, timeout_s=0.01) for _ in range(256)]
        assert {type(one) for one in await asyncio.gather(*asked, return_exceptions=True)} == {DeviceTimeout}
        with pytest.raises(DeviceError, match="256 requests"):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)


async def test_ids_do_not_begin_where_those_of_a_session_before_began() -> None:
    first = set()
    for _ in range(8):
        async with talking(Device()) as (client, wire):
            await client.confirmed(await client.resolve(1), codec.READ_PROPERTY, READ)
            first.add(wire.heard[-1][8])
    assert len(first) > 1


async def test_what_the_network_said_long_ago_explains_nothing() -> None:
    async with talking(Device()) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = lambda asked, answers: []
        asyncio.get_running_loop().call_soon(client._port.troubled, "No route to host")
        with pytest.raises(DeviceTimeout, match="No route"):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
        with pytest.raises(DeviceTimeout) as caught:
            await client.confirmed(peer, codec.READ_PROPERTY, READ, timeout_s=0.01)
        assert "No route" not in str(caught.value)
