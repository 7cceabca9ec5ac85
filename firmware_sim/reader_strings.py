"""Card readers that write what they read: 125 kHz modules (STX, ten hex digits, check), Wiegand converters in many dialects.

Written from makers' manuals without a look at the drivers. Nobody answers such a device, and it keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from firmware_sim.strings_wire import StringsWire


def em4100(card: int) -> bytes:
    """STX, ten hex digits (version and number), their check, CR LF ETX.

    Source: ID Innovations ID-2LA, ID-12LA, ID-20LA datasheet, "Data Format ASCII".
    """
    digits = f"{card:010X}"
    check = 0
    for one in bytes.fromhex(digits):
        check ^= one
    return b"\x02" + digits.encode() + f"{check:02X}".encode() + b"\r\n\x03"


def rdm6300(card: int) -> bytes:
    """STX, ten hex digits, check, ETX. Source: RDM6300 specification, "Data format"."""
    return em4100(card).replace(b"\r\n", b"")


def wiegand(card: int, bits: int = 26) -> str:
    """The row of bits as Wiegand carries it: even parity over the first half, odd over the second.

    Source: HID, Understanding Card Data Formats (H10301: 26 bits; 37 bits share the middle one); 34: source: unverified.
    """
    own = f"{card:0{bits - 2}b}"
    half = (bits - 1) // 2
    first, second = own[:half], own[len(own) - half :]
    return f"{first.count('1') % 2}{own}{1 - second.count('1') % 2}"


def bits_line(card: int, bits: int = 26) -> bytes:
    return f"{bits},{wiegand(card, bits)}\r\n".encode()


def decimal_line(card: int) -> bytes:
    return f"{card:010d}\r\n".encode()


def facility_line(card: int) -> bytes:
    """`118,01254`: facility code and number."""
    return f"{card >> 16:03d},{card & 0xFFFF:05d}\r\n".encode()


DIALECTS: dict[str, Callable[[int], bytes]] = {
    "id-12": em4100,
    "rdm6300": rdm6300,
    "bits26": bits_line,
    "bits34": lambda card: bits_line(card, 34),
    "decimal": decimal_line,
    "facility": facility_line,
}


class Reader:
    """One reader. `swipe(card)`: somebody holds a card before it (the number of the card's own bits)."""

    def __init__(self, dialect: str = "id-12") -> None:
        if dialect not in DIALECTS:
            raise ValueError(f"dialect {dialect!r} is none of {', '.join(DIALECTS)}")
        self.frame = DIALECTS[dialect]
        self.wire: StringsWire | None = None

    def plug(self, wire: StringsWire) -> None:
        self.wire = wire

    def heard(self, data: bytes) -> None:
        """It listens to nobody."""

    def swipe(self, card: int) -> None:
        assert self.wire is not None, "not on a wire"
        self.wire.say(self.frame(card))
