"""What is sent of a batch, and with which quality: changes, marks, heartbeat slots, bad and good again."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.reading import Acquisition, Flagged, PointFault, Sample, severity_of
from device_profiles.schema import Point
from edge_agent.normalize import REPEAT_BAD_MS, STALE, Normalizer
from tests.edge_agent.poll_world import device, point

T0 = 1_795_356_000_000
"""A whole quarter hour."""
HEARTBEAT_S = 300


class Box:
    """One device read again and again; each `read` gives what goes out."""

    def __init__(self, *points: Point, memory: Mapping[str, Any] | None = None, **keys: Any) -> None:
        self.points = points
        self.normalizer = Normalizer(device("meter", points, **keys), memory)
        self.form = self.normalizer.prepare([each.id for each in points])
        self.t_ms = T0

    def read(self, *raws: Any, after_s: float = 1, **keys: Any) -> Acquisition:
        self.t_ms += int(after_s * 1000)
        out = Acquisition("meter", self.t_ms)
        self.normalizer.take(self.form, raws, self.t_ms, out, **keys)
        return out

    def events(self) -> list[tuple[str, Mapping[str, Any]]]:
        notices, self.normalizer.notices = self.normalizer.notices, []
        return [(notice.name, notice.data) for notice in notices]


def power(name: str = "x_power", **keys: Any) -> Point:
    return point(name, **{"type": "s32", "scale": "0.1", "deadband": 1.0, "heartbeat": HEARTBEAT_S, **keys})


def test_a_value_goes_out_when_it_moved_by_more_than_its_deadband_since_it_was_sent() -> None:
    box = Box(power())
    assert box.read(1000).good == {"x_power": 100.0}
    assert box.read(1006).good == {}
    assert box.read(1010).good == {}, "exactly the deadband is not more than it"
    assert box.read(1011).good == {"x_power": 101.1}
    assert box.read(1005).good == {}


def test_without_a_deadband_every_reading_goes_out_and_with_zero_every_change() -> None:
    box = Box(power("x_all", deadband=None), power("x_changes", deadband=0))
    assert box.read(5, 5).good == {"x_all": 0.5, "x_changes": 0.5}
    assert box.read(5, 5).good == {"x_all": 0.5}
    assert box.read(5, 6).good == {"x_all": 0.5, "x_changes": 0.6}


def test_the_first_reading_in_each_slot_goes_out() -> None:
    box = Box(power())
    sent = []
    for _ in range(100):
        acquisition = box.read(1000, after_s=10)
        if acquisition.good:
            sent.append(acquisition.t_ms)
    assert sent == [T0 + 10_000, T0 + 300_000, T0 + 600_000, T0 + 900_000]


@given(
    pauses=st.lists(st.integers(1, HEARTBEAT_S - 1), min_size=20, max_size=80),
    raws=st.lists(
        st.one_of(
            st.integers(-50, 50),
            st.just(PointFault("BadOutOfRange")),
            st.just(PointFault("BadDeviceFailure", later=True)),
        ),
        min_size=80,
        max_size=80,
    ),
)
def test_every_slot_in_which_a_device_was_polled_holds_a_sample_or_has_a_reason(
    pauses: list[int], raws: list[Any]
) -> None:
    box = Box(power())
    slots: dict[int, bool] = {}
    reason = ""
    misses = 0
    for pause, raw in zip(pauses, raws, strict=False):
        out = box.read(raw, after_s=pause)
        misses = misses + 1 if isinstance(raw, PointFault) and raw.later else 0
        for flag in out.flagged:
            reason = "" if flag.status == "Good" else flag.status
        slot = out.t_ms // (HEARTBEAT_S * 1000)
        # A device that is busy has two polls before it is said.
        slots[slot] = slots.get(slot, False) or bool(out.good or out.flagged or reason) or 0 < misses < 3
    assert all(slots.values())


def test_points_of_different_heartbeats_keep_their_own_slots() -> None:
    box = Box(power("x_fast", heartbeat=60), power("x_slow", heartbeat=300))
    box.read(0, 0)
    sent = [sorted(box.read(0, 0, after_s=30).good) for _ in range(10)]
    assert [names for names in sent if names] == [["x_fast"]] * 4 + [["x_fast", "x_slow"]]


def test_a_mark_sends_everything() -> None:
    box = Box(point("x_energy", type="u32", align=900, deadband=0), point("x_on", type="bool", table="coil", align=900))
    box.read(5, True)
    assert box.read(5, True).good == {}
    assert box.read(5, True, marked=True).good == {"x_energy": 5.0, "x_on": True}


def test_booleans_enums_and_texts_go_out_on_change_and_by_heartbeat() -> None:
    box = Box(
        point("x_on", type="bool", table="coil", heartbeat=HEARTBEAT_S),
        point("x_mode", labels={0: "off", 1: "on"}, heartbeat=HEARTBEAT_S),
        point("x_text", type="str", length=4, heartbeat=HEARTBEAT_S),
    )
    assert box.read(False, 0, "a").good == {"x_on": False, "x_mode": 0, "x_text": "a"}
    assert box.read(False, 0, "a").good == {}
    assert box.read(True, 0, "b").good == {"x_on": True, "x_text": "b"}
    assert box.read(True, 0, "b", after_s=HEARTBEAT_S).good == {"x_on": True, "x_mode": 0, "x_text": "b"}


def test_a_bad_point_is_said_on_the_change_every_quarter_hour_and_once_when_good_again() -> None:
    box = Box(power(invalid=[-1]), power("x_other"))
    box.read(1000, 5)
    assert box.read(-1, 5).flagged == [Flagged("x_power", None, "BadSensorFailure")]
    told = []
    for _ in range(40):
        out = box.read(-1, 5, after_s=60)
        told += [out.t_ms for flag in out.flagged if flag.point == "x_power"]
    assert told == [T0 + 2_000 + REPEAT_BAD_MS, T0 + 2_000 + 2 * REPEAT_BAD_MS]
    out = box.read(1000, 5)
    assert out.flagged == [Flagged("x_power", 100.0, "Good")]
    assert "x_power" not in out.good
    assert box.read(1000, 5).flagged == []


def test_another_reason_is_said_at_once() -> None:
    box = Box(power())
    box.read(PointFault("BadTimeout"))
    assert box.read(PointFault("BadTimeout")).flagged == []
    assert box.read(PointFault("BadOutOfRange")).flagged == [Flagged("x_power", None, "BadOutOfRange")]


def test_an_uncertain_value_goes_out_each_time_with_its_value() -> None:
    box = Box(power(max=50))
    expected = [Flagged("x_power", 100.0, "UncertainEngineeringUnitsExceeded")]
    assert box.read(1000).flagged == expected
    assert box.read(1000).flagged == expected
    assert box.read(400).flagged == [Flagged("x_power", 40.0, "Good")]


def test_a_busy_device_is_asked_again_and_said_once_after_three_polls() -> None:
    box = Box(power(), power("x_other"))
    box.read(1000, 0)
    busy = PointFault("BadDeviceFailure", later=True)
    assert box.read(busy, 0).flagged == []
    assert box.normalizer.has_later
    assert box.read(busy, 0).flagged == []
    assert box.read(busy, 0).flagged == [Flagged("x_power", None, STALE)]
    for _ in range(30):
        assert all(flag.point != "x_power" for flag in box.read(busy, 0, after_s=60).flagged)
    assert box.read(1000, 0).flagged == [Flagged("x_power", 100.0, "Good")]
    assert not box.normalizer.has_later


def test_a_failed_batch_of_a_live_device_is_said_once_a_point() -> None:
    box = Box(power(), power("x_other"), point("x_sf", internal=True))
    out = Acquisition("meter", T0)
    box.normalizer.fail(box.form, "BadTimeout", T0, out)
    box.normalizer.fail(box.form, "BadTimeout", T0 + 1000, out)
    assert out.flagged == [Flagged("x_power", None, "BadTimeout"), Flagged("x_other", None, "BadTimeout")]


def test_a_late_reading_says_so() -> None:
    box = Box(power(), point("x_on", type="bool", table="coil"))
    out = box.read(1000, True, late=True)
    assert out.good == {}
    assert out.flagged == [Flagged("x_power", 100.0, flags=("late",)), Flagged("x_on", True, flags=("late",))]
    assert box.read(1000, True).good == {"x_power": 100.0, "x_on": True}


def test_after_an_outage_everything_goes_out_again() -> None:
    box = Box(power())
    box.read(1000)
    box.normalizer.resend()
    assert box.read(1000).good == {"x_power": 100.0}


def test_a_clock_that_went_back_starts_the_slots_anew() -> None:
    box = Box(power())
    box.read(1000, after_s=3600)
    assert box.read(1000, after_s=-3000).good == {"x_power": 100.0}


def test_scale_factors_are_read_with_the_values() -> None:
    box = Box(
        point("x_w", type="s16", scale_from={"point": "x_w_sf"}),
        point("x_va", type="s16", scale_from={"point": "x_w_sf"}),
        point("x_w_sf", type="s16", internal=True),
    )
    assert box.read(1234, 5, -1).good == {"x_w": 123.4, "x_va": 0.5}
    assert box.read(1234, 5, 1).good == {"x_w": 12340.0, "x_va": 50.0}
    out = box.read(1234, 5, -0x8000)
    assert out.good == {}
    assert [flag.status for flag in out.flagged] == ["BadSensorFailure"] * 2
    assert [flag.status for flag in box.read(1234, 5, PointFault("BadTimeout")).flagged] == ["BadTimeout"] * 2
    assert [flag.value for flag in box.read(1234, 5, -1).flagged] == [123.4, 0.5]


RATIOS = {"ct": {"register": {"reg": 3}, "type": "u16"}, "pt": {"default": 1}}


def test_a_ratio_is_read_and_its_change_is_an_event() -> None:
    box = Box(point("x_power", type="s32", scale="0.001", ratio=["ct", "pt"]), profile={"params": RATIOS})
    assert box.read(1000).flagged == [Flagged("x_power", None, "BadWaitingForInitialData")]
    box.normalizer.set_param("ct", 40, T0)
    assert box.events() == []
    assert box.read(1000).flagged == [Flagged("x_power", 40.0, "Good")]
    box.normalizer.set_param("ct", 40, T0)
    box.normalizer.set_param("ct", 0, T0)
    box.normalizer.set_param("ct", PointFault("BadTimeout"), T0)
    assert box.events() == []
    box.normalizer.set_param("ct", 60, T0)
    assert box.events() == [("device.ratio_changed", {"param": "ct", "before": 40.0, "after": 60.0})]
    assert box.read(1000).good == {"x_power": 60.0}


def test_a_ratio_is_kept_over_a_restart_and_the_configuration_goes_before_it() -> None:
    described = point("x_power", type="s32", scale="0.001", ratio=["ct", "pt"])
    box = Box(described, profile={"params": RATIOS})
    box.normalizer.set_param("ct", 40, T0)
    memory = json.loads(json.dumps(box.normalizer.memory()))
    assert Box(described, profile={"params": RATIOS}, memory=memory).read(1000).good == {"x_power": 40.0}
    configured = Box(described, profile={"params": RATIOS}, params={"ct": 30.0}, memory=memory)
    configured.normalizer.set_param("ct", 50, T0)
    assert configured.read(1000).good == {"x_power": 30.0}
    assert configured.normalizer.memory()["params"] == {}


def test_a_counters_fall_is_an_event_and_its_state_outlives_the_process() -> None:
    described = point("x_energy", type="u16", counter=True, deadband=0)
    box = Box(described)
    box.read(65530)
    memory = json.loads(json.dumps(box.normalizer.memory()))
    again = Box(described, memory=memory)
    assert again.read(4).good == {"x_energy": 4.0}
    assert again.events() == [
        ("counter.rolled_over", {"point": "x_energy", "before": 65530.0, "after": 4.0, "wrap": 65536.0})
    ]


def test_a_doubtful_counter_reading_is_uncertain_and_the_rest_of_the_batch_is_not() -> None:
    box = Box(point("x_energy", type="u32", counter=True), power(deadband=None))
    box.read(5000, 1)
    out = box.read(0, 2)
    assert out.flagged == [Flagged("x_energy", 0.0, "UncertainSensorNotAccurate")]
    assert out.good == {"x_power": 0.2}
    assert box.read(5001, 3).flagged == [Flagged("x_energy", 5001.0, "Good")]
    assert [name for name, _ in box.events()] == ["counter.error"]


def test_the_devices_own_time_is_believed_within_five_minutes() -> None:
    box = Box(power(), power("x_other"))
    sample = Sample(1000, source_time_ms=T0 + 200)
    assert box.read(sample, 0).flagged == [Flagged("x_power", 100.0, "", -800, source_stamped=True)]
    assert box.read(Sample(1006, source_time_ms=T0 + 900), 0).flagged == [], "its deadband holds for it as well"
    wrong = Sample(1100, source_time_ms=T0 - 3_600_000)
    assert box.read(wrong, 0).good == {"x_power": 110.0}
    assert [name for name, _ in box.events()] == ["device.clock_skew"]
    box.read(wrong, 0)
    assert box.events() == []


@pytest.mark.parametrize("status", ["UncertainSubNormal", "GoodLocalOverride", "BadNoCommunication"])
def test_the_quality_of_a_protocol_passes(status: str) -> None:
    (flag,) = Box(power()).read(Sample(1000, status)).flagged
    assert flag.status == status
    assert flag.value == (None if status.startswith("Bad") else 100.0)


def test_what_is_said_of_a_good_value_goes_out_when_it_changes_and_then_by_the_deadband() -> None:
    box = Box(power())
    box.read(1000)
    alarm = Flagged("x_power", 100.0, "", flags=("alarm",))
    assert box.read(Sample(1000, flags=("alarm",))).flagged == [alarm]
    box.read(Sample(1000, flags=("alarm",)))
    assert box.read(Sample(1005, flags=("alarm",))).flagged == []
    assert box.read(Sample(1100, flags=("alarm",))).flagged == [Flagged("x_power", 110.0, "", flags=("alarm",))]
    local = box.read(Sample(1100, "GoodLocalOverride", flags=("alarm",))).flagged
    assert local == [Flagged("x_power", 110.0, "GoodLocalOverride", flags=("alarm",))]
    assert box.read(1100).flagged == [Flagged("x_power", 110.0, "Good")]
    box.read(1100)
    assert box.read(1100).good == {}


def test_a_change_keeps_to_the_deadband_of_the_reads_beside_it() -> None:
    box = Box(power(), point("x_mode", labels={1: "off", 2: "heat"}), power("x_other"))
    places = box.form.places()
    box.read(1000, 1, 500)

    def hear(name: str, raw: Any) -> tuple[dict[str, Any], list[Flagged]]:
        out = Acquisition("meter", box.t_ms)
        box.normalizer.hear(box.form, places[name], raw, box.t_ms, out)
        return out.good, out.flagged

    assert hear("x_power", 1006) == ({}, [])
    assert hear("x_power", 1100) == ({"x_power": 110.0}, [])
    assert hear("x_mode", 1) == ({}, [])
    assert hear("x_mode", 2) == ({"x_mode": 2}, [])
    assert box.read(1100, 2, 500).good == {}, "a change is not sent again by the next read"
    assert hear("x_power", PointFault("BadSensorFailure")) == ({}, [Flagged("x_power", None, "BadSensorFailure")])
    assert hear("x_power", 1100) == ({}, [Flagged("x_power", 110.0, "Good")])
    box.normalizer.resend()
    assert hear("x_mode", 2) == ({"x_mode": 2}, [])


def test_a_driver_that_gives_too_few_values_is_told() -> None:
    with pytest.raises(ValueError, match="1 values for 2 points"):
        Box(power(), power("x_other")).read(1)


heard = st.one_of(
    st.floats(width=32),
    st.sampled_from(
        [0.0, -0.0, math.nan, math.inf, 9999999.0, 1e-7, PointFault("BadTimeout"), Sample(5.0, "Good"), 1.5]
    ),
)


@given(st.lists(st.lists(heard, min_size=4, max_size=4), min_size=1, max_size=8))
def test_a_block_gives_what_its_points_give_one_by_one(readings: Sequence[Sequence[Any]]) -> None:
    points = [
        point("x_a", type="f32"),
        point("x_b", type="f32", scale="0.1", deadband=0.5, heartbeat=HEARTBEAT_S),
        point("x_c", type="f32", min=-100, max=100, deadband=0),
        point("x_d", type="f32", counter=True, invalid=[1.5]),
    ]
    together = Box(*points)
    alone = [Box(each) for each in points]
    for raws in readings:
        out = together.read(*raws)
        apart = [box.read(raw) for box, raw in zip(alone, raws, strict=True)]
        assert out.good == {name: value for each in apart for name, value in each.good.items()}
        assert out.flagged == [flag for each in apart for flag in each.flagged]
        for flag in out.flagged:
            assert not flag.status or severity_of(flag.status) < 2 or flag.value is None
        assert all(isinstance(value, float) and math.isfinite(value) for value in out.good.values())
