"""M-Bus frames in a stream, with their values (`plantroom decode`)."""

from __future__ import annotations

from dataclasses import asdict

from device_profiles.errors import DeviceMismatch
from drivers.frames import NOTHING, Frame, Matched, Part, Reject, Scanner, Value, Verdict

from . import frame as wire
from . import records

_MOST_ACKS = 250
"""Acknowledgements in a row: as many as there can be slaves on a line."""


class Decoder(Scanner):
    """`drivers.frames.FrameDecoder` for M-Bus. A lone E5 is an acknowledgement at the begin of the stream and right behind
    another frame only: in any other place it is one byte of something else."""

    def __init__(self) -> None:
        super().__init__(self._matched, wire.PATTERN, width=wire.WIDTH, longest=wire.LONGEST, size=wire.size)
        self._next = 0
        self._acks = 0

    def _matched(self, data: bytes, at: int) -> Matched:
        found = wire.match(data, at) if data[at] != wire.ACK else self._ack(data, at)
        if isinstance(found, Verdict | Reject):
            return found
        frame, raw = found
        self._next = self.base + at + len(raw)
        self._acks = self._acks + 1 if frame.control is None else 0
        return _said(frame, raw, at)

    def _ack(self, data: bytes, at: int) -> tuple[wire.Frame, bytes] | Verdict:
        is_due = self.base + at == self._next and self._acks < _MOST_ACKS
        return (wire.Frame(None), data[at : at + 1]) if is_due else NOTHING


def _said(frame: wire.Frame, raw: bytes, at: int) -> Frame:
    facts: dict[str, object] = {"is": frame.name}
    if frame.control is None:
        return Frame(at, raw, None, None, (), facts, (Part(0, 1, "acknowledgement"),))
    values: tuple[Value, ...] = ()
    if frame.ci is not None:
        facts["ci"] = f"{frame.ci:02X}"
    if frame.name == "answer" and frame.ci == records.ERROR:
        facts["error"] = records.error(frame.data)
    elif frame.name == "answer" and frame.ci is not None:
        try:
            answer = records.decode(frame.ci, frame.data)
        except DeviceMismatch as error:
            facts["undecoded"] = error.what
        else:
            values = tuple(Value(name, one.value, one.unit, one.status) for name, one in records.rows(answer))
            if answer.header is not None:
                facts |= {name: value for name, value in asdict(answer.header).items() if value != ""}
                facts["states"] = answer.header.states
            if answer.more:
                facts["more"] = True
            if answer.manufacturer:
                facts["manufacturer"] = answer.manufacturer.hex()
    return Frame(at, raw, str(frame.address), f"{frame.control:02X}", values, facts, _parts(frame, raw))


def _parts(frame: wire.Frame, raw: bytes) -> tuple[Part, ...]:
    first = 1 if frame.ci is None else 4
    parts = (
        [Part(0, 1, "start")] if frame.ci is None else [Part(0, 1, "start"), Part(1, 3, "length"), Part(3, 4, "start")]
    )
    parts += [Part(first, first + 1, "control", frame.name), Part(first + 1, first + 2, "address", str(frame.address))]
    if frame.ci is not None:
        parts.append(Part(6, 7, "information", f"{frame.ci:02X}"))
        data = 7
        if frame.ci in records.LONG_HEADER and len(frame.data) >= 12:
            parts.append(Part(7, 19, "header"))
            data = 19
        if data < len(raw) - 2:
            parts.append(Part(data, len(raw) - 2, "records" if frame.name == "answer" else "data"))
    return (*parts, Part(len(raw) - 2, len(raw) - 1, "checksum", "right"), Part(len(raw) - 1, len(raw), "end"))
