"""PJLink class 2 search: who answers, and what is no answer."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from device_profiles.errors import LinkRefused
from drivers.pjlink.search import Found, answer_of, search
from edge_agent.cli.scan import app
from firmware_sim.pjlink_search import SearchResponder

OURS = ("127.0.0.1", 0)


async def test_a_display_is_found_once() -> None:
    async with SearchResponder() as display:
        found = await search(within_s=0.1, to=("127.0.0.1", display.port), ours=OURS)
        assert found == [Found("127.0.0.1", "00:1b:2c:3d:4e:5f")]
        assert display.asked == 3, "datagrams are lost"


async def test_what_is_no_answer_is_none_and_padding_is_nothing() -> None:
    junk = (
        b"",
        b"%2ACKN=",
        b"%1ACKN=00:11:22:33:44:55\r",
        b"%2ACKN=00:11:22:33:44\r",
        b"%2LKUP=00:11:22:33:44:55\r",
        b"\xff" * 900,
    )
    async with SearchResponder(*junk, b"%2ackn=AA:BB:CC:00:11:22\r\n\x00\x00") as display:
        found = await search(within_s=0.1, to=("127.0.0.1", display.port), ours=OURS)
        assert [each.mac for each in found] == ["aa:bb:cc:00:11:22"]


async def test_a_port_in_use_and_a_network_that_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(OURS)
        async with SearchResponder() as display:
            own = other.getsockname()
            assert len(await search(within_s=0.1, to=("127.0.0.1", display.port), ours=own)) == 1
    with pytest.raises(LinkRefused):
        await search(within_s=0.1, to=("127.0.0.1", 9), ours=("203.0.113.1", 0))
    with pytest.raises(LinkRefused):
        await search(within_s=0.1, to=("203.0.113.1", 9), ours=OURS)


@given(st.binary(max_size=200))
def test_no_datagram_brings_it_down(data: bytes) -> None:
    assert answer_of(data) is None or len(answer_of(data) or "") == 17


def test_scan_command_says_what_to_do_where_nobody_answers() -> None:
    runner = CliRunner()
    found = runner.invoke(app, ["pjlink", "--to", "127.0.0.1:9", "--within", "0.1", "--json"])
    assert (found.exit_code, json.loads(found.stdout)) == (1, [])
    assert runner.invoke(app, ["pjlink", "--to", "127.0.0.1:x"]).exit_code == 2
