"""The demo's plant room as processes: BACnet by change of value, OPC UA encrypted, and a set-point written, held and released."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from edge_agent.cli.demo_campus import OPCUA_DEVICES, Campus
from edge_agent.local_api import ask
from tests.e2e.processes import WAIT_S, plantroom, until

SETPOINT = "supply_air_temperature_setpoint"


@pytest.fixture(scope="module")
def campus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    with Campus(tmp_path_factory.mktemp("plant"), morning=False) as running:
        yield running


def get(campus: Campus, path: str) -> Any:
    with urllib.request.urlopen(campus.page.rstrip("/") + path, timeout=WAIT_S) as answer:
        return json.load(answer)


def stored(campus: Campus, device: str) -> Mapping[str, Mapping[str, Any]]:
    return {sample["point"]: sample for sample in get(campus, "/api/v1/latest") if sample["device"] == device}


def modes(campus: Campus, device: str) -> list[str]:
    """How the points of a device are kept: cov, polled or stale."""
    points = ask(campus.socket, "latest", device=device)[device]["points"]
    return [point["mode"] for point in (points.values() if isinstance(points, dict) else points)]


def test_an_air_handler_reports_its_changes(campus: Campus) -> None:
    found = until(
        lambda: stored(campus, "ahu-1") if len(stored(campus, "ahu-1")) > 30 else None, "the air handler's points"
    )
    assert (found["supply_air_temperature"]["unit"], found["supply_air_temperature"]["q"]) == ("Cel", 0)
    assert -30 < found["outside_air_temperature"]["value"] < 45
    until(lambda: modes(campus, "ahu-1").count("cov") > 30, "the air handler's subscriptions")


def test_an_opcua_server_is_read_encrypted(campus: Campus) -> None:
    for device, _, _, _ in OPCUA_DEVICES:
        assert until(lambda device=device: stored(campus, device), f"{device} in the store")  # type: ignore[misc]
    assert "plant.der" in {file.name for file in (campus.folder / "agent/pki/trusted").iterdir()}
    until(lambda: modes(campus, "energy-station").count("cov") >= 10, "the energy station's subscription")


def test_a_setpoint_is_written_held_and_given_back(campus: Campus) -> None:
    until(lambda: SETPOINT in stored(campus, "ahu-1"), "the set-point's reading")
    before = stored(campus, "ahu-1")[SETPOINT]["value"]
    wanted = before + 2
    done = plantroom(
        "write", "ahu-1", SETPOINT, str(wanted), "--hold", "3", "--yes", "--json", "--socket", campus.socket
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    until(
        lambda: stored(campus, "ahu-1")[SETPOINT]["value"] == pytest.approx(wanted, abs=0.01), "the value in the store"
    )
    until(lambda: stored(campus, "ahu-1")[SETPOINT]["value"] == pytest.approx(before, abs=0.01), "the hold to end")
    refused = plantroom("write", "ahu-1", SETPOINT, "95", "--hold", "3", "--yes", "--socket", campus.socket)
    assert refused.returncode == 1
    assert "out_of_range" in refused.stdout + refused.stderr
