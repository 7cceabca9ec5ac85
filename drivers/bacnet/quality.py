"""Status flags, reliability and out-of-service of a BACnet object as an OPC UA status: the table of CONTRACT.md section 11. Pure.

Source of the flags and of the reliability: ANSI/ASHRAE 135-2020, clause 21 (BACnetStatusFlags, BACnetReliability).
"""

from __future__ import annotations

IN_ALARM, FAULT, OVERRIDDEN, OUT_OF_SERVICE = 0x80, 0x40, 0x20, 0x10
"""The status flags as they lie in the octet of their bit string."""

GOOD = "Good"
UNRELIABLE = "UncertainSensorNotAccurate"
"""A fault of which the object says no reason, or one that the table does not have."""

RELIABILITY: dict[int, str] = {
    1: "BadSensorFailure",  # no-sensor
    2: "UncertainEngineeringUnitsExceeded",  # over-range
    3: "UncertainEngineeringUnitsExceeded",  # under-range
    4: "BadSensorFailure",  # open-loop
    5: "BadSensorFailure",  # shorted-loop
    6: "BadDeviceFailure",  # no-output
    7: UNRELIABLE,  # unreliable-other
    8: "BadDeviceFailure",  # process-error
    9: "BadConfigurationError",  # multi-state-fault
    10: "BadConfigurationError",  # configuration-error
    12: "BadNoCommunication",  # communication-failure
    13: "UncertainSubNormal",  # member-fault
    14: "UncertainSubNormal",  # monitored-object-fault
    15: "BadOutOfService",  # tripped
    16: "BadDeviceFailure",  # lamp-failure
    17: "BadDeviceFailure",  # activation-failure
    24: "UncertainSubNormal",  # referenced-object-fault
    25: "UncertainEngineeringUnitsExceeded",  # multi-state-out-of-range
}


def quality(flags: int, reliability: int | None = None) -> tuple[str, tuple[str, ...]]:
    """(status, flags of the contract) of a value, from the octet of its status flags.

    A fault outweighs out-of-service, and that an override: the worst of them is told. `reliability` is asked for only where the
    fault flag stands.
    """
    words = ("alarm",) if flags & IN_ALARM else ()
    if flags & FAULT:
        return RELIABILITY.get(reliability or 0, UNRELIABLE), words
    if flags & OUT_OF_SERVICE:
        return "UncertainSubstituteValue", words
    return ("GoodLocalOverride" if flags & OVERRIDDEN else GOOD), words


def octet(bits: tuple[bool, ...]) -> int:
    """The octet of status flags that were decoded as a bit string."""
    return sum(0x80 >> at for at, bit in enumerate(bits[:4]) if bit)
