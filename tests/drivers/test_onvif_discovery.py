"""WS-Discovery: who answers a probe, and what is no answer."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from drivers.onvif.device import bare, path_of
from drivers.onvif.discovery import Found, matches, probe
from edge_agent.cli.scan import app
from firmware_sim.onvif_discovery import DiscoveryResponder

ADDRESSES = "http://127.0.0.1:8080/onvif/device_service http://[fe80::1]/onvif/device_service"


async def test_devices_answer_with_name_and_hardware() -> None:
    async with DiscoveryResponder(ADDRESSES, "Hall west", "SIM CAM") as camera:
        [found] = await probe(within_s=0.2, to=("127.0.0.1", camera.port), interface="127.0.0.1")
        assert found == Found("urn:uuid:sim-1", "127.0.0.1", "Hall west", "SIM CAM", tuple(ADDRESSES.split()))
        assert camera.probes == 2
        camera.spoil = b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"
        assert await probe(within_s=0.1, to=("127.0.0.1", camera.port), interface="127.0.0.1") == []


def test_an_answer_to_another_question_is_none() -> None:
    text = DiscoveryResponder(ADDRESSES, "a", "b")._match("urn:uuid:mine")
    assert len(matches(text, "urn:uuid:mine", "10.0.0.1")) == 1
    assert matches(text, "urn:uuid:other", "10.0.0.1") == []


@given(st.binary(max_size=300))
def test_no_datagram_brings_it_down(data: bytes) -> None:
    assert matches(data, "urn:uuid:mine", "10.0.0.1") == []


@given(st.text(max_size=200))
def test_no_address_brings_it_down(text: str) -> None:
    assert "@" not in bare(f"rtsp://user:secret@camera/{text}").partition("/")[0]
    assert path_of(text) == "" or path_of(text).startswith("/")


def test_addresses_lose_whoever_may_fetch_them() -> None:
    assert bare("rtsp://admin:p%40ss@10.0.0.1:554/1?channel=1&password=x") == "rtsp://10.0.0.1:554/1?channel=1"
    assert bare("rtsp://[fe80::1]/a") == "rtsp://[fe80::1]/a"
    assert bare("nothing") == bare("rtsp://host:99999/") == ""
    assert path_of("http://10.0.0.9:8000/onvif/pull?id=1#x") == "/onvif/pull?id=1"


def test_scan_command_says_what_to_do_where_nobody_answers() -> None:
    runner = CliRunner()
    found = runner.invoke(app, ["onvif", "--to", "127.0.0.1:9", "--within", "0.1", "--json"])
    assert (found.exit_code, json.loads(found.stdout)) == (1, [])
    assert runner.invoke(app, ["onvif", "--to", "127.0.0.1:x"]).exit_code == 2
