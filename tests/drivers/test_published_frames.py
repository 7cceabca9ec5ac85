"""Frames of meters that others published say what their sources say, however they come over the wire."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from device_profiles.yamlfile import read_yaml
from drivers.frames import Frame, Reject
from drivers.registry import load_frame_decoder

PUBLISHED: list[dict[str, Any]] = read_yaml(Path(__file__).with_name("published_frames.yaml")).data["frames"]
CASES = pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: f"{one['protocol']} {one['source']}")


def decoded(protocol: str, *portions: bytes) -> list[Frame | Reject]:
    decoder = load_frame_decoder(protocol)
    return [*(found for portion in portions for found in decoder.feed(portion)), *decoder.end()]


def frames(protocol: str, *portions: bytes) -> list[str]:
    return [one.raw.hex().upper() for one in decoded(protocol, *portions) if isinstance(one, Frame)]


@CASES
def test_it_says_what_its_source_says(one: dict[str, Any]) -> None:
    (frame,) = decoded(one["protocol"], bytes.fromhex(one["hex"]))
    assert isinstance(frame, Frame)
    assert frame.address == one["address"]
    values = {value.id: [value.id, value.value, value.unit] for value in frame.values}
    assert [values[name] for name, *_ in one["values"]] == one["values"]


@CASES
def test_it_is_found_in_a_stream(one: dict[str, Any]) -> None:
    protocol, raw = one["protocol"], bytes.fromhex(one["hex"])
    assert frames(protocol, *(raw[at : at + 1] for at in range(len(raw)))) == [one["hex"]]
    assert frames(protocol, b"\x00\x68\x17\xff" + raw + raw + b"\x00\x01") == [one["hex"]] * 2
    assert frames(protocol, raw[: len(raw) // 2] + b"\x00" * 300 + raw) == [one["hex"]]
    assert not frames(protocol, raw[:-1])


@CASES
def test_it_does_not_survive_a_changed_bit(one: dict[str, Any]) -> None:
    raw = bytes.fromhex(one["hex"])
    first = raw.index(0x68)
    for at in random.Random(len(raw)).sample(range(first, len(raw)), 8):
        changed = raw[:at] + bytes((raw[at] ^ 1 << at % 8,)) + raw[at + 1 :]
        assert not [found for found in frames(one["protocol"], changed) if len(found) > 10]
