"""An open line of M-Bus slaves: reads out, learns units and identity, and finds slaves by primary and secondary address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from device_profiles.errors import DeviceError, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Mbus, Point
from drivers.base import Address, Batch, Layout, LinkConfig, Trace, WireCount
from drivers.serial_line import Line, LineAccess, LineOwner

from . import planner
from .answer import Answer, Header
from .master import GAP_CHARS, Collision, Master
from .select import Secondary, hidden, narrower

T = TypeVar("T")
Tell = Callable[[str, int], None]
PRIMARY = range(251)


class MbusSession:
    """A Session that also locates (units) and identifies (see drivers.base)."""

    def __init__(self, owner: LineAccess) -> None:
        self.link = owner.link
        self._owner = owner
        self._master = Master(owner.link)

    @property
    def counts(self) -> WireCount:
        """What went over the wire since the link was opened."""
        return self._owner.counts

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """See drivers.base.Session. One readout serves the whole batch."""
        ask: planner.Ask = batch.plan
        try:
            return ask.take(await self._readout(device))
        except DeviceRefused as error:
            return [PointFault(error.status, error.what) for _ in batch.points]

    def needs_locating(self, points: Sequence[Point]) -> bool:
        """The device says its units itself."""
        return any(isinstance(point.address, Mbus) for point in points)

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout:
        """`units` as the records say, and who the device is. Raises DeviceError, LinkError."""
        answers = await self._readout(device)
        layout: dict[str, object] = {"units": planner.known_units(points, answers)}
        header = next((answer.header for answer in answers if answer.header is not None), None)
        if header is not None:
            layout["identity"] = _identity(header)
        return layout

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Maker, medium, version and identification from the header. Raises DeviceError, LinkError."""
        answers = await self._readout(device)
        header = next((answer.header for answer in answers if answer.header is not None), None)
        return {} if header is None else _identity(header)

    async def discover(self, units: Sequence[int]) -> AsyncIterator[tuple[Address, Mapping[str, str]]]:
        """Slaves by primary address. See drivers.base.CanDiscover."""
        for unit in units:
            try:
                there = await self._owner.call(partial(self._ping, unit))
            except Collision:
                yield Address(unit), {"trouble": "several devices answer at this address"}
                continue
            if there:
                try:
                    yield Address(unit), dict(await self.identify(Address(unit)))
                except DeviceError as error:
                    yield Address(unit), {"trouble": error.what}

    async def search(self, tell: Tell = lambda _pattern, _found: None) -> AsyncIterator[tuple[str, Mapping[str, str]]]:
        """Slaves by secondary address: (16 digits, who it is), digit by digit where several answer. Raises LinkError."""
        found: set[str] = set()
        patterns = ["F" * 8]
        while patterns:
            pattern = patterns.pop()
            tell(pattern, len(found))
            chosen = Secondary.parse(pattern)
            try:
                answer = await self._owner.call(partial(self._select, chosen))
            except Collision as error:
                parts = narrower(pattern)
                patterns += reversed(parts)
                if not parts:
                    what = f"several devices have this identification, medium and version: {error.what}"
                    yield chosen.text, {"trouble": what}
                continue
            if answer is None or answer.header is None:
                continue
            patterns += reversed(hidden(pattern[:8], answer.header.id))
            full = _address(answer.header).text
            if full not in found:
                found.add(full)
                yield full, _identity(answer.header)

    def _ping(self, unit: int, line: Line) -> bool:
        return self._master.ping(line, unit)

    def _select(self, pattern: Secondary, line: Line) -> Answer | None:
        """The one slave that a pattern selects, and that answers to the whole address it told. Raises as Master.select."""
        answer = self._master.select(line, pattern)
        if answer is None or answer.header is None:
            return answer
        own = _address(answer.header)
        if own.text == pattern.text:
            return answer
        again = self._master.select(line, own)
        if again is None or again.header is None or _address(again.header) != own:
            raise Collision(
                f"{own.text} answers to {pattern.text} and not to its own address: it is several laid over each other"
            )
        return answer

    async def _readout(self, device: Address) -> tuple[Answer, ...]:
        unit, reset = slave(device.unit), planner.reset_of(device.options)
        return await self._call(device, lambda line: self._master.read(line, unit, reset))

    async def _call(self, device: Address, work: Callable[[Line], T]) -> T:
        try:
            return await self._owner.call(work)
        except DeviceError as error:
            if not error.where:
                place = f"{self.link.id}, slave {device.unit}"
                error.where = f"{device.device} ({place})" if device.device else place
            raise


def slave(unit: int | str) -> int | Secondary:
    """A primary address, or 8 or 16 digits of a secondary one. Raises ConfigError."""
    if isinstance(unit, str) and len(unit) < 8 and unit.isascii() and unit.isdecimal():
        return int(unit)
    return unit if isinstance(unit, int) else Secondary.parse(unit)


def _address(header: Header) -> Secondary:
    """The secondary address that a header tells; one of the fixed structure tells an identification only."""
    return Secondary((header.secondary or header.id).ljust(16, "F"))


def _identity(header: Header) -> dict[str, str]:
    return {"vendor": header.maker, "model": f"{header.medium}, version {header.version}", "serial": header.id}


@asynccontextmanager
async def open_line(link: LinkConfig, trace: Trace | None) -> AsyncIterator[MbusSession]:
    """Opens the line, and closes it at the end. Raises LinkError."""
    owner = LineOwner(link, trace, gap_chars=GAP_CHARS)
    try:
        await owner.open()
        yield MbusSession(owner)
    finally:
        await owner.close()
