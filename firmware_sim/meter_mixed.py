"""An RS-485 line with DL/T 645 meters at one baud rate and Modbus devices at another: who hears a request is told by its speed.

A pseudo terminal knows the speed that its other end was set to, and no parity.
"""

from __future__ import annotations

import termios
from collections.abc import Iterable
from pathlib import Path

from firmware_sim.device import Device
from firmware_sim.line import SerialLine
from firmware_sim.meters import Meter, MeterLine
from firmware_sim.wire import Wire


class MixedLine(MeterLine):
    """`with MixedLine(meters, Wire(2400, "E"), devices, Wire(9600)) as line: line.path` is the port to open."""

    def __init__(
        self,
        meters: Iterable[Meter],
        meter_wire: Wire,
        devices: Iterable[Device],
        device_wire: Wire,
        *,
        link: Path | None = None,
    ) -> None:
        super().__init__(meters, meter_wire, link=link)
        self.devices = {device.unit: device for device in devices}
        self._meter_wire = meter_wire
        self._device_wire = device_wire
        self.switches = 0
        """Times that the speed was found changed."""

    def _listen_at(self, speed: int) -> None:
        for wire in (self._meter_wire, self._device_wire):
            if wire is not self.wire and getattr(termios, f"B{wire.baud}") == speed:
                self.wire = self._receiver.wire = wire
                self.switches += 1

    def _serve(self, frame: bytes) -> None:
        if self.wire is self._meter_wire:
            super()._serve(frame)
        else:
            SerialLine._serve(self, frame)
