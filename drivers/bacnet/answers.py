"""What the client itself says in whole datagrams, and what a device's refusal means. Pure.

Source: ANSI/ASHRAE 135-2020, clauses 6.2 (NPDU), 20.1 (APDU) and 21, annex J.2 (BVLL).
"""

from __future__ import annotations

from device_profiles.errors import DeviceRefused
from drivers.base import BacnetLink

from . import codec, frame, names, tags
from .frame import Frame
from .tags import BacnetError

VENDOR = 0
"""ASHRAE's own identifier stands in for one of ours: we have none, and devices do not care."""
NO_RESPONSE = 65
"""bacpypes3's own abort reason for a segment that did not come."""
WHO_IS_ROUTER, I_AM_ROUTER = b"\x01\x80\x00", 1
GLOBAL = b"\x01\x20\xff\xff\x00\xff"
"""The NPDU head of what goes to every network."""


def datagram(npdu: bytes, function: int = frame.ORIGINAL_UNICAST) -> bytes:
    """An NPDU in its BVLC head."""
    return bytes((0x81, function)) + (len(npdu) + 4).to_bytes(2) + npdu


def unconfirmed(service: int, payload: bytes) -> bytes:
    """An unconfirmed request."""
    return bytes((0x10, service)) + payload


def directed_broadcast(service: int, payload: bytes) -> bytes:
    """An unconfirmed request to one station that passes it on where it is a router."""
    return datagram(GLOBAL + unconfirmed(service, payload))


def to_network(number: int) -> bytes:
    """The NPDU head of what goes to all stations of one network (1 to 65534). Raises ValueError for no network's number."""
    if not 1 <= number <= 65534:
        raise ValueError(f"{number} is no network: 1 to 65534 are")
    return b"\x01\x20" + number.to_bytes(2) + b"\x00\xff"


def back_to(heard: Frame) -> bytes:
    """The NPDU head of an answer to who sent this."""
    if heard.snet is None:
        return b"\x01\x00"
    return b"\x01\x20" + heard.snet.to_bytes(2) + bytes((len(heard.sadr),)) + heard.sadr + b"\xff"


def request(peer_network: bytes, service: int, invoke_id: int, payload: bytes) -> bytes:
    """A confirmed request that needs no segments; `peer_network` is what `to_station` gives. We take answers of 64 segments
    and APDUs of 1476 octets."""
    return datagram(peer_network + bytes((0x02, 0x65, invoke_id, service)) + payload)


def to_station(network: int | None, station: bytes) -> bytes:
    """The NPDU head of a request that wants an answer, to a station of our network or of one behind a router."""
    if network is None:
        return b"\x01\x04"
    return b"\x01\x24" + network.to_bytes(2) + bytes((len(station),)) + station + b"\xff"


def simple_ack(invoke_id: int, service: int) -> bytes:
    """SimpleACK."""
    return bytes((0x20, invoke_id, service))


def abort(invoke_id: int) -> bytes:
    """Abort of a segmented request: we take none."""
    return bytes((0x71, invoke_id, 4))


def unsubscribed(invoke_id: int) -> bytes:
    """Error to a notification that nobody here subscribed to: services, unknown-subscription."""
    return bytes((0x50, invoke_id, codec.CONFIRMED_COV, 0x91, 5, 0x91, 79))


def about_us(heard: Frame, own: BacnetLink) -> bytes:
    """The answer to a confirmed request: ReadProperty of our device object is answered, the rest is rejected."""
    invoke_id = heard.invoke_id or 0
    if heard.service != codec.READ_PROPERTY:
        return bytes((0x60, invoke_id, 9))
    elements, _ = tags.read_elements(heard.body, 0, len(heard.body))
    given = {element.number: element.value for element in elements if element.form == tags.CONTEXT}
    device, prop = given.get(0), given.get(1)
    if not isinstance(device, bytes) or not isinstance(prop, bytes):
        raise BacnetError("a ReadProperty without object or property")
    asked, number = tags.read_object(device), tags.read_unsigned(prop)
    if asked.kind != 8 or asked.instance not in (own.instance, 0x3FFFFF):
        return bytes((0x50, invoke_id, heard.service, 0x91, 1, 0x91, 31))
    value = _OWN.get(number)
    if number == names.PROPERTIES["object-identifier"]:
        value = codec.encode_value(tags.OBJECT, tags.ObjectId(8, own.instance))
    elif number == names.PROPERTIES["object-name"]:
        value = codec.encode_value(tags.TEXT, own.name)
    if value is None:
        return bytes((0x50, invoke_id, heard.service, 0x91, 2, 0x91, 32))
    ours = tags.tag(0, tags.object_octets(8, own.instance)) + tags.tag(1, prop)
    return bytes((0x30, invoke_id, heard.service)) + ours + tags.opening(3) + value + tags.closing(3)


_OWN: dict[int, bytes] = {
    names.PROPERTIES["object-type"]: codec.encode_value(tags.ENUMERATED, 8),
    names.PROPERTIES["system-status"]: codec.encode_value(tags.ENUMERATED, 0),
    names.PROPERTIES["vendor-identifier"]: codec.encode_value(tags.UNSIGNED, VENDOR),
    names.PROPERTIES["vendor-name"]: codec.encode_value(tags.TEXT, "Plantroom"),
    names.PROPERTIES["model-name"]: codec.encode_value(tags.TEXT, "agent"),
    names.PROPERTIES["protocol-version"]: codec.encode_value(tags.UNSIGNED, 1),
    names.PROPERTIES["protocol-revision"]: codec.encode_value(tags.UNSIGNED, 22),
    names.PROPERTIES["max-apdu-length-accepted"]: codec.encode_value(tags.UNSIGNED, 1476),
    names.PROPERTIES["segmentation-supported"]: codec.encode_value(tags.ENUMERATED, 0),
}


def refusal(heard: Frame) -> DeviceRefused:
    """What an Error, Reject or Abort means. Raises BacnetError for an Error that is malformed."""
    reason = heard.service or 0
    if heard.pdu_type == frame.ABORT:
        return aborted(reason)
    if heard.pdu_type == frame.REJECT:
        text = names.REJECT_REASONS.get(reason, f"reason {reason}")
        return DeviceRefused(
            f"the device rejected the request: {text}", code=names.REJECTED + reason, status=names.reject_status(reason)
        )
    error_class, code = codec.decode_error(heard.body)
    return DeviceRefused(
        f"the device answered with error {names.error_text(error_class, code)}",
        code=code,
        status=names.error_status(code),
    )


def aborted(reason: int) -> DeviceRefused:
    """What an Abort means."""
    text = names.ABORT_REASONS.get(reason, f"reason {reason}")
    return DeviceRefused(
        f"the request was aborted: {text}", code=names.ABORTED + reason, status=names.abort_status(reason)
    )
