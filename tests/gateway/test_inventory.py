"""What sites announced: taken from retained documents, kept over restarts, and who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_profiles.errors import StoreUnavailable
from gateway.contract.topics import Topics, parse
from gateway.current import MOST_ALARMS
from gateway.inventory import Inventory
from tests.gateway.message_box import AGENT, DEV, NOW, SITE, TOPICS


async def opened(folder: Path, **more: Any) -> Inventory:
    inventory = Inventory(folder / "inventory.db", wall_ms=lambda: NOW, **({"registered": None} | more))
    await inventory.open()
    return inventory


def say(inventory: Inventory, rest: str, document: Any, topics: Topics = TOPICS) -> str | None:
    topic = parse(topics.up(rest))
    assert topic is not None
    return inventory.take(topic, document if isinstance(document, bytes) else msgspec.json.encode(document))


def meta(rev: str = "r1", **more: Any) -> dict[str, Any]:
    return {
        "v": 1, "rev": rev, "name": "Incomer", "cls": "electricity_meter", "system": "energy", "profile": "a/b@1",
        "proto": "modbus", "addr": "x:1", "points": {"power_active": {"type": "num", "hb_s": 300}},
    } | more  # fmt: skip


def status(state: str, sid: int, epoch: str = "E", **more: Any) -> dict[str, Any]:
    return {"v": 1, "state": state, "epoch": epoch, "sid": sid} | more


def state(word: str, since: int, **more: Any) -> dict[str, Any]:
    return {"v": 1, "t": since, "state": word, "since": since, "ok": 1, "err": 0} | more


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    assert say(inventory, "status", status("online", 3, t=NOW)) is None
    assert say(inventory, "site", {"v": 1, "tz": "Asia/Shanghai", "name": "HQ"}) is None
    assert say(inventory, "caps", {"v": 1, "contract": ["1.0"], "drivers": ["modbus"], "ops": {}}) is None
    assert say(inventory, f"dev/{DEV}/meta", meta()) is None
    assert say(inventory, f"dev/{DEV}/state", state("ok", NOW)) is None
    assert inventory.saw(SITE, AGENT, DEV, NOW + 5)
    devices, agents = inventory.devices(), inventory.agents()
    await inventory.close()
    inventory = await opened(tmp_path)
    assert inventory.devices() == devices
    assert [agent.caps for agent in inventory.agents()] == [agent.caps for agent in agents]
    assert inventory.agents()[0].online
    assert (inventory.zone(SITE), inventory.zone("elsewhere")) == ("Asia/Shanghai", "UTC")
    assert devices[0].last_seen_ms == NOW + 5
    await inventory.close()


async def test_a_will_of_an_earlier_session_is_ignored(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    for document, expected in (
        (status("online", 3), "online"),
        (status("lost", 2), "online"),
        (status("lost", 3), "lost"),
        (status("online", 4), "online"),
        (status("lost", 9, epoch="F"), "lost"),
    ):
        assert say(inventory, "status", document) is None
        agent = inventory.agent(SITE, AGENT)
        assert agent is not None
        assert agent.status is not None
        assert agent.status.state == expected
    await inventory.close()


async def test_every_revision_is_kept(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    for rev in ("r1", "r2", "r2", "r1"):
        assert say(inventory, f"dev/{DEV}/meta", meta(rev, name=rev)) is None
    found = await inventory.revisions(SITE, DEV)
    assert sorted(revision.rev for revision in found) == ["r1", "r2"]
    device = inventory.device(SITE, DEV)
    assert device is not None
    assert device.meta is not None
    assert device.meta.rev == "r1"
    await inventory.close()


async def test_state_changes_are_kept_and_repeats_are_not(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    for word, since in (("ok", 100), ("ok", 100), ("down", 200), ("ok", 300)):
        assert say(inventory, f"dev/{DEV}/state", state(word, since)) is None
    assert [(one.t_ms, one.state) for one in await inventory.state_changes(SITE, DEV, 0, 1000)] == [
        (100, "ok"),
        (200, "down"),
        (300, "ok"),
    ]
    assert [one.state for one in await inventory.state_changes(SITE, DEV, 250, 280)] == ["down"]
    await inventory.close()


async def test_one_owner_of_an_id(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    other = Topics(SITE, "gw-02")
    assert say(inventory, f"dev/{DEV}/meta", meta()) is None
    assert say(inventory, f"dev/{DEV}/meta", meta(), other) == "dev_conflict"
    assert say(inventory, f"dev/{DEV}/state", state("ok", 1), other) == "dev_conflict"
    assert not inventory.saw(SITE, "gw-02", DEV, NOW)
    assert say(inventory, f"dev/{DEV}/meta", b"", other) is None
    assert inventory.device(SITE, DEV) is not None
    assert say(inventory, f"dev/{DEV}/meta", b"") is None
    assert inventory.device(SITE, DEV) is None
    assert say(inventory, f"dev/{DEV}/meta", meta(), other) is None
    assert inventory.saw(SITE, "gw-02", DEV, NOW)
    await inventory.close()


async def test_a_device_that_only_sent_data_goes_to_whoever_announces_it(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    assert inventory.saw(SITE, AGENT, DEV, NOW)
    assert say(inventory, f"dev/{DEV}/meta", meta(), Topics(SITE, "gw-02")) is None
    assert not inventory.saw(SITE, AGENT, DEV, NOW)
    await inventory.close()


async def test_a_box_that_was_replaced(tmp_path: Path) -> None:
    """Once the old agent is no more in the list, its devices go to whoever announces them; till then they do not."""
    inventory = await opened(tmp_path, registered=[(SITE, AGENT), (SITE, "gw-02")])
    assert say(inventory, f"dev/{DEV}/meta", meta()) is None
    assert say(inventory, f"dev/{DEV}/meta", meta(), Topics(SITE, "gw-02")) == "dev_conflict"
    await inventory.close()
    inventory = await opened(tmp_path, registered=[(SITE, "gw-02")])
    assert say(inventory, f"dev/{DEV}/meta", meta("r2"), Topics(SITE, "gw-02")) is None
    assert inventory.saw(SITE, "gw-02", DEV, NOW)
    device = inventory.device(SITE, DEV)
    assert device is not None
    assert device.agent == "gw-02"
    await inventory.close()


async def test_registration_by_file_and_by_api(tmp_path: Path) -> None:
    inventory = await opened(tmp_path, registered=[(SITE, AGENT)])
    assert inventory.is_registered(SITE, AGENT)
    assert not inventory.is_registered(SITE, "gw-02")
    assert not inventory.is_registered("other", AGENT)
    await inventory.register(SITE, "gw-02")
    await inventory.close()
    inventory = await opened(tmp_path, registered=())
    assert (inventory.is_registered(SITE, "gw-02"), inventory.is_registered(SITE, AGENT)) == (True, False)
    await inventory.close()


@pytest.mark.parametrize(
    ("rest", "document", "reason"),
    [
        ("status", b"{", "json"),
        ("status", b"[]", "schema"),
        ("status", {"v": 1, "state": 7, "epoch": "E", "sid": 1}, "schema"),
        ("site", {"v": 1, "tz": "Nowhere/Else", "name": "x"}, "tz"),
        ("site", {"v": 1, "tz": "../../etc/passwd", "name": "x"}, "tz"),
        ("caps", b"[]", "schema"),
        (f"dev/{DEV}/meta", b"\xff", "json"),
        (f"dev/{DEV}/meta", b'{"v":1,"z":' + b"[" * 50_000, "json"),
        (f"dev/{DEV}/state", {"v": 1}, "schema"),
        ("config/reported", b"anything", "json"),
        ("discovery/scan-1", b"anything", None),
        ("metrics", b"anything", None),
    ],
)
async def test_what_is_not_taken_changes_nothing(tmp_path: Path, rest: str, document: Any, reason: str | None) -> None:
    inventory = await opened(tmp_path)
    assert say(inventory, rest, document) == reason
    assert inventory.devices() == []
    assert inventory.sites() == {}
    await inventory.close()


async def test_a_word_of_a_later_version_is_read_as_other(tmp_path: Path) -> None:
    points = {"power_active": {"type": "vector"}, "mode": {"type": "enum"}}
    inventory = await opened(tmp_path)
    assert say(inventory, "status", status("asleep", 1)) is None
    assert say(inventory, f"dev/{DEV}/meta", meta(points=points)) is None
    assert say(inventory, f"dev/{DEV}/state", state("warming_up", NOW)) is None
    for _ in range(2):
        agent, device = inventory.agent(SITE, AGENT), inventory.device(SITE, DEV)
        assert agent is not None
        assert agent.status is not None
        assert device is not None
        assert device.state is not None
        assert (agent.status.state, agent.online, device.state.state) == ("other", False, "other")
        assert {name: point.type for name, point in device.points.items()} == {"power_active": "other", "mode": "enum"}
        await inventory.close()
        inventory = await opened(tmp_path)  # the file holds the document as it came
    assert [change.state for change in await inventory.state_changes(SITE, DEV, 0, NOW + 1)] == ["other"]
    await inventory.close()


async def test_a_full_disk_forgets_nothing(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    assert inventory._db is not None
    (pages,) = inventory._db.execute("PRAGMA page_count").fetchone()
    inventory._db.execute(f"PRAGMA max_page_count={pages}")
    for number in range(400):
        inventory.saw(SITE, AGENT, f"meter-{number}-{'x' * 30}", NOW)
    with pytest.raises(StoreUnavailable, match="full"):
        await inventory.flush()
    inventory._db.execute("PRAGMA max_page_count=100000")
    await inventory.close()
    again = await opened(tmp_path)
    assert len([device for device in again.devices(SITE) if device.id.startswith("meter-3")]) == 111
    await again.close()


async def test_alarms_are_those_that_are_retained(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    assert say(inventory, f"dev/{DEV}/meta", meta()) is None
    tamper = {"v": 1, "id": "tamper", "sev": "high", "st": "active", "since": NOW, "n": 2}
    assert say(inventory, f"alarm/{DEV}/tamper", tamper) is None
    assert say(inventory, f"alarm/{DEV}/later", tamper | {"id": "later", "sev": "apocalyptic", "n": 1}) is None
    assert [(alarm.id, alarm.sev, alarm.n) for alarm in inventory.current.alarms(SITE, DEV)] == [
        ("later", "other", 1),
        ("tamper", "high", 2),
    ]
    assert say(inventory, f"alarm/{DEV}/power", tamper) == "topic"
    assert say(inventory, f"alarm/{DEV}/tamper", {"v": 1}) == "schema"
    assert say(inventory, f"alarm/{DEV}/later", b"") is None
    assert [alarm.id for alarm in inventory.current.alarms(SITE, DEV)] == ["tamper"]
    inventory.current.begin()
    assert inventory.current.alarms(SITE, DEV) == []
    assert say(inventory, f"alarm/{DEV}/tamper", tamper) is None
    assert say(inventory, f"dev/{DEV}/meta", b"") is None
    assert inventory.current.alarms(SITE, DEV) == [], "a device that was removed has none"
    await inventory.close()


async def test_what_is_retained_of_a_device_of_another_agent_is_refused(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    assert say(inventory, f"dev/{DEV}/meta", meta()) is None
    other = Topics(SITE, "gw-02")
    assert say(inventory, f"dev/{DEV}/last", {"v": 1, "t": NOW, "meta": "r1"}, other) == "dev_conflict"
    assert say(inventory, f"alarm/{DEV}/x", {}, other) == "dev_conflict"
    assert say(inventory, f"dev/{DEV}/last", {"v": 1, "t": NOW, "meta": "r1", "s": {"power_active": 1.5}}) is None
    last = inventory.current.last(SITE, DEV)
    assert last is not None
    assert last.s == {"power_active": 1.5}
    assert say(inventory, "config/reported", {"v": 1, "seen": 2, "applied": 2, "st": "applied", "t": NOW}) is None
    assert say(inventory, "config/reported", {"v": 1, "seen": 2}) == "schema"
    reported = inventory.current.reported(SITE, AGENT)
    assert reported is not None
    assert reported.applied == 2
    await inventory.close()


async def test_alarms_of_a_device_are_bounded(tmp_path: Path) -> None:
    inventory = await opened(tmp_path)
    alarm = {"v": 1, "sev": "low", "st": "active", "since": NOW}
    said = [say(inventory, f"alarm/{DEV}/a{n}", alarm | {"id": f"a{n}"}) for n in range(MOST_ALARMS + 2)]
    assert (said.count(None), said.count("too_many")) == (MOST_ALARMS, 2)
    await inventory.close()
