"""Which messages may become rows: every refusal with its reason, and nothing but refusals whatever the bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import check
from gateway.check import Rejection
from gateway.contract.topics import parse
from tests.gateway.message_box import AGENT, DEV, EPOCH, NOW, SITE, TOPICS, event, telemetry


def reason(payload: bytes) -> str | None:
    try:
        check.telemetry(payload, NOW)
    except Rejection as rejection:
        return rejection.reason
    return None


def raw(value: str, key: str = "power_active") -> bytes:
    """A message with this JSON text as a value."""
    return telemetry(s={key: 0}).replace(b":0}", b":" + value.encode() + b"}")


def test_a_usual_message_passes_with_its_own_text() -> None:
    message, text = check.telemetry(telemetry(s={"power_active": 81.25, "voltage_l1": 229}), NOW)
    assert (message.seq, message.s["power_active"]) == (1, 81.25)
    assert text == '{"power_active":81.25,"voltage_l1":229}'


@pytest.mark.parametrize(
    "payload",
    [
        telemetry(mk=NOW - 2000),
        telemetry(part=[1, 2]),
        telemetry(s={"breaker_closed": True}),
        telemetry(s={"model_text": "SDM630: v2"}),
        telemetry(s={"x_foo": 1.0}),
        telemetry(x=[{"p": "power_active", "q": 2, "sc": "BadTimeout"}]),
        telemetry(s={}, x=[{"p": "power_active", "dt": -800, "val": 81231.5, "ts": "dev"}]),
        telemetry(later_key={"a": [1, 2]}),
    ],
)
def test_an_unusual_message_passes_without(payload: bytes) -> None:
    assert check.telemetry(payload, NOW)[1] is None


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "json"),
        (b"null", "schema"),
        (b"7", "schema"),
        (b"[]", "schema"),
        (b"\xef\xbb\xbf{}", "json"),
        (b"x" * 70_000, "size"),
        (telemetry() + b"x", "json"),
        (telemetry().replace(b'"v":1', b'"v":2'), "version"),
        (telemetry().replace(b'"v":1,', b""), "version"),
        (telemetry(seq=-1), "seq"),
        (telemetry(seq=2**63), "seq"),
        (telemetry(epoch=""), "epoch"),
        (telemetry(epoch="a b"), "epoch"),
        (telemetry(epoch="x" * 17), "epoch"),
        (telemetry(cls="Meter"), "class"),
        (telemetry(cls="quality"), "class"),
        (telemetry(cls="a,b"), "class"),
        (telemetry(t=0), "time"),
        (telemetry(t=NOW // 1000), "time"),
        (telemetry(t=check.EARLIEST_MS - 1), "time"),
        (telemetry(t=NOW + check.AHEAD_MS + 1), "time"),
        (telemetry(t=253402300799000), "time"),
        (telemetry(mk=5), "time"),
        (telemetry(x=[{"p": "energy_active_import", "dt": 400_000, "val": 1}]), "time"),
        (telemetry(s={"Power": 1}), "point"),
        (telemetry(s={"a=b": 1}), "point"),
        (telemetry(s={"a\nb": 1}), "point"),
        (telemetry(s={"a" * 64: 1}), "point"),
        (telemetry(s={"power_active": "on"}), "type"),
        (telemetry(s={"model_text": 5}), "type"),
        (telemetry(s={"model_text": "a\nb"}), "control"),
        (telemetry(s={"model_text": "\x9b31m"}), "control"),
        (telemetry(s={"model_text": "x" * 5000}), "text"),
        (telemetry(s={f"x_{n}": n for n in range(501)}), "samples"),
        (telemetry(x=[{"p": "a", "q": 3}]), "quality"),
        (telemetry(x=[{"p": "a", "q": 2, "sc": "Bad Timeout"}]), "quality"),
        (telemetry(x=[{"p": "a", "q": 0, "f": ["a b"]}]), "quality"),
        (telemetry(x=[{"p": "a b", "q": 2}]), "point"),
        (raw("NaN"), "json"),
        (raw("-Infinity"), "json"),
        (raw("1e400"), "number"),
        (raw("9223372036854775808"), "number"),
        (raw("-9223372036854775809"), "number"),
        (raw("1" + "0" * 400), "number"),
        (raw("null"), "schema"),
        (raw("[1]"), "schema"),
        (raw('"\\ud800"', "model_text"), "json"),
        (telemetry().replace(b'"power_active":81.25', b'"power_active":1,"power_active":2'), "duplicate_key"),
        (telemetry().replace(b'"seq":1', b'"seq":1,"seq":2'), "duplicate_key"),
        (telemetry().replace(b'"power_active":81.25', b'"a" :1,"a":2'), "duplicate_key"),
        (telemetry()[:-1] + b',"z":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "depth"),
        (telemetry()[:-1] + b',"z":"\xff"}', "json"),
        (telemetry(seq=1.5), "schema"),
    ],
)
def test_refusals(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


@pytest.mark.parametrize("t", [check.EARLIEST_MS, NOW + check.AHEAD_MS])
def test_the_ends_of_time_are_inside(t: int) -> None:
    assert reason(telemetry(t=t)) is None


@pytest.mark.parametrize(
    "value", ["9223372036854775807", "-9223372036854775808", "-0.0", "5e-324", "1.7976931348623157e308"]
)
def test_the_ends_of_numbers_are_inside(value: str) -> None:
    assert check.telemetry(raw(value), NOW)[0].s["power_active"] == float(value) or int(value)


def test_an_odd_id_is_refused_also_after_many_good_ones() -> None:
    assert reason(telemetry(s={"power_active": 1})) is None
    assert reason(telemetry(s={"power_active": 1, "pOwer": 1})) == "point"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["v", "cls", "epoch", "seq", "meta", "clk", "t", "s", "x", "mk", "part", "src", "q"])


@given(st.binary(max_size=300))
@example(b"{" * 5000)
def test_any_bytes_are_refused_or_pass(payload: bytes) -> None:
    for look in (reason, check.seq_of):
        look(payload)
    with pytest.raises(Rejection):
        check.event(payload, NOW)


@given(st.dictionaries(keys, json_values, max_size=4))
def test_any_changed_message_is_refused_or_passes_and_makes_numbers(changed: dict[str, Any]) -> None:
    document = json.loads(telemetry()) | changed
    payload = json.dumps(document).encode("utf-8", "surrogatepass")
    try:
        message, _ = check.telemetry(payload, NOW)
    except Rejection:
        return
    assert check.EARLIEST_MS <= message.t <= NOW + check.AHEAD_MS
    for point, value in message.s.items():
        assert point.endswith("_text") if isinstance(value, str) else abs(value) <= 1.8e308


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True), st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_the_text_is_the_values(s: dict[str, float]) -> None:
    s = {point: value for point, value in s.items() if not point.endswith("_text")}
    message, text = check.telemetry(telemetry(s=s), NOW)
    assert text is None or json.loads(text) == message.s == s


def test_seq_of_what_was_refused() -> None:
    assert check.seq_of(telemetry(seq=7, t=0)) == (EPOCH, 7)
    assert check.seq_of(event(seq=9)) == (EPOCH, 9)
    assert check.seq_of(b"[1]") is None
    assert check.seq_of(b'{"epoch":"' + EPOCH.encode() + b'","seq":true}') is None


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (event(type="plantroom.access.denied.v2"), "version"),
        (event(type="other.access.denied.v1"), "version"),
        (event(specversion="0.3"), "version"),
        (event(seq=-1), "seq"),
        (event(id=""), "id"),
        (event(id="a\nb"), "control"),
        (event(time="yesterday"), "time"),
        (event(time="2026-11-22T13:47:25.338"), "time"),
        (event(time="1970-01-01T00:00:00Z"), "time"),
        (event(time="9999-01-01T00:00:00Z"), "time"),
        (event(data={"a b": 1}), "key"),
        (event(data={"card": "a\x00b"}), "control"),
        (event(data={"n": {"deep": ["a\rb"]}}), "control"),
        (event(data={"n": 2**70}), "number"),
        (event().replace(b'"seq":"1"', b'"seq":"1","seq":"2"'), "duplicate_key"),
    ],
)
def test_refused_events(payload: bytes, expected: str) -> None:
    with pytest.raises(Rejection) as found:
        check.event(payload, NOW)
    assert found.value.reason == expected


def test_an_event_agrees_with_its_topic() -> None:
    message, name, _ = check.event(event(), NOW)
    topic = parse(TOPICS.event(DEV, "access"))
    assert topic is not None
    check.event_agrees(topic, DEV, "access", message, name)
    for dev, event_class in (("door-9", "access"), (DEV, "card")):
        with pytest.raises(Rejection, match="topic"):
            check.event_agrees(topic, dev, event_class, message, name)
    other, name, _ = check.event(event(source=f"/{SITE}/{AGENT}x/{DEV}"), NOW)
    with pytest.raises(Rejection, match="topic"):
        check.event_agrees(topic, DEV, "access", other, name)
