"""Numbers of BACnet that the simulated devices use. Source: ANSI/ASHRAE 135-2020, clauses 20.1 and 21."""

from __future__ import annotations

KINDS: dict[str, int] = {
    "AI": 0, "AO": 1, "AV": 2, "BI": 3, "BO": 4, "BV": 5, "CAL": 6, "DEV": 8, "MSI": 13, "MSO": 14, "SCH": 17, "MSV": 19,
    "TL": 20, "ACC": 23, "CSV": 40, "LIFT": 59,
}  # fmt: skip
ANALOG, BINARY, MULTISTATE = frozenset({0, 1, 2}), frozenset({3, 4, 5}), frozenset({13, 14, 19})
ANY_INSTANCE = 4_194_303

UNITS: dict[str, int] = {
    "amperes": 3, "kilowatt-hours": 19, "hertz": 27, "percent-relative-humidity": 29, "meters": 31, "luxes": 37, "kilograms": 39,
    "kilowatts": 48, "pascals": 53, "kilopascals": 54, "bars": 55, "degrees-celsius": 62, "degrees-fahrenheit": 64, "hours": 71,
    "minutes": 72, "seconds": 73, "meters-per-second": 74, "cubic-feet-per-minute": 84, "liters-per-second": 87, "no-units": 95,
    "parts-per-million": 96, "percent": 98, "revolutions-per-minute": 104, "delta-degrees-kelvin": 121,
    "cubic-meters-per-hour": 135,
}  # fmt: skip

# properties
ALL, REQUIRED, OPTIONAL = 8, 105, 80
COV_INCREMENT, DESCRIPTION, EVENT_STATE, LOG_BUFFER = 22, 28, 36, 131
OBJECT_IDENTIFIER, OBJECT_LIST, OBJECT_NAME, OBJECT_TYPE = 75, 76, 77, 79
OUT_OF_SERVICE, PRESENT_VALUE, PRIORITY_ARRAY, PROPERTY_LIST = 81, 85, 87, 371
RELIABILITY, RELINQUISH_DEFAULT, STATUS_FLAGS, UNIT = 103, 104, 111, 117

# confirmed services
SUBSCRIBE_COV, READ_PROPERTY, READ_MULTIPLE, WRITE_PROPERTY, WRITE_MULTIPLE = 5, 12, 14, 15, 16
CONFIRMED_COV, DEVICE_COMMUNICATION_CONTROL, REINITIALIZE, READ_RANGE, SUBSCRIBE_COV_PROPERTY = 1, 17, 20, 26, 28
# unconfirmed services
I_AM, I_HAVE, UNCONFIRMED_COV, TIME_SYNC, WHO_HAS, WHO_IS, UTC_TIME_SYNC = 0, 1, 2, 6, 7, 8, 9

# what BACnetServicesSupported calls the services above, by bit
SERVICE_BITS: dict[int, int] = {
    SUBSCRIBE_COV: 5, READ_PROPERTY: 12, READ_MULTIPLE: 14, WRITE_PROPERTY: 15, WRITE_MULTIPLE: 16,
    DEVICE_COMMUNICATION_CONTROL: 17, REINITIALIZE: 20, READ_RANGE: 35, SUBSCRIBE_COV_PROPERTY: 38,
}  # fmt: skip
ALWAYS_BITS = (26, 27, 32, 33, 34, 36)
"""I-Am, I-Have, TimeSynchronization, Who-Has, Who-Is, UTCTimeSynchronization."""

# error (class, code)
UNKNOWN_OBJECT, UNKNOWN_PROPERTY, NO_ARRAY = (1, 31), (2, 32), (2, 50)
BAD_INDEX, READ_DENIED, WRITE_DENIED = (2, 42), (2, 27), (2, 40)
BAD_TYPE, OUT_OF_RANGE, NO_COV, NO_LIST_SPACE = (2, 9), (2, 37), (1, 45), (3, 18)
PASSWORD_FAILURE = (4, 26)

# reject reasons
REJECT_PARAMETERS, REJECT_TAG, REJECT_MISSING, REJECT_SERVICE = 2, 4, 5, 9
# abort reasons
ABORT_OVERFLOW, ABORT_STATE, ABORT_SEGMENTATION = 1, 2, 4

APDU_SIZES = (50, 128, 206, 480, 1024, 1476)
"""By the code in a confirmed request (clause 20.1.2.5)."""
SEGMENT_COUNTS = (0, 2, 4, 8, 16, 32, 64, 1000)
"""By the code in a confirmed request (clause 20.1.2.4); 0 = not said, 1000 = more than 64."""


def object_id(kind: int, instance: int) -> int:
    """Type and instance in the 32 bits that go over the wire."""
    return kind << 22 | instance
