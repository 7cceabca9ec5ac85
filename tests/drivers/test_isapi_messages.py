"""Alert streams torn at every byte, messages in XML and JSON, and bytes that are neither: only errors of our own, bounded."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.credential import Credential
from device_profiles.events import EventSource
from drivers.base import Address, WireCount
from drivers.document import DocumentError
from drivers.isapi.happening import Happening
from drivers.isapi.messages import message_of, of_record
from drivers.isapi.multipart import MAX_PART, Multipart, boundary_of
from drivers.listening import Listened

XML = (
    b'<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema"><channelID>1</channelID>'
    b"<dateTime>2026-11-22T21:47:25+08:00</dateTime><activePostCount>1</activePostCount><eventType>VMD</eventType>"
    b"<eventState>active</eventState></EventNotificationAlert>"
)
JSON = json.dumps(
    {
        "dateTime": "2026-07-07T22:55:56-03:00",
        "eventType": "AccessControllerEvent",
        "AccessControllerEvent": {"majorEventType": 5, "subEventType": 9, "cardNo": "0012345678", "serialNo": 42, "name": 'O"}{'},
    }
).encode()  # fmt: skip
PICTURE = b"\xff\xd8\xff" + bytes(range(256)) * 5 + b"\r\n--other\r\n\r\n" + b"\xff\xd9"


def part(body: bytes, kind: str = "application/xml", *, sized: bool = True, line: bytes = b"\r\n") -> bytes:
    length = b"Content-Length: %d" % len(body) + line if sized else b""
    return b"--boundary" + line + b"Content-Type: " + kind.encode() + line + length + line + body + line


STREAMS = {
    "sized": part(XML) + part(PICTURE, "image/jpeg") + part(JSON, "application/json") + part(XML),
    "without lengths": part(XML, sized=False) + part(JSON, "application/json", sized=False) + part(XML, sized=False),
    "bare line feeds": part(XML, sized=False, line=b"\n") + part(JSON, "a/json", line=b"\n") + part(XML, line=b"\n"),
    "picture without a length": part(XML) + part(PICTURE, "image/jpeg", sized=False) + part(JSON) + part(XML, sized=False),
    "before the first boundary": b"preamble --bound\r\n" + part(XML) + part(JSON) + part(XML),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_torn_at_every_byte_gives_the_same_parts(name: str) -> None:
    stream = STREAMS[name]
    for at in range(len(stream)):
        parts = Multipart(b"boundary")
        assert parts.feed(stream[:at]) + parts.feed(stream[at:]) == [XML, JSON, XML], at
        assert parts.broken == 0
    for size in (1, 2, 3, 7):
        parts = Multipart(b"boundary")
        found = [body for at in range(0, len(stream), size) for body in parts.feed(stream[at : at + size])]
        assert found == [XML, JSON, XML]


CHINESE = XML.replace(b"<channelID>1", ("<channelName>" + "大门" * 30 + "</channelName><channelID>1").encode())
WRONG = {
    "characters for bytes": (CHINESE, f"Content-Length: {len(CHINESE.decode())}\r\n".encode()),
    "the line end too": (XML, f"Content-Length: {len(XML) + 2}\r\n".encode()),
    "far too long": (XML, b"Content-Length: 200000\r\n"),
    "nothing": (XML, b"Content-Length: 0\r\n"),
    "cut in JSON": (JSON, f"Content-Length: {len(JSON) - 7}\r\n".encode()),
    "not a number": (JSON, b"Content-Length: -1\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "byte by byte"])
def test_a_part_with_a_wrong_length_is_given_before_the_next_boundary(name: str, *, whole: bool) -> None:
    body, length = WRONG[name]
    stream = b"--boundary\r\nContent-Type: application/xml\r\n" + length + b"\r\n" + body + b"\r\n"
    parts, found = Multipart(b"boundary"), list[bytes]()
    for count in range(1, 4):
        pieces = [stream] if whole else [stream[at : at + 1] for at in range(len(stream))]
        found += [given for piece in pieces for given in parts.feed(piece)]
        assert [each.strip() for each in found] == [body] * count


@pytest.mark.parametrize(
    ("said", "stream"),
    [
        (b"MIME_boundary", part(XML) * 3),
        (b"", b"\r\n" + part(XML) * 3),
        (b"boundary", (b"--boundary\r\n" + XML + b"\r\n") * 3),
        (b"boundary", (b"--boundary\r\nContent-Type: text/xml\n\r\n" + XML + b"\n") * 3),
        (b"boundary", part(XML.replace(b"EventN", b"h:EventN").replace(b'xmlns="', b'xmlns:h="'), sized=False) * 3),
    ],
    ids=["another boundary than it says", "none said", "no head", "mixed line ends", "a prefix"],
)
def test_streams_that_are_not_as_they_say(said: bytes, stream: bytes) -> None:
    for size in (1, 50, len(stream)):
        parts = Multipart(said)
        found = [body for at in range(0, len(stream), size) for body in parts.feed(stream[at : at + size])]
        assert [getattr(message_of(body), "words", {}).get("type") for body in found] == ["vmd"] * 3


def test_a_part_is_given_before_the_next_boundary() -> None:
    for sized in (True, False):
        for body in (XML, JSON):
            assert Multipart(b"boundary").feed(part(body, sized=sized)) == [body]


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans(), st.booleans()), max_size=8), st.integers(1, 50))
def test_whatever_comes_is_taken_apart_in_bounds(pieces: list[tuple[bytes, bool, bool]], size: int) -> None:
    stream = b"".join(part(body, "image/jpeg" if picture else "x/y", sized=sized) for body, picture, sized in pieces)
    parts = Multipart(b"boundary")
    for at in range(0, len(stream), size):
        for body in parts.feed(stream[at : at + size]):
            assert len(body) <= MAX_PART
            with contextlib.suppress(DocumentError):
                message_of(body)
    assert parts.feed(part(XML) + part(XML))[-1:] in ([XML], []), "a wrong length may swallow one part and no more"


def test_what_is_too_long_is_given_up_and_the_next_part_taken() -> None:
    for first in (part(b"x" * (MAX_PART + 5)), part(b"x" * (MAX_PART + 5), sized=False), b"--boundary" + b"h" * 9000):
        parts = Multipart(b"boundary")
        found = [body for at in range(0, len(first), 4096) for body in parts.feed(first[at : at + 4096])]
        assert found == []
        assert parts.feed(b"\r\n" + part(XML)) == [XML]
        assert parts.broken == 1
    endless = Multipart(b"boundary")
    began = time.process_time()
    for _ in range(64):
        endless.feed(b"--boundar" * 1820)
    assert len(endless._buffer) <= 256
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/mixed; boundary=boundary", b"boundary"),
        ('multipart/x-mixed-replace;boundary="--MIME_boundary"', b"MIME_boundary"),
        ("multipart/mixed; charset=utf-8; Boundary=a1b2; x=y", b"a1b2"),
        ("text/html", None), ("multipart/mixed; boundary=--", b""), ("multipart/mixed", b""),
    ],
)  # fmt: skip
def test_boundaries(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


def test_dashes_in_the_named_boundary_are_none_of_the_body() -> None:
    stream = part(JSON, sized=False).replace(b"--boundary", b"----boundary") * 2
    assert Multipart(b"boundary").feed(stream) == [JSON, JSON]


def test_xml_and_json_say_the_same() -> None:
    motion = message_of(XML)
    assert motion is not None
    assert (motion.words["type"], motion.words["state"], motion.words["channel"]) == ("vmd", "active", 1)
    assert not motion.is_moment
    card = message_of(JSON)
    assert card is not None
    assert (card.words["type"], card.words["major"], card.words["minor"], card.serial) == (
        "accesscontrollerevent",
        5,
        9,
        42,
    )
    xml = (
        b"<EventNotificationAlert><eventType>AccessControllerEvent</eventType><AccessControllerEvent><majorEventType>5"
        b"</majorEventType><subEventType>9</subEventType><serialNo>42</serialNo></AccessControllerEvent></EventNotificationAlert>"
    )
    pushed = message_of(xml)
    assert pushed is not None
    assert (pushed.words["major"], pushed.words["minor"], pushed.serial) == (5, 9, 42)
    kept = of_record(
        {"major": 5, "minor": 9, "time": "2026-07-07T22:55:56-03:00", "serialNo": 42, "cardNo": "0012345678"}
    )
    assert kept is not None
    assert (kept.words["major"], kept.serial, kept.time) == (5, 42, card.time)
    assert message_of(b'{"ok": true}') is None
    assert of_record("x") is None


DENIED = EventSource(event="access.denied", when={"major": 5, "minor": 9}, data={"reason": "unknown_card"})


def told(body: bytes, tz: str = "UTC", **more: object):  # type: ignore[no-untyped-def]
    message = message_of(body)
    assert message is not None
    device = Listened(Address(0, "door-1"), (DENIED,), Credential(form="decimal"), tz=tz, **more)  # type: ignore[arg-type]
    return Happening(WireCount()).occurrence(device, message)


@pytest.mark.parametrize(
    ("text", "tz", "t_ms"),
    [
        ("2026-07-07T22:55:56-03:00", "UTC", 1_783_475_756_000), ("2026-07-08T01:55:56Z", "Asia/Shanghai", 1_783_475_756_000),
        ("2026-07-08T09:55:56", "Asia/Shanghai", 1_783_475_756_000), ("1970-01-01T00:00:09+08:00", "UTC", None),
        ("soon", "UTC", None), ("", "UTC", None), ("9999-12-31T23:59:59-23:59", "UTC", None),
    ],
)  # fmt: skip
def test_clocks_with_offsets(text: str, tz: str, t_ms: int | None) -> None:
    assert told(JSON.replace(b"2026-07-07T22:55:56-03:00", text.encode()), tz).t_ms == t_ms


def test_cards_have_one_canonical_form_and_are_in_no_key() -> None:
    found = told(JSON, direction="out")
    assert found.clear["card"].text == "12345678"
    assert found.key == "record:42"
    assert found.data == {"dir": "out", "reason": "unknown_card"}
    assert "12345678" not in repr(found)
    for other in (b"", b"0", b"no card", b"1" * 60):
        assert told(JSON.replace(b"0012345678", other)).clear == {}


def test_old_records_that_the_stream_replays_are_left_to_their_number() -> None:
    assert told(JSON.replace(b'"serialNo": 42', b'"serialNo": 42, "currentEvent": false')) is None
    assert told(JSON.replace(b'"serialNo": 42', b'"serialNo": 42, "currentEvent": true')) is not None


def state_of(state: str, at: str, *, count: int = 1) -> bytes:
    text = XML.decode().replace(">active<", f">{state}<").replace(":47:25", at)
    return text.replace("Count>1<", f"Count>{count}<").encode()


def test_what_goes_on_is_told_when_it_begins() -> None:
    now = 0.0
    happening = Happening(WireCount(), clock=lambda: now)
    sources = (
        EventSource(event="camera.motion", when={"type": "vmd", "state": "active"}),
        EventSource(event="alarm.cleared", when={"type": "vmd", "state": "inactive"}, data={"id": "m", "sev": "low"}),
    )
    device = Listened(Address(0, "cam"), sources)

    def hear(state: str, at: str, count: int = 1) -> str | None:
        message = message_of(state_of(state, at, count=count))
        assert message is not None
        found = happening.occurrence(device, message)
        return None if found is None else found.name

    assert hear("active", ":47:25") == "camera.motion"
    assert [hear("active", f":47:{second}") for second in (26, 27, 28)] == [None] * 3
    assert hear("inactive", ":47:29") == "alarm.cleared"
    assert hear("inactive", ":47:39") is None, "heartbeats"
    assert hear("active", ":48:25") == "camera.motion"
    now = 61.0  # it never said that it ended
    assert hear("active", ":58:25") == "camera.motion"
    assert [hear("active", f":58:2{5 + count}", count) for count in (1, 2, 3)] == [None] * 3
    assert hear("active", ":58:35") == "camera.motion", "counted from 1 again: another beginning, and no end was said"


def test_alarms_of_a_channel_have_their_own_id() -> None:
    source = EventSource(event="alarm.raised", when={"type": "vmd"}, data={"id": "m", "sev": "low"})
    message = message_of(XML)
    assert message is not None
    whole = Happening(WireCount()).occurrence(Listened(Address(0, "nvr"), (source,)), message)
    own = Happening(WireCount()).occurrence(Listened(Address(1, "cam"), (source,)), message)
    assert whole is not None
    assert own is not None
    assert (whole.data["id"], own.data["id"]) == ("m_1", "m")
    assert whole.data["since"] == 1_795_355_245_000


def test_addresses_of_pictures_hold_no_login() -> None:
    body = {
        "dateTime": "2026-07-07T22:55:56-03:00", "eventType": "ANPR", "UUID": "u1",
        "ANPR": {"licensePlate": "KH35192", "line": 1, "confidenceLevel": 250, "pictureURL": "http://admin:pw@10.0.0.9/p/1.jpg?sid=9"},
    }  # fmt: skip
    message = message_of(json.dumps(body).encode())
    assert message is not None
    source = EventSource(event="vehicle.entered", when={"type": "anpr"})
    found = Happening(WireCount()).occurrence(Listened(Address(0, "cam"), (source,)), message)
    assert found is not None
    assert found.data == {"lane": "1", "url": "http://10.0.0.9/p/1.jpg"}
    assert found.key == "uuid:u1"
    assert found.clear["plate"].text == "KH35192"


def test_heads_of_parts_are_looked_for_where_they_can_be() -> None:
    """Each search to the end of what came would cost its square: 20 s for half a megabyte."""
    stream = Multipart(b"x")
    before = time.process_time()
    assert len(stream.feed(b"--x\r\n\r\n{}\r\n" * 20_000)) >= 19_999
    assert time.process_time() - before < 1.5
    limited = Multipart(b"x", most=3)
    assert len(limited.feed(b"--x\r\n\r\n{}\r\n" * 50_000)) == 3


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("more", [1, 2, 3, 4, 5, 12, 13, 30, 500])
def test_a_length_that_says_too_much_costs_no_part(more: int, step: int) -> None:
    wrong = part(XML).replace(b"Content-Length: %d" % len(XML), b"Content-Length: %d" % (len(XML) + more))
    data = wrong + part(JSON, "application/json") + part(XML)
    stream, found = Multipart(b"boundary"), []
    for at in range(0, len(data), step):
        found += stream.feed(data[at : at + step])
    assert [body.strip() for body in found] == [XML, JSON, XML]


def test_the_channel_of_a_recorder_whose_first_one_is_empty() -> None:
    for channels, wanted in (("<dynChannelID>5</dynChannelID><channelID/>", 5), ("<channelID/><dynChannelID/>", None)):
        alert = f"<EventNotificationAlert>{channels}<eventType>VMD</eventType></EventNotificationAlert>"
        found = message_of(alert.encode())
        assert found is not None
        assert found.words.get("channel") == wanted
