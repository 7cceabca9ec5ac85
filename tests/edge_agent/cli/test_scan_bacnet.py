"""plantroom scan bacnet, against simulated controllers that share no code with the driver."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_agent.cli import invoke
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.server import BacnetServer, Network

AHU, BOX = 1001, 2001


def building() -> tuple[BacnetServer, BacnetDevice]:
    """An air handler that is also the router to an MS/TP network of three boxes."""
    ahu = BacnetDevice(load_model("bacnet-ahu"), id="ahu-1", now=time.time)
    boxes = {
        bytes([n]): BacnetDevice(load_model("bacnet-vav"), id=f"vav-{n}", instance=2000 + n, now=time.time, seed=n)
        for n in range(1, 4)
    }
    network = Network(2, boxes, mstp=True, turnaround_s=(0.0, 0.001))
    return BacnetServer(ahu, networks=[network]), ahu


@contextmanager
def served() -> Iterator[tuple[str, BacnetDevice]]:
    """The link to the building, which lives in a loop of its own: the command under test has its own too."""
    ready = threading.Event()
    made: list[tuple[str, BacnetDevice]] = []
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        done = asyncio.Event()
        server, ahu = building()
        async with server:
            made.append(("{}:{}".format(*server.address), ahu))
            ends.append((asyncio.get_running_loop(), done))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    address, ahu = made[0]
    try:
        yield f"bacnet://127.0.0.1:{free_port()}?peers={address}", ahu
    finally:
        loop, done = ends[0]
        loop.call_soon_threadsafe(done.set)
        thread.join(10)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def link() -> Iterator[str]:
    with served() as (url, _):
        yield url


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def scan(link: str, *more: str) -> int:
    return invoke(["scan", "bacnet", "--link", link, "--wait", "0.2", *more])


def test_devices_are_listed_with_who_they_are_and_what_they_hold(link: str, capsys: Any) -> None:
    assert scan(link) == 0
    lines = capsys.readouterr().out.splitlines()
    [ahu] = [line for line in lines if str(AHU) in line]
    assert "ahu-1" in ahu
    assert "SIM-AHU-45" in ahu
    assert "AI 13" in ahu
    assert [line.split()[1] for line in lines if "vav-" in line] == ["2:0x01", "2:0x02", "2:0x03"]


def test_for_programs(link: str, capsys: Any) -> None:
    assert scan(link, "--json") == 0
    found = {one["instance"]: one for one in json.loads(capsys.readouterr().out)["devices"]}
    assert found.keys() == {AHU, BOX, BOX + 1, BOX + 2}
    assert found[AHU]["identity"]["model"] == "SIM-AHU-45"
    assert found[AHU]["objects"]["analog-input"] == 13
    assert found[BOX]["max_apdu"] == 480
    assert found[BOX]["problem"] is None


@pytest.mark.parametrize(
    ("limit", "instances"),
    [
        (["--range", "2002-2003"], {2002, 2003}),
        (["--range", "1001"], {AHU}),
        (["--network", "2"], {2001, 2002, 2003}),
        (["--network", "2", "--range", "0-2001"], {BOX}),
    ],
)
def test_ranges_and_networks(link: str, capsys: Any, limit: list[str], instances: set[int]) -> None:
    assert scan(link, "--json", *limit) == 0
    assert {one["instance"] for one in json.loads(capsys.readouterr().out)["devices"]} == instances


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--range", "7-9"], "no device answered"), (["--network", "9"], "check their addresses and ports")],
)
def test_nobody_answers(link: str, capsys: Any, more: list[str], said: str) -> None:
    assert scan(link, *more) == 1
    assert said in capsys.readouterr().err


def test_hints_say_what_to_try_next(capsys: Any) -> None:
    assert scan(f"bacnet://127.0.0.1:{free_port()}") == 1
    assert "bacnet://192.168.1.10/24" in capsys.readouterr().err
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        assert scan(f"bacnet://127.0.0.1:{other.getsockname()[1]}") == 1
    assert "choose another port" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["9-7", "x", "1-x", "0-4194304"])
def test_ranges_that_are_none(link: str, capsys: Any, text: str) -> None:
    assert scan(link, "--range", text) == 2
    assert "--range" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--objects", "1", "--propose", "2"], ["--from-ede", "x.csv"], ["--objects", "4194303"]]
)
def test_options_that_do_not_go_together(link: str, arguments: list[str]) -> None:
    assert scan(link, *arguments) == 2


def test_links_that_are_none(capsys: Any) -> None:
    assert invoke(["scan", "bacnet"]) == 2
    assert invoke(["scan", "bacnet", "--link", "tcp://127.0.0.1:502"]) == 1
    assert "carries no BACnet" in capsys.readouterr().err
    assert scan(f"bacnet://127.0.0.1:{free_port()}?peers=nonsense:x") == 1
    assert "Traceback" not in capsys.readouterr().err


def test_one_device_in_full(link: str, capsys: Any) -> None:
    assert scan(link, "--objects", str(AHU), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    found = {one["object"]: one for one in document["objects"]}
    supply = found["analog-input:1"]
    assert (supply["name"], supply["unit"], supply["status"]) == ("SA-T", "Cel", "Good")
    assert isinstance(supply["value"], float)
    assert found["binary-input:1"]["texts"] == {"0": "Off", "1": "On"}
    assert found["analog-output:1"]["commandable"]
    assert not found["analog-input:1"]["commandable"]
    assert len(found["multi-state-value:1"]["texts"]) == 4
    assert scan(link, "--objects", str(AHU)) == 0
    assert "Supply air temperature" in capsys.readouterr().out


def test_a_device_that_is_not_there(link: str, capsys: Any) -> None:
    assert scan(link, "--objects", "77") == 1
    assert "no I-Am from instance 77" in capsys.readouterr().err


def test_schedules_and_calendars(link: str, capsys: Any) -> None:
    assert scan(link, "--schedules", str(AHU)) == 0
    document = json.loads(capsys.readouterr().out)
    [schedule], [calendar] = document["schedules"], document["calendars"]
    assert schedule["weekly"]["monday"][0] == {"at": "06:00:00", "value": 1}
    assert schedule["exceptions"][0]["when"] == {"calendar": "calendar:1"}
    assert schedule["writes"] == ["multi-state-value:1 present-value"]
    assert {"date": "*-01-01"} in calendar["dates"]


def test_object_lists_are_read_once_a_revision(capsys: Any, tmp_path: Path) -> None:
    with served() as (link, ahu):
        kept = tmp_path / "lists"
        requests: list[int] = []
        for _ in range(3):
            before = ahu.requests
            assert scan(link, "--range", str(AHU), "--cache", str(kept)) == 0
            requests.append(ahu.requests - before)
            if len(requests) == 2:
                ahu.about.revision += 1
        first, second, changed = requests
        assert first == changed == second + 1
        (kept / f"{AHU}.json").write_text("{", encoding="utf-8")
        assert scan(link, "--range", str(AHU), "--cache", str(kept)) == 0
        assert "AI 13" in capsys.readouterr().out


def test_ede_files_and_proposals(link: str, capsys: Any, tmp_path: Path) -> None:
    path = tmp_path / "ahu_EDE.csv"
    assert scan(link, "--objects", str(AHU), "--ede", str(path)) == 0
    assert "1001_0_1;1001;SA-T;0;1;Supply air temperature" in path.read_text(encoding="utf-8")
    assert (tmp_path / "ahu_StateTexts.csv").exists()
    capsys.readouterr()
    assert scan(link, "--propose", str(AHU)) == 0
    profile = yaml.safe_load(capsys.readouterr().out)
    assert profile["protocol"] == "bacnet"
    assert "supply_air_temperature" in {point["id"] for point in profile["points"]}
    assert invoke(["scan", "bacnet", "--from-ede", str(path), "--propose", str(AHU)]) == 0
    assert "supply_air_temperature" in capsys.readouterr().out
    assert invoke(["scan", "bacnet", "--from-ede", str(path), "--json"]) == 0
    planned = {one["object"]: one for one in json.loads(capsys.readouterr().out)["objects"]}
    assert (planned["analog-input:1"]["name"], planned["analog-input:1"]["unit"]) == ("SA-T", "Cel")
    assert invoke(["scan", "bacnet", "--from-ede", str(path), "--objects", "7"]) == 1
    assert "no device 7" in capsys.readouterr().err
    assert invoke(["profile", "propose", "--ede", str(path)]) == 0
    assert "supply_air_temperature" in capsys.readouterr().out
    assert scan(link, "--ede", str(tmp_path / "all_EDE.csv")) == 0
    assert "2003;" in (tmp_path / "all_EDE.csv").read_text(encoding="utf-8")
