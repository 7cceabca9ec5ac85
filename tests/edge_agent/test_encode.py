"""One acquisition, one message; more than a message holds leaves in parts, and nothing is dropped on the way."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.reading import Acquisition, Flagged
from edge_agent.encode import builders
from gateway.contract.messages import MAX_BYTES, MAX_SAMPLES, Telemetry

decode = msgspec.json.Decoder(Telemetry, strict=True).decode


def messages(acquisition: Acquisition) -> list[Telemetry]:
    parts = builders(acquisition, cls="electricity_meter", meta="7c1e", clk="ntp")
    encoded = [build("7Q2XK9M4TB", 10 + at) for at, (_, build) in enumerate(parts)]
    assert all(len(message) <= MAX_BYTES for message in encoded)
    return [decode(message) for message in encoded]


def test_one_message_in_the_words_of_the_contract() -> None:
    acquisition = Acquisition(
        "meter-01",
        1795355245338,
        {"power_active": 81.25, "breaker_closed": True},
        [
            Flagged("current_l2", None, "BadTimeout"),
            Flagged("energy_active_import", 81231.5, dt_ms=-800, source_stamped=True),
            Flagged("current_l1", 3.5, "Good"),
        ],
        1795355245000,
    )
    ((t, build),) = builders(acquisition, cls="electricity_meter", meta="7c1e", clk="ntp")
    assert t == 1795355245338
    assert build("7Q2XK9M4TB", 10423) == (
        b'{"v":1,"cls":"electricity_meter","epoch":"7Q2XK9M4TB","seq":10423,"meta":"7c1e","clk":"ntp","t":1795355245338,'
        b'"mk":1795355245000,"s":{"power_active":81.25,"breaker_closed":true},'
        b'"x":[{"p":"current_l2","q":2,"sc":"BadTimeout"},{"p":"energy_active_import","val":81231.5,"dt":-800,"ts":"dev"},'
        b'{"p":"current_l1","q":0,"val":3.5}]}'
    )


def test_a_bad_sample_never_carries_a_number() -> None:
    (message,) = messages(Acquisition("m", 1, {}, [Flagged("voltage_l1", 230.0, "BadSensorFailure")]))
    assert message.x[0].val is None


@given(good=st.integers(0, 1700), flagged=st.integers(0, 700))
def test_parts_hold_every_sample_once(good: int, flagged: int) -> None:
    acquisition = Acquisition(
        "m",
        1000,
        {f"x_{n}": n + 0.5 for n in range(good)},
        [Flagged(f"y_{n}", n, "UncertainSubNormal") for n in range(flagged)],
    )
    parts = messages(acquisition)
    assert {name: value for part in parts for name, value in part.s.items()} == acquisition.good
    assert [flag.p for part in parts for flag in part.x] == [flag.point for flag in acquisition.flagged]
    assert all(len(part.s) + len(part.x) <= MAX_SAMPLES for part in parts)
    if len(parts) > 1:
        assert [part.part for part in parts] == [(at + 1, len(parts)) for at in range(len(parts))]
        assert [part.t for part in parts] == [1000 + at for at in range(len(parts))]


def test_long_texts_are_split_by_bytes() -> None:
    parts = messages(Acquisition("m", 1, {f"x_{n}_text": "é" * 9000 for n in range(10)}))
    assert len(parts) > 1
    assert sum(len(part.s) for part in parts) == 10


def test_a_text_that_no_message_holds_is_an_error() -> None:
    with pytest.raises(ValueError, match="x_text"):
        messages(Acquisition("m", 1, {"x_text": "a" * 70_000}))
