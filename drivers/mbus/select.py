"""Secondary addresses of M-Bus: identification, maker, version and medium, with F for any digit. Pure.

Source: EN 13757-3:2018, section 11.3 (selection by secondary address, wildcards).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_profiles.errors import ConfigError

_TEXT = re.compile(r"([0-9F]{8})([0-9A-F]{4})?([0-9A-F]{2})?([0-9A-F]{2})?")


@dataclass(frozen=True, slots=True)
class Secondary:
    """16 hexadecimal digits: identification (8 decimal digits), maker (4, as a number), version (2), medium (2); F is any."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Secondary:
        """From 8 to 16 digits; what is not given is any. Raises ConfigError."""
        if _TEXT.fullmatch(text.upper()) is None or len(text) not in (8, 16):
            step = "give the 8 digits of the identification, or 16 with maker, version and medium"
            raise ConfigError(f"{text[:24]!r} is no secondary address of M-Bus", next_step=step)
        return cls(text.upper().ljust(16, "F"))

    @property
    def encoded(self) -> bytes:
        """As it is sent: each field the lowest byte first."""
        raw = bytes.fromhex(self.text)
        return raw[3::-1] + raw[5:3:-1] + raw[6:7] + raw[7:8]

    def fits(self, given: str) -> bool:
        """The identification (8 digits) or the whole secondary address (16) of an answer is one that this selects."""
        return all(one in ("F", other) for one, other in zip(self.text, given, strict=False))


_MEDIA = range(0x40)
"""Device types that the standard has room for."""
_VERSIONS = range(0xFF)


def narrower(pattern: str) -> list[str]:
    """The patterns with the first wildcard of the identification made a digit; behind it the medium, and then the version. None
    where only the maker is open: it has 65,535 values, and no digits of its own.
    """
    at = pattern[:8].find("F")
    if at >= 0:
        return [pattern[:at] + str(digit) + pattern[at + 1 :] for digit in range(10)]
    whole = pattern.ljust(16, "F")
    if whole[14:] == "FF":
        return [f"{whole[:14]}{medium:02X}" for medium in _MEDIA]
    if whole[12:14] == "FF":
        return [f"{whole[:12]}{version:02X}{whole[14:]}" for version in _VERSIONS]
    return []


def hidden(pattern: str, answered: str) -> list[str]:
    """The patterns of whoever a whole answer to `pattern` may hide.

    Several answers in one instant are laid over each other, and a 0 wins: where each digit of one identification has the bits of
    the other's and more, what is heard is the right answer of the lesser.
    """
    return [
        answered[:at] + str(digit) + pattern[at + 1 :]
        for at in range(8)
        if pattern[at] == "F" and answered[at].isdecimal()
        for digit in range(int(answered[at]) + 1, 10)
        if digit & int(answered[at]) == int(answered[at])
    ]
