"""Messages of UHPPOTE boards: the published examples decode, requests are as published, and no datagram is an accident."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.address import Uhppote
from device_profiles.yamlfile import read_yaml
from drivers.base import Address, LinkConfig, ListenLink
from drivers.listening import Listened
from drivers.uhppote import frame
from drivers.uhppote.frame import FrameError, Function
from drivers.uhppote.records import occurrence_of
from drivers.uhppote.session import UhppoteSession
from tests.shipped import LIBRARY

CAPTURE = read_yaml(Path(__file__).parents[1] / "captures" / "uhppote-l04.yaml").data
PROFILE = LIBRARY.get("uhppote-l04")
LISTENED = Listened(Address(423187757, "door-1"), PROFILE.events, PROFILE.credential)


@pytest.mark.parametrize("example", CAPTURE["frames"], ids=lambda example: example["what"])
def test_published_examples_decode_to_their_values(example: dict[str, Any]) -> None:
    asked, found = (frame.parse(bytes.fromhex(example[way])) for way in ("request", "response"))
    assert frame.build(Function(asked.function), asked.serial, asked.body) == bytes.fromhex(example["request"])
    assert (found.function, found.serial) == (asked.function, asked.serial)
    if found.function == Function.GET_EVENT:
        record = frame.record_of(found)
        told = {"x_index": record.index, "x_kind": record.kind, "x_door": record.door, "x_reason": record.reason}
        assert told == example["values"]
        return
    status = frame.status_of(found)
    session = UhppoteSession(LinkConfig(id="d", kind="udp", listen=ListenLink()), None)
    points = {
        point.id: session._of_status(point.address, status, LISTENED.address)
        for point in PROFILE.points
        if isinstance(point.address, Uhppote) and point.id in example["values"]
    }
    assert points == example["values"]
    assert str(status.clock) == example["clock"]
    if "record" not in example:
        assert status.record is None
        return
    want = example["record"]
    assert status.record is not None
    event = occurrence_of(status.record, LISTENED, from_memory=False)
    assert event is not None
    assert (event.index, event.name, event.clear["card"].text, dict(event.data)) == (
        want["index"], want["event"], want["card"], want["data"],
    )  # fmt: skip
    assert str(status.record.at) == want["at"]


def published(text: str) -> bytes:
    return bytes.fromhex(text).ljust(64, b"\0")


def test_requests_and_answers_are_as_published() -> None:
    """uhppoted/uhppoted-lib-python, tests/uhppoted/test_encode.py, test_decode.py and integration_tests/uhppoted/stub.py."""
    serial = 405419896
    body = frame.listener_body("192.168.1.100", 60001, 15)
    assert frame.build(Function.SET_LISTENER, serial, body) == published("17900000 78372a18 c0a80164 61ea 0f")
    assert frame.listener_of(frame.parse(published("17920000 78372a18 c0a80164 61ea 0f"))) == (
        "192.168.1.100",
        60001,
        15,
    )
    at = datetime(2021, 5, 28, 14, 56, 14)
    assert frame.build(Function.SET_TIME, serial, frame.time_bcd(at)) == published("17300000 78372a18 20210528145614")
    assert frame.bcd_time(frame.parse(published("17320000 78372a18 20210528135130")).body[:7]) == datetime(
        2021, 5, 28, 13, 51, 30
    )
    assert frame.build(Function.SET_DOOR, serial, bytes((3, 2, 4))) == published("17800000 78372a18 03 02 04")
    assert frame.build(Function.OPEN_DOOR, serial, b"\3") == published("17400000 78372a18 03")
    facts = frame.facts_of(
        frame.parse(published("17940000 78372a18 c0a80164 ffffff00 c0a80101 001223344556 0892 20181105"))
    )
    assert (facts["serial"], facts["firmware"], facts["made"], facts["mac"]) == (
        "405419896", "8.92", "2018-11-05", "00:12:23:34:45:56",
    )  # fmt: skip


def test_the_old_start_byte_is_for_events_only() -> None:
    """uhppote-core, messages/events_test.go, TestUnmarshalEventV6_62."""
    event = published("19200000 2d553919 39000000 01000301 aae85d00 20190419170009 06")
    assert frame.status_of(frame.parse(event)).record is not None
    with pytest.raises(FrameError, match="begins with"):
        frame.parse(published("19940000 2d553919"))


@given(st.binary(max_size=70) | st.binary(min_size=63, max_size=63).map(lambda rest: b"\x17" + rest))
def test_any_datagram_is_a_message_or_a_frame_error(data: bytes) -> None:
    try:
        found = frame.parse(data)
    except FrameError:
        return
    for decode in (frame.status_of, frame.record_of, frame.facts_of, frame.listener_of):
        try:
            made = decode(found)
        except FrameError:
            continue
        if isinstance(made, frame.Status) and made.record is not None:
            occurrence_of(made.record, LISTENED, from_memory=False)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))
def test_times_go_both_ways(at: datetime) -> None:
    assert frame.bcd_time(frame.time_bcd(at)) == at.replace(microsecond=0)


@pytest.mark.parametrize("wrong", ["20000000000000", "20261301000000", "2026112a000000", "20261122246000", "2026"])
def test_what_is_no_time_is_none(wrong: str) -> None:
    assert frame.bcd_time(bytes.fromhex(wrong)) is None
