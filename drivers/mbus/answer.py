"""What an M-Bus answer holds: who answers, records, and what follows. Plain data.

Source: EN 13757-3:2018, sections 5 (headers, device types) and 6 (records).
"""

from __future__ import annotations

from dataclasses import dataclass

FUNCTIONS = ("", "max", "min", "error")
MEDIA: dict[int, str] = {
    0x00: "other", 0x01: "oil", 0x02: "electricity", 0x03: "gas", 0x04: "heat, return", 0x05: "steam", 0x06: "hot water",
    0x07: "water", 0x08: "heat cost", 0x09: "compressed air", 0x0A: "cooling, return", 0x0B: "cooling, supply",
    0x0C: "heat, supply", 0x0D: "heat and cooling", 0x0E: "bus", 0x0F: "unknown", 0x14: "calorific value",
    0x15: "hot water", 0x16: "cold water", 0x17: "dual water", 0x18: "pressure", 0x19: "converter", 0x1A: "smoke detector",
    0x1B: "room sensor", 0x1C: "gas detector", 0x20: "breaker", 0x21: "valve", 0x25: "customer unit", 0x28: "waste water",
    0x29: "garbage", 0x2A: "carbon dioxide", 0x31: "communication controller", 0x32: "repeater",
    0x33: "two-way repeater", 0x36: "radio converter, system side", 0x37: "radio converter, meter side",
}  # fmt: skip


_APPLICATION = ("", "busy", "application error", "abnormal condition")
_STATES = ("power low", "permanent error", "temporary error", "maker's bit 5", "maker's bit 6", "maker's bit 7")


@dataclass(frozen=True, slots=True)
class Header:
    """Who answers. `id` is 8 digits, `maker` three letters."""

    id: str
    maker: str
    version: int
    medium: str
    access: int
    status: int
    secondary: str = ""
    """Identification, maker, version and medium in 16 hexadecimal digits, as a device is selected."""

    @property
    def states(self) -> list[str]:
        """What the status says in words; bits 5 to 7 are the maker's own."""
        application = _APPLICATION[self.status & 3]
        flags = [text for bit, text in enumerate(_STATES, 2) if self.status >> bit & 1]
        return ([application] if application else []) + flags


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `value` None with a `status` where there is none to believe; `dib` and `vib` are its fields as they are."""

    quantity: str
    value: float | int | str | None
    unit: str | None = None
    status: str = ""
    function: str = ""
    storage: int = 0
    tariff: int = 0
    subunit: int = 0
    dib: bytes = b""
    vib: bytes = b""

    @property
    def id(self) -> str:
        """The quantity with what tells the record from others of it, in words."""
        text = f"{self.quantity}_{self.function}" if self.function else self.quantity
        for name, number in (("storage", self.storage), ("tariff", self.tariff), ("subunit", self.subunit)):
            text += f"_{name}_{number}" if number else ""
        return text


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of one answer. `more`: the device has another telegram for this readout."""

    header: Header | None
    records: tuple[Record, ...]
    more: bool = False
    manufacturer: bytes = b""
