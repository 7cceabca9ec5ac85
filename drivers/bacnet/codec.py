"""The BACnet services that the driver speaks itself, bytes to plain data and back. Pure: no sockets, no clock.

Source: ANSI/ASHRAE 135-2020, clauses 13 (COV), 15 (object access), 16 (who is, I am) and 21 (ASN.1). Values are `tags.Element`.
Service choices are the numbers of the standard. Bytes that are not what the standard allows raise BacnetError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import tags
from .frame import Frame as Frame
from .frame import parse as parse
from .tags import BacnetError as BacnetError
from .tags import Element as Element
from .tags import ObjectId as ObjectId
from .tags import encode_value as encode_value

CONFIRMED_COV, SUBSCRIBE_COV, READ_PROPERTY, READ_MULTIPLE, WRITE_PROPERTY = 1, 5, 12, 14, 15
READ_RANGE, SUBSCRIBE_COV_PROPERTY = 26, 28
"""Confirmed services (BACnetConfirmedServiceChoice)."""
I_AM, UNCONFIRMED_COV, WHO_IS = 0, 2, 8
"""Unconfirmed services (BACnetUnconfirmedServiceChoice)."""

SEGMENTATION = ("both", "transmit", "receive", "none")
"""BACnetSegmentation, by its number."""


class Ref(NamedTuple):
    """A property that is asked for: numbers of object type, instance and property; `index` an element of an array
    (0: its length)."""

    kind: int
    instance: int
    prop: int
    index: int | None = None  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


class Result(NamedTuple):
    """What a device said of one property: its elements, or error class and code."""

    ref: Ref
    elements: tuple[Element, ...] = ()
    error: tuple[int, int] | None = None


class Notification(NamedTuple):
    """A change-of-value notification; `seconds` is what remains of the subscription."""

    process: int
    device: int
    kind: int
    instance: int
    seconds: int
    values: tuple[Result, ...]


class IAm(NamedTuple):
    """Who a device says it is. `segmentation` is one of SEGMENTATION."""

    instance: int
    max_apdu: int
    segmentation: str
    vendor: int


# Reading.


def encode_read(ref: Ref) -> bytes:
    """ReadProperty-Request."""
    return tags.tag(0, tags.object_octets(ref.kind, ref.instance)) + _property(ref, 1)


def encode_read_multiple(refs: Iterable[Ref]) -> bytes:
    """ReadPropertyMultiple-Request; neighbours of one object share its read access specification."""
    parts: list[bytes] = []
    before: tuple[int, int] | None = None
    for ref in refs:
        if (ref.kind, ref.instance) != before:
            if before is not None:
                parts.append(tags.closing(1))
            before = ref.kind, ref.instance
            parts += (tags.tag(0, tags.object_octets(*before)), tags.opening(1))
        parts.append(_property(ref, 0))
    return b"".join((*parts, tags.closing(1))) if parts else b""


def _property(ref: Ref, first: int) -> bytes:
    index = b"" if ref.index is None else tags.tag(first + 1, tags.unsigned(ref.index))
    return tags.tag(first, tags.unsigned(ref.prop)) + index


def decode_read_ack(data: bytes) -> Result:
    """ReadProperty-ACK."""
    reader = _Reader(data)
    kind, instance = tags.read_object(reader.context(0))
    prop = tags.read_unsigned(reader.context(1))
    index = reader.optional_unsigned(2)
    elements = reader.constructed(3)
    reader.expect_end()
    return Result(Ref(kind, instance, prop, index), elements)


def decode_read_multiple_ack(data: bytes) -> list[Result]:
    """ReadPropertyMultiple-ACK, in the order of the octets."""
    reader = _Reader(data)
    results: list[Result] = []
    while reader.more():
        kind, instance = tags.read_object(reader.context(0))
        reader.open(1)
        while not reader.closes(1):
            prop = tags.read_unsigned(reader.context(2))
            index = reader.optional_unsigned(3)
            ref = Ref(kind, instance, prop, index)
            if reader.opens(4):
                results.append(Result(ref, reader.constructed(4)))
            else:
                results.append(Result(ref, error=_error(reader.constructed(5))))
    return results


def decode_error(data: bytes) -> tuple[int, int]:
    """Error class and code of an Error PDU's parameters, also where a service wraps them in a context tag."""
    elements, _ = tags.read_elements(data, 0, len(data))
    while elements and elements[0].form == tags.CONSTRUCTED:
        elements = elements[0].value  # type: ignore[assignment]  # a constructed element holds elements
    return _error(elements)


def _error(elements: Sequence[Element]) -> tuple[int, int]:
    codes = [element.value for element in elements[:2] if element.number == tags.ENUMERATED]
    if len(codes) != 2 or not all(isinstance(code, int) for code in codes):
        raise BacnetError("an error without class and code")
    return codes[0], codes[1]  # type: ignore[return-value]  # both are int


# Change of value.


def decode_cov(data: bytes) -> Notification:
    """The parameters of a confirmed or unconfirmed COV notification."""
    reader = _Reader(data)
    process = tags.read_unsigned(reader.context(0))
    device = tags.read_object(reader.context(1))
    kind, instance = tags.read_object(reader.context(2))
    seconds = tags.read_unsigned(reader.context(3))
    reader.open(4)
    values: list[Result] = []
    while not reader.closes(4):
        prop = tags.read_unsigned(reader.context(0))
        index = reader.optional_unsigned(1)
        values.append(Result(Ref(kind, instance, prop, index), reader.constructed(2)))
        reader.optional_unsigned(3)  # the priority; no use here
    reader.expect_end()
    return Notification(process, device.instance, kind, instance, seconds, tuple(values))


# Who is, I am.


def encode_who_is(low: int | None = None, high: int | None = None) -> bytes:
    """Who-Is-Request, for all devices or for a range of instances."""
    if low is None or high is None:
        return b""
    return tags.tag(0, tags.unsigned(low)) + tags.tag(1, tags.unsigned(high))


def decode_who_is(data: bytes) -> tuple[int, int]:
    """The range of instances that is asked for."""
    if not data:
        return 0, 0x3FFFFF
    reader = _Reader(data)
    low = tags.read_unsigned(reader.context(0))
    return low, tags.read_unsigned(reader.context(1))


def encode_i_am(told: IAm) -> bytes:
    """I-Am-Request."""
    return b"".join(
        (
            encode_value(tags.OBJECT, ObjectId(8, told.instance)),
            encode_value(tags.UNSIGNED, told.max_apdu),
            encode_value(tags.ENUMERATED, SEGMENTATION.index(told.segmentation)),
            encode_value(tags.UNSIGNED, told.vendor),
        )
    )


def decode_i_am(data: bytes) -> IAm:
    """I-Am-Request. An unknown kind of segmentation is `none`; instance 4194303 is no device's and refused."""
    elements, _ = tags.read_elements(data, 0, len(data))
    told = [(element.form, element.number) for element in elements[:4]]
    if told != [(tags.APPLICATION, number) for number in (tags.OBJECT, tags.UNSIGNED, tags.ENUMERATED, tags.UNSIGNED)]:
        raise BacnetError("an I-Am without device, length, segmentation and vendor")
    device, max_apdu, segmentation, vendor = (element.value for element in elements[:4])
    assert isinstance(device, ObjectId)
    assert isinstance(max_apdu, int)
    assert isinstance(segmentation, int)
    assert isinstance(vendor, int)
    if device.kind != 8 or device.instance == 0x3FFFFF:
        raise BacnetError(f"an I-Am of object {device.kind}:{device.instance}, which is no device")
    if max_apdu < 50:
        raise BacnetError(f"an I-Am with APDUs of {max_apdu} octets; 50 is the least")
    way = SEGMENTATION[segmentation] if segmentation < len(SEGMENTATION) else "none"
    return IAm(device.instance, max_apdu, way, vendor)


class _Reader:
    """Goes through the parameters of a service, element by element."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def more(self) -> bool:
        return self.at < len(self.data)

    def expect_end(self) -> None:
        if self.more():
            raise BacnetError(f"{len(self.data) - self.at} octets too many after octet {self.at}")

    def context(self, number: int) -> bytes:
        """The octets of context tag `number`."""
        tag = tags.read_tag(self.data, self.at, len(self.data))
        if tag.number != number or not tag.is_context or tag.is_opening or tag.is_closing:
            raise BacnetError(f"context tag {number} is missing at octet {self.at}")
        self.at = tag.at + tag.size
        return self.data[tag.at : self.at]

    def optional_unsigned(self, number: int) -> int | None:
        """The unsigned number of context tag `number`; None when another tag stands there."""
        if not self.more():
            return None
        tag = tags.read_tag(self.data, self.at, len(self.data))
        if tag.number != number or not tag.is_context or tag.is_opening or tag.is_closing:
            return None
        return tags.read_unsigned(self.context(number))

    def opens(self, number: int) -> bool:
        """True when an opening tag `number` stands here; nothing is consumed."""
        tag = tags.read_tag(self.data, self.at, len(self.data))
        return tag.is_opening and tag.number == number

    def open(self, number: int) -> None:
        if not self.opens(number):
            raise BacnetError(f"opening tag {number} is missing at octet {self.at}")
        self.at = tags.read_tag(self.data, self.at, len(self.data)).at

    def closes(self, number: int) -> bool:
        """True when closing tag `number` stood here; it is consumed."""
        tag = tags.read_tag(self.data, self.at, len(self.data))
        if not tag.is_closing:
            return False
        if tag.number != number:
            raise BacnetError(f"closing tag {tag.number} at octet {self.at} where {number} was open")
        self.at = tag.at
        return True

    def constructed(self, number: int) -> tuple[Element, ...]:
        """The elements within tag `number`."""
        self.open(number)
        elements, self.at = tags.read_elements(self.data, self.at, len(self.data), closing=number)
        return elements
