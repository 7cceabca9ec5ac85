"""F26 for Modbus RTU: a port that is pulled out and put in again. F22 to F24 are in tests/drivers/test_modbus_rtu.py."""

from __future__ import annotations

import time
from pathlib import Path

from drivers.registry import load_driver
from firmware_sim.devices import build
from firmware_sim.line import SerialLine
from firmware_sim.wire import Wire
from tests.faults.serial_faults import a_port_that_is_pulled_out


async def test_f26_a_port_that_was_pulled_is_back_within_five_seconds(tmp_path: Path) -> None:
    port = tmp_path / "port"
    meter = build("eastron-sdm630", id="meter-1", unit=7, seed=1, now=time.time, utc_offset_s=0.0)
    device = "{id: meter-1, link: line-1, unit: 7, profile: eastron-sdm630, poll: 0.2}"
    with SerialLine([meter], Wire(115200), link=port) as line:
        await a_port_that_is_pulled_out(tmp_path, port, line, load_driver("modbus"), device)
