"""The simulated HTTP devices, asked by a client of the standard library: digest login, locked accounts, orders."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from firmware_sim.http_host import HttpHost
from firmware_sim.isapi import PlateCamera, Recorder, obey
from firmware_sim.isapi_terminal import Terminal, obey_terminal
from firmware_sim.rest_gate import RestGate
from firmware_sim.rest_gate import obey as obey_gate


def ask(host: HttpHost, path: str, password: str, data: bytes | None = None) -> tuple[int, bytes]:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, host.url, host.user, password)
    opener = urllib.request.build_opener(urllib.request.HTTPDigestAuthHandler(passwords))
    try:
        with opener.open(host.url + path, data, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def test_digest_as_the_standard_library_does_it() -> None:
    async with RestGate(password="s3cret") as gate:
        status, body = await asyncio.to_thread(ask, gate, "/api/status", "s3cret")
        assert (status, json.loads(body)["gate"]["state"]) == (200, "closed")
        assert (await asyncio.to_thread(ask, gate, "/api/status", "wrong"))[0] == 401
        assert gate.refused_logins


async def test_five_wrong_passwords_lock_the_account() -> None:
    async with RestGate(password="s3cret") as gate:
        for _ in range(5):
            await asyncio.to_thread(ask, gate, "/api/status", "wrong")
        assert (await asyncio.to_thread(ask, gate, "/api/status", "s3cret"))[0] == 401


def test_a_gate_moves_waits_and_closes() -> None:
    now = 0.0
    gate = RestGate(travel_s=2, open_s=8, clock=lambda: now)
    assert gate.act("open")
    assert gate.state == "opening"
    now = 2.0
    assert gate.state == "open"
    gate.vehicle = True
    now = 20.0
    assert (gate.state, gate.act("close")) == ("open", False), "never onto what stands below"
    gate.vehicle = False
    assert gate.state == "closing"
    now = 21.0
    gate.obstructed = True
    assert gate.state == "obstructed"
    assert not gate.act("fly")


def test_orders() -> None:
    gate, terminal, recorder, camera = RestGate(), Terminal(), Recorder(), PlateCamera()
    assert json.loads(obey_gate(gate, '{"op": "pass", "way": "out"}'))["counters"] == {"in": 0, "out": 1}
    assert json.loads(obey_terminal(terminal, '{"op": "record", "major": 5, "minor": 9}')) == {"ok": True, "records": 1}
    assert json.loads(obey(recorder, '{"op": "disk", "disk": 2, "state": "error"}'))["ok"]
    assert json.loads(obey(camera, '{"op": "plate", "plate": "A1"}'))["ok"]
    for do, one in ((obey_gate, gate), (obey_terminal, terminal), (obey, recorder)):
        for line in ("", "x", "[]", "{}", '{"op": "fly"}', '{"op": 7}'):
            assert not json.loads(do(one, line))["ok"]  # type: ignore[operator]


def test_the_command_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cret\n")
    command = [sys.executable, "-m", "edge_agent.cli", "sim", "isapi", "terminal", "--json", "--records", "3"]
    done = subprocess.run(
        [*command, "--password-file", str(tmp_path / "pw")], input='{"op": "door", "open": true}\n',
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    ready, answer = done.stdout.splitlines()
    assert json.loads(ready)["profile"] == "hikvision-ds-k1t"
    assert json.loads(answer) == {"ok": True, "records": 4}
    assert "s3cret" not in done.stdout + done.stderr
