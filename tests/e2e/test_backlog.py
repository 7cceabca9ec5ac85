"""A week's backlog after an outage: live readings go past it, all of it arrives, and completeness accounts for every slot.

The backlog is put into the spool's file beforehand, through the spool's own door, as an agent would have done week-long.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from device_profiles.reading import Acquisition
from edge_agent.encode import builders
from edge_agent.model import SpoolSettings
from edge_agent.spool import Kind, Spool
from gateway.contract.events import make_event
from tests.e2e.processes import AGENT, SITE, Listener, Site, until

METERS = 10
POINTS = ("voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3")
SLOT_S = 1800
SLOT_MS = SLOT_S * 1000
WEEK = 7 * 86_400_000 // SLOT_MS
"""Slots of a week."""
LIVE_MS = 60_000
DOWN, HOLE = range(100, 110), range(200, 203)
"""Slots in which meter-1 was down and said so, and in which meter-2 has nothing and no reason: the control."""

Backlog = dict[tuple[str, int], Mapping[str, float]]


def number(device: int, slot: int, point: int) -> float:
    """Counts up and is there once."""
    return float(slot * 100 + device * 10 + point)


async def fill_spool(path: Path, first_ms: int) -> tuple[Backlog, str, int]:
    """A week of one message a slot and device. Returns what was put, and the epoch with its last number."""
    path.parent.mkdir(parents=True)
    settings = SpoolSettings(path, floor_free_bytes=0, ballast_bytes=0, commit_ms=100)
    spool = Spool.open(settings, site=SITE, agent=AGENT, on_commit=lambda _: None, on_trouble=_fail)
    put: Backlog = {}
    last, down_ms = 0, first_ms + DOWN[0] * SLOT_MS
    for slot in range(WEEK):
        for meter in range(1, METERS + 1):
            name, t_ms = f"meter-{meter}", first_ms + slot * SLOT_MS + meter
            if meter == 1 and slot in DOWN:
                if slot == DOWN[0]:
                    last = put_event(spool, "system.device_down", t_ms, {"since": down_ms, "sc": "BadTimeout"})
                elif slot == DOWN[-1]:
                    outage = {"since": down_ms, "down_ms": t_ms - down_ms}
                    last = put_event(spool, "system.device_up", t_ms, outage)
                continue
            if meter == 2 and slot in HOLE:
                continue
            good = {point: number(meter, slot, at) for at, point in enumerate(POINTS)}
            for _, build in builders(Acquisition(name, t_ms, good), cls="electricity_meter", meta="0", clk="ntp"):
                last = spool.put(Kind.TELEMETRY, name, t_ms, build)
            put[name, t_ms] = good
        if slot % 48 == 0:
            await spool.flush()
    await spool.flush()
    epoch = spool.epoch
    await spool.close()
    return put, epoch, last


def put_event(spool: Spool, name: str, t_ms: int, data: Mapping[str, Any]) -> int:
    build = partial(_event, name, t_ms, data)
    return spool.put(Kind.EVENT, "meter-1", t_ms, build, cls="system")


def _event(name: str, t_ms: int, data: Mapping[str, Any], epoch: str, seq: int) -> bytes:
    return make_event(
        name, site=SITE, agent=AGENT, device="meter-1", data=data, key=str(t_ms), t_ms=t_ms, epoch=epoch, seq=seq
    )


def _fail(kind: str, fields: Mapping[str, Any]) -> None:
    raise AssertionError((kind, fields))


def test_a_weeks_backlog_leaves_the_live_readings_alone(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    first_ms = ((now_ms - 5 * LIVE_MS) // SLOT_MS - WEEK) * SLOT_MS + LIVE_MS  # the last slot is over for good
    put, epoch, last = asyncio.run(fill_spool(tmp_path / "agent" / "spool.db", first_ms))
    with Site(tmp_path) as site:
        site.start_meters(METERS)
        site.start_broker()
        site.start_gateway()
        up = f"plantroom/v1/{SITE}/{AGENT}/up"
        with Listener(site.broker_port, f"{up}/data/#") as live, Listener(site.broker_port, f"{up}/hist/#") as late:
            document = site.agent_file(poll=1)
            for device in document["devices"]:
                device["heartbeat"] = SLOT_S
            site.start_agent(document)
            until(lambda: site.ledger().get(epoch, {}).get("messages") == last, "all of the week to be stored", 60)
            until(lambda: site.ask("status")["spool"]["msgs"] < 5 * METERS, "the spool to be empty but for what is new")
            arrived = {(topic.rpartition("/")[2], json.loads(payload)["t"]) for _, topic, payload, _ in late.heard}
            assert arrived == set(put), "history that did not come over up/hist, or came and never was"
            assert live.heard
            for at_ms, topic, payload, _ in live.heard:
                assert at_ms - json.loads(payload)["t"] <= LIVE_MS, f"{topic} is no live message"
            passed = sum(1 for at_ms, *_ in live.heard if at_ms < late.heard[-1][0])
            assert passed >= METERS, f"only {passed} live messages went past {len(late.heard)} late ones"
        compare(site, put, now_ms)
        told = site.ledger()[epoch]
        assert (told["first"], told["missing"], told["last"]) == (1, [], last)
        account_for_every_slot(site, first_ms - LIVE_MS)


def compare(site: Site, put: Backlog, now_ms: int) -> None:
    """What was put is in the store, once, with its values; the test began at `now_ms`."""
    stored: dict[tuple[str, int], dict[str, float]] = {}
    for meter in range(1, METERS + 1):
        for point, samples in site.samples(f"meter-{meter}"):
            assert len(samples) == len({t for t, _ in samples})
            for t, value in samples:
                if t < now_ms:
                    stored.setdefault((f"meter-{meter}", t), {})[point] = value
    assert stored == put


def account_for_every_slot(site: Site, begin_ms: int) -> None:
    """From the second slot on: the first began before there was a device."""
    from_ms, to_ms = begin_ms + SLOT_MS, begin_ms + WEEK * SLOT_MS
    found = site.get(f"/api/v1/completeness?site={SITE}&from={from_ms}&to={to_ms}")
    assert {entry["device"] for entry in found} == {f"meter-{meter}" for meter in range(1, METERS + 1)}
    for entry in found:
        assert entry["slots"] == (WEEK - 1) * len(POINTS), entry
        assert entry["slots"] == entry["filled"] + entry["explained"] + entry["missing"]
        explained = len(DOWN) if entry["device"] == "meter-1" else 0
        missing = len(HOLE) if entry["device"] == "meter-2" else 0
        for point in entry["points"]:
            assert point["slot_s"] == SLOT_S
            assert point["explained"] == ({"device_down": explained} if explained else {}), point
            assert point["missing"] == missing, point
            begin = begin_ms + HOLE[0] * SLOT_MS
            assert point["missing_ranges"] == ([[begin, begin + missing * SLOT_MS]] if missing else [])
