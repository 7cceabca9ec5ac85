"""Names of BACnet's services and of their parameters, for people. Pure; what the parameters mean to the driver is codec.py's.

Source: ANSI/ASHRAE 135-2020, clause 21 (service choices, and the context tags of each service's parameters).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from . import frame, names, tags, values
from .codec import Element
from .tags import BacnetError

CONFIRMED = (
    "AcknowledgeAlarm", "ConfirmedCOVNotification", "ConfirmedEventNotification", "GetAlarmSummary", "GetEnrollmentSummary",
    "SubscribeCOV", "AtomicReadFile", "AtomicWriteFile", "AddListElement", "RemoveListElement", "CreateObject", "DeleteObject",
    "ReadProperty", "ReadPropertyConditional", "ReadPropertyMultiple", "WriteProperty", "WritePropertyMultiple",
    "DeviceCommunicationControl", "ConfirmedPrivateTransfer", "ConfirmedTextMessage", "ReinitializeDevice", "VT-Open",
    "VT-Close", "VT-Data", "Authenticate", "RequestKey", "ReadRange", "LifeSafetyOperation", "SubscribeCOVProperty",
    "GetEventInformation", "SubscribeCOVPropertyMultiple", "ConfirmedCOVNotificationMultiple", "ConfirmedAuditNotification",
    "AuditLogQuery",
)  # fmt: skip
UNCONFIRMED = (
    "I-Am", "I-Have", "UnconfirmedCOVNotification", "UnconfirmedEventNotification", "UnconfirmedPrivateTransfer",
    "UnconfirmedTextMessage", "TimeSynchronization", "Who-Has", "Who-Is", "UTCTimeSynchronization", "WriteGroup",
    "UnconfirmedCOVNotificationMultiple", "UnconfirmedAuditNotification", "Who-Am-I", "You-Are",
)  # fmt: skip

_MOST_LETTERS = 200
"""Letters of one parameter that are shown."""

_EVENT = (
    "process:u device:o object:o time notification_class:u priority:u event_type:u message:t notify_type:u ack_required:b"
    " from_state:u to_state:u event_values"
)
_PRIVATE = "vendor:u service:u parameters"
_TEXT = "device:o message_class priority:u message:t"
_MULTIPLE = "process:u device:o seconds_left:u time notifications"
_LIST = "object:o property:p index:u elements"
_REQUESTS = {
    0: "process:u object:o event_state:u event_time acknowledged_by:t acknowledged_at", 2: _EVENT, 8: _LIST, 9: _LIST,
    17: "minutes:u state:u password:secret", 18: _PRIVATE, 19: _TEXT, 20: "state:u password:secret",
    26: "object:o property:p index:u by_position by_time_old read_range by_sequence by_time",
    27: "process:u source:t request:u object:o",
    28: "process:u object:o confirmed:b seconds:u property increment:r", 29: "after:o",
    30: "process:u confirmed:b seconds:u max_delay:u specifications", 31: _MULTIPLE,
}  # fmt: skip
_ANSWERS = {
    18: "vendor:u service:u result",
    26: "object:o property:p index:u flags:bits count:u items first_sequence:u",
    29: "events more:b",
}
_TOLD = {
    3: _EVENT, 4: _PRIVATE, 5: _TEXT, 7: "from_device:u to_device:u object:o name:t",
    10: "group:u priority:u changes inhibit_delay:b", 11: _MULTIPLE,
}  # fmt: skip
_FIELDS: Mapping[int, Mapping[int, str]] = {
    frame.CONFIRMED: _REQUESTS, frame.COMPLEX_ACK: _ANSWERS, frame.UNCONFIRMED: _TOLD,
}  # fmt: skip
"""By PDU type and service: the names of the parameters in the order of their context tags, each with how it is read."""


def name_of(kind: int, number: int) -> str:
    """The name of a service; its number where the standard has none."""
    table = UNCONFIRMED if kind == frame.UNCONFIRMED else CONFIRMED
    if number < len(table):
        return table[number]
    return f"unconfirmed service {number}" if kind == frame.UNCONFIRMED else f"service {number}"


def fields_of(kind: int, number: int, body: bytes) -> dict[str, object]:
    """The parameters by name; `[n]` where a tag has none, `values` for those that say their type. No password is shown.

    Raises BacnetError for octets that are no tags.
    """
    elements, _ = tags.read_elements(body, 0, len(body))
    known = [name.partition(":") for name in _FIELDS.get(kind, {}).get(number, "").split()]
    found: dict[str, list[object]] = {}
    for element in elements:
        if element.form == tags.APPLICATION:
            found.setdefault("values", []).append(_cut(values.text_of(element)))
            continue
        name, _, read = known[element.number] if element.number < len(known) else (f"[{element.number}]", "", "")
        found.setdefault(name, []).append(_read(element, read))
    return {name: many[0] if len(many) == 1 and name != "values" else many for name, many in found.items()}


def _read(element: Element, read: str) -> object:
    content = element.value
    if read == "secret":
        return "(not shown)"
    if not isinstance(content, bytes):
        return _cut(values.text_of(element))
    try:
        if read == "u":
            return tags.read_unsigned(content)
        if read == "b" and len(content) == 1:
            return content != b"\x00"
        if read == "o":
            return values.text_of(Element(tags.APPLICATION, tags.OBJECT, tags.read_object(content)))
        if read == "p":
            return names.property_name(tags.read_unsigned(content))
        if read == "bits":
            return values.text_of(Element(tags.APPLICATION, tags.BITS, tags.read_bits(content)))
        if read == "t" and content:
            return _cut(values.text_of(Element(tags.APPLICATION, tags.TEXT, tags.read_text(content))))
        if read == "r" and len(content) == 4:
            number: float = struct.unpack(">f", content)[0]
            return float(f"{number:.7g}") if math.isfinite(number) else str(number)
    except BacnetError:
        return f"0x{content.hex()}"[:_MOST_LETTERS]
    return f"0x{content.hex()}"[:_MOST_LETTERS]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + " ..."
