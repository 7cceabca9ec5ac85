"""The user data of an M-Bus answer: header and records, with unit and exponent undone. Pure and bounded.

A record that ends early gives no number, and what follows it cannot be found any more and is told as such.
Source: EN 13757-3:2018, sections 5 (headers) and 6 (records), annex C (units in words).
"""

from __future__ import annotations

from collections.abc import Iterator

from device_profiles.errors import DeviceMismatch
from drivers.mbus import fixed, vif, vife

from .answer import FUNCTIONS, MEDIA, Answer, Header, Record
from .values import SPECIAL, VARIABLE, size, value_of

MAX_EXTENSIONS = 10
ERROR = 0x70
"""Control information field of an application error."""
_ERRORS = (
    "an unspecified error", "the request is not implemented", "its buffer is too long", "too many records",
    "premature end of record", "more than 10 DIFE", "more than 10 VIFE", None, "busy", "too many readouts",
)  # fmt: skip
LONG_HEADER, SHORT_HEADER, NO_HEADER, FIXED = (0x72, 0x76), (0x7A,), (0x78,), (0x73, 0x77)
"""Control information fields. The second of a pair is that of answers whose fields have their highest byte first."""
_HEADER = 12
_MANUFACTURER, _MORE, _FILLER = 0x0F, 0x1F, 0x2F
_ENCRYPTED = 5
"""Security mode of the configuration field: AES-128 in whole blocks, whose number stands beside it."""
_PLAIN = b"\x2f\x2f"
"""What decrypted records begin with."""


def decode(ci: int, data: bytes) -> Answer:
    """What the user data behind a control information field say. Raises DeviceMismatch when they are no meter's answer."""
    is_high_first = ci in (LONG_HEADER[1], FIXED[1])
    if ci in LONG_HEADER and len(data) >= _HEADER:
        found = header(ci, data)
        if _is_encrypted(data):
            return Answer(found, (Record("encrypted", None, None, "BadDecodingError", dib=data[_HEADER:]),))
        return _variable(found, data[_HEADER:], is_high_first=is_high_first)
    if ci in SHORT_HEADER and len(data) >= 4:
        return _variable(None, data[4:], is_high_first=False)
    if ci in NO_HEADER:
        return _variable(None, data, is_high_first=False)
    if ci in FIXED and len(data) == 16:
        return fixed.decode(data, is_high_first=is_high_first)
    raise DeviceMismatch(f"{len(data)} bytes behind control information {ci:02X} are no answer of a meter")


def error(data: bytes) -> str:
    """What an application error says (EN 13757-3, 7.3)."""
    code = data[0] if data else 0
    return (_ERRORS[code] if code < len(_ERRORS) else None) or f"application error {code}"


def header(ci: int, data: bytes) -> Header | None:
    """The long header of a variable answer; None where the answer has another or none."""
    if ci not in LONG_HEADER or len(data) < _HEADER:
        return None
    number, code = (data[0:4], data[4:6]) if ci == LONG_HEADER[1] else (data[3::-1], data[5:3:-1])
    letters = int.from_bytes(code)
    maker = "".join(chr((letters >> shift & 0x1F) + 64) for shift in (10, 5, 0))
    medium = MEDIA.get(data[7], f"medium {data[7]:02X}")
    secondary = (number + code + data[6:8]).hex().upper()
    return Header(number.hex().upper(), maker, data[6], medium, data[8], data[9], secondary)


def _is_encrypted(data: bytes) -> bool:
    """Old meters have anything in this field: only what fits together counts."""
    blocks, mode, rest = data[10] >> 4, data[11] & 0x1F, data[_HEADER:]
    return mode == _ENCRYPTED and 0 < 16 * blocks <= len(rest) and not rest.startswith(_PLAIN)


def _variable(found_header: Header | None, data: bytes, *, is_high_first: bool) -> Answer:
    found: list[Record] = []
    at = 0
    while at < len(data):
        if data[at] == _FILLER:
            at += 1
        elif data[at] in (_MANUFACTURER, _MORE):
            return Answer(found_header, tuple(found), data[at] == _MORE, data[at + 1 :])
        else:
            record, at = _record(data, at, is_high_first=is_high_first)
            if record is not None:
                found.append(record)
    return Answer(found_header, tuple(found))


def _record(data: bytes, first: int, *, is_high_first: bool) -> tuple[Record | None, int]:
    """The record at `first` and the index behind it; behind all data when it is broken."""
    dib_end = _field_end(data, first)
    if dib_end is None:
        return Record("undecoded", None, None, "BadDecodingError", dib=data[first:]), len(data)
    field = data[first] & 0x0F
    storage, tariff, subunit = data[first] >> 6 & 1, 0, 0
    for place, extension in enumerate(data[first + 1 : dib_end]):
        storage |= (extension & 0x0F) << (1 + 4 * place)
        tariff |= (extension >> 4 & 3) << 2 * place
        subunit |= (extension >> 6 & 1) << place
    if field == SPECIAL:
        return None, dib_end
    dib = data[first:dib_end]
    vib_end, meaning = _meaning(data, dib_end)
    if vib_end is None or meaning is None:
        return Record("undecoded", None, None, "BadDecodingError", dib=dib, vib=data[dib_end:]), len(data)
    count, start = size(data, vib_end, field)
    vib = data[dib_end:vib_end]
    if count is None or start + count > len(data):
        return Record(meaning.quantity, None, meaning.unit, "BadDecodingError", dib=dib, vib=vib), len(data)
    raw = data[start : start + count]
    is_turned = is_high_first and not (field == VARIABLE and data[vib_end] < 0xC0)
    length = data[vib_end] if field == VARIABLE else 0
    value, status = value_of(field, length, raw[::-1] if is_turned else raw, meaning)
    function = FUNCTIONS[data[first] >> 4 & 3]
    unit = None if meaning.kind == vif.DATE and isinstance(value, str) else meaning.unit
    record = Record(meaning.quantity, value, unit, status, function, storage, tariff, subunit, dib, vib)
    return record, start + count


def _field_end(data: bytes, first: int) -> int | None:
    """The index behind a field and its extensions; None when they do not end."""
    for end in range(first, min(first + 1 + MAX_EXTENSIONS, len(data))):
        if not data[end] & 0x80:
            return end + 1
    return None


def _meaning(data: bytes, first: int) -> tuple[int | None, vif.Meaning | None]:
    """(index behind the VIB, what it says); (None, None) when it is broken."""
    if first >= len(data):
        return None, None
    if data[first] & 0x7F == 0x7C:
        return _worded(data, first)
    end = _field_end(data, first)
    if end is None:
        return None, None
    code, extensions = data[first], data[first + 1 : end]
    if code & 0x7F == vife.MAKERS_OWN:
        return end, vif.Meaning("manufacturer" + (f"_{extensions.hex()}" if extensions else ""))
    if code == 0xFD and len(extensions) > 1 and extensions[0] & 0x7F == 0x7D:
        meaning, extensions = vif.SECOND.get(extensions[1] & 0x7F), extensions[2:]
    elif code in (0xFD, 0xFB) and extensions:
        meaning, extensions = vif.extended(code, extensions[0] & 0x7F), extensions[1:]
    else:
        meaning = vif.primary(code & 0x7F)
    return end, vife.combined(meaning or vif.Meaning(f"vif_{data[first:end].hex()}"), extensions)


def _worded(data: bytes, first: int) -> tuple[int | None, vif.Meaning | None]:
    """A unit in words, last letter first, behind its VIF or, as others read the standard, behind the extensions of it."""
    before = _text(data, first + 1)
    if before is not None:
        text, at = before
        end = _field_end(data, at) if data[first] & 0x80 else at
        extensions = data[at:end] if end is not None else b""
    else:
        at = _field_end(data, first) or len(data)
        behind = _text(data, at)
        if behind is None:
            return None, None
        extensions, (text, end) = data[first + 1 : at], behind
    if end is None:
        return None, None
    known = {"%RH": vif.Meaning("relative_humidity", "%")}
    letters = "".join(letter.lower() if letter.isascii() and letter.isalnum() else "_" for letter in text).strip("_")
    return end, vife.combined(known.get(text, vif.Meaning(f"own_{letters or 'unit'}"[:40])), extensions)


def _text(data: bytes, at: int) -> tuple[str, int] | None:
    """The text whose length stands at `at`, and the index behind it; None where there is none that can be read."""
    if at >= len(data) or at + 1 + data[at] > len(data):
        return None
    text = data[at + 1 : at + 1 + data[at]][::-1].decode("latin-1")
    return (text, at + 1 + data[at]) if text.isprintable() else None


def rows(answer: Answer) -> Iterator[tuple[str, Record]]:
    """The records with ids that are all different: a second one of the same id gets `_2`."""
    seen: dict[str, int] = {}
    for record in answer.records:
        seen[record.id] = count = seen.get(record.id, 0) + 1
        yield (record.id if count == 1 else f"{record.id}_{count}"), record
