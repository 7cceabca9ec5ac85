"""What a BACnet/IP datagram says, in words for people. Pure; never raises, whatever the bytes."""

from __future__ import annotations

from device_profiles.bacnet import OBJECT_NAMES

from . import codec, frame, names, services, values
from .codec import Ref
from .frame import Frame
from .tags import BacnetError

_NETWORK = {
    0: "Who-Is-Router-To-Network", 1: "I-Am-Router-To-Network", 2: "I-Could-Be-Router-To-Network",
    3: "Reject-Message-To-Network", 4: "Router-Busy-To-Network", 5: "Router-Available-To-Network",
    6: "Initialize-Routing-Table", 7: "Initialize-Routing-Table-Ack", 8: "Establish-Connection-To-Network",
    9: "Disconnect-Connection-To-Network", 10: "Challenge-Request", 11: "Security-Payload", 12: "Security-Response",
    13: "Request-Key-Update", 14: "Update-Key-Set", 15: "Update-Distribution-Key", 16: "Request-Master-Key",
    17: "Set-Master-Key", 18: "What-Is-Network-Number", 19: "Network-Number-Is",
}  # fmt: skip
_BVLC = (
    "BVLC-Result", "Write-Broadcast-Distribution-Table", "Read-Broadcast-Distribution-Table",
    "Read-Broadcast-Distribution-Table-Ack", "Forwarded-NPDU", "Register-Foreign-Device", "Read-Foreign-Device-Table",
    "Read-Foreign-Device-Table-Ack", "Delete-Foreign-Device-Table-Entry", "Distribute-Broadcast-To-Network",
    "Original-Unicast-NPDU", "Original-Broadcast-NPDU", "Secure-BVLL",
)  # fmt: skip


def explain(data: bytes) -> str:
    """One line; for what is no BACnet/IP, why it is none."""
    try:
        heard = frame.parse(data)
        return _route(heard) + _words(heard)
    except BacnetError as error:
        return f"no BACnet: {error}"


def _route(heard: Frame) -> str:
    to = f"to network {'all' if heard.dnet == 0xFFFF else heard.dnet}: " if heard.dnet is not None else ""
    return to + (f"from {heard.snet}:0x{heard.sadr.hex()}: " if heard.snet is not None else "")


def bvlc_name(function: int) -> str:
    """The name of a BVLC function (annex J.2)."""
    return _BVLC[function] if function < len(_BVLC) else f"BVLC function 0x{function:02x}"


def control_name(heard: Frame) -> str:
    """What a datagram without an APDU is: a message of the network layer, or BVLC's own."""
    if heard.network_message is not None:
        return _NETWORK.get(heard.network_message, f"network message {heard.network_message}")
    return bvlc_name(heard.function)


def service_name(heard: Frame) -> str:
    """The name of the service that an APDU asks for or answers."""
    return services.name_of(frame.CONFIRMED if heard.pdu_type is None else heard.pdu_type, heard.service or 0)


def _words(heard: Frame) -> str:
    kind, number = heard.pdu_type, heard.service or 0
    if kind is None:
        return control_name(heard)
    name = service_name(heard)
    if kind == frame.UNCONFIRMED:
        return name + _told(heard)
    part = f", segment {heard.sequence}{' of more' if heard.more_follows else ''}" if heard.is_segmented else ""
    ident = f"#{heard.invoke_id} "
    if kind == frame.CONFIRMED:
        return f"{ident}{name}{part}"
    if kind == frame.SIMPLE_ACK:
        return f"{ident}{name} done"
    if kind == frame.COMPLEX_ACK:
        return f"{ident}{name} answer{part}{'' if part else _answered(heard)}"
    if kind == frame.SEGMENT_ACK:
        return f"{ident}segment {heard.sequence} received"
    if kind == frame.ERROR:
        return f"{ident}{name} error: {names.error_text(*codec.decode_error(heard.body))}"
    reasons = names.REJECT_REASONS if kind == frame.REJECT else names.ABORT_REASONS
    return f"{ident}{'rejected' if kind == frame.REJECT else 'aborted'}: {reasons.get(number, f'reason {number}')}"


def _told(heard: Frame) -> str:
    if heard.service == codec.I_AM:
        return f" device {codec.decode_i_am(heard.body).instance}"
    if heard.service == codec.WHO_IS and heard.body:
        return " {} to {}".format(*codec.decode_who_is(heard.body))
    return ""


def _answered(heard: Frame) -> str:
    if heard.service == codec.READ_PROPERTY:
        result = codec.decode_read_ack(heard.body)
        return f": {reference(result.ref)} = {', '.join(values.text_of(one) for one in result.elements)[:60]}"
    if heard.service == codec.READ_MULTIPLE:
        results = codec.decode_read_multiple_ack(heard.body)
        return f": {len(results)} properties, {sum(one.error is not None for one in results)} errors"
    return ""


def reference(ref: Ref) -> str:
    """`analog-input:1 present-value`, `analog-output:2 priority-array[8]`."""
    index = "" if ref.index is None else f"[{ref.index}]"
    return f"{OBJECT_NAMES.get(ref.kind, ref.kind)}:{ref.instance} {names.property_name(ref.prop)}{index}"
