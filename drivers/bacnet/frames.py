"""BACnet/IP datagrams for people: headers, service and values of one datagram, or of several one after another.

Nothing is asked of anybody, and a segmented APDU is not put together: its segments are told one by one. Pure.
Source: ANSI/ASHRAE 135-2020, annex J (BVLC), clause 6.2 (NPDU), clauses 13, 15, 16 and 20 (services and APDU).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from device_profiles.bacnet import OBJECT_NAMES
from drivers.frames import MORE, NOTHING, Frame, Matched, Part, Reject, Scanner, Value

from . import codec, explain, frame, names, services, tags, values
from .codec import Element, Ref, Result
from .tags import BacnetError

_START = re.compile(rb"\x81[\x00-\x0c]")
_PDU_TYPES = (
    "Confirmed-Request",
    "Unconfirmed-Request",
    "SimpleACK",
    "ComplexACK",
    "SegmentACK",
    "Error",
    "Reject",
    "Abort",
)
_TYPES = (
    "null", "boolean", "unsigned", "signed", "real", "double", "octets", "text", "bits", "enumerated", "date", "time", "object",
)  # fmt: skip
_ASKING = frozenset((codec.READ_PROPERTY, codec.READ_MULTIPLE, codec.WRITE_PROPERTY, codec.SUBSCRIBE_COV))
_MOST_TAGS = 512
"""Tags of one datagram that are told apart in its parts; the rest is one part."""


class Decoder:
    """`drivers.frames.FrameDecoder` for datagrams. Input that is one datagram of a wrong length is told as that."""

    def __init__(self) -> None:
        self._scanner = Scanner(_match, _START, width=2, longest=frame.MAX_DATAGRAM)
        self._first = bytearray()
        self._size = 0
        self._is_any = False

    def feed(self, data: bytes) -> Iterator[Frame | Reject]:
        """See FrameDecoder."""
        self._size += len(data)
        self._first += data[: frame.MAX_DATAGRAM - len(self._first)]
        for found in self._scanner.feed(data):
            self._is_any = True
            yield found

    def end(self) -> Iterator[Frame | Reject]:
        """See FrameDecoder."""
        rest = list(self._scanner.end())
        whole = bytes(self._first)
        is_one = not self._is_any and not any(isinstance(one, Frame) for one in rest)
        if is_one and len(whole) >= 4 and _START.match(whole) and len(whole) == self._size:
            said = int.from_bytes(whole[2:4])
            if said != len(whole):
                detail = f"BVLC says {said} octets where {len(whole)} came"
                yield Reject(0, whole, "length", str(said), str(len(whole)), detail)
                return
        yield from rest


def _match(data: bytes, at: int) -> Matched:
    if len(data) - at < 4:
        return MORE
    length = int.from_bytes(data[at + 2 : at + 4])
    if not 4 <= length <= frame.MAX_DATAGRAM:
        return NOTHING
    if len(data) - at < length:
        return MORE
    raw = data[at : at + length]
    try:
        heard = frame.parse(raw)
        found, facts = _body(heard)
        return Frame(at, raw, _sender(heard), _control(heard), found, _head_facts(heard) | facts, _parts(raw, heard))
    except BacnetError as error:
        return Reject(at, raw, "format", detail=str(error))


def _sender(heard: frame.Frame) -> str | None:
    """The station that sent it, as far as the datagram says: `2:0x0c` behind a router, else the one a BBMD forwards for."""
    if heard.snet is not None:
        return f"{heard.snet}:0x{heard.sadr.hex()}"
    return None if heard.forwarded is None else "{}:{}".format(*heard.forwarded)


def _control(heard: frame.Frame) -> str:
    if heard.pdu_type is None:
        return explain.control_name(heard)
    kind = _PDU_TYPES[heard.pdu_type]
    return (
        kind
        if heard.pdu_type in (frame.SEGMENT_ACK, frame.REJECT, frame.ABORT)
        else f"{kind} {explain.service_name(heard)}"
    )


def _head_facts(heard: frame.Frame) -> dict[str, object]:
    facts: dict[str, object] = {}
    if heard.dnet is not None:
        facts["to"] = (
            "all networks"
            if heard.dnet == 0xFFFF
            else f"{heard.dnet}:0x{heard.dadr.hex()}"
            if heard.dadr
            else str(heard.dnet)
        )
    if heard.invoke_id is not None:
        facts["invoke_id"] = heard.invoke_id
    if heard.pdu_type == frame.SEGMENT_ACK:
        facts |= {"segment": heard.sequence, "window": heard.window}
    if heard.is_segmented:
        facts |= {"segment": heard.sequence, "more": heard.more_follows}
    return facts


def _body(heard: frame.Frame) -> tuple[tuple[Value, ...], dict[str, object]]:
    """Values, and what else the parameters say. Raises BacnetError."""
    kind, service, body = heard.pdu_type, heard.service, heard.body
    if kind is None or heard.is_segmented:
        return (), {}
    if kind == frame.ERROR:
        error = codec.decode_error(body)
        return (), {"error": names.error_text(*error), "status": names.error_status(error[1])}
    if kind in (frame.REJECT, frame.ABORT):
        reasons = names.REJECT_REASONS if kind == frame.REJECT else names.ABORT_REASONS
        status = names.reject_status if kind == frame.REJECT else names.abort_status
        return (), {"reason": reasons.get(service or 0, str(service)), "status": status(service or 0)}
    if kind == frame.COMPLEX_ACK:
        if service == codec.READ_PROPERTY:
            return (_value(codec.decode_read_ack(body)),), {}
        if service == codec.READ_MULTIPLE:
            return tuple(_value(result) for result in codec.decode_read_multiple_ack(body)), {}
    if (kind, service) in ((frame.CONFIRMED, codec.CONFIRMED_COV), (frame.UNCONFIRMED, codec.UNCONFIRMED_COV)):
        told = codec.decode_cov(body)
        facts: dict[str, object] = {"device": told.device, "process": told.process, "seconds_left": told.seconds}
        return tuple(_value(result) for result in told.values), facts
    if kind == frame.UNCONFIRMED and service == codec.I_AM:
        who = codec.decode_i_am(body)
        return (), {
            "device": who.instance,
            "max_apdu": who.max_apdu,
            "segmentation": who.segmentation,
            "vendor": who.vendor,
        }
    if kind == frame.UNCONFIRMED and service == codec.WHO_IS:
        low, high = codec.decode_who_is(body)
        return (), {"from_device": low, "to_device": high}
    if kind == frame.CONFIRMED and service in _ASKING:
        return _request(service, body)
    return (), services.fields_of(kind, service or 0, body)


def _request(service: int | None, body: bytes) -> tuple[tuple[Value, ...], dict[str, object]]:
    elements, _ = tags.read_elements(body, 0, len(body))
    if service == codec.READ_MULTIPLE:
        asked = []
        for one, inner in pairwise(elements):
            if one.form == tags.CONTEXT and inner.form == tags.CONSTRUCTED:
                asked += [explain.reference(ref) for ref in _refs(_object(one), inner.value)]  # type: ignore[arg-type]
        return (), {"asks": asked}
    given = {element.number: element for element in elements if element.form != tags.APPLICATION}
    if service == codec.SUBSCRIBE_COV:
        kind, instance = _object(given.get(1))
        facts: dict[str, object] = {
            "object": f"{OBJECT_NAMES.get(kind, kind)}:{instance}",
            "process": _number(given.get(0)),
        }
        is_cancel = 2 not in given and 3 not in given
        return (), facts | ({"cancels": True} if is_cancel else {"seconds": _number(given[3]) if 3 in given else None})
    index = _number(given[2]) if 2 in given else None
    ref = Ref(*_object(given.get(0)), _number(given.get(1)), index)
    if service == codec.READ_PROPERTY:
        return (), {"asks": [explain.reference(ref)]}
    written = given.get(3)
    if written is None or written.form != tags.CONSTRUCTED:
        raise BacnetError("a WriteProperty without a value")
    result = Result(ref, written.value)  # type: ignore[arg-type]  # a constructed element holds elements
    return (_value(result),), {"priority": _number(given[4])} if 4 in given else {}


def _refs(owner: tags.ObjectId, elements: Sequence[Element]) -> Iterator[Ref]:
    """The properties that a read access specification names."""
    prop: int | None = None
    for element in elements:
        if element.number == 0 and prop is not None:
            yield Ref(*owner, prop)
        if element.number == 0:
            prop = _number(element)
        elif element.number == 1 and prop is not None:
            yield Ref(*owner, prop, _number(element))
            prop = None
    if prop is not None:
        yield Ref(*owner, prop)


def _object(element: Element | None) -> tags.ObjectId:
    if element is None or not isinstance(element.value, bytes):
        raise BacnetError("no object where a request names one")
    return tags.read_object(element.value)


def _number(element: Element | None) -> int:
    if element is None or not isinstance(element.value, bytes):
        raise BacnetError("no number where a request has one")
    return tags.read_unsigned(element.value)


def _value(result: Result) -> Value:
    name = explain.reference(result.ref)
    if result.error is not None:
        return Value(name, None, status=f"{names.error_status(result.error[1])} ({names.error_text(*result.error)})")
    value = (
        result.elements[0].value if len(result.elements) == 1 and result.elements[0].form == tags.APPLICATION else ()
    )
    if isinstance(value, float) and not math.isfinite(value):
        return Value(name, None, status="BadSensorFailure (NaN or infinity)")
    if value is None or isinstance(value, bool | int | float | str):
        return Value(name, value)
    return Value(name, ", ".join(values.text_of(element) for element in result.elements))


def _parts(raw: bytes, heard: frame.Frame) -> tuple[Part, ...]:
    parts = [
        Part(0, 1, "BVLC"),
        Part(1, 2, "function", explain.bvlc_name(heard.function)),
        Part(2, 4, "length", str(len(raw))),
    ]
    at = 4
    if heard.forwarded is not None:
        parts.append(Part(4, 10, "sent by", "{}:{}".format(*heard.forwarded)))
        at = 10
    if heard.pdu_type is None and heard.network_message is None:
        return tuple(parts) if at == len(raw) else (*parts, Part(at, len(raw), "data", raw[at:].hex(" ")))
    parts += [
        Part(at, at + 1, "NPDU"),
        Part(at + 1, at + 2, "control", "a reply is expected" if heard.expects_reply else ""),
    ]
    at += 2
    for name, net, station in (("to", heard.dnet, heard.dadr), ("from", heard.snet, heard.sadr)):
        if net is not None:
            size = 3 + len(station)
            parts.append(
                Part(at, at + size, name, f"network {net}" + (f" station 0x{station.hex()}" if station else ""))
            )
            at += size
    if heard.hops is not None:
        parts.append(Part(at, at + 1, "hops", str(heard.hops)))
        at += 1
    body = len(raw) - len(heard.body)
    if heard.pdu_type is None:
        parts.append(Part(at, body, "message", explain.control_name(heard)))
    else:
        for name, text in _apdu_head(heard):
            parts.append(Part(at, at + 1, name, text))
            at += 1
    if body < len(raw):
        is_tagged = heard.pdu_type is not None and not heard.is_segmented
        parts += _tags(raw, body) if is_tagged else [Part(body, len(raw), "data", f"{len(raw) - body} octets")]
    return tuple(parts)


def _apdu_head(heard: frame.Frame) -> Iterator[tuple[str, str]]:
    """Name and meaning of each octet of the APDU's head."""
    assert heard.pdu_type is not None
    kind = heard.pdu_type
    yield "PDU type", _PDU_TYPES[kind] + (", segmented" if heard.is_segmented else "")
    if kind == frame.CONFIRMED:
        yield "takes", f"answers of up to {heard.max_apdu} octets"
    if heard.invoke_id is not None:
        yield "invoke id", str(heard.invoke_id)
    if heard.sequence is not None:
        yield "segment", str(heard.sequence)
        yield "window", str(heard.window)
    if kind != frame.SEGMENT_ACK:
        is_reason = kind in (frame.REJECT, frame.ABORT)
        yield ("reason", str(heard.service)) if is_reason else ("service", explain.service_name(heard))


def _tags(raw: bytes, at: int) -> Iterator[Part]:
    """A part for each tag with its content. Bytes that are no tags are one part."""
    depth = 0
    for _ in range(_MOST_TAGS):
        if at >= len(raw):
            return
        try:
            tag = tags.read_tag(raw, at, len(raw))
            end = tag.at
            if tag.is_opening or tag.is_closing:
                depth -= tag.is_closing
                name, text = "  " * min(depth, 8) + f"{'begin' if tag.is_opening else 'end'} [{tag.number}]", ""
                depth += tag.is_opening
            elif tag.is_context:
                end += tag.size
                name, text = "  " * min(depth, 8) + f"[{tag.number}]", raw[tag.at : end].hex(" ")
            else:
                value = tags.read_primitive(tag.number, raw, tag.at, tag.size)
                end += 0 if tag.number == tags.BOOLEAN else tag.size
                name = "  " * min(depth, 8) + _TYPES[tag.number]
                text = values.text_of(Element(tags.APPLICATION, tag.number, value))
        except BacnetError:
            break
        yield Part(at, end, name, text)
        at = end
    if at < len(raw):
        yield Part(at, len(raw), "data", f"{len(raw) - at} octets")
