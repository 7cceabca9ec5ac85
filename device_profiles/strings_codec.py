"""Finds the frames of a profile's `strings` in bytes, and builds its requests. Pure, linear, raises only its own error.

Within lines shapes are matched against decoded text; in a stream each byte stands for itself (as Latin-1): text and binary
fields are one thing.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import xor

from .strings import MAX_FRAME, SECRET_FIELDS, CheckKind, FieldSpec, Shaped, Strings, spelled
from .strings_gate import Gate, Part, gate_of

Scalar = int | float | str
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,9})?")
_HEX = re.compile(r"[0-9A-Fa-f]{1,64}")
_BITS = re.compile(r"[01]{1,256}")


class StringsError(ValueError):
    """A request that cannot be built. The text holds no secret."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A frame may begin here: nothing more is known of it before there are `size` bytes, or one of `until` comes."""

    size: int
    until: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame. `values` by field; `texts` are the same as they stood on the wire, for credentials; `raw` has its line end."""

    frame: str
    values: Mapping[str, Scalar]
    texts: Mapping[str, str] = field(repr=False)
    raw: bytes = field(repr=False)
    shown: bytes = b""
    """`raw` with `*` for what is secret."""


# -- checks -----------------------------------------------------------------------------------------------------------


def check_of(kind: CheckKind, data: bytes) -> int:
    """The check over `data`. LRC is the two's complement of the sum. Source: Greg Cook, Catalogue of parametrised CRC algorithms
    (CRC-16/MODBUS, /IBM-3740 = ccitt-false, /XMODEM, /KERMIT, /SPI-FUJITSU = aug-ccitt).
    """
    if kind == "sum8":
        return sum(data) & 0xFF
    if kind == "lrc":
        return -sum(data) & 0xFF
    if kind == "xor8":
        return reduce(xor, data, 0)
    if kind in ("crc16-modbus", "crc16-kermit"):
        value, table = (0xFFFF, _MODBUS) if kind == "crc16-modbus" else (0, _KERMIT)
        for one in data:
            value = value >> 8 ^ table[(value ^ one) & 0xFF]
        return value
    return crc_hqx(data, {"crc16-ccitt-false": 0xFFFF, "crc16-xmodem": 0, "crc16-aug-ccitt": 0x1D0F}[kind])


def _reflected(polynomial: int) -> tuple[int, ...]:
    """The remainder of each byte."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        table.append(value)
    return tuple(table)


_MODBUS, _KERMIT = _reflected(0xA001), _reflected(0x8408)


# -- a language -------------------------------------------------------------------------------------------------------


class Language:
    """A profile's strings, ready to be matched and built."""

    def __init__(self, spec: Strings) -> None:
        self.spec = spec
        self.is_text = spec.line_end is not None
        """Matched as decoded text."""
        self._frames = {name: self._parts(frame) for name, frame in spec.frames.items()}
        self._gates = {name: gate_of(parts, spec.encoding) for name, parts in self._frames.items()}
        self._end = b"" if spec.line_end is None else spelled(spec.line_end).encode("latin-1")

    @property
    def line_end(self) -> bytes:
        """What stands behind each line; empty where messages are no lines."""
        return self._end

    @property
    def start(self) -> re.Pattern[bytes]:
        """What frames of a stream begin with, as far as there is a literal."""
        starts = {parts[0].text.encode("latin-1") for parts in self._frames.values() if parts and parts[0].text}
        return re.compile(b"|".join(re.escape(each) for each in sorted(starts, key=len, reverse=True)) or b"(?!)")

    @property
    def start_width(self) -> int:
        """Bytes of the longest start."""
        return max((len(parts[0].text) for parts in self._frames.values() if parts), default=1) or 1

    @property
    def begin(self) -> re.Pattern[bytes]:
        """All that frames of a stream begin with, up to what is open: at most `begin_width` bytes."""
        begins = dict.fromkeys(gate.begin.pattern for gate in self._gates.values())
        return re.compile(b"|".join(begins) or b"(?!)", re.DOTALL)

    @property
    def begin_width(self) -> int:
        """Bytes of the longest begin."""
        return max(self.start_width, *(gate.width for gate in self._gates.values())) if self._gates else 1

    def whole(self, data: bytes) -> Heard | None:
        """The frame that these bytes are (a line without its end, a datagram); None when they are none."""
        text = self._decoded(data)
        if text is None:
            return None
        for name, gate in self._gates.items():
            if not self._may_be(gate, text, 0):
                continue
            found = self._walk(name, text, 0, is_whole=True)
            if isinstance(found, tuple):
                return self._heard(name, text, 0, *found, tail=self._end)
        return None

    def at(self, data: bytes, text: str, at: int) -> Heard | Wait | None:
        """The frame that begins at an index of a stream, given as bytes and as Latin-1; None where there is none."""
        left = len(data) - at
        size, until = MAX_FRAME, set[bytes]()
        for name, gate in self._gates.items():
            if left < gate.width:
                size = min(size, gate.width) if self._may_be(gate, text, at) else size
                continue
            if gate.begin.match(data, at) is None:
                continue
            if (due := gate.size(data, at)) is not None:
                if left < due:
                    size = min(size, due)
                    continue
                if not due or not gate.ends(data, at + due):
                    continue
            found = self._walk(name, text, at, is_whole=False)
            if isinstance(found, tuple):
                return self._heard(name, text, at, *found)
            if found is not None:
                size = min(size, found.size)
                until |= found.until
        return Wait(size, frozenset(until)) if left < MAX_FRAME else None

    def build(self, request: str, values: Mapping[str, Scalar]) -> tuple[bytes, bytes]:
        """(bytes to send, the same with `*` for secrets). Raises StringsError for a value that does not fit its field."""
        shaped = self.spec.requests[request]
        return self._build(shaped, f"request {request}", values)

    def sizes(self, request: str) -> tuple[int, int]:
        """The fewest bytes of a request, and of an answer to it; fields without a size count nothing."""
        asked = self.spec.requests[request]
        answers = [self._gates[name].least for name in asked.answer]
        end = len(self._end)
        return gate_of(self._parts(asked), self.spec.encoding).least + end, min(answers) + end if answers else 0

    def sample(self, frame: str, values: Mapping[str, Scalar]) -> bytes:
        """A frame as the device would send it, without its line end. Raises StringsError."""
        raw, _ = self._build(self.spec.frames[frame], f"frame {frame}", values)
        return raw[: len(raw) - len(self._end)] if self._end else raw

    # -- matching -----------------------------------------------------------------------------------------------------

    def _may_be(self, gate: Gate, text: str, at: int) -> bool:
        """False for what is surely another frame: most are told apart here, at little cost."""
        for offset, literal in gate.literals:
            first = at + offset
            if not text.startswith(literal, first) and len(text) >= first + len(literal):
                return False
        if gate.length is None:
            return True
        offset, spec = gate.length
        piece = text[at + offset : at + offset + (spec.size or 0)]
        if len(piece) < (spec.size or 0):
            return True
        value = self._value(spec, piece)
        return isinstance(value, int) and gate.least <= value + (spec.total or 0) <= MAX_FRAME

    def _parts(self, shaped: Shaped) -> tuple[Part, ...]:
        return tuple(
            Part(text=self._literal(text)) if kind == "text" else Part(name=text, spec=shaped.field(text))
            for kind, text in shaped.parts
        )

    def _literal(self, text: str) -> str:
        """A character up to U+00FF is that byte; others are of the encoding."""
        if self.is_text:
            return text
        encoding = self.spec.encoding
        return "".join(one if ord(one) < 256 else one.encode(encoding, "replace").decode("latin-1") for one in text)

    def _decoded(self, data: bytes) -> str | None:
        if not self.is_text:
            return data.decode("latin-1")
        try:
            return data.decode(self.spec.encoding)
        except UnicodeDecodeError:
            return None

    def _walk(
        self, name: str, text: str, begin: int, *, is_whole: bool
    ) -> tuple[dict[str, Scalar], dict[str, str], list[tuple[int, int]], int] | Wait | None:
        """(values, texts, secret spans, end)."""
        parts, at = self._frames[name], begin
        values: dict[str, Scalar] = {}
        texts: dict[str, str] = {}
        hidden: list[tuple[int, int]] = []
        total: int | None = len(text) if is_whole else None
        for index, part in enumerate(parts):
            if part.spec is None:
                piece = text[at : at + len(part.text)]
                if piece != part.text:
                    is_cut = not is_whole and part.text.startswith(piece)
                    return Wait(at + len(part.text) - begin) if is_cut else None
                at += len(part.text)
                continue
            end = self._field_end(parts, index, text, at, begin, None if total is None else begin + total)
            if not isinstance(end, int):
                return None if is_whole else end
            read = text[at:end]
            value = self._value(part.spec, read)
            if value is None or (part.spec.check is not None and value != self._check(part.spec, text[begin:at])):
                return None
            if part.spec.total is not None:
                size = int(value) + part.spec.total
                if is_whole and size != total:
                    return None
                total = size
                if not is_whole and len(text) - begin < total:
                    return Wait(total)
            values[part.name], texts[part.name] = value, read
            if part.name in SECRET_FIELDS:
                hidden.append((at, end))
            at = end
        if at - begin > MAX_FRAME or (total is not None and at != begin + total) or not self._derive(name, values):
            return None
        return values, texts, hidden, at

    def _field_end(
        self, parts: tuple[Part, ...], index: int, text: str, at: int, begin: int, frame_end: int | None
    ) -> int | Wait | None:
        """Where a field ends: by its size, at the next literal, or so that what follows it has room."""
        spec = parts[index].spec
        assert spec is not None
        if spec.size is not None:
            return at + spec.size if at + spec.size <= len(text) else Wait(at + spec.size - begin)
        rest = parts[index + 1 :]
        if rest and rest[0].text:
            found = text.find(rest[0].text, at, begin + MAX_FRAME)
            return found if found >= 0 else Wait(MAX_FRAME, frozenset({rest[0].text.encode("latin-1", "replace")}))
        if frame_end is None:
            return Wait(len(text) - begin + 1)
        after = sum(len(part.text) if part.spec is None else part.spec.size or 0 for part in rest)
        return frame_end - after if at <= frame_end - after <= len(text) else None

    def _value(self, spec: FieldSpec, text: str) -> Scalar | None:
        """What the characters mean; None when they are no such field."""
        if spec.as_ == "text":
            return self._text_value(spec, text)
        value: Scalar | None = None
        if spec.as_ == "decimal" and _DECIMAL.fullmatch(text.strip(" ")):
            value = float(text.strip(" ")) if "." in text else int(text.strip(" "))
        elif spec.as_ == "hex" and _HEX.fullmatch(text):
            value = int(text, 16)
        elif spec.as_ == "bits" and _BITS.fullmatch(text):
            value = text
        elif spec.as_ in ("uint", "bcd"):
            data = text.encode("latin-1", "replace")
            data = data[::-1] if spec.order == "little" else data
            if spec.as_ == "uint":
                value = int.from_bytes(data, "big")
            elif data.hex().isdecimal():
                value = int(data.hex())
        return None if spec.among and value not in spec.among else value

    def _text_value(self, spec: FieldSpec, text: str) -> Scalar | None:
        if not self.is_text:
            try:
                text = text.encode("latin-1").decode(self.spec.encoding)
            except UnicodeDecodeError:
                return None
        text = text.strip(" \0\t")
        return text if spec.words is None else spec.words.get(text)

    def _derive(self, name: str, values: dict[str, Scalar]) -> bool:
        """Fields that are bits of others; False where one is not `among` its numbers."""
        for key, spec in self.spec.frames[name].fields.items():
            if spec.of is None:
                continue
            word = values.get(spec.of)
            if not isinstance(word, int):
                return False
            first, last = spec.bit_range
            values[key] = word >> first & (1 << last - first + 1) - 1
            if spec.among and values[key] not in spec.among:
                return False
        return True

    def _check(self, spec: FieldSpec, text: str) -> int:
        assert spec.check is not None
        covered = text[spec.skip :]
        data = covered.encode(self.spec.encoding if self.is_text else "latin-1", "replace")
        if spec.over == "hex":
            digits = re.sub(rb"[^0-9A-Fa-f]", b"", data)
            data = bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
        return check_of(spec.check, data)

    def _heard(
        self, name: str, text: str, begin: int, values: dict[str, Scalar], texts: dict[str, str],
        hidden: list[tuple[int, int]], end: int, *, tail: bytes = b"",
    ) -> Heard:  # fmt: skip
        shown = list(text[begin:end])
        for first, last in hidden:
            shown[first - begin : last - begin] = "*" * (last - first)
        encoding = self.spec.encoding if self.is_text else "latin-1"
        raw = text[begin:end].encode(encoding) + tail
        return Heard(name, values, texts, raw, "".join(shown).encode(encoding) + tail)

    # -- building -----------------------------------------------------------------------------------------------------

    def _build(self, shaped: Shaped, where: str, values: Mapping[str, Scalar]) -> tuple[bytes, bytes]:
        parts = self._parts(shaped)
        encoding = self.spec.encoding if self.is_text else "latin-1"
        sizes = self._sizes(parts, values, where)
        text = shown = ""
        for part, size in zip(parts, sizes, strict=True):
            if part.spec is None:
                piece = part.text
            elif part.spec.check is not None:
                piece = _number(part.spec, self._check(part.spec, text), where, part.name)
            elif part.spec.total is not None:
                piece = _number(part.spec, sum(sizes) - part.spec.total, where, part.name)
            else:
                piece = self._written(part, values, where)
                if part.spec.size is not None and len(piece) != size:
                    raise StringsError(f"{where}: {part.name} has {len(piece)} bytes where {part.spec.size} are due")
            text += piece
            shown += "*" * len(piece) if part.name in SECRET_FIELDS else piece
        try:
            return text.encode(encoding) + self._end, shown.encode(encoding) + self._end
        except UnicodeEncodeError as error:
            raise StringsError(f"{where}: a character is not in {encoding}") from error

    def _sizes(self, parts: tuple[Part, ...], values: Mapping[str, Scalar], where: str) -> list[int]:
        return [
            len(part.text) if part.spec is None else part.spec.size or len(self._written(part, values, where))
            for part in parts
        ]

    def _written(self, part: Part, values: Mapping[str, Scalar], where: str) -> str:
        spec = part.spec
        assert spec is not None
        if part.name not in values:
            raise StringsError(f"{where}: {part.name} is missing")
        value = values[part.name]
        if spec.as_ == "text":
            return self._written_text(spec, value, f"{where}: {part.name}")
        if spec.as_ == "bits":
            if not _BITS.fullmatch(str(value)):
                raise StringsError(f"{where}: {part.name} is no row of bits")
            return str(value)
        number = int(value) if isinstance(value, int | float) and value == int(value) else None
        if number is None and isinstance(value, str) and value.isascii() and value.isdecimal():
            number = int(value)
        if number is None or number < 0 or (spec.among and number not in spec.among):
            raise StringsError(f"{where}: {part.name} takes no such value")
        return _number(spec, number, where, part.name)

    def _written_text(self, spec: FieldSpec, value: Scalar, where: str) -> str:
        if spec.words is not None and not isinstance(value, str):
            word = next((word for word, number in spec.words.items() if number == value), None)
            if word is None:
                raise StringsError(f"{where}: no word stands for {value}")
            text = word
        else:
            text = str(value)
        if any(ord(one) < 32 for one in text) or (spec.words is not None and text not in spec.words):
            raise StringsError(f"{where} takes no such text")
        if not self.is_text:
            try:
                text = text.encode(self.spec.encoding).decode("latin-1")
            except UnicodeEncodeError as error:
                raise StringsError(f"{where}: a character is not in {self.spec.encoding}") from error
        return text if spec.size is None else text.ljust(spec.size)


def _number(spec: FieldSpec, number: int, where: str, name: str) -> str:
    """A number as its field writes it."""
    size = spec.size
    if spec.as_ == "decimal":
        text = f"{number:0{size or 1}d}"
    elif spec.as_ == "hex":
        text = f"{number:0{size or 1}X}"
    else:
        assert size is not None
        digits = f"{number:0{2 * size}d}" if spec.as_ == "bcd" else f"{number:0{2 * size}x}"
        if len(digits) > 2 * size:
            raise StringsError(f"{where}: {name} does not fit into {size} bytes")
        data = bytes.fromhex(digits)
        text = (data[::-1] if spec.order == "little" else data).decode("latin-1")
    if size is not None and len(text) != size:
        raise StringsError(f"{where}: {name} does not fit into {size} bytes")
    return text
