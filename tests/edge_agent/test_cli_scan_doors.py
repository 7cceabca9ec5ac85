"""`plantroom scan uhppote` and `scan zkteco`, the orders of their simulators, and a flood that stays one line a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
import structlog
import typer

from drivers.base import LinkConfig, ListenLink
from drivers.uhppote.driver import UhppoteDriver
from edge_agent.cli.scan_doors import _boards, _show, _terminals
from edge_agent.cli.searching import conclude, end
from firmware_sim.doors_cli import _obeyed
from firmware_sim.uhppote import Board, UhppoteSim
from firmware_sim.zkteco import Refused, ZktecoSim


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def udp(**own: str) -> LinkConfig:
    return LinkConfig(
        id="doors", kind="udp", host="127.0.0.1", port=0, listen=ListenLink(allow=("127.0.0.1",), **own)  # type: ignore[arg-type]
    )  # fmt: skip


async def test_boards_are_listed_by_number() -> None:
    boards = [Board(serial, now=utc_now) for serial in (405419896, 303986753)]
    found: list[Mapping[str, str]] = []
    async with UhppoteSim(boards) as sim:
        await _boards(udp(broadcast=sim.address), 0.2, found)
    assert [(facts["serial"], facts["firmware"]) for facts in found] == [("303986753", "8.92"), ("405419896", "8.92")]


async def test_terminals_that_dial_in_are_listed_and_keep_their_records(unused_tcp_port: int) -> None:
    link = LinkConfig(
        id="push", kind="http-listen", host="127.0.0.1", port=unused_tcp_port, listen=ListenLink(allow=("127.0.0.1",))
    )
    sim = ZktecoSim("CJ9H000001", ("127.0.0.1", unused_tcp_port), utc_now, security=True)
    sim.punch("1001")
    found: list[Mapping[str, str]] = []
    listening = asyncio.create_task(_terminals(link, 1.0, found))
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(OSError):
                with pytest.raises(Refused) as refused:
                    await sim.start()
                break
            await asyncio.sleep(0.01)
    assert refused.value.status == 403
    await listening
    (facts,) = found
    assert (facts["serial"], facts["at"], facts["DeviceType"]) == ("CJ9H000001", "127.0.0.1", "acc")
    assert len(sim.kept) == 1


def test_finding_nothing_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    _show([], ("serial",), "boards", "udp://x", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"link": "udp://x", "boards": []}
    with pytest.raises(typer.Exit) as ended:
        end([], finished=True)
    assert ended.value.exit_code == 1


async def test_a_flood_of_datagrams_is_counted_and_one_line() -> None:
    with structlog.testing.capture_logs() as lines:
        async with UhppoteDriver().open(udp()) as session:
            for _ in range(5000):
                session.boards.port.heard(b"\x17noise", ("127.0.0.1", 60000))
                session.boards.port.heard(b"\x17noise", ("10.9.9.9", 60000))
            assert session.counts.errors == {"no_message": 5000, "address_not_allowed": 5000}
    assert 2 <= len(lines) <= 4


def test_orders_are_obeyed_or_answered_with_what_is_wrong() -> None:
    orders = {"swipe": lambda order: {"granted": order["card"] == 1}}
    assert _obeyed(orders, '{"op": "swipe", "card": 1}') == {"ok": True, "granted": True}
    for wrong in ('{"op": "swipe"}', '{"op": "fly"}', "[]", "nonsense"):
        assert _obeyed(orders, wrong)["ok"] is False


def test_the_last_line_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    found = [{"number": "000000000001"}, {"number": "000000000002"}]
    for each in (found, []):
        conclude(
            each,
            "meter",
            "/dev/ttyUSB0 2400 8E1",
            read="plantroom read --link '{link}' --unit {number}",
            nothing="Check the wires",
            link="serial:{x}",
        )
    out, err = capsys.readouterr()
    assert out == "2 meters on /dev/ttyUSB0 2400 8E1; plantroom read --link 'serial:{x}' --unit 000000000001\n"
    assert err == "plantroom scan: no meter answered on /dev/ttyUSB0 2400 8E1. Check the wires\n"
