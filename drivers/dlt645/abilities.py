"""What a DL/T 645 session can do beside reading: write and control with a password, freeze, set clocks, read frozen values back.

The password is read from the device's secret for each command, goes onto the line and nowhere else: a trace sees zeros.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime

import structlog

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Dlt645, Point
from drivers import bcd
from drivers.base import Address, Layout, Recalled, Standing
from drivers.serial_line import LineAccess

from . import clock, load_reading, operations, records
from .asking import Asking, meter
from .master import Edition
from .planner import AskClock, decode
from .rights import rights_of

RELAY_WITHIN_S = 5.0
"""So long a relay may take until its status word shows it."""
_LOOK_S = 0.3
_SET = "set"
_log = structlog.get_logger("dlt645")


class Dlt645Abilities(Asking):
    """A CanWrite, CanRehearse, CanOperate and CanRecall (see drivers.base). `now` is the time in Unix seconds."""

    def __init__(self, owner: LineAccess, edition: Edition, now: Callable[[], float] = time.time) -> None:
        super().__init__(owner, edition)
        self._now = now
        self._set_on: str | None = None
        """The local day on which this line was told the time last."""

    # Writing.

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """See drivers.base.CanWrite."""
        address, data = self._content(point, value)
        rights = rights_of(device.secret, device.device)
        sent, shown = operations.write_data(address.di, data, rights)
        await self._command(device, operations.WRITE, sent, shown)

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """See drivers.base.CanWrite."""
        address = _address(point)
        try:
            return Standing(decode(address, await self._read(device, address.di)))
        except DeviceRefused as error:
            return Standing(PointFault(error.status, error.what))

    def rehearse(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> str:
        """See drivers.base.CanRehearse."""
        address, data = self._content(point, value)
        return f"14H: write {address.di:08X} = {data[::-1].hex().upper()}, with the device's password"

    def _content(self, point: Point, value: Raw | None) -> tuple[Dlt645, bytes]:
        address = _address(point)
        if self._edition.di_size != 4:
            raise ConfigError("only meters of the 2007 edition are written", next_step="set it at the meter")
        if value is None or address.format in ("word", "clock"):
            raise ConfigError(f"{point.id} takes no such value", next_step="write a number or digits")
        return address, _digits(address, value)

    # Operations.

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """See drivers.base.CanOperate; `operations` says what a profile may call."""
        call = operation.call
        where = device.device or operation.id
        if call.get("time") == "broadcast":
            return await self._set_clocks(device)
        if self._edition.di_size != 4:
            raise ConfigError(f"the 1997 edition has no {operation.id}", where=where, next_step="see its profile")
        if "control" in call:
            return await self._control(device, operations.control_of(call, where))
        if call.get("freeze") == "now":
            return await self._freeze(device, to_all=call.get("to") == "all")
        raise ConfigError(
            f"call: {dict(call)} is nothing that a DL/T 645 meter does", where=where,
            next_step="write control:, freeze: now or time: broadcast",
        )  # fmt: skip

    async def _control(self, device: Address, control: operations.Control) -> Mapping[str, Raw]:
        rights = rights_of(device.secret, device.device)
        local, _ = await self._meter_time(device, 0x04000101)
        sent, shown = control.data(rights, local)
        await self._command(device, operations.CONTROL, sent, shown)
        if control.opens is None:
            return {"done": control.name}
        return await self._relay(device, control)

    async def _relay(self, device: Address, control: operations.Control) -> Mapping[str, Raw]:
        """Waits until the status word shows the relay as it should be. Raises DeviceMismatch."""
        last = time.monotonic() + RELAY_WITHIN_S
        while True:
            word = int.from_bytes((await self._read(device, control.status_di))[:2], "little")
            is_open = bool(word >> control.status_bit & 1)
            if is_open == control.opens:
                return {"relay": "open" if is_open else "closed", "status_word": f"{word:04X}"}
            if time.monotonic() >= last:
                step = (
                    "press the button at the meter, which has a permit to close now" if is_open else "look at the meter"
                )
                raise self._placed(
                    DeviceMismatch(
                        f"the meter took {control.name}, and its relay is still {'open' if is_open else 'closed'} after "
                        f"{RELAY_WITHIN_S:g} s (status word {word:04X})",
                        next_step=step,
                    ),
                    device,
                )
            await asyncio.sleep(_LOOK_S)

    async def _freeze(self, device: Address, *, to_all: bool) -> Mapping[str, Raw]:
        if to_all:
            await self._call(device, lambda line: self._master.tell_all(line, operations.FREEZE, operations.FREEZE_NOW))
        else:
            await self._command(device, operations.FREEZE, operations.FREEZE_NOW, operations.FREEZE_NOW)
        return {"frozen": "all" if to_all else str(device.unit)}

    # Clocks.

    async def _read_clock(self, device: Address, ask: AskClock) -> Sample:
        """How many seconds the meter is ahead; its own time goes along. Sets the line's clocks where the device is told so."""
        local, now = await self._meter_time(device, ask.di)
        meters = clock.utc_s(local, device.tz)
        skew_s = meters - now
        if device.options.get("clock") == _SET and abs(skew_s) >= clock.LEAST_S:
            reason = clock.why_not(clock.local_time(now, device.tz), skew_s, self._set_on)
            if reason is None:
                await self._tell_time(device)
                _log.info(
                    "the clocks of a line were set", device=device.device, link=self.link.id, skew_s=round(skew_s)
                )
        return Sample(round(skew_s, 1), source_time_ms=round(meters * 1000))

    async def _set_clocks(self, device: Address) -> Mapping[str, Raw]:
        """The operation time.sync. Raises ConfigError where the standard's rule forbids it now."""
        date = 0x04000101 if self._edition.di_size == 4 else 0xC010
        local, now = await self._meter_time(device, date)
        skew_s = clock.utc_s(local, device.tz) - now
        reason = clock.why_not(clock.local_time(now, device.tz), skew_s, self._set_on)
        if reason is not None:
            raise ConfigError(reason, where=device.device, next_step="set it at the meter, or at another hour")
        await self._tell_time(device)
        local, now = await self._meter_time(device, date)
        return {"before_s": round(skew_s, 1), "after_s": round(clock.utc_s(local, device.tz) - now, 1)}

    async def _tell_time(self, device: Address) -> None:
        data = clock.time_bytes(clock.local_time(self._now(), device.tz))
        self._set_on = clock.local_time(self._now(), device.tz).date().isoformat()
        await self._call(device, lambda line: self._master.tell_all(line, operations.TIME, data))

    async def _meter_time(self, device: Address, date_di: int) -> tuple[datetime, float]:
        """The meter's local time, and ours (Unix seconds) when it said it. Raises DeviceError, LinkError."""
        date = await self._read(device, date_di)
        digits = await self._read(device, date_di + 1)
        now = self._now()
        if digits[:3][::-1].hex() < "000100":  # the date may have changed between the two
            date = await self._read(device, date_di)
        found = clock.meter_time(date, digits)
        if found is None:
            said = f"{date[::-1].hex()} {digits[::-1].hex()}"
            step = "set the meter's clock"
            raise self._placed(
                DeviceMismatch(f"the meter's clock says {said}, which is no time", next_step=step), device
            )
        return found, now

    # The past.

    async def recall(
        self, device: Address, points: Sequence[Point], layout: Layout | None, since_ms: int, until_ms: int
    ) -> AsyncIterator[Sequence[Recalled]]:
        """See drivers.base.CanRecall: frozen and load records of points with `record`, each series a run of its own."""

        async def ask(di: int, rest: bytes = b"") -> bytes:
            return await self._read(device, di, rest)

        for frozen in records.series_of(points):
            async for portion in records.read(frozen, ask, device.tz, since_ms, until_ms):
                yield portion
        for loads in load_reading.series_of(points):
            async for portion in load_reading.read(loads, ask, device.tz, since_ms, until_ms):
                yield portion

    async def _command(self, device: Address, control: int, data: bytes, shown: bytes) -> bytes:
        number = meter(device.unit)
        if "A" in number:
            step = "give all 12 digits: several meters could take it for theirs"
            raise ConfigError(f"{number} is no whole meter number", where=device.device, next_step=step)
        return await self._call(device, lambda line: self._master.command(line, number, control, data, shown))


def _address(point: Point) -> Dlt645:
    if not isinstance(point.address, Dlt645):
        raise ConfigError(f"{point.id} has no DL/T 645 address", next_step="add di: and format:")
    return point.address


def _digits(address: Dlt645, value: Raw) -> bytes:
    """The value as it travels. Raises ConfigError for what does not fit the format."""
    width = 2 * address.size
    text = str(value) if address.is_text or isinstance(value, str) else str(abs(round(float(value))))
    if not text.isdecimal() or len(text) > width:
        raise ConfigError(f"{value!r} does not fit {address.format}", next_step=f"give at most {width} digits")
    data = bytearray(bcd.to_bytes(text.rjust(width, "0")))
    if not isinstance(value, str) and value < 0:
        if not address.signed or data[-1] & 0x80:
            raise ConfigError(f"{value!r} does not fit {address.format}", next_step="give a number from 0 up")
        data[-1] |= 0x80
    return bytes(data)
