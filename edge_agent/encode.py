"""Makes contract messages of acquisitions: the last pure step before the spool.

A message holds at most 500 samples and 64 KiB (CONTRACT.md section 3); a larger acquisition leaves in parts whose times are one
millisecond apart. A float that came from a float32 is already rounded to its seven digits by the normaliser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from device_profiles.reading import Acquisition, Flagged, Severity, Value, severity_of
from gateway.contract.messages import MAX_BYTES, MAX_SAMPLES, Flag, Telemetry

_encode = msgspec.json.Encoder().encode


def flag_of(flagged: Flagged) -> Flag:
    """One entry of `x`. A good status is said only where it is the return to good (`Good`) or means something of its own."""
    severity = severity_of(flagged.status) if flagged.status else None
    bad = severity is Severity.BAD
    return Flag(
        p=flagged.point,
        q=None if severity is None else int(severity),
        sc=flagged.status if flagged.status and flagged.status != "Good" else None,
        val=None if bad else flagged.value,
        dt=flagged.dt_ms or None,
        ts="dev" if flagged.source_stamped else None,
        f=list(flagged.flags) or None,
    )


def builders(
    acquisition: Acquisition, *, cls: str, meta: str, clk: str
) -> Iterator[tuple[int, Callable[[str, int], bytes]]]:
    """(t_ms, build) for each message of this acquisition, usually one; `build(epoch, seq)` gives its bytes.

    Raises ValueError when a single sample alone would exceed 64 KiB (a text point without bound).
    """
    flags = [flag_of(flagged) for flagged in acquisition.flagged]
    if len(acquisition.good) + len(flags) <= MAX_SAMPLES:
        message = _message(acquisition, acquisition.good, flags, cls, meta, clk)
        if _is_small(acquisition) or len(_encode(message)) + 64 <= MAX_BYTES:
            yield acquisition.t_ms, _builder(message)
            return
    chunks = list(_chunks(acquisition.good, flags))
    for number, (good, part_flags) in enumerate(chunks):
        message = _message(acquisition, good, part_flags, cls, meta, clk)
        message.t += number
        message.part = (number + 1, len(chunks))
        yield message.t, _builder(message)


def _message(
    acquisition: Acquisition, good: Mapping[str, Value], flags: list[Flag], cls: str, meta: str, clk: str
) -> Telemetry:
    return Telemetry(
        cls=cls,
        epoch="",
        seq=0,
        meta=meta,
        clk=clk,
        t=acquisition.t_ms,
        mk=acquisition.mark_ms,
        src=acquisition.src,
        s=dict(good),
        x=flags,
    )


def _builder(message: Telemetry) -> Callable[[str, int], bytes]:
    def build(epoch: str, seq: int) -> bytes:
        message.epoch = epoch
        message.seq = seq
        return _encode(message)

    return build


def _is_small(acquisition: Acquisition) -> bool:
    # A name of at most 63 characters and a number of at most 25: only text can make so few samples exceed the limit.
    return not acquisition.flagged and str not in map(type, acquisition.good.values())


def _chunks(good: Mapping[str, Value], flags: list[Flag]) -> Iterator[tuple[dict[str, Value], list[Flag]]]:
    """Splits so that each part has at most 500 samples and about 48 KiB of them."""
    room = MAX_BYTES * 3 // 4
    part_good: dict[str, Value] = {}
    part_flags: list[Flag] = []
    size = 0
    for name, value, flag in (
        *((name, value, None) for name, value in good.items()),
        *(("", 0, flag) for flag in flags),
    ):
        cost = len(_encode(flag)) + 1 if flag else len(name) + len(_encode(value)) + 4
        if cost > room:
            raise ValueError(
                f"the value of {name or (flag and flag.p)!r} takes {cost} bytes, more than a message holds"
            )
        if size + cost > room or len(part_good) + len(part_flags) >= MAX_SAMPLES:
            yield part_good, part_flags
            part_good, part_flags, size = {}, [], 0
        if flag:
            part_flags.append(flag)
        else:
            part_good[name] = value
        size += cost
    if part_good or part_flags:
        yield part_good, part_flags
