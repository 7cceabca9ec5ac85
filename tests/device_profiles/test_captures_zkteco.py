"""Uploads that the maker's documents show become the events, values and facts written beside them, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from device_profiles.reading import PointFault
from device_profiles.yamlfile import read_yaml
from drivers.base import Address, Limits, LinkConfig, ListenLink
from drivers.listening import Listened, Occurrence
from drivers.zkteco.driver import ZktecoDriver
from drivers.zkteco.session import ZktecoSession
from tests.shipped import LIBRARY

CAPTURES = Path(__file__).parents[1] / "captures"


def frames() -> Iterator[Any]:
    for name in ("zkteco-attendance-push", "zkteco-security-push"):
        for frame in read_yaml(CAPTURES / f"{name}.yaml").data["frames"]:
            yield pytest.param(name, frame, id=f"{name}: {frame['what']}")


async def store(session: ZktecoSession, told: list[Occurrence]) -> None:
    async for turn in session.occurrences():
        told += turn
        session.stored(turn)


@pytest.mark.parametrize(("profile_id", "frame"), list(frames()))
async def test_an_upload_is_what_its_document_says(profile_id: str, frame: dict[str, Any]) -> None:
    profile, device = LIBRARY.get(profile_id), Address("3383154200002", "door-1")
    own = ListenLink(allow=("127.0.0.1",), silent_s=60)
    link = LinkConfig(id="push", kind="http-listen", host="127.0.0.1", port=0, timeout_s=1, listen=own)
    told: list[Occurrence] = []
    async with ZktecoDriver().open(link) as session, aiohttp.ClientSession() as terminal:
        assert isinstance(session, ZktecoSession)
        await session.listen(Listened(device, profile.events, profile.credential))
        storing = asyncio.create_task(store(session, told))
        where = "http://{}:{}/iclock/cdata".format(*session.listener.own)
        query = {"SN": str(device.unit), "table": frame["table"], "Stamp": "9999"}
        async with terminal.post(where, params=query, data=frame["upload"].encode()) as answer:
            assert answer.status == 200
            assert (await answer.text()).startswith("OK")
        storing.cancel()
        await asyncio.gather(storing, return_exceptions=True)
        assert session.counts.errors == {}
        (batch,) = ZktecoDriver().plan(profile.points, Limits(), None, link)
        found = dict(zip(batch.points, await session.read(device, batch), strict=True))
        facts = await session.identify(device)
    assert [(each.name, each.data, {name: clear.text for name, clear in each.clear.items()}) for each in told] == [
        (each["name"], each["data"], each.get("clear", {})) for each in frame.get("events", [])
    ]
    for each, wanted in zip(told, frame.get("events", []), strict=True):
        assert each.t_ms == datetime.fromisoformat(wanted["at"]).replace(tzinfo=UTC).timestamp() * 1000
    for name, value in frame.get("values", {}).items():
        assert found[name] == value
    for name, status in frame.get("status", {}).items():
        fault = found[name]
        assert isinstance(fault, PointFault)
        assert fault.status == status
    assert {name: facts[name] for name in frame.get("facts", {})} == frame.get("facts", {})
