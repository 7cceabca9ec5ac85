"""Frames and requests that profiles describe: checks against known values, what is built is found again, the rules of lint."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from device_profiles.rules_strings import ambiguous_frames
from device_profiles.strings import CheckKind, Strings, spelled
from device_profiles.strings_codec import Heard, Language, StringsError, check_of
from drivers.strings.stream import Decoder, Refused
from tests.shipped import LIBRARY

PROFILES = [
    name
    for name, path in LIBRARY.files.items()
    if "protocol: strings" in path.read_text() and LIBRARY.get(name).strings
]


def strings(**given: Any) -> Strings:
    return Strings.model_validate(given)


def heard(language: Language, data: bytes) -> list[Heard | Refused]:
    decoder = Decoder(language)
    return [*decoder.feed(data), *decoder.end()]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("crc16-modbus", 0x4B37), ("crc16-ccitt-false", 0x29B1), ("crc16-xmodem", 0x31C3), ("crc16-kermit", 0x2189),
     ("crc16-aug-ccitt", 0xE5CC), ("sum8", 0xDD), ("lrc", 0x23), ("xor8", 0x31)],
)  # fmt: skip
def test_checks_are_those_of_the_catalogue(kind: CheckKind, value: int) -> None:
    """Of the digits 1 to 9, as every catalogue of checks gives them."""
    assert check_of(kind, b"123456789") == value


def test_control_characters_are_spelled_as_in_manuals() -> None:
    assert spelled("<STX>a<CR><LF><0x9A>") == "\x02a\r\n\x9a"
    with pytest.raises(ValueError, match="no control character"):
        spelled("<XY>")


BINARY = strings(
    frames={
        "state": {
            "shape": "<0xAA>{unit}{size}{state}{name}{check}",
            "fields": {
                "unit": {"as": "uint", "size": 1}, "size": {"as": "uint", "size": 1, "total": 0},
                "state": {"as": "bcd", "size": 2, "order": "little"}, "name": {},
                "check": {"as": "uint", "size": 2, "order": "little", "check": "crc16-modbus"},
                "open": {"of": "unit", "bits": "0..1"},
            },
        }
    }
)  # fmt: skip


@given(
    st.integers(0, 255),
    st.integers(0, 9999),
    st.text("abcXYZ09", max_size=20),
    st.binary(max_size=30),
    st.binary(max_size=9),
)
def test_what_is_sent_is_found_whatever_is_around_it(
    unit: int, state: int, name: str, before: bytes, after: bytes
) -> None:
    language = Language(BINARY)
    frame = language.sample("state", {"unit": unit, "state": state, "name": name})
    found = [one for one in heard(language, before.replace(b"\xaa", b"") + frame + after) if isinstance(one, Heard)]
    assert found[0].raw == frame
    assert found[0].values["state"] == state
    assert found[0].values["name"] == name
    assert found[0].values["open"] == unit & 3


@given(st.lists(st.binary(max_size=60), max_size=20))
@pytest.mark.parametrize("name", PROFILES)
def test_no_bytes_are_too_strange(name: str, pieces: list[bytes]) -> None:
    decoder = Decoder(Language(LIBRARY.get(name).strings))  # type: ignore[arg-type]
    for piece in pieces:
        list(decoder.feed(piece))
    list(decoder.end())


@given(st.data())
def test_a_stream_in_pieces_is_the_stream(data: st.DataObject) -> None:
    language = Language(BINARY)
    stream = b"".join(language.sample("state", {"unit": n, "state": n, "name": "x" * n}) for n in range(5))
    whole = [one.raw for one in heard(language, stream) if isinstance(one, Heard)]
    decoder, found, at = Decoder(language), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 12))
        found += [one.raw for one in decoder.feed(stream[at : at + step]) if isinstance(one, Heard)]
        at += step
    assert found == whole
    assert len(whole) == 5


@pytest.mark.parametrize("name", PROFILES)
def test_noise_costs_linear_time_and_makes_no_card(name: str) -> None:
    """An eighth of a megabyte of noise, and then of nothing but beginnings; frames with a check are never found in it."""
    spec = LIBRARY.get(name).strings
    assert spec is not None
    noise = random.Random(4).randbytes(1 << 16) + b"\x02" * (1 << 15) + b"\xaa*:@" * (1 << 13)
    began = time.process_time()
    found = [one for one in heard(Language(spec), noise) if isinstance(one, Heard)]
    spent = time.process_time() - began
    assert spent < 2.0  # 0.1 s on a slow machine
    checked = {frame for frame, shape in spec.frames.items() if any(field.check for field in shape.fields.values())}
    assert not [one for one in found if one.frame in checked and len(one.raw) > 6]


def test_beginnings_without_end_are_told_by_what_stands_at_fixed_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of `@@`, with which a message of GB/T 26875.3 begins: hardly one is taken apart."""
    walked = 0
    walk = Language._walk

    def counted(*given: Any, **more: Any) -> Any:
        nonlocal walked
        walked += 1
        return walk(*given, **more)

    monkeypatch.setattr(Language, "_walk", counted)
    language = Language(LIBRARY.get("gbt26875-transmission-device").strings or Strings())
    assert not any(isinstance(one, Heard) for one in heard(language, b"@@" * 20_000))
    assert walked < 100


@pytest.mark.parametrize("name", PROFILES)
def test_no_shipped_profile_is_ambiguous_but_for_its_last_resort(name: str) -> None:
    spec = LIBRARY.get(name).strings
    assert spec is not None
    assert list(ambiguous_frames(spec)) == []


def test_lint_names_the_frame_that_is_never_reached() -> None:
    spec = strings(line_end="<CR>", frames={"any": {"shape": "{text}"}, "ok": {"shape": "OK"}})
    assert list(ambiguous_frames(spec)) == [("ok", "any")]


def test_secrets_are_masked() -> None:
    language = Language(LIBRARY.get("id-innovations-id-12").strings)  # type: ignore[arg-type]
    [found] = heard(language, b"\x023C00CE754CCB\r\n\x03")
    assert isinstance(found, Heard)
    assert found.shown == b"\x02**********CB\r\n\x03"
    assert "3C00CE754C" not in repr(found)
    [refused] = heard(language, b"\x023C00CE754C00\r\n\x03")
    assert isinstance(refused, Refused)
    assert set(refused.shown) == {ord("*")}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"frames": {"a": {"shape": "{x}<CR>"}}}, "begins with"),
        ({"frames": {"a": {"shape": "A{x}"}}}, "any length"),
        ({"frames": {"a": {"shape": "A{x}{y}B"}}}, "ends cannot be known"),
        ({"frames": {"a": {"shape": "A{x"}}}, "lone"),
        ({"frames": {"a": {"shape": "A{x}B{x}C"}}}, "twice"),
        ({"frames": {"a": {"shape": "AB", "fields": {"x": {}}}}}, "does not stand"),
        ({"frames": {"a": {"shape": "A{x}B", "fields": {"x": {"as": "uint"}}}}}, "needs size"),
        ({"frames": {"a": {"shape": "A<QQ>"}}}, "no control character"),
        ({"line_end": "<CR>", "pause_ms": 50}, "not with both"),
        ({"requests": {"a": {"shape": "A", "answer": ["b"]}}}, "not there"),
        ({"frames": {"a": {"shape": "A{x}B", "fields": {"x": {"words": {"on": 1, "off": 1}}}}}}, "one number"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Language(strings(**given))


def test_requests_refuse_what_does_not_fit() -> None:
    fields = {"value": {"as": "decimal", "size": 2}, "who": {"words": {"me": 1}}}
    language = Language(strings(line_end="<CR>", requests={"set": {"shape": "S{value}{who}", "fields": fields}}))
    assert language.build("set", {"value": 7, "who": 1}) == (b"S07me\r", b"S07me\r")
    for wrong in (
        {"value": 100, "who": 1},
        {"value": -1, "who": 1},
        {"value": 1, "who": 2},
        {"value": 1, "who": "you"},
        {"who": 1},
    ):
        with pytest.raises(StringsError):
            language.build("set", wrong)  # type: ignore[arg-type]
    text = Language(strings(line_end="<CR>", requests={"say": {"shape": "T{value}"}}))
    with pytest.raises(StringsError):
        text.build("say", {"value": "a\rS99"})
