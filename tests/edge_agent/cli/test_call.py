"""plantroom call, over a link of its own to simulated devices and through an agent's socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ProfileError
from device_profiles.library import Library
from edge_agent.cli import invoke
from edge_agent.local_api import LocalApi
from firmware_sim.device import Device
from firmware_sim.faults import add_fault
from firmware_sim.tcp import Station, TcpServer
from tests.edge_agent.cli.test_write import in_a_loop, simulated

BOARD, BARRIER = "waveshare-relay-8ch-d", "waveshare-relay-8ch-d-barrier"
NOWHERE = ["--link", "tcp://127.0.0.1:1", "--profile", BARRIER]


@contextmanager
def barrier(device: Device) -> Iterator[list[str]]:
    """The options that name a barrier on this relay board."""

    async def serve(tell: Callable[[Any], None], done: asyncio.Event) -> None:
        async with TcpServer(Station([device], any_unit=True)) as server:
            tell(server.port)
            await done.wait()

    with in_a_loop(serve) as port:
        yield ["--link", f"tcp://127.0.0.1:{port}", "--profile", BARRIER, "--timeout", "2"]


Run = Callable[..., "tuple[int, dict[str, Any]]"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `plantroom call`; (exit code, its JSON document)."""

    def invoked(*argv: str) -> tuple[int, dict[str, Any]]:
        code = invoke(["call", *argv, "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out.strip() else {}

    return invoked


def test_a_barrier_is_held_open_and_let_go(run: Run) -> None:
    board = simulated(BOARD)
    with barrier(board) as where:
        assert run("hold", *where, "--yes")[0] == 0
        assert board.snapshot["relay3"] is True
        code, document = run("gate.hold", *where, "--dry-run")
        assert (code, document["call"], document["st"]) == (0, "hold", "succeeded")
        assert run("free", *where, "--yes")[0] == 0
    assert board.snapshot["relay3"] is False


def test_a_dry_run_shows_it_and_sends_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    board = simulated(BOARD)
    with barrier(board) as where:
        code, document = run("close", *where, "--dry-run")
        assert [lock["ok"] for lock in document["res"]["interlocks"]] == [True, True]
        assert (code, invoke(["call", "close", *where, "--dry-run"])) == (0, 0)
    said = capsys.readouterr().out
    assert board.writes == 0
    for words in ("gate.close", "nothing is sent", "obstructed is off: holds", "at most 600 an hour", "once"):
        assert words in said


def test_an_interlock_holds_without_an_agent(run: Run) -> None:
    board = simulated(BOARD)
    add_fault(board.faults, "exception", {"function": 2, "code": 4}, 0.0)
    with barrier(board) as where:
        code, document = run("close", *where, "--yes")
    assert (code, document["st"], document["err"]["code"]) == (1, "rejected", "blocked")
    assert board.writes == 0


def test_what_was_sent_and_not_answered_is_unknown(run: Run) -> None:
    board = simulated(BOARD)
    add_fault(board.faults, "silent", {}, 0.0)
    with barrier(board) as where:
        where[-1] = "0.1"
        code, document = run("open", *where, "--yes")
    assert (code, document["st"], document["err"]["code"]) == (1, "unknown", "timeout")
    assert "look before you send it again" in document["err"]["msg"]


def test_operations_are_listed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run(*NOWHERE)
    assert (code, [each["id"] for each in document["operations"]]) == (0, ["open", "close", "hold", "free"])
    assert invoke(["call", *NOWHERE]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "gate.close" in said


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["opne"], 1, "has no operation 'opne'. did you mean 'open'?"),
        (["zzz"], 1, "it has open, close, hold, free"),
        (["open", "now"], 2, "'now' is no NAME=VALUE; open takes nothing"),
        (["open", "a=1", "a=2"], 2, "a is given twice"),
    ],
)
def test_what_a_person_wrote_wrongly(argv: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["call", *argv, *NOWHERE, "--yes"]) == code
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["call"]) == 2
    assert invoke(["call", "open", *NOWHERE]) == 2
    assert "--yes" in capsys.readouterr().err
    assert invoke(["call", "open", "--link", "tcp://127.0.0.1:1", "--yes"]) == 2
    assert invoke(["call", "door-1", "open", "--profile", BARRIER, "--yes"]) == 2


LED = Operation.model_validate({
    "id": "led", "label": "Light", "call": {"led": 0},
    "inputs": {"colour": {"min": 0, "max": 7}, "blink": {"type": "bool", "default": False}, "text": {"type": "text"}},
})  # fmt: skip


@contextmanager
def agent(socket: Path) -> Iterator[list[dict[str, Any]]]:
    """A local socket that knows one operation and carries it out at the second look."""
    heard: list[dict[str, Any]] = []

    async def operations(request: Any) -> Any:
        return [LED.model_dump(mode="json", exclude_none=True)]

    async def command(request: Any) -> Any:
        if "command" in request:
            heard.append(dict(request["command"]))
        return {"id": "l-1", "st": "running" if "command" in request else "succeeded", "res": {"level": 2}, "err": None}

    async def serve(tell: Callable[[Any], None], done: asyncio.Event) -> None:
        async with LocalApi(socket, {"operations": operations, "command": command}):
            tell(socket)
            await done.wait()

    with in_a_loop(serve):
        yield heard


def test_the_running_agent_is_asked_until_it_is_done(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.cli.local._LOOK_AGAIN_S", 0.0)
    socket = tmp_path / "a.sock"
    where = ["--socket", str(socket)]
    with agent(socket) as heard:
        inputs = ["colour=2", "blink=on", "text=a=b"]
        code, document = run("reader-1", "led", *inputs, "--why", "WO-7", "--yes", *where)
        assert (code, document["st"], document["res"]) == (0, "succeeded", {"level": 2})
        assert run("reader-1", *where)[1]["operations"][0]["id"] == "led"
        assert run("reader-1", "led", "colour=red", "--yes", *where)[0] == 1
        assert run("reader-1", "led", "blink=maybe", "--yes", *where)[0] == 1
    assert heard == [{
        "op": "device.call", "dev": "reader-1", "why": "WO-7", "dry": False,
        "args": {"call": "led", "inputs": {"colour": 2, "blink": True, "text": "a=b"}},
    }]  # fmt: skip


def test_without_an_agent_it_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["call", "door-1", "open", "--yes", "--socket", str(tmp_path / "none.sock")]) == 1
    assert "no agent answers here" in capsys.readouterr().err


def with_fire_contact(folder: Path, lock: str) -> None:
    """The barrier's profile of a site whose board hears the fire contact at DI4."""
    text = Library.default([]).path(BARRIER).read_text(encoding="utf-8")
    contact = "  - {id: fire_alarm, table: discrete, reg: 3, label: DI4}\n"
    text = text.replace("points:\n", "points:\n" + contact, 1).replace("interlocks: [", f"interlocks: [{lock}")
    text = text.replace("value: 0}, per_hour: 60}", f"value: 0}}, per_hour: 60, interlocks: [{lock}]}}")
    (folder / f"{BARRIER}.yaml").write_text(text)


@pytest.mark.parametrize("operation", ["close", "free"])
def test_nothing_closes_a_barrier_against_its_fire_release(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    with_fire_contact(tmp_path, "{point: fire_alarm, equals: false, text: Fire release.}, ")
    board = simulated(BOARD)
    inputs = [False, False, False, True, False, False, False, False]
    heard = board.read_bits
    monkeypatch.setattr(
        board,
        "read_bits",
        lambda table, at, count: inputs[at : at + count] if table == "discrete" else heard(table, at, count),
    )
    with barrier(board) as where:
        code, document = run(operation, *where, "--dir", str(tmp_path), "--yes")
        assert (code, document["err"]["code"]) == (1, "blocked")
        assert "Fire release" in document["err"]["msg"]
        assert board.writes == 0
        assert run("hold", *where, "--dir", str(tmp_path), "--yes")[0] == 0


def test_a_profile_with_a_fire_contact_and_no_interlock_is_refused(tmp_path: Path) -> None:
    with_fire_contact(tmp_path, "")
    with pytest.raises(ProfileError, match="against its fire release"):
        Library.default([tmp_path]).get(BARRIER)
