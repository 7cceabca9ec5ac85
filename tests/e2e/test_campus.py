"""The demo campus from register to HTTP API: what the page shows is what the simulated devices say, each reading once.

The simulated world stands still, so that "equal" means equal.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from device_profiles.errors import PlantroomError
from device_profiles.vocabulary import vocabulary
from edge_agent.cli.demo import AGENT, SITE
from edge_agent.cli.demo_campus import Campus
from edge_agent.local_api import ask
from tests.e2e.processes import WAIT_S, plantroom, samples_of, until
from tests.firmware_sim.test_profiles_meet_devices import LAST_DIGIT, NAMES, OWN_NAMES, PER_UNIT

STANDING_STILL = 0.001
BRANCHES = 24


class Running:
    """The campus, its simulator's words and its API's."""

    def __init__(self, campus: Campus) -> None:
        self.campus = campus
        self.models: dict[str, str] = {
            entry["id"]: entry["model"] for entry in json.loads((campus.folder / "campus.json").read_text())["devices"]
        }

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.campus.page.rstrip("/") + path, timeout=WAIT_S) as answer:
            return json.load(answer)

    def said_by(self, device: str) -> Mapping[str, Any]:
        """The simulated device's own values."""
        pipes = self.campus.program("sim").process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(json.dumps({"op": "values", "device": device}).encode() + b"\n")
        pipes.stdin.flush()
        values: Mapping[str, Any] = json.loads(pipes.stdout.readline())["values"]
        return values


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Campus(tmp_path_factory.mktemp("campus"), speed=STANDING_STILL, plant_room=False, morning=False) as campus:
        found = Running(campus)
        until(lambda: _has_every_point(found), "a reading of every point")
        yield found


def _has_every_point(running: Running) -> bool:
    points = running.get(f"/api/v1/points?site={SITE}")
    devices = {point["device"] for point in points}
    return len(devices) >= len(running.models) + BRANCHES and len(running.get("/api/v1/latest")) == len(points)


def test_values_are_what_the_devices_say(running: Running) -> None:
    latest: dict[str, dict[str, Any]] = {}
    for sample in running.get(f"/api/v1/latest?site={SITE}"):
        latest.setdefault(sample["device"], {})[sample["point"]] = sample
    compared = 0
    for device, model in running.models.items():
        said = running.said_by(device)
        for point, quantity in (NAMES | OWN_NAMES.get(model, {})).items():
            sample = latest.get(device, {}).get(point)
            if sample is None or quantity not in said:
                continue
            expected = float(said[quantity] or 0) * PER_UNIT.get(quantity, 1)
            assert sample["value"] == pytest.approx(expected, rel=0.005, abs=LAST_DIGIT.get(model, 0.06)), sample
            assert sample["q"] == 0
            compared += 1
    said = running.said_by("board-2a")
    for number in range(1, BRANCHES + 1):
        branch = latest[f"board-2a-{number}"]
        for point, quantity in (("power_active", "kw"), ("energy_active_import", "kwh")):
            assert branch[point]["value"] == pytest.approx(said[f"c{number}_{quantity}"], abs=0.006)
            compared += 1
    assert compared > 150


def test_units_are_the_vocabularys(running: Running) -> None:
    words = vocabulary()
    listed = running.get(f"/api/v1/points?site={SITE}")
    assert len(listed) > 600
    for entry in listed:
        defined = words.point(entry["id"])
        assert defined is not None, entry
        assert entry["meta"].get("unit") == defined.unit, entry
    by_point = {sample["point"]: sample["unit"] for sample in running.get(f"/api/v1/latest?site={SITE}")}
    assert [by_point[name] for name in ("voltage_l1", "power_active", "energy_active_import", "zone_temperature")] == [
        "V", "kW", "kW.h", "Cel",
    ]  # fmt: skip


def test_status_shows_every_device_on_one_line(running: Running) -> None:
    done = plantroom("status", "--socket", running.campus.socket)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    devices = [device["id"] for device in running.get(f"/api/v1/devices?site={SITE}")]
    assert f"{len(devices)} devices, {len(devices)} ok" in lines
    table = [line.split()[0] for line in lines if " ok  " in line]
    assert sorted(table) == sorted(devices)


def test_nothing_is_lost_and_nothing_is_there_twice(running: Running) -> None:
    agent = until(lambda: _drained(running), "everything to be stored")
    (epoch,) = running.get(f"/api/v1/ledger?agent={AGENT}")
    assert (epoch["epoch"], epoch["first"], epoch["last"]) == (agent["epoch"], 1, agent["last_seq"])
    assert (epoch["missing"], epoch["messages"]) == ([], agent["last_seq"])
    stored = 0
    for device in running.get(f"/api/v1/devices?site={SITE}"):
        for _, samples in samples_of(running.get, SITE, device["id"]):
            assert len(samples) == len({t for t, _ in samples})
            stored += len(samples)
    assert stored == agent["values"]


def _drained(running: Running) -> Mapping[str, Any] | None:
    status: Mapping[str, Any] = ask(running.campus.socket, "drain")
    return status if status["spool"]["msgs"] == 0 else None


def test_its_devices_are_at_least_those_that_were_promised(running: Running) -> None:
    by_link: dict[str, int] = {}
    for entry in json.loads((running.campus.folder / "campus.json").read_text())["devices"]:
        by_link[entry["link"].partition(":")[0]] = by_link.get(entry["link"].partition(":")[0], 0) + 1
    assert sum(by_link.values()) >= 12
    assert by_link["serial"] >= 2
    assert {"schneider-pm5000", "sunspec-inverter-three-phase", "abb-acs580", "generic-air-quality"} <= set(
        running.models.values()
    )
    assert "waveshare-relay-8ch-d" in running.models.values()


def test_an_agent_that_was_killed_is_started_again_and_another_part_is_named(running: Running) -> None:
    """The last test: the campus is not whole after it."""
    campus = running.campus
    campus.check()
    _kill(running, "agent")
    campus.check()
    assert campus.restarts == 1
    assert campus.program("agent").process.poll() is None
    _kill(running, "broker")
    with pytest.raises(PlantroomError, match=r"broker: ended by itself \(it ended with code -9\).*see .*broker\.log"):
        campus.check()


def _kill(running: Running, part: str) -> None:
    process = running.campus.program(part).process
    process.kill()
    process.wait(WAIT_S)
