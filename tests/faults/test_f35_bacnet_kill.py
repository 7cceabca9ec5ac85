"""F35 with real processes and BACnet: the agent is killed while it holds a value of an air-handling unit, and gives it back.

What the controller was told is read from its own wire: one write of the value and one of NULL, both at the profile's priority.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from edge_agent.cli import invoke
from edge_agent.commands.audit import entries, verify
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.server import BacnetServer
from tests.drivers.bacnet_script import free_port
from tests.e2e.processes import Site, until

WRITE_PROPERTY = 15
PRIORITY = 10
PROFILE = """\
profile: held-ahu
version: 1
class: ahu
system: ba
products: [an air-handling unit of the tests]
protocol: bacnet
source: {title: tests}
points:
  - {id: supply_air_temperature, object: AI:1, label: Supply air temperature}
  - id: heating_valve_command
    object: AO:1
    label: Heating valve command
    access: rw
    write: {priority: 10, min: 0, max: 100, hold_max: 3600}
"""


class Controller:
    """A simulated air-handling unit in a thread of its own, with what was written to it."""

    def __init__(self) -> None:
        self.device = BacnetDevice(load_model("bacnet-ahu"), id="ahu-1", instance=1001, now=time.time)
        self.server = BacnetServer(self.device)
        self.writes: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="controller")
        take = self.server.datagram_received

        def listen(data: bytes, addr: tuple[str, int]) -> None:
            apdu = data[6:]
            if len(apdu) > 4 and apdu[0] >> 4 == 0 and apdu[3] == WRITE_PROPERTY:
                self.writes.append(apdu[4:])
            take(data, addr)

        self.server.datagram_received = listen  # type: ignore[method-assign]

    def __enter__(self) -> Controller:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def slot(self) -> Any:
        """What stands in our slot of the priority array."""
        slots = self.device.object("AO", 1).slots
        assert slots is not None
        return slots[PRIORITY - 1]


def test_a_hold_on_a_controller_outlives_the_agent_and_ends_with_null(tmp_path: Path) -> None:
    with Controller() as ahu, Site(tmp_path) as site:
        site.start_broker()
        profiles = tmp_path / "profiles"
        profiles.mkdir(exist_ok=True)
        (profiles / "held-ahu.yaml").write_text(PROFILE)
        document = site.agent_file()
        address = "{}:{}".format(*ahu.server.address)
        document["links"] = {
            "bms": {"kind": "bacnet", "host": "127.0.0.1", "port": free_port(), "bacnet": {"peers": [address]}}
        }
        document["devices"] = [{"id": "ahu-1", "link": "bms", "unit": 1001, "profile": "held-ahu", "poll": 0.5}]
        site.start_agent(document)
        until(lambda: "ahu-1" in site.ask("latest"), "the controller's first reading")
        words = ("write", "ahu-1", "heating_valve_command", "33", "--hold", "3s", "--yes")
        assert invoke([*words, "--socket", str(site.socket), "--json"]) == 0
        assert ahu.slot() == 33
        site.kill("agent")
        assert ahu.slot() == 33, "nobody gives it back while the agent is away"
        site.start_agent()
        until(lambda: ahu.slot() is None, "the hold to end after the restart")
        assert len(ahu.writes) == 2, [each.hex() for each in ahu.writes]
        held, released = ahu.writes
        assert b"\x44\x42\x04\x00\x00" in held  # Real 33
        assert b"\x3e\x00\x3f" in released  # NULL
        assert held[-2:] == released[-2:] == bytes((0x49, PRIORITY))
        until(
            lambda: any(one["what"] == "released" for one in entries(tmp_path / "agent" / "audit")), "its audit entry"
        )
        assert verify(tmp_path / "agent" / "audit").broken is None
