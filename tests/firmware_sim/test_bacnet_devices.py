"""What simulated BACnet devices answer: properties, priority arrays, errors, trend logs, schedules, subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from firmware_sim.bacnet import names, npdu, tags
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.faults import BacnetFault, BacnetFaults
from firmware_sim.bacnet.models import BACNET_MODELS, load_model
from tests.firmware_sim.bacnet_asker import World, build, reading, subscribing, value_of, writing

SET_POINT, SUPPLY, HEATING = names.object_id(2, 1), names.object_id(0, 1), names.object_id(1, 1)
PV = names.PRESENT_VALUE


def ask(device: BacnetDevice, service: int, body: bytes, room: int = 1400) -> bytes:
    return device.answer(service, body, 9, "client", room)


def read(device: BacnetDevice, key: int, prop: int = PV, index: int | None = None) -> tags.Value:
    return value_of(ask(device, names.READ_PROPERTY, reading(key, prop, index)))


def write(device: BacnetDevice, key: int, value: bytes, priority: int | None = 8, prop: int = PV) -> bytes:
    return ask(device, names.WRITE_PROPERTY, writing(key, value, priority, prop))


@pytest.mark.parametrize("slug", BACNET_MODELS)
def test_every_property_of_every_object_of_every_make_reads(slug: str) -> None:
    device = build(slug)
    for key in device.me.object_keys()[:120]:
        one = device.find(key)
        assert one is not None
        for prop in (*one.required(), *one.optional(), names.PROPERTY_LIST):
            assert isinstance(one.read(prop), bytes), (one.name, prop)
    assert len({one.name for one in device.objects}) == len(device.objects)


def test_a_device_says_who_it_is() -> None:
    device = build("bacnet-ahu", seed=4)
    assert [read(device, device.me.key, prop) for prop in (121, 70, 155, 62, 107, 372)] == [
        "Plantroom Simulators", "SIM-AHU-45", 1, 1476, 0, "SN0000004",
    ]  # fmt: skip
    assert read(device, names.object_id(8, names.ANY_INSTANCE), names.OBJECT_NAME) == "bacnet-ahu"
    assert read(device, device.me.key, names.OBJECT_LIST, 0) == len(device.objects) + 1
    assert read(device, device.me.key, names.OBJECT_LIST, 2) == SUPPLY


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (reading(names.object_id(0, 999), PV), names.UNKNOWN_OBJECT),
        (reading(SUPPLY, 9999), names.UNKNOWN_PROPERTY),
        (reading(SUPPLY, names.PRIORITY_ARRAY), names.UNKNOWN_PROPERTY),
        (reading(SUPPLY, PV, 1), names.NO_ARRAY),
        (reading(HEATING, names.PRIORITY_ARRAY, 17), names.BAD_INDEX),
        (reading(names.object_id(20, 1), names.LOG_BUFFER), names.READ_DENIED),
    ],
)
def test_what_is_not_there_is_an_error(body: bytes, cause: tuple[int, int]) -> None:
    assert ask(build("bacnet-ahu"), names.READ_PROPERTY, body) == npdu.error(9, names.READ_PROPERTY, cause)


def test_a_command_holds_by_its_priority_and_null_releases_it() -> None:
    device = build("bacnet-ahu")
    assert read(device, SET_POINT) == 18.0
    assert write(device, SET_POINT, tags.real(24.0), 8) == npdu.simple_ack(9, names.WRITE_PROPERTY)
    write(device, SET_POINT, tags.real(26.0), 10)
    assert [read(device, SET_POINT), read(device, SET_POINT, names.PRIORITY_ARRAY, 10)] == [24.0, 26.0]
    write(device, SET_POINT, tags.null(), 8)
    assert read(device, SET_POINT) == 26.0
    write(device, SET_POINT, tags.null(), 10)
    assert [read(device, SET_POINT), read(device, SET_POINT, names.PRIORITY_ARRAY, 8)] == [18.0, None]


@pytest.mark.parametrize(
    ("key", "value", "priority", "cause"),
    [
        (SET_POINT, tags.real(36.0), 8, names.OUT_OF_RANGE),
        (SET_POINT, tags.real(float("nan")), 8, names.OUT_OF_RANGE),
        (SET_POINT, tags.unsigned(20), 8, names.BAD_TYPE),
        (SET_POINT, tags.real(20.0), 6, names.WRITE_DENIED),
        (SET_POINT, tags.real(20.0), 17, names.OUT_OF_RANGE),
        (SUPPLY, tags.real(20.0), 8, names.WRITE_DENIED),
        (names.object_id(19, 1), tags.unsigned(5), 8, names.OUT_OF_RANGE),
        (names.object_id(4, 1), tags.enumerated(2), 8, names.OUT_OF_RANGE),
        (names.object_id(17, 1), tags.unsigned(1), 8, names.WRITE_DENIED),
        (names.object_id(2, 77), tags.real(1.0), 8, names.UNKNOWN_OBJECT),
    ],
)
def test_a_write_that_is_refused_changes_nothing(key: int, value: bytes, priority: int, cause: tuple[int, int]) -> None:
    device = build("bacnet-ahu")
    before = device.snapshot()
    assert write(device, key, value, priority) == npdu.error(9, names.WRITE_PROPERTY, cause)
    assert device.snapshot() == before


def test_out_of_service_takes_the_value_from_whoever_writes() -> None:
    device = build("bacnet-ahu")
    write(device, SUPPLY, tags.boolean(True), None, names.OUT_OF_SERVICE)
    write(device, SUPPLY, tags.real(99.0), None)
    device.refresh(force=True)
    assert [read(device, SUPPLY), device.object("AI", 1).flags] == [99.0, (False, False, False, True)]


def test_several_properties_each_have_a_value_or_an_error() -> None:
    device = build("bacnet-ahu")
    body = tags.context_object(0, SUPPLY) + tags.wrapped(
        1, tags.context_unsigned(0, PV) + tags.context_unsigned(0, 9999)
    )
    body += tags.context_object(0, names.object_id(0, 999)) + tags.wrapped(1, tags.context_unsigned(0, PV))
    answer = ask(device, names.READ_MULTIPLE, body)
    reader = tags.Reader(answer[3:])
    assert reader.object(0) == SUPPLY
    inner = tags.Reader(reader.inside(1))
    assert inner.unsigned(2) == PV
    assert isinstance(tags.simple_value(tags.Reader(inner.inside(4)).take()), float)
    assert (inner.unsigned(2), inner.inside(5)) == (9999, b"\x91\x02\x91\x20")
    reader.object(0)
    assert tags.Reader(reader.inside(1)[2:]).inside(5) == b"\x91\x01\x91\x1f"
    assert reader.is_done
    assert ask(device, names.READ_MULTIPLE, body) == answer


def test_all_is_required_and_optional() -> None:
    device = build("bacnet-ahu")
    sizes = {}
    for prop in (names.ALL, names.REQUIRED, names.OPTIONAL):
        body = tags.context_object(0, HEATING) + tags.wrapped(1, tags.context_unsigned(0, prop))
        reader = tags.Reader(ask(device, names.READ_MULTIPLE, body)[3:])
        reader.object(0)
        inner, count = tags.Reader(reader.inside(1)), 0
        while not inner.is_done:
            inner.unsigned(2), inner.inside(4)
            count += 1
        sizes[prop] = count
    assert sizes[names.ALL] == sizes[names.REQUIRED] + sizes[names.OPTIONAL]
    assert sizes[names.REQUIRED] == 10


def test_several_writes_stop_at_the_first_that_is_refused() -> None:
    device = build("bacnet-ahu")

    def one(key: int, value: float) -> bytes:
        inner = tags.context_unsigned(0, PV) + tags.wrapped(2, tags.real(value)) + tags.context_unsigned(3, 8)
        return tags.context_object(0, key) + tags.wrapped(1, inner)

    answer = ask(
        device, names.WRITE_MULTIPLE, one(SET_POINT, 20.0) + one(SUPPLY, 1.0) + one(names.object_id(2, 3), 700.0)
    )
    assert answer[0] == 0x50
    assert answer[3:] == tags.wrapped(0, b"\x91\x02\x91\x28") + tags.wrapped(
        1, tags.context_object(0, SUPPLY) + tags.context_unsigned(1, PV)
    )
    assert [read(device, SET_POINT), read(device, names.object_id(2, 3))] == [20.0, 900.0]


def test_what_a_device_does_not_know_is_rejected_or_refused() -> None:
    device = build("bacnet-boiler")
    assert ask(device, names.SUBSCRIBE_COV, subscribing(SUPPLY)) == npdu.reject(9, names.REJECT_SERVICE)
    assert ask(device, names.READ_RANGE, b"") == npdu.reject(9, names.REJECT_SERVICE)
    assert ask(device, names.READ_PROPERTY, b"\x0c\0\0") == npdu.reject(9, names.REJECT_TAG)
    assert ask(device, names.REINITIALIZE, b"\x09\x00")[0] == 0x50


def log_asked(kind: int, *values: bytes) -> bytes:
    return reading(names.object_id(20, 1), names.LOG_BUFFER) + tags.wrapped(kind, b"".join(values))


def log_answer(answer: bytes) -> tuple[bytes, int, bytes, int | None]:
    """(result flags, records, their octets, first sequence number)."""
    assert answer[0] == 0x30, answer.hex()
    reader = tags.Reader(answer[3:])
    reader.object(0), reader.unsigned(1)
    return reader.expect(3), reader.unsigned(4), reader.inside(5), reader.optional(6)


def test_a_trend_log_is_read_by_position_sequence_and_time() -> None:
    world = World()
    device = build("bacnet-ahu", world)
    log = device.object("TL", 1)
    flags, count, octets, first = log_answer(
        ask(device, names.READ_RANGE, log_asked(3, tags.unsigned(1), tags.signed(10)))
    )
    assert (flags, count, first) == (b"\x05\x80", 10, None)
    flags, count, octets, first = log_answer(
        ask(device, names.READ_RANGE, log_asked(6, tags.unsigned(295), tags.signed(100)))
    )
    assert (flags, count, first) == (b"\x05\x40", 6, 295)
    at = datetime.fromtimestamp(world.t + 4 * 3600 - 3600, UTC)
    moment = tags.date(at.year, at.month, at.day, at.isoweekday()) + tags.time(at.hour, at.minute)
    flags, count, octets, first = log_answer(ask(device, names.READ_RANGE, log_asked(7, moment, tags.signed(5))))
    assert (count, first) == (5, 289)
    assert octets.startswith(tags.opening(0) + moment[:5] + tags.time(at.hour, at.minute + 5))
    flags, count, octets, first = log_answer(ask(device, names.READ_RANGE, log_asked(7, moment, tags.signed(-5))))
    assert (count, first) == (5, 283)
    assert read(device, log.key, 145) == 300
    world.t += 900
    assert [read(device, log.key, 145), read(device, log.key, 141)] == [303, 300]


def test_a_small_answer_says_that_more_items_follow() -> None:
    device = build("bacnet-ahu")
    body = log_asked(3, tags.unsigned(1), tags.signed(300))
    flags, count, octets, _ = log_answer(ask(device, names.READ_RANGE, body, room=480))
    assert flags == b"\x05\xa0"
    assert 10 < count < 30
    assert len(octets) < 480


def test_a_schedule_commands_at_its_priority_and_follows_the_calendar() -> None:
    world = World()
    device = build("bacnet-ahu", world)
    mode = names.object_id(19, 1)
    assert [read(device, mode), read(device, mode, names.PRIORITY_ARRAY, 16)] == [1, 1]
    world.t += 12 * 3600  # midnight
    assert read(device, mode) == 2
    world.t = datetime(2027, 10, 1, 8, tzinfo=UTC).timestamp()
    assert [read(device, mode), read(device, names.object_id(6, 1))] == [2, True]


def test_subscriptions_are_told_at_once_on_change_and_until_their_time_is_over() -> None:
    device = build("bacnet-ahu")
    clock = [100.0]
    device._monotonic = lambda: clock[0]
    assert ask(device, names.SUBSCRIBE_COV, subscribing(SET_POINT, lifetime=60)) == npdu.simple_ack(9, 5)
    assert len(device.notifications()) == 1
    assert device.notifications() == []
    write(device, SET_POINT, tags.real(18.05))
    assert device.notifications() == []  # less than its increment
    write(device, SET_POINT, tags.real(20.0))
    [(one, body)] = device.notifications()
    assert one.process == 7
    assert body.endswith(tags.wrapped(4, b"\x09\x55\x2e\x44\x41\xa0\0\0\x2f\x09\x6f\x2e\x82\x04\0\x2f"))
    clock[0] += 61
    write(device, SET_POINT, tags.real(25.0))
    assert device.notifications() == []
    assert not device.subscriptions.held


def test_subscriptions_have_a_limit_and_need_an_object_that_tells() -> None:
    device = build("bacnet-vav")
    keys = [one.key for one in device.objects][:9]
    answers = [ask(device, names.SUBSCRIBE_COV, subscribing(key)) for key in keys]
    assert answers[:8] == [npdu.simple_ack(9, 5)] * 8
    assert answers[8] == npdu.error(9, 5, names.NO_LIST_SPACE)
    assert ask(device, names.SUBSCRIBE_COV, subscribing(keys[0])) == npdu.simple_ack(9, 5)  # renewed
    ahu = build("bacnet-ahu")
    assert ask(ahu, names.SUBSCRIBE_COV, subscribing(names.object_id(17, 1))) == npdu.error(9, 5, names.NO_COV)
    device.restart()
    assert not device.subscriptions.held
    assert read(device, device.me.key, 155) == 2


def test_a_property_is_told_by_the_increment_that_was_asked_for() -> None:
    device = build("bacnet-ahu")
    body = subscribing(SET_POINT) + tags.wrapped(4, tags.context_unsigned(0, PV)) + tags.context(5, tags.real(3.0)[1:])
    assert ask(device, names.SUBSCRIBE_COV_PROPERTY, body) == npdu.simple_ack(9, 28)
    device.notifications()
    write(device, SET_POINT, tags.real(20.5))
    assert device.notifications() == []
    write(device, SET_POINT, tags.real(21.0))
    assert len(device.notifications()) == 1


def test_a_replaced_device_is_another_one_at_the_same_instance() -> None:
    device = build("bacnet-ahu")
    before = [read(device, device.me.key, prop) for prop in (372, 70, 155)]
    device.replace()
    after = [read(device, device.me.key, prop) for prop in (372, 70, 155)]
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert device.i_am() == build("bacnet-ahu").i_am()


def test_an_override_stands_above_what_we_write() -> None:
    device = build("bacnet-ahu")
    device.override("AO", 1, 35.0)
    write(device, HEATING, tags.real(80.0), 8)
    assert [read(device, HEATING), read(device, HEATING, names.PRIORITY_ARRAY, 5)] == [35.0, 35.0]
    device.override("AO", 1, None)
    assert read(device, HEATING) == 80.0
    with pytest.raises(KeyError, match="no priority array"):
        device.override("AI", 1, 1.0)


def test_faults_hit_by_chance_count_and_service() -> None:
    faults = BacnetFaults(3)
    faults.add(BacnetFault("abort", count=2, service=names.READ_PROPERTY, code=4))
    good = npdu.complex_ack(7, names.READ_PROPERTY, b"x")
    assert faults.shape(names.READ_MULTIPLE, good, bytes) is None
    assert faults.shape(names.READ_PROPERTY, good, bytes) == [(0.0, npdu.abort(7, 4))]
    assert faults.shape(names.READ_PROPERTY, good, bytes) is not None
    assert faults.shape(names.READ_PROPERTY, good, bytes) is None
    assert faults.hits == {"abort": 2}


def test_the_same_seed_gives_the_same_values() -> None:
    values = [build("bacnet-chiller-plant", seed=5).snapshot() for _ in range(2)]
    assert values[0] == values[1]
    assert values[0] != build("bacnet-chiller-plant", seed=6).snapshot()
    assert load_model("bacnet-vav").mstp
