"""Status flags and reliability against the table of CONTRACT.md section 11."""

from __future__ import annotations

import pytest

from device_profiles.bacnet import OBJECT_TYPES
from drivers.bacnet import locate, names
from drivers.bacnet import quality as table
from drivers.bacnet.names import ERROR_CODES, abort_status, error_status, property_number, reject_status
from drivers.bacnet.quality import octet, quality

RELIABILITY = {
    "no-sensor": 1, "over-range": 2, "under-range": 3, "open-loop": 4, "shorted-loop": 5, "no-output": 6,
    "unreliable-other": 7, "process-error": 8, "multi-state-fault": 9, "configuration-error": 10,
    "communication-failure": 12, "member-fault": 13, "monitored-object-fault": 14, "tripped": 15, "lamp-failure": 16,
    "activation-failure": 17,
}  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (0x00, "Good", ()), (0x20, "GoodLocalOverride", ()), (0x10, "UncertainSubstituteValue", ()),
        (0x80, "Good", ("alarm",)), (0xA0, "GoodLocalOverride", ("alarm",)), (0x30, "UncertainSubstituteValue", ()),
        (0xF0, "UncertainSensorNotAccurate", ("alarm",)),
    ],
)  # fmt: skip
def test_flags(flags: int, status: str, words: tuple[str, ...]) -> None:
    assert quality(flags) == (status, words)


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ("no-sensor open-loop shorted-loop", "BadSensorFailure"),
        ("over-range under-range", "UncertainEngineeringUnitsExceeded"),
        ("no-output process-error lamp-failure activation-failure", "BadDeviceFailure"),
        ("unreliable-other", "UncertainSensorNotAccurate"),
        ("multi-state-fault configuration-error", "BadConfigurationError"),
        ("communication-failure", "BadNoCommunication"),
        ("member-fault monitored-object-fault", "UncertainSubNormal"),
        ("tripped", "BadOutOfService"),
    ],
)
def test_a_fault_by_its_reliability(names: str, status: str) -> None:
    for name in names.split():
        assert quality(0x40, RELIABILITY[name])[0] == status, name


@pytest.mark.parametrize("reliability", [None, 0, 11, 64, 70_000])
def test_a_fault_of_which_nothing_more_is_known(reliability: int | None) -> None:
    assert quality(0x40, reliability)[0] == "UncertainSensorNotAccurate"


def test_flags_of_a_bit_string() -> None:
    assert octet((True, False, False, True)) == 0x90
    assert octet(()) == 0


def test_every_error_has_a_status_that_opc_ua_knows() -> None:
    from asyncua.ua import StatusCodes

    known = set(vars(StatusCodes))
    told = {error_status(code) for code in ERROR_CODES} | {error_status(999)}
    told |= {abort_status(reason) for reason in range(70)} | {reject_status(reason) for reason in range(12)}
    assert told <= known
    assert {quality(0x40, number)[0] for number in range(30)} <= known


def test_properties_have_the_numbers_of_the_standard() -> None:
    from bacpypes3.basetypes import PropertyIdentifier

    assert property_number("present-value") == 85
    assert property_number("512") == 512
    assert property_number("presentvalue") is None
    theirs = PropertyIdentifier._enum_map
    assert len(names.PROPERTIES) > 400
    assert {name: theirs.get(name) for name in names.PROPERTIES} == names.PROPERTIES


def test_errors_reasons_and_objects_have_the_numbers_of_the_standard() -> None:
    from bacpypes3.apdu import AbortReason, RejectReason
    from bacpypes3.basetypes import ErrorClass, ErrorCode
    from bacpypes3.primitivedata import ObjectType

    unlike = {"property-is-not-a-list"}  # bacpypes3 spells it in another way
    for ours, theirs in (
        (names.ERROR_CODES, ErrorCode),
        (dict(enumerate(names.ERROR_CLASSES)), ErrorClass),
        (names.ABORT_REASONS, AbortReason),
        (names.REJECT_REASONS, RejectReason),
        ({number: name for name, number in OBJECT_TYPES.items()}, ObjectType),
    ):
        assert {name: theirs._enum_map.get(name) for name in ours.values() if name not in unlike} == {
            name: number for number, name in ours.items() if name not in unlike
        }
    assert names._STATUS.keys() <= set(names.ERROR_CODES.values())


def test_reliabilities_and_services_have_the_numbers_of_the_standard() -> None:
    from bacpypes3.basetypes import Reliability, ServicesSupported

    said = set(Reliability._enum_map.values()) - {0}
    assert table.RELIABILITY.keys() == said - set(
        range(18, 24)
    )  # of a network port, a program, a list: no value has them
    bits = ServicesSupported._bitstring_names
    wanted = {
        "cov": "subscribe-cov", "cov-property": "subscribe-cov-property", "read": "read-property",
        "read-multiple": "read-property-multiple", "read-range": "read-range", "write": "write-property",
    }  # fmt: skip
    assert {number: bits[wanted[name]] for number, name in locate._SERVICES.items()} == {
        number: number for number in locate._SERVICES
    }
