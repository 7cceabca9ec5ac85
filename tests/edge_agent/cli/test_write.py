"""plantroom write and release, over a link of their own to simulated devices and through an agent's socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import ConfigError
from device_profiles.library import Library
from device_profiles.schema import Point
from edge_agent.cli import invoke
from edge_agent.cli.write_show import amount, duration
from edge_agent.cli.write_value import seconds_of, value_of
from edge_agent.local_api import LocalApi
from firmware_sim.device import Device
from firmware_sim.devices import build
from firmware_sim.faults import add_fault
from firmware_sim.tcp import Station, TcpServer

RELAYS, DRIVE = "waveshare-relay-8ch-d", "abb-acs580"


@contextmanager
def in_a_loop(serve: Callable[[Callable[[Any], None], asyncio.Event], Any]) -> Iterator[Any]:
    """Runs a server in a loop of its own: the commands under test have theirs."""
    told: list[Any] = []
    ready = threading.Event()
    ends: list[Callable[[], object]] = []

    async def main() -> None:
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(done.set))

        def tell(what: Any) -> None:
            told.append(what)
            ready.set()

        await serve(tell, done)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield told[0]
    finally:
        ends[0]()
        thread.join(10)


@contextmanager
def served(device: Device) -> Iterator[list[str]]:
    """The options that name the device on its link."""

    async def serve(tell: Callable[[Any], None], done: asyncio.Event) -> None:
        async with TcpServer(Station([device], any_unit=True)) as server:
            tell(server.port)
            await done.wait()

    with in_a_loop(serve) as port:
        yield ["--link", f"tcp://127.0.0.1:{port}", "--profile", device.model.slug, "--timeout", "2"]


def simulated(slug: str) -> Device:
    return build(slug, id="d", unit=1, seed=3, now=lambda: 1_780_045_200.0)


Run = Callable[..., "tuple[int, dict[str, Any]]"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; (exit code, its JSON document)."""

    def invoked(*argv: str) -> tuple[int, dict[str, Any]]:
        code = invoke([*argv, "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out.strip() else {}

    return invoked


def test_a_relay_is_switched_and_read_back(run: Run) -> None:
    board = simulated(RELAYS)
    with served(board) as where:
        code, document = run("write", "output_3", "on", *where, "--yes")
        assert (code, document["st"], document["res"]["readback"]) == (0, "succeeded", True)
        assert board.snapshot["relay3"] is True
        code, document = run("write", "output_3", "off", *where, "--yes", "--if", "off")
        assert (code, document["err"]["code"]) == (1, "precondition")
        assert board.snapshot["relay3"] is True
        assert run("write", "output_3", "off", *where, "--yes", "--if", "on")[0] == 0
    assert board.snapshot["relay3"] is False


def test_a_dry_run_says_it_all_and_writes_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    drive = simulated(DRIVE)
    with served(drive) as where:
        code, document = run("write", "speed_reference", "50 %", *where, "--dry-run")
        facts = document["res"]
        assert (code, facts["val"], facts["raw"], facts["max"]) == (0, 50, 10000, 100)
        assert facts["does"] == "FC 6: holding register 1 (0x0001) = 10000 (0x2710)"
        assert facts["interlocks"] == [{"p": "remote_control", "val": True, "age_s": 0.0, "ok": True}]
        assert invoke(["write", "start_command", "on", *where, "--dry-run"]) == 0
        said = capsys.readouterr().out
    assert drive.writes == 0
    for words in (
        "nothing is written",
        "off (raw 0)",
        "on (raw 1)",
        "FC 22: holding register 0",
        "remote_control is on",
    ):
        assert words in said


def test_a_drive_is_made_ready_started_and_given_a_reference(run: Run) -> None:
    drive = simulated(DRIVE)
    with served(drive) as where:
        assert run("write", "control_word", "1150", *where, "--yes")[0] == 0
        assert run("write", "start_command", "on", *where, "--yes")[0] == 0
        code, document = run("write", "speed_reference", "33.333", *where, "--yes")
    assert (code, document["res"]["readback"]) == (0, 33.335), (
        "the nearest that the register can say, within its tolerance"
    )
    assert (drive.snapshot["control_word"], drive.snapshot["reference_20000"]) == (0x047F, 6667)


@pytest.mark.parametrize(
    ("point", "value", "code", "said"),
    [
        ("speed_reference", "120", "out_of_range", "outside 0 to 100 %"),
        ("speed_reference", "fast", "out_of_range", "'fast' is no number"),
        ("start_command", "maybe", "out_of_range", "neither on nor off"),
        ("running", "on", "not_writable", "not written"),
        ("control_word", "1.5", "out_of_range", "cannot be written exactly"),
    ],
)
def test_what_is_refused_is_never_sent(run: Run, point: str, value: str, code: str, said: str) -> None:
    drive = simulated(DRIVE)
    with served(drive) as where:
        exit_code, document = run("write", point, value, *where, "--yes")
    assert (exit_code, document["st"], document["err"]["code"]) == (1, "rejected", code)
    assert said in document["err"]["msg"]
    assert drive.writes == 0


def test_a_device_that_confirms_and_ignores_is_no_success(run: Run, tmp_path: Path) -> None:
    shipped = Library.default([]).path(RELAYS).read_text(encoding="utf-8")
    (tmp_path / f"{RELAYS}.yaml").write_text(shipped.replace("{function: single}", "{function: single, within: 0.01}"))
    board = simulated(RELAYS)
    add_fault(board.faults, "ignore_writes", {}, 0.0)
    with served(board) as where:
        code, document = run("write", "output_1", "on", *where, "--dir", str(tmp_path), "--yes")
    assert (code, document["st"], document["err"]["code"]) == (1, "failed", "timeout")
    assert board.writes == 1


def test_a_refusal_of_the_device_is_told(run: Run) -> None:
    board = simulated(RELAYS)
    add_fault(board.faults, "exception", {"function": 5, "code": 4}, 0.0)
    with served(board) as where:
        code, document = run("write", "output_1", "on", *where, "--yes")
    assert (code, document["st"]) == (1, "failed")
    assert "exception 4" in document["err"]["msg"]


def test_a_device_that_is_not_there(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    board = simulated(RELAYS)
    add_fault(board.faults, "silent", {}, 0.0)
    with served(board) as where:
        where[-1] = "0.1"
        code, document = run("write", "output_1", "on", *where, "--yes")
    assert (code, document["err"]["code"]) == (1, "device_down")
    assert invoke(["write", "output_1", "on", "--link", "tcp://127.0.0.1:1", "--profile", RELAYS, "--yes"]) == 1
    assert "connection refused" in capsys.readouterr().err


def test_nobody_to_ask_and_no_yes_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["write", "output_1", "on", "--link", "tcp://127.0.0.1:1", "--profile", RELAYS]) == 2
    assert "--yes" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code", "writes"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0)])
def test_people_are_asked_once(
    answer: str, code: int, writes: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    board = simulated(RELAYS)
    with served(board) as where:
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert invoke(["write", "output_2", "on", *where]) == code
    assert board.writes == writes
    assert "FC 5: coil 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["write", "relay-1", "output_1"], "give DEVICE POINT VALUE; got 2 words"),
        (
            ["write", "relay-1", "output_1", "on", "--link", "tcp://127.0.0.1:1", "--profile", RELAYS],
            "give POINT VALUE; got 3",
        ),
        (["write", "output_1", "on", "--link", "tcp://127.0.0.1:1"], "--profile is missing"),
        (["write", "relay-1", "output_1", "on", "--profile", RELAYS], "--profile goes with --link"),
        (["release", "output_1"], "give DEVICE POINT; got 1 words"),
    ],
)
def test_wrong_usage(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([*argv, "--yes"]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["output_9", "on"], "has no point 'output_9'. did you mean 'output_8'?"),
        (["output_1", "on", "--hold", "10min"], "nobody would end the hold"),
        (["output_1", "on", "--hold", "soon"], "'soon' is no duration"),
    ],
)
def test_what_a_person_wrote_wrongly(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["write", *argv, "--link", "tcp://127.0.0.1:1", "--profile", RELAYS, "--yes"]) == 1
    assert said in capsys.readouterr().err


def test_without_an_agent_and_a_configuration_it_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["write", "relay-1", "output_1", "on", "--yes", "--socket", str(tmp_path / "none.sock")]) == 1
    assert "no agent answers here" in capsys.readouterr().err


def test_with_a_configuration_and_no_agent_its_own_link_is_opened(run: Run, tmp_path: Path) -> None:
    board = simulated(RELAYS)
    with served(board) as where:
        config = tmp_path / "agent.yaml"
        config.write_text(
            f"agent: {{id: edge-1, site: hq, tz: UTC, name: A, data_dir: {tmp_path}, socket: {tmp_path}/a.sock}}\n"
            f"mqtt: {{url: mqtt://127.0.0.1:1883}}\nlinks: {{l1: '{where[1]}'}}\n"
            f"devices:\n  - {{id: relay-1, profile: {RELAYS}, link: l1, unit: 1, name: Relays}}\n"
        )
        code, document = run("write", "relay-1", "output_5", "on", "--config", str(config), "--yes")
    assert (code, document["device"]) == (0, "relay-1"), document
    assert board.snapshot["relay5"] is True


def test_a_modbus_point_is_released_only_where_the_profile_says_how(run: Run) -> None:
    with served(simulated(RELAYS)) as where:
        code, document = run("release", "output_1", *where, "--yes")
    assert (code, document["err"]["code"]) == (1, "unsupported")


def test_a_point_that_is_only_held_needs_the_agent(run: Run, tmp_path: Path) -> None:
    shipped = Library.default([]).path(RELAYS).read_text(encoding="utf-8")
    (tmp_path / f"{RELAYS}.yaml").write_text(shipped.replace("{function: single}", "{function: single, hold_max: 60}"))
    board = simulated(RELAYS)
    with served(board) as where:
        code, document = run("write", "output_1", "on", *where, "--dir", str(tmp_path), "--yes")
    assert (code, document["err"]["code"]) == (1, "unsupported")
    assert "nobody would end the hold" in document["err"]["msg"]
    assert board.writes == 0


def test_a_release_writes_what_the_profile_says(run: Run, tmp_path: Path) -> None:
    shipped = Library.default([]).path(RELAYS).read_text(encoding="utf-8")
    (tmp_path / f"{RELAYS}.yaml").write_text(
        shipped.replace("{function: single}", "{function: single, release: false}")
    )
    board = simulated(RELAYS)
    with served(board) as where:
        assert run("write", "output_1", "on", *where, "--yes")[0] == 0
        code, document = run("release", "output_1", *where, "--dir", str(tmp_path), "--yes")
    assert (code, document["res"]["readback"]) == (0, False)
    assert board.snapshot["relay1"] is False


@contextmanager
def agent(socket: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """A local socket that answers commands."""
    heard: list[dict[str, Any]] = []

    async def handle(request: Any) -> Any:
        if "id" in request:
            return answer({})
        heard.append(dict(request["command"]))
        return answer(heard[-1])

    async def serve(tell: Callable[[Any], None], done: asyncio.Event) -> None:
        async with LocalApi(socket, {"command": handle}):
            tell(socket)
            await done.wait()

    with in_a_loop(serve):
        yield heard


def test_the_running_agent_is_asked_until_it_is_done(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(command: dict[str, Any]) -> dict[str, Any]:
        st = "running" if command else "succeeded"
        return {"id": "local-1", "st": st, "res": {"readback": 21.11}, "err": None}

    monkeypatch.setattr("edge_agent.cli.local._LOOK_AGAIN_S", 0.0)
    socket = tmp_path / "a.sock"
    with agent(socket, answer) as heard:
        words = [
            "ahu-01",
            "supply_air_temperature_setpoint",
            "70 degF",
            "--priority",
            "13",
            "--hold",
            "1h",
            "--why",
            "WO-118",
        ]
        code, document = run("write", *words, "--if", "20", "--yes", "--socket", str(socket))
        assert (code, document["st"]) == (0, "succeeded")
        assert run("release", "ahu-01", "supply_air_temperature_setpoint", "--yes", "--socket", str(socket))[0] == 0
    value = heard[0]["args"].pop("val")
    assert value == pytest.approx(21.1111111111)
    assert heard[0] == {
        "op": "point.write", "dev": "ahu-01", "why": "WO-118", "dry": False, "if": {"val": 20},
        "args": {"p": "supply_air_temperature_setpoint", "prio": 13, "hold_s": 3600.0},
    }  # fmt: skip
    assert heard[1]["op"] == "point.release"


def test_the_agents_refusal_is_the_answer(run: Run, tmp_path: Path) -> None:
    refusal = {"st": "rejected", "res": None, "err": {"code": "busy", "msg": "u:42 holds it"}}
    with agent(tmp_path / "a.sock", lambda command: refusal) as heard:
        code, document = run("write", "ahu-01", "enable", "on", "--yes", "--socket", str(tmp_path / "a.sock"))
        assert run("write", "ahu-01", "enable", "on", "--dry-run", "--socket", str(tmp_path / "a.sock"))[0] == 1
    assert (code, document["err"]["code"]) == (1, "busy")
    assert [each["dry"] for each in heard] == [False, True]


# -- values ------------------------------------------------------------------------------------------------------------

OWN = Point.model_validate({"id": "x_bus", "quantity": "voltage", "reg": 1, "access": "rw"})
MODE = Point.model_validate({"id": "mode", "reg": 1, "labels": {1: "auto", 2: "2 stage"}, "access": "rw"})
TEXT = Point.model_validate({"id": "model_text", "reg": 1, "type": "str", "length": 4, "access": "rw"})


@pytest.mark.parametrize(
    ("text", "point_id", "point", "value"),
    [
        ("18", "supply_air_temperature_setpoint", None, 18),
        ("21.5 Cel", "supply_air_temperature_setpoint", None, 21.5),
        ("21.5°C", "supply_air_temperature_setpoint", None, 21.5),
        ("32 degF", "supply_air_temperature_setpoint", None, 0.0),
        ("212°F", "supply_air_temperature_setpoint", None, 100.0),
        ("-5", "supply_air_temperature_setpoint", None, -5),
        ("0.5 kW", "motor_power", None, 0.5),
        ("500 W", "motor_power", None, 0.5),
        ("1e3 mV", "x_bus", OWN, 1.0),
        ("on", "output_1", None, "on"),
        ("auto", "mode", MODE, "auto"),
        ("2 stage", "mode", MODE, "2 stage"),
        ("1", "mode", MODE, 1),
        ("12", "model_text", TEXT, "12"),
    ],
)
def test_values_as_people_type_them(text: str, point_id: str, point: Point | None, value: object) -> None:
    assert value_of(text, point_id, point) == value


@pytest.mark.parametrize(
    ("text", "point_id", "said"),
    [
        ("21,5", "supply_air_temperature_setpoint", "write 21.5"),
        ("21 bar", "supply_air_temperature_setpoint", "bar is pressure, and supply_air_temperature_setpoint is in Cel"),
        ("21 celcius", "supply_air_temperature_setpoint", 'the unit "celcius" is unknown'),
        ("5 kW", "x_own", "--config so that its unit is known"),
        ("5 kW", "output_1", "leave out the unit"),
    ],
)
def test_values_that_cannot_be_meant(text: str, point_id: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        value_of(text, point_id, None)


def test_durations_both_ways() -> None:
    assert [seconds_of(text) for text in (None, "90", "10min", "1.5h")] == [None, 90.0, 600.0, 5400.0]
    assert [duration(seconds) for seconds in (90, 600, 7200, 5400)] == ["90 s", "10 min", "2 h", "90 min"]


def test_amounts_are_words_for_people() -> None:
    assert [amount(value, unit) for value, unit in ((True, None), (21.50, "Cel"), (3, "1"), (None, "V"))] == [
        "on", "21.5 °C", "3", "no value",
    ]  # fmt: skip
