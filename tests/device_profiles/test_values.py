"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from device_profiles.secrets import Secret
from device_profiles.values import Align, Bytes, Poll, Text


@pytest.mark.parametrize(
    ("written", "value"),
    [(30, 30), (0.5, 0.5), ("30s", 30), ("15min", 900), ("500ms", 0.5), ("1h", 3600), ("1 d", 86400), ("1.5min", 90)],
)
def test_durations(written: object, value: float) -> None:
    assert TypeAdapter(Poll).validate_python(written) == value


@pytest.mark.parametrize("written", [0, -1, 1e9, "1e9", "30 x", "", True, float("nan"), float("inf"), [], "-5s", "2d"])
def test_no_durations(written: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Poll).validate_python(written)


def test_a_mark_is_whole_seconds() -> None:
    assert TypeAdapter(Align).validate_python("15min") == 900
    with pytest.raises(ValidationError):
        TypeAdapter(Align).validate_python(0.5)


@pytest.mark.parametrize(
    ("written", "value"), [(5, 5), ("2GiB", 2**31), ("256 MB", 256_000_000), ("1.5kB", 1500), ("16Mi", 16 * 2**20)]
)
def test_sizes(written: object, value: int) -> None:
    assert TypeAdapter(Bytes).validate_python(written) == value


@pytest.mark.parametrize("written", ["lots", "-1MB", -1, "1PB", 2**60])
def test_no_sizes(written: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Bytes).validate_python(written)


def test_text_is_printable_and_numbers_are_text() -> None:
    assert TypeAdapter(Text).validate_python(2311) == "2311"
    assert TypeAdapter(Text).validate_python("电表 1") == "电表 1"
    for bad in ("", "\x1b[31mred", "a\nb", "x\u202ey", "y" * 201):
        with pytest.raises(ValidationError):
            TypeAdapter(Text).validate_python(bad)


@pytest.mark.parametrize("written", ["hunter2", ["hunter2"], {"file": "a", "env": "B"}, {}, {"env": "a b"}])
def test_a_secret_is_a_reference_and_never_repeated(written: object) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Secret).validate_python(written)
    assert "hunter2" not in caught.value.errors()[0]["msg"]
