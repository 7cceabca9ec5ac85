"""How a device's messages look that has no protocol of its own name: frames and requests, as a profile's `strings:` writes them.

A shape is what stands on the wire, with fields in braces: `*pow={power}#`. Control characters and bytes are as in
manuals, `<STX>`, `<CR>`, `<0x9A>`; `{{` and `}}` are braces. Data only: matching and building is `strings_codec`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .strict import Strict

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
CheckKind = Literal[
    "sum8", "lrc", "xor8", "crc16-modbus", "crc16-ccitt-false", "crc16-xmodem", "crc16-kermit", "crc16-aug-ccitt"
]
SECRET_FIELDS = frozenset({"card", "plate", "digits", "password"})
"""Fields of these names are never shown: not in a trace, not in an error."""
NUMERIC = frozenset({"decimal", "hex", "bcd", "uint"})
MAX_FRAME = 1024
"""Bytes of the longest frame."""

_CONTROLS = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
]  # fmt: skip
"""Names of the control characters 0 to 31. Source: ISO/IEC 646, ANSI X3.4."""
_BYTE = re.compile(r"<(?:0x([0-9A-Fa-f]{2})|([A-Z][A-Z0-9]{1,2}))>")
_PART = re.compile(r"\{([a-z][a-z0-9_]*)\}|\{\{|\}\}|[{}]")


def spelled(text: str) -> str:
    """Text with `<CR>`, `<0x9A>` as the characters of these codes. Raises ValueError for a name that there is none of."""

    def one(match: re.Match[str]) -> str:
        if match[1] is not None:
            return chr(int(match[1], 16))
        if match[2] not in _CONTROLS:
            raise ValueError(f"{match[0]} is no control character; write <CR>, <STX> ... or <0x9A>")
        return chr(_CONTROLS.index(match[2]))

    return _BYTE.sub(one, text)


class FieldSpec(Strict):
    """One field of a shape.

    `text`; `decimal`, `hex`: a number in characters; `bits`: a row of characters 0 and 1 (raw Wiegand); `bcd`: two digits a byte;
    `uint`: a binary number. A field named `card`, `plate` or `digits` is secret, `unit` is the device's own address on its line,
    `index` the device's own number of a record.
    """

    as_: Literal["text", "decimal", "hex", "bits", "bcd", "uint"] = Field(default="text", alias="as")
    size: int | None = Field(default=None, ge=1, le=MAX_FRAME)
    """Bytes on the wire (characters, within lines). None: up to what the shape says next."""
    order: Literal["big", "little"] = "big"
    """Which byte of bcd and uint comes first."""
    words: dict[str, int] | None = None
    """The device's words as numbers. Another word makes it another frame."""
    among: tuple[int, ...] = ()
    """The only numbers that make it this frame."""
    of: Name | None = None
    """No place of its own: `bits` of this other field."""
    bits: int | str | None = Field(default=None)
    """Bit 3, or `4..7` with the lower bit first, of the field `of`."""
    total: int | None = Field(default=None, ge=0, le=MAX_FRAME)
    """It says the length: the whole frame has so many bytes more than its value."""
    check: CheckKind | None = None
    """It is a check over all that is before it."""
    skip: int = Field(default=0, ge=0, le=64)
    """Bytes at the beginning that the check leaves out."""
    over: Literal["bytes", "hex"] = "bytes"
    """`hex`: the check is over what the hex digits stand for, two a byte."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.of is None) != (self.bits is None):
            raise ValueError("of and bits belong together: the bits of another field")
        if self.of is not None and (self.size or self.words or self.check or self.total is not None):
            raise ValueError("a field that is bits of another has no size, words, total or check")
        if self.as_ in ("bcd", "uint") and self.of is None and self.size is None:
            raise ValueError(f"{self.as_} needs size, in bytes")
        if self.words is not None and self.as_ != "text":
            raise ValueError("words are for as: text; numbers have among")
        if self.words is not None and len(set(self.words.values())) != len(self.words):
            raise ValueError("two words stand for one number")
        if self.among and self.as_ not in NUMERIC and self.of is None:
            raise ValueError("among is for numbers; text has words")
        if (self.check or self.total is not None) and self.as_ not in ("uint", "hex", "decimal"):
            raise ValueError("a check or length is uint, hex or decimal")
        if (self.check or self.total is not None) and self.size is None:
            raise ValueError("a check or length needs size")
        if self.bits is not None:
            first, last = self.bit_range
            if not 0 <= first <= last <= 63:
                raise ValueError(f"{self.bits!r} is no bit; write 3, or 4..7 with the lower bit first")
        return self

    @property
    def bit_range(self) -> tuple[int, int]:
        """(first, last) bit of `bits`; (-1, -1) for what cannot be read."""
        first, _, last = str(self.bits).partition("..")
        return (int(first), int(last or first)) if first.isdecimal() and (last or first).isdecimal() else (-1, -1)


class Shaped(Strict):
    """What stands on the wire, and its fields."""

    shape: str = Field(min_length=1, max_length=MAX_FRAME)
    fields: dict[Name, FieldSpec] = Field(default_factory=dict)
    label: str = ""
    """The manual's own words."""

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        used = [text for kind, text in self.parts if kind == "field"]
        placed = {name for name, field in self.fields.items() if field.of is None}
        if len(used) != len(set(used)):
            raise ValueError("a field stands twice in the shape")
        if missing := placed - set(used):
            raise ValueError(f"{sorted(missing)[0]} does not stand in the shape; write {{{sorted(missing)[0]}}}")
        for name, field in self.fields.items():
            if field.of is not None and field.of not in used:
                raise ValueError(f"{name} is bits of {field.of}, which does not stand in the shape")
        for (kind, text), (after, _) in zip(self.parts, self.parts[1:], strict=False):
            is_open = kind == "field" and self.field(text).size is None
            if is_open and after == "field" and not any(field.total is not None for field in self.fields.values()):
                raise ValueError(f"where {text} ends cannot be known: give it a size, or write something behind it")
        return self

    @property
    def parts(self) -> list[tuple[Literal["text", "field"], str]]:
        """The shape taken apart. Raises ValueError for a brace that is neither a field's nor doubled."""
        found: list[tuple[Literal["text", "field"], str]] = []
        literal, at = "", 0
        for match in _PART.finditer(self.shape):
            literal += self.shape[at : match.start()]
            at = match.end()
            if match[1] is None and len(match[0]) == 1:
                raise ValueError(
                    f"a lone {match[0]} stands in the shape; write {match[0] * 2}, or a field as {{power}}"
                )
            if match[1] is None:
                literal += match[0][0]
                continue
            if literal:
                found.append(("text", spelled(literal)))
            literal = ""
            found.append(("field", match[1]))
        literal += self.shape[at:]
        return [*found, ("text", spelled(literal))] if literal else found

    def field(self, name: str) -> FieldSpec:
        """The field of this name; text where nothing more is said of it."""
        return self.fields.get(name) or _PLAIN


class FrameSpec(Shaped):
    """A message of the device."""


class RequestSpec(Shaped):
    """A message to the device. Fields take their values from `set`, from an operation, or from the device (`unit`)."""

    answer: tuple[Name, ...] = ()
    """Frames that answer it; none where the device does not answer."""
    refused: tuple[Name, ...] = ()
    """Frames that say no to it."""
    timeout_s: float | None = Field(default=None, gt=0, le=60)
    """Where the device takes longer than its link's `timeout_s`."""


class Strings(Strict):
    """A device's messages. Of several frames that fit, the first counts."""

    encoding: Literal["ascii", "gbk", "utf-8", "latin-1"] = "ascii"
    line_end: str | None = Field(default=None, min_length=1, max_length=16)
    """Messages are lines with this behind them (both ways); shapes are written without it."""
    pause_ms: int | None = Field(default=None, ge=1, le=2000)
    """Messages are told apart by a pause of at least so long; over UDP, each datagram is one."""
    silent_s: float | None = Field(default=None, gt=0, le=86400)
    """A device that speaks by itself (heartbeats) is down when it was not heard for so long. None: it may keep silent."""
    frames: dict[Name, FrameSpec] = Field(default_factory=dict)
    requests: dict[Name, RequestSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.line_end is not None:
            spelled(self.line_end)
        if self.line_end is not None and self.pause_ms is not None:
            raise ValueError("messages end with line_end or with a pause, not with both")
        for name, request in self.requests.items():
            for other in (*request.answer, *request.refused):
                if other not in self.frames:
                    raise ValueError(f"request {name} names the frame {other}, which is not there")
            if request.refused and not request.answer:
                raise ValueError(f"request {name} can be refused and has no answer: give answer")
        for name, frame in self.frames.items():
            self._ends(name, frame)
        return self

    def _ends(self, name: str, frame: FrameSpec) -> None:
        """In a stream a frame must show where it begins and ends."""
        if self.line_end is not None or self.pause_ms is not None:
            return
        kind, text = frame.parts[0]
        if kind == "field":
            raise ValueError(f"frame {name} begins with {{{text}}}: give it a start, line_end or pause_ms")
        kind, text = frame.parts[-1]
        has_length = any(field.total is not None for field in frame.fields.values())
        if kind == "field" and frame.field(text).size is None and not has_length:
            raise ValueError(f"frame {name} ends with {{{text}}} of any length: give it an end or a size")

    @property
    def has_unit(self) -> bool:
        """Some message says for which device it is."""
        return any(("field", "unit") in shaped.parts for shaped in (*self.frames.values(), *self.requests.values()))

    @property
    def has_secrets(self) -> bool:
        """Some frame tells a card, a plate or digits."""
        return any(
            kind == "field" and text in SECRET_FIELDS for frame in self.frames.values() for kind, text in frame.parts
        )


_PLAIN = FieldSpec()
