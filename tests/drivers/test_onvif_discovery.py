"""WS-Discovery: who answers a probe, and what is no answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from device_profiles.errors import LinkRefused
from drivers.onvif import discovery
from drivers.onvif.device import bare, path_of
from drivers.onvif.discovery import Found, matches, own_addresses, probe
from edge_agent.cli.scan import app
from firmware_sim.onvif_discovery import DiscoveryResponder

ADDRESSES = "http://127.0.0.1:8080/onvif/device_service http://[fe80::1]/onvif/device_service"


async def test_devices_answer_with_name_and_hardware() -> None:
    async with DiscoveryResponder(ADDRESSES, "Hall west", "SIM CAM") as camera:
        [found] = await probe(within_s=0.2, to=("127.0.0.1", camera.port), interfaces=["127.0.0.1"])
        assert found == Found("urn:uuid:sim-1", "127.0.0.1", "Hall west", "SIM CAM", tuple(ADDRESSES.split()))
        assert camera.probes == 4, "video transmitters and devices, twice"
        camera.spoil = b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"
        assert await probe(within_s=0.1, to=("127.0.0.1", camera.port), interfaces=["127.0.0.1"]) == []


async def test_every_interface_is_asked() -> None:
    async with DiscoveryResponder(ADDRESSES, "Hall west", "SIM CAM") as camera:
        to = ("127.0.0.1", camera.port)
        found = await probe(within_s=0.1, to=to, interfaces=["127.0.0.1", "127.0.0.2"])
        assert len(found) == 1, "the same camera by two ways"
        assert camera.asked_from == {"127.0.0.1", "127.0.0.2"}
        with pytest.raises(LinkRefused, match="203"):
            await probe(within_s=0.1, to=to, interfaces=["127.0.0.1", "203.0.113.1"])
    assert not any(each.startswith("127.") for each in own_addresses())


async def test_two_cameras_with_one_id_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(interface: str, to: tuple[str, int], within_s: float) -> list[Found]:
        if interface == "10.0.0.3":
            raise LinkRefused("no way")
        return [Found("urn:uuid:clone", host, "", "", ()) for host in ("10.0.0.20", "10.0.0.3")]

    monkeypatch.setattr(discovery, "_ask", ask)
    monkeypatch.setattr(discovery, "own_addresses", lambda: ("10.0.0.2", "10.0.0.3"))
    assert [each.host for each in await probe(within_s=0)] == ["10.0.0.3", "10.0.0.20"]
    monkeypatch.setattr(discovery, "own_addresses", lambda: ("10.0.0.3",))
    with pytest.raises(LinkRefused):
        await probe(within_s=0)


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
