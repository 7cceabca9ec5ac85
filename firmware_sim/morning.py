"""A morning at the demo campus: staff arrive by car and on foot, cards are held to readers, doors open, lights and air follow
whoever is there, meters count. One process runs all of it; `description` says where each device is.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

from firmware_sim.bacnet.server import BacnetServer
from firmware_sim.cjt188 import CjtMeter
from firmware_sim.clock import utc_offset_s, world_clock
from firmware_sim.isapi import PlateCamera, Recorder
from firmware_sim.isapi_terminal import Terminal
from firmware_sim.mbus import MbusSlave, heat_meter, water_meter
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.meters import MeterLine
from firmware_sim.morning_plant import Presence, controllers, office_meter
from firmware_sim.osdp import OsdpLine, OsdpReader
from firmware_sim.pjlink import PjlinkProjector
from firmware_sim.reader_strings import Reader, wiegand
from firmware_sim.rest_gate import RestGate
from firmware_sim.slaves import SlaveLine
from firmware_sim.strings_wire import StringsWire
from firmware_sim.turnstile_strings import Turnstile
from firmware_sim.uhppote import Board, UhppoteSim
from firmware_sim.wire import Wire
from firmware_sim.zkteco import ZktecoSim

STAFF = tuple(range(118 << 16 | 1001, (118 << 16 | 1001) + 40))
"""Cards of the staff: facility code and number in 24 bits. The last four open nothing yet."""
_BOARD = 423187757
_TERMINAL = "CJ9H000001"
_LITRES_PER_S = 0.2


def on_board(card: int) -> int:
    """The number of a card as door boards write it: facility code, and behind it the number in five digits."""
    return (card >> 16) * 100_000 + (card & 0xFFFF)


class Morning:
    """`async with Morning(folder, listen_port=8090) as morning: morning.description`. `every_s`: from one person to the next."""

    def __init__(self, folder: Path, *, listen_port: int, every_s: float = 3.0, tz: str = "UTC", seed: int = 1) -> None:
        self._folder = folder
        self._listen_port = listen_port
        self._every_s = every_s
        self._zone = ZoneInfo(tz)
        self._chance = random.Random(seed)
        self._stack = AsyncExitStack()
        self._crowd: asyncio.Task[None] | None = None
        self.links: dict[str, Any] = {}
        self.devices: list[dict[str, Any]] = []
        self.arrived = 0
        self.inside: set[int] = set()
        """Cards of who is in the building now."""
        self.present = Presence(len(STAFF))

    @property
    def description(self) -> dict[str, Any]:
        """Links and devices as agent.yaml has them."""
        return {"links": self.links, "devices": self.devices}

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            self._began = time.time()
            self._meters(stack)
            self._readers(stack)
            await self._doors(stack)
            await self._cameras(stack)
            await self._plant(stack)
            self._stack = stack.pop_all()
        self._crowd = asyncio.create_task(self._people(), name="people")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._crowd is not None:
            self._crowd.cancel()
            await asyncio.wait([self._crowd])
        await self._stack.aclose()

    # What stands there.

    def _add(self, link: str, profile: str, id: str, name: str, space: str, **more: Any) -> None:
        self.devices.append({"id": id, "name": name, "link": link, "profile": profile, "space": space, **more})

    def _secret(self, name: str, text: str) -> str:
        """A file with a secret; its path."""
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        return str(path)

    def _line(self, stack: AsyncExitStack, id: str, line: Any, options: str) -> None:
        stack.enter_context(line)
        self.links[id] = f"serial:{line.path}?{options}"

    def _counted(self, start: float, per_s: float) -> float:
        return start + (time.time() - self._began) * per_s

    def _meters(self, stack: AsyncExitStack) -> None:
        now, offset = world_clock(1.0), utc_offset_s()
        numbers = ("000012345678", "000012345679")
        lives = [CountingMeter(one, "2007", now, offset, began_s=now() - 90 * 86_400) for one in numbers]
        lives.append(office_meter("000012345680", self.present, now, offset))
        self._line(stack, "rs485-3", MeterLine([life.meter() for life in lives], Wire(2400, "E")), "baud=2400&parity=E")
        for at, number in enumerate(numbers, 1):
            self._add(
                "rs485-3", "generic-dlt645-2007-three-phase", f"canteen-{at}", f"Canteen meter {at}", "b2/f0/canteen",
                unit=number, poll=15,
            )  # fmt: skip
        self._add(
            "rs485-3", "generic-dlt645-2007-three-phase", "offices-2", "Offices, wing 2", "b1/f2", unit="000012345680",
            poll=15,
        )  # fmt: skip
        water = CjtMeter("00111100012345", volume=lambda: self._counted(1234.0, _LITRES_PER_S / 1000))
        heat = CjtMeter("00220000054321", kind=0x20, energy=lambda: self._counted(56_789.0, 12.34 / 3600))
        self._line(stack, "rs485-4", SlaveLine([water, heat], Wire(2400, "E")), "baud=2400&parity=E")
        self._add(
            "rs485-4", "generic-cjt188-water", "water-1", "Water, building 2", "b2/f0", unit=water.number, poll=20
        )
        self._add("rs485-4", "generic-cjt188-heat", "heat-2", "Heat, building 2", "b2/f0", unit=heat.number, poll=20)
        slaves = [
            MbusSlave("12345678", heat_meter(lambda: self._counted(12_345.0, 12.34 / 3600)), primary=1),
            MbusSlave("87654321", water_meter(lambda: self._counted(98_765.0, _LITRES_PER_S)), primary=2, medium=0x07),
        ]
        self._line(stack, "mbus-1", SlaveLine(slaves, Wire(2400, "E")), "baud=2400&parity=E")
        self._add("mbus-1", "generic-mbus-heat", "heat-1", "Heat, building 1", "b1/f0", unit=1, poll=20)
        self._add(
            "mbus-1", "generic-mbus-water", "water-2", "Cold water, building 1", "b1/f0", unit="87654321", poll=20
        )

    def _readers(self, stack: AsyncExitStack) -> None:
        keys = [secrets.token_bytes(16) for _ in range(2)]
        self._osdp = OsdpLine([OsdpReader(at, key, install=False) for at, key in enumerate(keys)], Wire(38400))
        self._line(stack, "osdp-1", self._osdp, "baud=38400&parity=N")
        for at, (key, name) in enumerate(zip(keys, ("North door, outside", "North door, inside"), strict=True)):
            self._add(
                "osdp-1", "generic-osdp-reader", f"reader-{at + 1}", name, "b1/f0/north", unit=at,
                secret={"file": self._secret(f"reader-{at + 1}.key", key.hex())}, dir="out" if at else "in",
            )  # fmt: skip

    async def _doors(self, stack: AsyncExitStack) -> None:
        self._turnstile, self._card_reader = Turnstile(), Reader("bits26")
        wire = await stack.enter_async_context(StringsWire(self._turnstile, "serial"))
        self.links["gate-1"] = f"serial:{wire.path}?baud=9600"
        self._add("gate-1", "digicon-tx1500", "turnstile-1", "Turnstile, lobby", "b1/f0/lobby")
        wire = await stack.enter_async_context(StringsWire(self._card_reader, "tcp"))
        self.links["wiegand-1"] = f"tcp://127.0.0.1:{wire.port}"
        self._add(
            "wiegand-1", "generic-wiegand-bits", "reader-lobby", "Reader at the turnstile", "b1/f0/lobby", dir="in"
        )
        self._board = Board(_BOARD, doors=4, now=lambda: datetime.now(UTC).astimezone(self._zone).replace(tzinfo=None))
        self._board.cards = {on_board(card): set(self._board.doors) for card in STAFF[:-4]}
        board = await stack.enter_async_context(UhppoteSim([self._board]))
        self.links["doors-1"] = {"kind": "udp", "host": "127.0.0.1", "port": _free_udp_port()}
        self._add("doors-1", "uhppote-l04", "doors-floor-2", "Doors of floor 2", "b1/f2", unit=_BOARD, at=board.address)
        self._gate = await stack.enter_async_context(RestGate(kind="barrier"))
        self.links["barrier-1"] = self._gate.url
        self._add("barrier-1", "generic-rest-barrier", "barrier-1", "Barrier, car park", "carpark")
        self.links["terminals"] = {"kind": "http-listen", "host": "127.0.0.1", "port": self._listen_port}
        self._zkteco = ZktecoSim(
            _TERMINAL, ("127.0.0.1", self._listen_port),
            lambda: datetime.now(UTC).astimezone(self._zone).replace(tzinfo=None),
        )  # fmt: skip
        self._add(
            "terminals", "zkteco-attendance-push", "terminal-canteen", "Terminal, canteen", "b2/f0/canteen",
            unit=_TERMINAL, at="127.0.0.1",
        )  # fmt: skip
        dialling = asyncio.create_task(self._zkteco.run(), name="terminal")
        stack.push_async_callback(_ended, dialling)

    async def _cameras(self, stack: AsyncExitStack) -> None:
        password = secrets.token_urlsafe(12)
        file = self._secret("camera.password", password)
        self._terminal = await stack.enter_async_context(Terminal(password=password))
        self._recorder = await stack.enter_async_context(Recorder(password=password))
        self._plates = await stack.enter_async_context(PlateCamera(password=password))
        for id, host, profile, name, space in (
            ("terminal-north", self._terminal, "hikvision-ds-k1t", "Face terminal, server room", "b1/f1/dc"),
            ("recorder-1", self._recorder, "hikvision-ds-7x", "Recorder", "b1/f0/security"),
            ("plates-1", self._plates, "hikvision-anpr", "Plate camera, car park", "carpark"),
        ):
            self.links[f"link-{id}"] = {"url": host.url, "http": {"user": host.user, "password_file": file}}
            self._add(f"link-{id}", profile, id, name, space)
        self._projector = await stack.enter_async_context(PjlinkProjector(warm_s=8.0, cool_s=8.0))
        self.links["projector-1"] = f"tcp://127.0.0.1:{self._projector.port}"
        self._add("projector-1", "generic-pjlink-2", "projector-1", "Projector, hall 2", "b1/f1/hall2")

    async def _plant(self, stack: AsyncExitStack) -> None:
        peers = []
        for device, profile, name in zip(
            controllers(self.present, time.time, utc_offset_s()),
            ("generic-bacnet-lighting-panel", "generic-bacnet-ahu", "generic-bacnet-vav"),
            ("Lights, floor 2", "Air handler, floor 2", "VAV box, floor 2"),
            strict=True,
        ):
            server = BacnetServer(device)
            await server.start()
            stack.push_async_callback(server.stop)
            peers.append(f"{server.host}:{server.port}")
            self._add("bacnet-floor-2", profile, device.id, name, "b1/f2", unit=device.instance, poll=5)
        self.links["bacnet-floor-2"] = f"bacnet://127.0.0.1:{_free_udp_port()}?peers={','.join(peers)}"

    # What happens.

    async def _people(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(self._every_s * self._chance.uniform(0.5, 1.5))
            outside = [card for card in STAFF if card not in self.inside]
            if not outside or (number % 8 == 0 and self.inside):
                self._leaves()
            else:
                await self._arrives(number, self._chance.choice(outside))
            self.arrived = number

    def _leaves(self) -> None:
        """Somebody goes out again, through the lobby."""
        card = self._chance.choice(sorted(self.inside))
        self._turnstile.granted["out"] += 1
        self._turnstile.walk("out")
        self._moved(self.inside - {card})

    def _moved(self, inside: set[int]) -> None:
        self.inside = inside
        self.present.set(len(inside))

    async def _arrives(self, number: int, card: int) -> None:
        """Somebody comes: now and then by car, always through the lobby, then to a door upstairs or the canteen."""
        if number % 4 == 1:
            self._plates.passes(f"DEMO{card % 10_000:04d}", direction="forward")
            self._gate.act("open")
            self._gate.pass_through("in")
        if number % 3:
            self._card_reader.swipe(card)
            self._turnstile.granted["in"] += 1
            self._turnstile.walk("in")
        else:
            reader = self._osdp.readers[number // 3 % 2]
            self._osdp.ask(lambda: reader.present(wiegand(card)))
        self._moved(self.inside | {card})
        door = self._chance.choice(list(self._board.doors))
        if self._board.swipe(on_board(card), door):
            self._board.move(door, True)
            await asyncio.sleep(0.3)
            self._board.move(door, False)
        if number % 5 == 0:
            self._zkteco.punch(str(1001 + card % 40))
        if number % 6 == 0:
            self._terminal.swipe(str(card), is_known=card in STAFF[:-4])
        if number % 7 == 0:
            await self._recorder.motion(self._chance.randint(1, 4), seconds=1, pause_s=0.2)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _free_udp_port() -> int:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
