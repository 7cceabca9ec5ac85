"""What the commands that read devices share: one device on an open link, read once, each value with quality and time taken.

Works with no agent and no configuration. Values of a profile go through the agent's own normaliser; raw registers are shown as
they are. Nothing here schedules, keeps or publishes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from device_profiles.bacnet import VALUE_TYPES, parse_object
from device_profiles.errors import ConfigError, DeviceError, DeviceTimeout
from device_profiles.library import Library
from device_profiles.reading import Acquisition, PointFault, Raw, Sample
from device_profiles.resolve import needs_prefix, options_of, points_of, prefixed
from device_profiles.schema import Expect, Modbus, Param, Point, PointType, Profile, Table, WordOrder
from drivers.base import Batch, CanLearn, CanLocate, Driver, Layout, Limits, LinkConfig, Session
from edge_agent.model import Device
from edge_agent.normalize import Normalizer
from edge_agent.polling.learned import learned_point, published_unit

_FUNCTIONS: dict[int, Table] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_SERIAL = "serial_number"


@dataclass(frozen=True, slots=True)
class Row:
    """One point as it is shown. `status` is an OPC UA status name; `ms` what the read took that it came in."""

    point: str
    ref: str
    value: Raw | None
    unit: str | None
    status: str
    ms: float
    raw: Raw | None = None
    text: str | None = None
    """The label of an enum's value."""
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        row = {"id": self.point, "value": self.value, "unit": self.unit, "status": self.status, "ms": round(self.ms, 2)}
        extra = {"text": self.text, "raw": self.raw, "ref": self.ref or None, "error": self.detail or None}
        return row | {key: value for key, value in extra.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Shot:
    """One reading of a device."""

    rows: tuple[Row, ...]
    t_ms: int
    ms: float
    requests: int
    failed: bool
    """Some point could not be read at all (a value that the device marks as absent is no failure)."""


class OneDevice:
    """One device on an open session. `prepare` once, then `read` as often as wanted."""

    def __init__(
        self, driver: Driver, session: Session, link: LinkConfig, device: Device, *, raw: bool = False
    ) -> None:
        self.device = device
        self.session = session
        self.serial: str | None = None
        self._driver = driver
        self._link = link
        self._raw = raw
        self._address = device.address if device.name else replace(device.address, device="")
        self._points = {point.id: point for point in device.points}
        self._layout: Layout | None = None
        self._memory: Mapping[str, Any] = {}

    async def prepare(self) -> None:
        """Finds SunSpec models, reads ratios and the serial number. Raises DeviceError, LinkError."""
        points = self.device.points
        if isinstance(self.session, CanLocate) and self.session.needs_locating(points):
            self._layout = await self.session.locate(self._address, points)
        if self._raw:
            return
        normalizer = Normalizer(self.device)
        profile = self.device.profile
        wanted = {
            name: _param_point(name, param)
            for name, param in profile.params.items()
            if param.register_ is not None and name not in self.device.params
        }
        if profile.serial is not None:
            wanted[_SERIAL] = _serial_point(profile.serial)
        for batch in self._plan(tuple(wanted.values())):
            for name, answer in zip(batch.points, await self.session.read(self._address, batch), strict=True):
                if name != _SERIAL:
                    normalizer.set_param(name, answer, 0)
                elif not isinstance(answer, PointFault | Sample):
                    self.serial = str(answer)
        self._memory = normalizer.memory()

    async def read(self) -> Shot:
        """Every point once. What fails is told in its row; raises DeviceError when nothing was heard, LinkError."""
        began = time.perf_counter()
        t_ms = time.time_ns() // 1_000_000
        normalizer = Normalizer(self.device, self._memory)
        normalizer.adopt(self._layout)
        rows: dict[str, Row] = {}
        first_error: DeviceError | None = None
        heard_any = failed = False
        batches = self._plan(self.device.points)
        for batch in batches:
            start = time.perf_counter()
            try:
                answers = await self.session.read(self._address, batch)
            except DeviceError as error:
                failed, first_error = True, first_error or error
                if isinstance(error, DeviceTimeout) and not heard_any:
                    raise
                ms = (time.perf_counter() - start) * 1000
                rows |= {name: self._row(name, None, error.status, ms, detail=error.what) for name in batch.points}
                continue
            ms = (time.perf_counter() - start) * 1000
            heard_any = True
            failed = failed or any(isinstance(answer, PointFault) for answer in answers)
            rows |= self._rows(normalizer, batch, answers, t_ms, ms)
        if not heard_any and first_error is not None:
            raise first_error
        if isinstance(self.session, CanLearn) and (layout := self.session.learned(self._address)) is not None:
            self._layout = layout
        shown = tuple(rows[point.id] for point in self.device.points if point.id in rows and not point.internal)
        return Shot(shown, t_ms, (time.perf_counter() - began) * 1000, len(batches), failed)

    def _plan(self, points: Sequence[Point]) -> tuple[Batch, ...]:
        return self._driver.plan(points, self.device.limits, self._layout, self._link) if points else ()

    def _rows(
        self, normalizer: Normalizer, batch: Batch, answers: Sequence[Raw | Sample | PointFault], t_ms: int, ms: float
    ) -> dict[str, Row]:
        raws = dict(zip(batch.points, answers, strict=True))
        faults = {name: answer.detail for name, answer in raws.items() if isinstance(answer, PointFault)}
        if self._raw:
            return {
                name: self._row(name, None, answer.status, ms, detail=answer.detail)
                if isinstance(answer, PointFault)
                else self._row(name, answer.value, answer.status, ms, detail=", ".join(answer.flags))
                if isinstance(answer, Sample)
                else self._row(name, answer, "Good", ms)
                for name, answer in raws.items()
            }
        out = Acquisition(self.device.id, t_ms)
        normalizer.take(normalizer.prepare(batch.points), answers, t_ms, out)
        rows = {name: self._row(name, value, "Good", ms, raws[name]) for name, value in out.good.items()}
        for flagged in out.flagged:
            name, raw = flagged.point, raws[flagged.point]
            rows[name] = self._row(name, flagged.value, flagged.status or "Good", ms, raw, faults.get(name, ""))
        return rows

    def _row(self, name: str, value: Raw | None, status: str, ms: float, raw: Any = None, detail: str = "") -> Row:
        point = learned_point(self._points[name], self._layout).point
        label = point.labels.get(int(value)) if point.labels and isinstance(value, int | float) else None
        kept = raw if isinstance(raw, int | float | bool | str) and raw != value else None
        unit = (self._layout or {}).get("units", {}).get(name) if self._raw else published_unit(point)
        return Row(name, _reference(point), value, unit, status, ms, kept, label, detail)


def device_of_profile(
    profile_id: str,
    unit: int | str,
    *,
    link: LinkConfig,
    prefix: str | None = None,
    options: Mapping[str, str],
    params: Mapping[str, float],
    instance: int | None = None,
    directories: Sequence[Path] = (),
) -> Device:
    """A device as `agent.yaml` would make it, from a profile alone. Raises ConfigError."""
    profile = Library.default(directories).get(profile_id)
    for name in params:
        if name not in profile.params:
            known = ", ".join(profile.params) or "none"
            raise ConfigError(f"{profile_id} has no parameter {name!r}", next_step=f"its parameters are: {known}")
    points = points_of(profile, options, instance=instance)
    if not points and profile.instances is not None:
        raise ConfigError(
            f"{profile_id} is {profile.instances.count} devices at one address",
            where="--instance",
            next_step=f"choose one with --instance 1 to {profile.instances.count}",
        )
    if needs_prefix(profile) != (prefix is not None):
        raise ConfigError(
            f"{profile_id} has no {{prefix}} to put one in" if prefix else f"{profile_id} needs a prefix",
            where="--prefix",
            next_step="leave it out" if prefix else "give what the names of this device's objects or nodes begin with",
        )
    points = prefixed(points, prefix)
    limits = profile.limits
    return Device(
        id=profile_id,
        name="",
        link=link.id,
        unit=unit,
        protocol=profile.protocol,
        profile=profile,
        points=points,
        cls=profile.class_,
        system=profile.system,
        params=dict(params),
        options=options_of(profile, options),
        limits=Limits(limits.max_registers, limits.max_bits, limits.max_gap, limits.forbidden),
    )


def points_of_registers(
    function: int, reg: int, count: int, kind: PointType | None, order: WordOrder
) -> tuple[Point, ...]:
    """Raw registers or bits: `count` of them from `reg`, as values of one type. Raises ConfigError."""
    table = _FUNCTIONS.get(function)
    if table is None:
        raise ConfigError(f"function code {function} does not read", where="--fc", next_step="use 1, 2, 3 or 4")
    is_bits = table in ("coil", "discrete")
    if is_bits and kind not in (None, "bool"):
        raise ConfigError(
            f"a {table} is no {kind}", where="--type", next_step="leave out --type for function codes 1 and 2"
        )
    kind = "bool" if is_bits else kind or "u16"
    size = (
        count
        if kind == "str"
        else 1
        if is_bits
        else Point(id="x", type=kind, address={"table": "holding", "reg": 0}).registers
    )
    if count % size:
        raise ConfigError(
            f"{count} registers are no whole number of {kind} values of {size} each",
            where="--count",
            next_step=f"use a multiple of {size}",
        )
    if reg + count > 0x10000:
        raise ConfigError(
            f"{count} from {reg} end after 65535", where="--reg, --count", next_step="registers count from 0 to 65535"
        )
    return tuple(
        Point(
            id=f"r{at}",
            address={"table": table, "reg": at},
            type=kind,
            word_order=order,
            length=size if kind == "str" else None,
        )
        for at in range(reg, reg + count, size)
    )


def points_of_objects(objects: Sequence[str], prop: str) -> tuple[Point, ...]:
    """One property of BACnet objects that are written `AI:3`; a present value in the type that the object has, anything else as
    text. Raises ConfigError."""
    points: dict[str, Point] = {}
    for text in objects:
        try:
            kind, instance = parse_object(text)
        except ValueError as error:
            step = "write it like AI:3, analog-input:3 or 130:7"
            raise ConfigError(str(error), where=f"--object {text}", next_step=step) from error
        type_: Any = VALUE_TYPES.get(kind, "str") if prop == "present-value" else "str"
        name = _new_id(text, points)
        points[name] = Point(id=name, type=type_, address={"object": f"{kind}:{instance}", "property": prop})
    return tuple(points.values())


def points_of_nodes(nodes: Sequence[str], paths: Sequence[str]) -> tuple[Point, ...]:
    """OPC UA variables by node id and by browse path; values as the server gives them."""
    points: dict[str, Point] = {}
    for key, text in [*(("node", node) for node in nodes), *(("path", path) for path in paths)]:
        name = _new_id(re.split("[/=.:]", text)[-1], points)
        points[name] = Point(id=name, type="f64", address={key: text})
    return tuple(points.values())


def _new_id(text: str, taken: Collection[str]) -> str:
    """A point id that people recognise, and that no other point has."""
    slug = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
    slug = slug if slug[:1].isalpha() else f"v{slug}"
    return next(name for name in (slug, *(f"{slug}_{n}" for n in range(2, len(taken) + 3))) if name not in taken)


def device_of_points(protocol: str, points: tuple[Point, ...], unit: int | str, *, link: LinkConfig) -> Device:
    """A device of which nothing is known but these points."""
    profile = Profile.model_validate(
        {
            "profile": "raw", "version": 1, "class": "raw", "system": "raw", "products": [], "protocol": protocol,
            "points": [], "source": {"title": "read from the command line"},
        }
    )  # fmt: skip
    return Device("raw", "", link.id, unit, protocol, profile, points, "raw", "raw")


def _param_point(name: str, param: Param) -> Point:
    return Point(id=name, address=param.register_ or {}, type=param.type, internal=True)


def _serial_point(serial: Expect) -> Point:
    return Point(id=_SERIAL, address=serial.address, type=serial.type, length=serial.length, internal=True)


def _reference(point: Point) -> str:
    address = point.address
    if point.parts:
        return "+".join(f"{part.reg}" for part in point.parts)
    if not isinstance(address, Modbus):
        return "" if isinstance(address, dict) else address.reference or ""
    if address.model is not None:
        return f"model {address.model} +{address.offset}"
    return f"{address.table} {address.reg}"


def numbers(pairs: Sequence[str], option: str) -> dict[str, float]:
    """`ct=40` pairs of a repeated option. Raises ConfigError."""
    found: dict[str, float] = {}
    for name, text in words(pairs, option).items():
        try:
            found[name] = float(Decimal(text))
        except ArithmeticError as error:
            raise ConfigError(f"{name}={text!r} is no number", where=option, next_step="write it like ct=40") from error
    return found


def words(pairs: Sequence[str], option: str) -> dict[str, str]:
    """`wiring=3p4w` pairs of a repeated option. Raises ConfigError."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ConfigError(
                f"{pair!r} is no name=value", where=option, next_step=f"write it like {option} name=value"
            )
        found[name] = text
    return found
