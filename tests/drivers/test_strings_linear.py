"""What a strings decoder does for noise, by framing: work is counted, not timed, and twice the bytes are twice the work."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from device_profiles import strings_codec
from device_profiles.strings import Strings
from device_profiles.strings_codec import Heard, Language
from drivers.strings.stream import Decoder

_SIZE = 1 << 13
_CHECKED: dict[str, Any] = {"as": "uint", "size": 2, "check": "crc16-modbus"}
_LENGTH: dict[str, Any] = {"as": "uint", "size": 2, "total": 6}


def _language(shape: str, fields: dict[str, Any], **more: Any) -> Language:
    return Language(Strings.model_validate({"frames": {"one": {"shape": shape, "fields": fields}}, **more}))


FRAMINGS = {
    "length, check, tail": _language("@@{size}{rest}{check}##", {"size": {**_LENGTH, "total": 8}, "rest": {}, "check": _CHECKED}),
    "length, check": _language("<STX>{size}{rest}{check}", {"size": {**_LENGTH, "total": 5}, "rest": {}, "check": _CHECKED}),
    "decimal length": _language(
        "<STX>{size}{rest}{check}<ETX>",
        {"size": {"as": "decimal", "size": 3, "total": 7}, "rest": {}, "check": _CHECKED},
    ),
    "open, tail": _language("<STX>{rest}<ETX>", {}),
    "open number, tail": _language("<STX>{rest}<ETX>", {"rest": {"as": "decimal"}}),
    "open, check behind the tail": _language("<STX>{rest}<ETX>{check}", {"check": _CHECKED}),
    "fixed, check": _language("<STX>{rest}{check}", {"rest": {"size": 900}, "check": _CHECKED}),
    "line": _language("C{rest},{check}", {"check": {"as": "hex", "size": 2, "check": "xor8"}}, line_end="<CR><LF>"),
    "pause": _language("C{rest},{check}", {"check": {"as": "hex", "size": 2, "check": "xor8"}}, pause_ms=20),
}  # fmt: skip


class Work:
    """Frames looked at, taken apart, and bytes that a check was computed of."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps = self.checked = 0
        for name in ("at", "_walk", "whole"):
            patch.setattr(Language, name, self._counted(getattr(Language, name)))
        check = strings_codec.check_of

        def check_of(kind: Any, data: bytes) -> int:
            self.checked += len(data)
            return check(kind, data)

        patch.setattr(strings_codec, "check_of", check_of)

    def _counted(self, real: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            self.steps += 1
            return real(*given, **named)

        return call


def _frame(language: Language) -> bytes:
    width = language.spec.frames["one"].field("rest").size or 12
    rest = "7" * width
    return language.sample("one", {"rest": rest}) + language.line_end


def _inputs(language: Language) -> Iterator[bytes]:
    """Noise; begins without end; frames that are almost right."""
    yield random.Random(7).randbytes(2 * _SIZE)
    yield (_frame(language)[:2] if language.start.pattern == rb"@@" else _frame(language)[:1]) * (2 * _SIZE)
    frame = bytearray(_frame(language))
    frame[len(frame) // 2] ^= 0x41
    yield bytes(frame) * (2 * _SIZE // len(frame))


def _run(language: Language, data: bytes, steps: list[int]) -> int:
    decoder, at, found = Decoder(language), 0, 0
    for step in steps:
        found += sum(isinstance(one, Heard) for one in decoder.feed(data[at : at + step]))
        at += step
    return found + sum(isinstance(one, Heard) for one in (*decoder.feed(data[at:]), *decoder.end()))


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("pieces", ["whole", "pieces"])
def test_twice_the_bytes_are_twice_the_work(name: str, pieces: str, monkeypatch: pytest.MonkeyPatch) -> None:
    language, work = FRAMINGS[name], Work(monkeypatch)
    cuts = [random.Random(9).randint(1, 512) for _ in range(32)] if pieces == "pieces" else []
    for data in _inputs(language):
        spent = []
        for part in (data[: len(data) // 2], data):
            work.steps = work.checked = 0
            _run(language, part, cuts)
            spent.append((work.steps, work.checked))
        (steps, checked), (steps_2, checked_2) = spent
        assert steps_2 <= 2.3 * steps + 1100  # the last frame's length is looked at byte by byte
        assert steps_2 <= len(data)
        assert checked_2 <= 2.3 * checked + 100_000
        assert checked_2 <= 60 * len(data)


@pytest.mark.parametrize("name", [name for name in FRAMINGS if name != "pause"])
def test_a_right_frame_behind_begins_without_end_is_found(name: str) -> None:
    language = FRAMINGS[name]
    frame = _frame(language)
    noise = frame[:1] * 3000 if language.line_end else frame[:2] * 1500 + b"\0" * 1100
    assert _run(language, noise + language.line_end + frame, [100] * 20) == 1


def test_a_frame_that_waits_for_its_end_is_not_looked_at_for_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    language, work = FRAMINGS["length, check, tail"], Work(monkeypatch)
    frame = language.sample("one", {"rest": "7" * 800})
    assert _run(language, frame, [1] * len(frame)) == 1
    assert work.steps < 10
