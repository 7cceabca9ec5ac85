"""An open line of DL/T 645 meters: reads batches, falls back from blocks, and finds the numbers of meters."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault, Raw, Sample
from drivers.base import Address, Batch, Layout, LinkConfig, Trace
from drivers.serial_line import LineAccess, LineOwner

from .abilities import Dlt645Abilities
from .asking import meter
from .frame import WILDCARD
from .master import GAP_CHARS, Edition, Whose, fits
from .planner import REFUSED, Ask, AskClock

_NO_SUCH_DATA = "BadNodeIdUnknown"


class Dlt645Session(Dlt645Abilities):
    """A Session that also can learn and identify (see drivers.base)."""

    def __init__(self, owner: LineAccess, edition: Edition, now: Callable[[], float] = time.time) -> None:
        super().__init__(owner, edition, now)
        self._refused: dict[int | str, set[int]] = {}
        self._news: set[int | str] = set()

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The values of the batch. A block that the meter does not know is asked for value by value, now and later."""
        if isinstance(batch.plan, AskClock):
            try:
                return [await self._read_clock(device, batch.plan)]
            except DeviceRefused as error:
                return [PointFault(error.status, error.what)]
        ask: Ask = batch.plan
        try:
            return ask.decode(await self._read(device, ask.di))
        except DeviceRefused as error:
            if not ask.is_block or error.status != _NO_SUCH_DATA:
                return [PointFault(error.status, error.what) for _ in batch.points]
        values: list[Raw | PointFault] = []
        for one in ask.singly():
            try:
                values += one.decode(await self._read(device, one.di))
            except DeviceRefused as error:
                values.append(PointFault(error.status, error.what))
        if any(not isinstance(value, PointFault) for value in values):
            known = self._refused.setdefault(device.unit, set(ask.layout.get(REFUSED, ())))
            known.add(ask.di)
            self._news.add(device.unit)
        return values

    def learned(self, device: Address) -> Layout | None:
        """`{"refused_blocks": [..]}` when a block was found refused since the last call."""
        if device.unit not in self._news:
            return None
        self._news.discard(device.unit)
        return {REFUSED: sorted(self._refused[device.unit])}

    async def identify(self, device: Address) -> Mapping[str, str]:
        """The number of the meter that answers, which an address with A in it does not tell."""
        found = await self._whose(device)
        return {"serial": found.says if "A" in found.number and found.says else found.number}

    async def search(self, tell: Callable[[str, int], None] = lambda _pattern, _found: None) -> AsyncIterator[str]:
        """Numbers of the meters on the line, by their lowest two digits upwards. Where several answer, one after the other or
        spoiling each other, two more digits are asked for. `tell` hears each pattern and how many are found. Raises LinkError.

        Two that answer in the same instant can look like one of them, or like a third, with a right sum. So whoever seems to be
        alone is asked for his energies too, by the pattern and by his number, and for more by the pattern: each answer has its
        own sum, and it is unlikely that two meters vanish behind one in all of them.
        """
        found: set[str] = set()
        tails = [""]
        while tails:
            tail = tails.pop()
            pattern = tail.rjust(12, "A")
            tell(pattern, len(found))
            number, is_alone = await self._found_by(pattern)
            if number is None:
                continue
            if number and number not in found:
                found.add(number)
                yield number
            if not is_alone and len(tail) < 12:
                tails += [f"{pair:02d}{tail}" for pair in range(99, -1, -1)]

    async def speaks(self, number: str) -> bool:
        """Whether a meter that was found gives a value in this edition, and does not only refuse."""
        try:
            await self._read(Address(number), self._edition.energy)
        except DeviceError:
            return False
        return True

    async def _found_by(self, pattern: str) -> tuple[str | None, bool]:
        """(number, whether it is the only one). None for nobody, "" for somebody who cannot be told."""
        try:
            whose = await self._whose(Address(pattern))
        except DeviceTimeout:
            return None, True
        except DeviceMismatch:
            return "", False
        number = whose.number
        if "A" in number:  # it repeats what it was asked; its data may tell
            number = whose.says or ""
            if not number or not fits(pattern, number) or not await self._answers(number):
                return "", False
        if "A" not in pattern:
            return number, whose.is_alone
        is_alone = await self._is_alone(pattern, number)
        return ("", False) if is_alone is None else (number, is_alone and whose.is_alone)

    async def _answers(self, number: str) -> bool:
        try:
            return (await self._whose(Address(number))).number == number
        except DeviceError:
            return False

    async def _is_alone(self, pattern: str, number: str) -> bool | None:
        """False where the pattern brings other energies than the number does, or spoilt ones; None where the number is nobody's:
        answers in one instant made it up.
        """
        try:
            one = await self._energies(number)
        except DeviceError:
            return None
        try:
            two, three = await self._energies(pattern), await self._energies(number)
            if two not in (one, three):
                return False
            for probe in self._edition.probes[1:]:
                whose = await self._whose(Address(pattern), probe)
                if whose.number not in (number, pattern) or not whose.is_alone:
                    return False
        except DeviceError:
            return False
        return True

    async def _energies(self, unit: str) -> bytes | None:
        """The total and its tariffs, or the total alone; None of a meter that has neither, and says so."""
        for di in (self._edition.energies, self._edition.energy):
            try:
                return await self._read(Address(unit), di)
            except DeviceRefused:
                continue
        return None

    async def _whose(self, device: Address, di: int | None = None) -> Whose:
        """Who answers. To an address of A only, some meters answer nothing but the question for their address."""
        asked = meter(device.unit)
        try:
            return await self._call(device, lambda line: self._master.address(line, asked, di))
        except DeviceTimeout:
            if asked != WILDCARD or di is not None or self._edition.di_size != 4:
                raise
        return await self._call(device, self._master.read_address)


@asynccontextmanager
async def open_line(link: LinkConfig, edition: Edition, trace: Trace | None) -> AsyncIterator[Dlt645Session]:
    """Opens the line, and closes it at the end. Raises LinkError."""
    owner = LineOwner(link, trace, gap_chars=GAP_CHARS)
    try:
        await owner.open()
        yield Dlt645Session(owner, edition)
    finally:
        await owner.close()
