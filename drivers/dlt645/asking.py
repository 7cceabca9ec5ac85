"""Questions to a DL/T 645 line: each runs in the line's thread, and an error says of which meter it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from device_profiles.errors import ConfigError, DeviceError
from drivers.base import Address, WireCount
from drivers.serial_line import Line, LineAccess

from . import frame
from .master import Edition, Master

T = TypeVar("T")
E = TypeVar("E", bound=DeviceError)


class Asking:
    """The part of a session that others build on."""

    def __init__(self, owner: LineAccess, edition: Edition) -> None:
        self.link = owner.link
        self._owner = owner
        self._edition = edition
        self._master = Master(owner.link, edition)

    @property
    def counts(self) -> WireCount:
        """What went over the wire since the link was opened."""
        return self._owner.counts

    async def _read(self, device: Address, di: int, rest: bytes = b"") -> bytes:
        number = meter(device.unit)
        return await self._call(device, lambda line: self._master.read(line, number, di, rest))

    async def _call(self, device: Address, work: Callable[[Line], T]) -> T:
        try:
            return await self._owner.call(work)
        except DeviceError as error:
            raise self._placed(error, device) from error.__cause__

    def _placed(self, error: E, device: Address) -> E:
        if not error.where:
            place = f"{self.link.id}, meter {device.unit}"
            error.where = f"{device.device} ({place})" if device.device else place
        return error


def meter(unit: int | str) -> str:
    """The 12 digits of an address. Raises ConfigError for the broadcast address, which is never answered, and for no number."""
    text = f"{unit:012d}" if isinstance(unit, int) else unit.upper()
    if text == frame.BROADCAST:
        raise ConfigError(
            "999999999999 is the broadcast address, which nobody answers", next_step="give the meter's own"
        )
    return text
