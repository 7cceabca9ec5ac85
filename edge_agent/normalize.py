"""From raw values to readings: meaning, quality and what is worth sending, for one device. Pure over its state: no I/O, no clock.

Work is per batch: a `Form` is compiled once for a batch, and a block of plain numbers passes in a handful of C-speed passes
(`Converter.lane`). Whatever is not plain and good takes the long way, point by point.

What is sent. A good value goes out when it moved by more than its deadband (a number without one: each time), when a boolean, an
enum or a text changed, with every aligned mark, and with the first reading in each heartbeat slot. A slot is the heartbeat
interval aligned to whole multiples of it in UTC, so a device that is polled at least once a slot leaves a sample or a reason in
every slot; that is what makes completeness provable from `hb_s` alone. A bad point goes out on the change and every 15 minutes
while it lasts: slots until the return to good (`Good`, once) are explained by it. An uncertain value goes out each time.

Deadbands are not kept over a restart: the first readings of a process all go out. Ratios, scale factors and counters are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from operator import le
from typing import Any

from device_profiles.reading import Acquisition, Flagged, PointFault, Raw, Sample, Severity, Value, severity_of
from device_profiles.schema import Point
from drivers.base import Layout
from edge_agent.conversion import CLOSED, NO_VALUE, ROUND, UNKNOWN_SCALE, Converter, scale_factor
from edge_agent.counters import Counter, wrap_of
from edge_agent.form import Beats, Form, send, start_slots
from edge_agent.model import Device
from edge_agent.polling.ratios import known_params, read_params

REPEAT_BAD_MS = 900_000
"""A bad point is said again after this long."""
SKEW_MS = 300_000
"""A device's own time is believed within this."""
STALE = "UncertainLastUsableValue"
_STALE_AFTER = 3
_NEVER = 2**63

Heard = Raw | Sample | PointFault
"""What a driver returns for one point."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the device that is an event: name, data, and the key that tells it from others of its name."""

    name: str
    data: Mapping[str, Any]
    key: str


@dataclass(slots=True)
class _Trouble:
    """What was said of a point that is not simply good: its status and flags, and when."""

    status: str
    said_ms: int
    flags: tuple[str, ...] = ()


class Normalizer:
    """One a device. `memory` is what `memory()` gave before the last restart; `notices` fills up until someone takes them."""

    def __init__(self, device: Device, memory: Mapping[str, Any] | None = None) -> None:
        memory = memory or {}
        self._device = device
        self._points = {point.id: point for point in device.points}
        self._params = known_params(device, memory.get("params", {}))
        self._factors: dict[str, tuple[Fraction | None, str]] = {}
        self._converters = {point.id: Converter(point, self._params) for point in device.points}
        remembered = memory.get("counters", {})
        self._counters = {
            point.id: Counter(point.id, wrap_of(point, self._converters[point.id].slope), remembered.get(point.id))
            for point in device.points
            if point.counter and not point.internal and self._converters[point.id].is_number
        }
        self._layout: Layout | None = None
        self._trouble: dict[str, _Trouble] = {}
        self._misses: dict[str, int] = {}
        self._skewed: set[str] = set()
        self._epoch = 0
        self.notices: list[Notice] = []
        self.has_later = False
        """The last batch held points that are to be asked for again soon."""

    def prepare(self, points: Sequence[str]) -> Form:
        """Compiles a batch's points, in its order."""
        found = [self._points[name] for name in points]
        form = Form(tuple(points), found, self._converters)
        form.counters = [(at, self._counters[name]) for at, name in enumerate(form.names) if name in self._counters]
        return form

    def adopt(self, layout: Layout | None) -> list[tuple[str, str]]:
        """Takes up units and labels that the device itself gives; what was prepared before is to be prepared again.

        Gives (point, why) for units that cannot be those of their points, when they are new.
        """
        before, self._layout = self._layout or {}, layout
        found = layout or {}
        if all(before.get(key) == found.get(key) for key in ("units", "labels")):
            return []
        misfits = []
        for name, point in self._points.items():
            former = self._converters[name]
            self._converters[name] = converter = Converter(point, self._params, layout)
            if point.scale_from is not None:
                converter.rescale(self._params, self._factors.get(point.scale_from.point, (None, ""))[0])
            if name in self._counters:
                self._counters[name].wrap = wrap_of(point, converter.slope)
            if converter.misfit is not None and converter.misfit != former.misfit:
                misfits.append((name, converter.misfit))
        return misfits

    def raw_step(self, point: Point) -> float | None:
        """The largest difference of two raw values of a point that is no news; None where nobody knows."""
        converter = self._converters[point.id]
        if not converter.is_number:
            return 0.0
        steps = []
        if isinstance(point.cov, int | float) and not isinstance(point.cov, bool):
            steps.append(point.cov / abs(float(point.scale or 1)))
        if increment := (self._layout or {}).get("increments", {}).get(point.id):
            steps.append(increment)
        if point.deadband is not None and converter.slope:
            steps.append(point.deadband / abs(float(converter.slope)))
        return max(steps, default=None)

    def memory(self) -> dict[str, Any]:
        """The state that outlives the process, JSON-able: counters and ratios."""
        counters = {name: counter.memory() for name, counter in self._counters.items()}
        read = read_params(self._device) & self._params.keys()
        return {"counters": counters, "params": {name: str(self._params[name]) for name in sorted(read)}}

    def resend(self) -> None:
        """The next readings all go out: after the device, or who listens to it, was away."""
        self._epoch += 1

    def identity_changed(self) -> None:
        """Another device answers at this address: counters take it up as an exchange."""
        for counter in self._counters.values():
            counter.identity_changed()

    def set_param(self, name: str, raw: Heard, t_ms: int) -> None:
        """Takes up a ratio that was read from its register; a change is an event. What is no usable ratio changes nothing."""
        if isinstance(raw, PointFault | Sample | str) or not 0 < raw < 1e9 or name in self._device.params:
            return
        scale = self._device.profile.params[name].scale
        value = Decimal(repr(raw)) * (Decimal(1) if scale is None else scale)
        before = self._params.get(name)
        if before == value:
            return
        self._params[name] = value
        if before is not None:
            data = {"param": name, "before": float(before), "after": float(value)}
            self.notices.append(Notice("device.ratio_changed", data, f"{name}:{value.normalize()}:{t_ms}"))
        self._rescale(lambda point: name in point.ratio)
        for point_id, counter in self._counters.items():
            if name in self._points[point_id].ratio:
                counter.wrap = wrap_of(self._points[point_id], self._converters[point_id].slope)

    def take(
        self,
        form: Form,
        raws: Sequence[Heard],
        t_ms: int,
        out: Acquisition,
        *,
        marked: bool = False,
        late: bool = False,
    ) -> None:
        """Adds to `out` what one reading of a batch gives. `marked`: it stands for an aligned mark. `late`: it missed its turn.

        Raises ValueError when `raws` are not as many as the batch has points.
        """
        if len(raws) != len(form.points):
            raise ValueError(f"{self._device.id}: {len(raws)} values for {len(form.points)} points")
        self.has_later = False
        if form.factors:
            self._take_factors(form, raws)
        if form.epoch != self._epoch:
            form.forget()
            form.epoch = self._epoch
        values = raws if form.pick is None else form.pick(raws)
        everything = marked or form.is_unbanded
        beating: list[Beats] = []
        if not form.beat_from_ms <= t_ms < form.beat_until_ms:
            beating = start_slots(form, t_ms)
            everything = everything or (form.all_beat and bool(beating))
        try:
            is_plain = not late and all(map(le, form.lows, values)) and all(map(le, values, form.highs))
        except TypeError:  # a PointFault or a Sample is among them
            is_plain = False
        if is_plain:
            numbers = [((v * m + ROUND) - ROUND) / d for v, m, d in zip(values, form.muls, form.divs, strict=True)]
            for at, counter in form.counters:
                if counter.is_pending or numbers[at] < counter.last:
                    is_plain = False
                    break
                counter.last = numbers[at]
        if is_plain and not self._trouble:
            send(form, numbers, out.good, everything, beating)
        else:
            self._take_each(form, values, t_ms, out, everything, beating, late)
        if form.others:
            self._take_others(form, raws, t_ms, out, marked, beating, late)

    def fail(self, form: Form, status: str, t_ms: int, out: Acquisition) -> None:
        """A whole batch failed while the device answers others: each of its points is bad."""
        for name in form.points:
            if not self._points[name].internal:
                self._bad(name, status, t_ms, out)

    def hear(self, form: Form, at: int, raw: Heard, t_ms: int, out: Acquisition) -> None:
        """Adds to `out` what one change gives that a device reported: of the point that stands at `form.places()`."""
        if form.epoch != self._epoch:
            form.forget()
            form.epoch = self._epoch
        if at >= 0:
            self._take_number(form, at, raw, t_ms, out, form.counter_at(at), forced=False, late=False)
        else:
            self._take_other(form, ~at, raw, t_ms, out, forced=False, late=False)

    def recall(self, name: str, raw: Heard, out: Acquisition) -> None:
        """Adds to `out` a value of the past, as it is: what is known of the present is neither asked nor changed."""
        status = ""
        flags: tuple[str, ...] = ()
        if isinstance(raw, Sample):
            status, flags = "" if raw.status == "Good" else raw.status, raw.flags
            raw = PointFault(status or NO_VALUE) if raw.value is None else raw.value
        if isinstance(raw, PointFault):
            out.flagged.append(Flagged(name, None, raw.status, 0, flags))
            return
        value, doubt = self._converters[name].value(raw)
        status = doubt or status
        if value is not None and not status and not flags:
            out.good[name] = value
        else:
            is_bad = status != "" and severity_of(status) is Severity.BAD
            out.flagged.append(Flagged(name, None if is_bad else value, status, 0, flags))

    # The long way: one point at a time.

    def _take_each(
        self,
        form: Form,
        values: Sequence[Heard],
        t_ms: int,
        out: Acquisition,
        everything: bool,
        beating: list[Beats],
        late: bool,
    ) -> None:
        forced = {at for beats in beating for at in beats.numbers}
        counters = dict(form.counters)
        for at, raw in enumerate(values):
            self._take_number(form, at, raw, t_ms, out, counters.get(at), forced=everything or at in forced, late=late)

    def _take_number(
        self,
        form: Form,
        at: int,
        raw: Heard,
        t_ms: int,
        out: Acquisition,
        counter: Counter | None,
        *,
        forced: bool,
        late: bool,
    ) -> None:
        name = form.names[at]
        number: Value | None = None
        flagged: Flagged | None = None
        if not late and name not in self._trouble:
            number = form.plain_number(at, raw, counter)
        if number is None:
            number, flagged = self._judge(name, form.converters[at], raw, t_ms, out, counter, late)
            can_lane = number is not None and isinstance(raw, int | float)
            form.set_lane(at, form.converters[at].lane(raw) if can_lane else CLOSED)  # type: ignore[arg-type]
        if not isinstance(number, float):
            form.was_not_sent(at)
        elif forced or form.is_worth_sending(at, number):
            form.last[at] = number
            if flagged is None:
                out.good[name] = number
            else:
                out.flagged.append(flagged)

    def _take_others(
        self,
        form: Form,
        raws: Sequence[Heard],
        t_ms: int,
        out: Acquisition,
        marked: bool,
        beating: list[Beats],
        late: bool,
    ) -> None:
        forced = {at for beats in beating for at in beats.others}
        for at, (place, _) in enumerate(form.others):
            self._take_other(form, at, raws[place], t_ms, out, forced=marked or at in forced, late=late)

    def _take_other(
        self, form: Form, at: int, raw: Heard, t_ms: int, out: Acquisition, *, forced: bool, late: bool
    ) -> None:
        converter = form.others[at][1]
        name = converter.point.id
        value, flagged = self._judge(name, converter, raw, t_ms, out, None, late)
        if value is None:
            form.last_others[at] = None
        elif forced or value != form.last_others[at]:
            form.last_others[at] = value
            if flagged is None:
                out.good[name] = value
            else:
                out.flagged.append(flagged)

    def _judge(
        self,
        name: str,
        converter: Converter,
        raw: Heard,
        t_ms: int,
        out: Acquisition,
        counter: Counter | None,
        late: bool,
    ) -> tuple[Value | None, Flagged | None]:
        """The value when it is good, and how it is said where it carries words or a time; (None, None) when all is said in `out`.

        What is said of a point (status, flags) goes out when it changes; while it stays, the value is worth sending or not as
        any other.
        """
        source_ms, said = None, ""
        flags: tuple[str, ...] = ()
        if isinstance(raw, PointFault):
            self._fault(name, raw, t_ms, out)
            return None, None
        if isinstance(raw, Sample):
            source_ms, said, flags = raw.source_time_ms, "" if raw.status == "Good" else raw.status, raw.flags
            if raw.value is None or (said and severity_of(said) is Severity.BAD):
                self._bad(name, said or NO_VALUE, t_ms, out, flags)
                return None, None
            raw = raw.value
        value, status = converter.value(raw)
        status = status or said
        if value is not None and counter is not None and not status:
            status, fall = counter.take(float(value))
            if fall is not None:
                self.notices.append(Notice(fall.event, fall.data, f"{name}:{t_ms}"))
        self._misses.pop(name, None)
        if value is None:
            self._bad(name, status, t_ms, out, flags)
            return None, None
        dt_ms = self._source_dt(name, source_ms, t_ms)
        before = self._trouble.get(name)
        is_news = late
        if status and severity_of(status) is Severity.UNCERTAIN:
            self._trouble[name] = _Trouble(status, t_ms, flags)
            is_news = True
        elif status or flags:
            is_news = is_news or before is None or (before.status, before.flags) != (status, flags)
            self._trouble[name] = _Trouble(status, t_ms, flags)
        elif before is not None:
            del self._trouble[name]
            status, is_news = "Good", True
        elif not is_news and dt_ms is None:
            return value, None
        if late:
            flags = (*flags, "late")
        flagged = Flagged(name, value, status, dt_ms or 0, flags, dt_ms is not None)
        if is_news:
            out.flagged.append(flagged)
            return None, None
        return value, flagged

    def _fault(self, name: str, fault: PointFault, t_ms: int, out: Acquisition) -> None:
        if not fault.later:
            self._bad(name, fault.status, t_ms, out)
            return
        self.has_later = True
        self._misses[name] = misses = self._misses.get(name, 0) + 1
        if misses >= _STALE_AFTER and (name not in self._trouble or self._trouble[name].status != STALE):
            self._trouble[name] = _Trouble(STALE, _NEVER)
            out.flagged.append(Flagged(name, None, STALE))

    def _bad(self, name: str, status: str, t_ms: int, out: Acquisition, flags: tuple[str, ...] = ()) -> None:
        trouble = self._trouble.get(name)
        if (
            trouble is not None
            and (trouble.status, trouble.flags) == (status, flags)
            and trouble.said_ms <= t_ms < trouble.said_ms + REPEAT_BAD_MS
        ):
            return
        self._trouble[name] = _Trouble(status, t_ms, flags)
        out.flagged.append(Flagged(name, None, status, 0, flags))

    def _source_dt(self, name: str, source_ms: int | None, t_ms: int) -> int | None:
        """Offset of the device's own time; None where there is none to believe. A wrong clock is said once until it is right."""
        if source_ms is None:
            return None
        dt_ms = source_ms - t_ms
        if abs(dt_ms) <= SKEW_MS:
            self._skewed.discard(name)
            return dt_ms
        if not self._skewed:
            self.notices.append(Notice("device.clock_skew", {"point": name, "skew_ms": dt_ms}, f"{t_ms}"))
        self._skewed.add(name)
        return None

    # Scale factors and ratios.

    def _take_factors(self, form: Form, raws: Sequence[Heard]) -> None:
        for at in form.factors:
            name, raw = form.points[at], raws[at]
            if isinstance(raw, Sample):
                raw = NO_VALUE if raw.value is None else raw.value
            known = self._factors.get(name)
            if known is not None and known[1] == repr(raw):
                continue
            if isinstance(raw, PointFault) and raw.later and known is not None:
                continue
            self._factors[name] = (None, repr(raw))
            status = raw.status if isinstance(raw, PointFault) else NO_VALUE
            for converter in self._converters.values():
                scale_from = converter.point.scale_from
                if scale_from is not None and scale_from.point == name:
                    factor = scale_factor(converter.point, raw)
                    self._factors[name] = (factor, repr(raw))
                    converter.rescale(self._params, factor, status)
            self._epoch += 1

    def _rescale(self, concerns: Any) -> None:
        for converter in self._converters.values():
            if concerns(converter.point):
                scale_from = converter.point.scale_from
                factor = Fraction(1) if scale_from is None else self._factors.get(scale_from.point, (None, ""))[0]
                converter.rescale(self._params, factor, UNKNOWN_SCALE)
        self._epoch += 1
