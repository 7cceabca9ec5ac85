"""drivers.bacnet.history: trend logs as devices answer, their records and clocks."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.reading import PointFault
from drivers.bacnet import history
from drivers.bacnet.client import BacnetClient, Peer
from drivers.bacnet.codec import Ref
from drivers.bacnet.history import Portion, Record, Zone
from drivers.bacnet.tags import BacnetError, Date, Time

LOG = Ref(20, 4, 131)
PEER = Peer(505, "10.0.0.7:47808", 480, "none", 0)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1000)
CHINA = Zone(8 * 3600)


def stamp(minute: int, hundredths: int = 0) -> bytes:
    """2026-11-22 20:00 + minute, as a BACnetDateTime: 12:00 UTC in China."""
    return bytes((0xA4, 126, 11, 22, 7, 0xB4, 20 + minute // 60, minute % 60, 0, hundredths))


def record(minute: int, datum: bytes, flags: bytes = b"") -> bytes:
    return b"\x0e" + stamp(minute) + b"\x0f\x1e" + datum + b"\x1f" + flags


def real(value: float) -> bytes:
    return b"\x2c" + struct.pack(">f", value)


def answer(records: list[bytes], *, first: int | None = None, flags: int = 0b110) -> bytes:
    """ReadRange-ACK; `flags` are first-item, last-item, more-items."""
    head = b"\x0c\x05\x00\x00\x04\x19\x83\x3a\x05" + bytes((flags << 5,)) + b"\x49" + bytes((len(records),))
    sequence = b"" if first is None else b"\x6c" + first.to_bytes(4)
    return head + b"\x5e" + b"".join(records) + b"\x5f" + sequence


@pytest.mark.parametrize(
    ("datum", "value"),
    [
        (real(21.5), 21.5),
        (b"\x19\x01", True),
        (b"\x39\x02", 2),
        (b"\x4a\x01\x2c", 300),
        (b"\x59\xfe", -2),
        (b"\xae\x55\x08\x3f\xf8\x00\x00\x00\x00\x00\x00\xaf", 1.5),
    ],
)
def test_values_of_records(datum: bytes, value: float) -> None:
    portion = history.decode_portion(answer([record(0, datum, b"\x2a\x04\x40")], first=17), LOG)
    [found] = portion.records
    assert found is not None
    assert (found.value, found.flags) == (value, (False, True, False, False))
    assert (portion.first, portion.has_last, portion.has_more) == (17, True, False)


@pytest.mark.parametrize(
    ("datum", "status", "words"),
    [
        (b"\x0a\x05\x80", "BadNoData", "log disabled"),
        (b"\x0a\x05\x20", "BadNoData", "log interrupted"),
        (b"\x78", "BadNoData", "NULL"),
        (b"\x8e\x91\x02\x91\x20\x8f", "BadNotSupported", "unknown-property"),
        (real(float("nan")), "BadSensorFailure", "nan"),
        (b"\x6a\x04\xf0", "BadDecodingError", "bit string"),
    ],
)
def test_records_without_a_value_say_why(datum: bytes, status: str, words: str) -> None:
    [found] = history.decode_portion(answer([record(0, datum)]), LOG).records
    assert found is not None
    assert isinstance(found.value, PointFault)
    assert found.value.status == status
    assert words in found.value.detail


@pytest.mark.parametrize("datum", [b"\x9c\x45\x61\x00\x00", b"\x0a\x05\x00"])
def test_a_changed_clock_and_an_enabled_log_are_no_value(datum: bytes) -> None:
    assert history.decode_portion(answer([record(0, datum)]), LOG).records == (None,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        answer([])[:-2],
        answer([record(0, real(1))]).replace(b"\x49\x01", b"\x49\x02"),
        answer([record(0, real(1))]).replace(b"\x0c\x05\x00\x00\x04", b"\x0c\x05\x00\x00\x05"),
        answer([b"\x1e" + real(1) + b"\x1f"]),
        answer([b"\x0e" + stamp(0) + b"\x0f"]),
        answer([record(0, real(1) + real(2))]),
        answer([record(0, b"\x9c\x00\x00\x00\x00"[:4])]),
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(BacnetError):
        history.decode_portion(data, LOG)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 400))
def test_mutations_are_a_portion_or_a_bacnet_error(at: int, octet: int, cut: int) -> None:
    data = bytearray(answer([record(n, real(n), b"\x2a\x04\x00") for n in range(6)], first=9))
    data[at % len(data)] = octet
    try:
        assert isinstance(history.decode_portion(bytes(data[: max(len(data) - cut % 40, 0)]), LOG), Portion)
    except BacnetError:
        return


# Clocks.


def test_a_zone_is_what_the_clock_shows() -> None:
    assert history.zone_of(NOON.timestamp() + 8 * 3600 + 12.5, NOON.timestamp(), 0, False) == Zone(28_800, 12.5)
    assert history.zone_of(NOON.timestamp() + 5.75 * 3600 - 3, NOON.timestamp(), None, None) == Zone(20_700, -3)
    assert history.zone_of(None, NOON.timestamp(), -60, True) == Zone(7200)
    never_set = history.zone_of(0.0, NOON.timestamp(), -480, False)
    assert never_set.offset_s == 28_800


@pytest.mark.parametrize("date", [Date(2026, 13, 1, 1), Date(255, 1, 1, 1), Date(2026, 2, 30, 1)])
def test_a_time_that_is_none(date: Date) -> None:
    assert Zone(0).utc_ms(date, Time(0, 0, 0, 0)) is None


def test_there_and_back() -> None:
    assert CHINA.local(NOON_MS + 250) == (Date(2026, 11, 22, 7), Time(20, 0, 0, 25))
    assert CHINA.utc_ms(*CHINA.local(NOON_MS + 250)) == NOON_MS + 250


# Reading.


class Log:
    """A device's log buffer behind the client's `confirmed`: answers by time and by sequence, a few records at once."""

    def __init__(self, records: dict[int, bytes], *, at_once: int = 4, has_sequence: bool = True) -> None:
        self.records = records
        self.at_once = at_once
        self.has_sequence = has_sequence
        self.asked: list[bytes] = []

    async def confirmed(self, peer: Peer, service: int, payload: bytes, *, timeout_s: float | None = None) -> bytes:
        assert service == 26
        self.asked.append(payload)
        choice = payload[7]
        if choice == 0x7E:
            date, time = payload[9:13], payload[14:18]
            known = [n for n in sorted(self.records) if (self.records[n][2:6], self.records[n][7:11]) > (date, time)]
        else:
            size = payload[8] & 7
            first = int.from_bytes(payload[9 : 9 + size])
            known = [n for n in sorted(self.records) if n >= first]
        given = known[: self.at_once]
        is_last = given == known
        sequence = given[0] if given and self.has_sequence else None
        flags = (0b010 if is_last else 0b001) if given else 0
        return answer([self.records[n] for n in given], first=sequence, flags=flags)


def read(log: Log, since_minute: int = 0, until_minute: int = 100) -> list[tuple[int, Record]]:
    async def collect() -> list[tuple[int, Record]]:
        found: list[tuple[int, Record]] = []
        client: BacnetClient = log  # type: ignore[assignment]  # only `confirmed` is used
        since, until = NOON_MS + since_minute * 60_000, NOON_MS + until_minute * 60_000
        async for portion in history.read_log(client, PEER, LOG, CHINA, since, until):
            assert portion
            found += portion
        return found

    return asyncio.run(collect())


@pytest.mark.parametrize("has_sequence", [True, False])
def test_a_stretch_of_time_in_portions(has_sequence: bool) -> None:
    log = Log({100 + n: record(n, real(n)) for n in range(20)}, has_sequence=has_sequence)
    found = read(log, 3, 15)
    assert [(t - NOON_MS) // 60_000 for t, _ in found] == list(range(3, 15))
    assert [one.value for _, one in found] == list(range(3, 15))
    assert [payload[7] for payload in log.asked] == [0x7E, *[0x6E if has_sequence else 0x7E] * (len(log.asked) - 1)]


def test_sequence_numbers_that_start_again() -> None:
    log = Log({2**32 - 2: record(0, real(0)), 2**32 - 1: record(1, real(1))}, at_once=2)
    later = {1: record(2, real(2)), 2: record(3, real(3))}
    ask = log.confirmed

    async def wrapped(peer: Peer, service: int, payload: bytes, *, timeout_s: float | None = None) -> bytes:
        if payload[7] == 0x6E:
            log.records = later
        else:
            log.at_once = 2
            log.records = {**log.records, 2**32: record(9, real(9))}  # there is more
        return await ask(peer, service, payload)

    log.confirmed = wrapped  # type: ignore[method-assign]
    assert [one.value for _, one in read(log)] == [0, 1, 2, 3]


def test_records_of_a_clock_that_was_set_back_are_given_once() -> None:
    minutes = [0, 1, 2, 3, 1, 2, 3, 4]
    found = read(Log({n: record(minute, real(n)) for n, minute in enumerate(minutes, 1)}))
    assert [(t - NOON_MS) // 60_000 for t, _ in found] == [0, 1, 2, 3, 4]


def test_records_that_were_overwritten_meanwhile_are_passed_over() -> None:
    log = Log({n: record(n, real(n)) for n in range(1, 12)})
    ask = log.confirmed

    async def shrinking(peer: Peer, service: int, payload: bytes, *, timeout_s: float | None = None) -> bytes:
        if payload[7] == 0x6E and 6 in log.records:
            log.records = {n: log.records[n] for n in (10, 11)}
            return answer([], flags=0)
        return await ask(peer, service, payload)

    log.confirmed = shrinking  # type: ignore[method-assign]
    assert [one.value for _, one in read(log)] == [1, 2, 3, 4, 10, 11]


def test_an_empty_log() -> None:
    log = Log({})
    assert read(log) == []
    assert len(log.asked) == 1
