"""A ZKTeco terminal that dials in: handshake, records that it keeps until they are taken, heartbeats, and commands.

Own code over raw HTTP/1.1 on a socket, after published requests of real terminals; shares nothing with the driver. `security`
speaks security push (an access controller), else attendance push.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Refused(Exception):
    """The server answered something else than 200, or nothing."""

    status: int


@dataclass
class ZktecoSim:
    """The terminal. `url` is (host, port) of the server; `key` its communication key; `path` what stands before `/iclock`."""

    serial: str
    url: tuple[str, int]
    now: Callable[[], datetime]
    security: bool = False
    key: str = ""
    path: str = ""
    delay_s: float = 1.0
    kept: list[tuple[str, str]] = field(default_factory=list)
    """(table, line) of records that no server has taken yet, oldest first."""
    memory: list[tuple[str, str]] = field(default_factory=list)
    """Records of attendance that it has, taken or not."""
    registry: str = ""
    doors_open: set[int] = field(default_factory=set)
    unlocked: set[int] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    """Commands that were carried out."""
    lose_answers: int = 0
    """So many of the next answers do not arrive: the terminal sends the same again."""
    settings: dict[str, str] = field(default_factory=dict)
    index: int = 0
    batch: int = 50

    def punch(
        self, pin: str, *, state: int = 0, verify: int = 15, card: str = "", door: int = 1, event: int = 0
    ) -> None:
        """Somebody shows a face, a finger or a card."""
        self.index += 1
        at = f"{self.now():%Y-%m-%d %H:%M:%S}"
        if not self.security:
            self.kept.append(("ATTLOG", f"{pin}\t{at}\t{state}\t{verify}\t0\t0\t0"))
            self.memory.append(self.kept[-1])
            return
        line = (
            f"time={at}\tpin={pin}\tcardno={card or 0}\teventaddr={door}\tevent={event}\tinoutstatus={state}"
            f"\tverifytype={verify}\tindex={self.index}\tsitecode=0\tlinkid=0\tmaskflag=0\ttemperature=0"
        )
        self.kept.append(("rtlog", line))

    def alarm(self, value: int) -> None:
        """An alarm of its own, as 55: its case was opened."""
        self.kept.append(("OPERLOG", f"OPLOG 3\t0\t{self.now():%Y-%m-%d %H:%M:%S}\t{value}\t0\t0\t0"))

    async def run(self) -> None:
        """Dials in, again and again, until cancelled. What is refused is tried again after the server's delay."""
        started = False
        while True:
            try:
                if not started:
                    await self.start()
                    started = True
                await self.turn()
            except (OSError, Refused, TimeoutError):
                started = started and not self.key
            await asyncio.sleep(self.delay_s)

    async def start(self) -> None:
        """The handshake, and the registration of a controller."""
        key = f"&pushcommkey={self.key}" if self.key else ""
        kind = "&DeviceType=acc" if self.security else ""
        answer = await self.ask("GET", f"cdata?SN={self.serial}&options=all&language=69&pushver=2.4.1{kind}{key}")
        self._settle(answer)
        if self.security:
            body = (
                "DeviceType=acc,~DeviceName=inBio260,FirmVer=AC Ver 5.7,LockCount=2,MAC=00:17:61:12:f8:db,"
                f"PushVersion=Ver 3.1.1,SN={self.serial}"
            )
            self._settle(await self.ask("POST", f"registry?SN={self.serial}", body))
            self._settle(await self.ask("POST", f"push?SN={self.serial}"))
        else:
            await self.ask(
                "POST", f"cdata?SN={self.serial}&table=options", "~DeviceName=SpeedFace-V5L,UserCount=2,FaceCount=2"
            )

    async def turn(self) -> None:
        """One round: what is kept goes out, then commands are fetched."""
        while self.kept:
            await self.upload()
        if self.security:
            await self.ask("POST", f"cdata?SN={self.serial}&table=rtstate", self._state())
        info = "" if self.security else "&INFO=Ver%208.0.4.2-20230330,2,0,11,192.168.1.201"
        for line in (await self.ask("GET", f"getrequest?SN={self.serial}{info}")).splitlines():
            if line.startswith("C:"):
                _, number, text = line.split(":", 2)
                await self.ask(
                    "POST",
                    f"devicecmd?SN={self.serial}",
                    f"ID={number}&Return={self._do(text)}&CMD={text.split(' ')[0]}\n",
                )

    async def upload(self) -> None:
        """The oldest records of one table; they are forgotten once the server said OK."""
        table = self.kept[0][0]
        lines = [line for each, line in self.kept[: self.batch] if each == table]
        stamp = "OpStamp" if table == "OPERLOG" else "Stamp"
        answer = await self.ask("POST", f"cdata?SN={self.serial}&table={table}&{stamp}=9999", "\n".join(lines) + "\n")
        if not answer.startswith("OK"):
            raise Refused(200)
        for line in lines:
            self.kept.remove((table, line))

    async def ask(self, method: str, what: str, body: str = "") -> str:
        """One request on a connection of its own. Raises Refused, OSError, TimeoutError."""
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(*self.url)
            try:
                head = f"{method} {self.path}/iclock/{what} HTTP/1.1\r\nHost: {self.url[0]}\r\nUser-Agent: iClock Proxy/1.09\r\n"
                head += f"Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(body.encode())}\r\n\r\n"
                writer.write(head.encode() + body.encode())
                data = await reader.read()
            finally:
                writer.close()
        if self.lose_answers:
            self.lose_answers -= 1
            raise Refused(0)
        top, _, rest = data.partition(b"\r\n\r\n")
        status = int(top.split(b" ")[1]) if top.startswith(b"HTTP/1.1 ") else 0
        if status != 200:
            raise Refused(status)
        return rest.decode()

    def _settle(self, answer: str) -> None:
        for line in answer.splitlines():
            name, _, value = line.partition("=")
            self.settings[name] = value

    def _state(self) -> str:
        sensor = sum((2 if door in self.doors_open else 1) << 2 * (door - 1) for door in (1, 2))
        relay = sum(1 << door - 1 for door in self.unlocked)
        return f"time={self.now():%Y-%m-%d %H:%M:%S}\tsensor={sensor:02X}\trelay={relay:02X}\talarm=0000000000000000\n"

    def _do(self, text: str) -> int:
        known = ("CHECK", "REBOOT", "AC_UNLOCK", "AC_UNALARM", "SET OPTION", "CONTROL DEVICE 0", "DATA QUERY ATTLOG")
        if not text.startswith(known):
            return -1002
        if text.startswith("CONTROL DEVICE 01"):
            door = int(text[17:19], 16)
            if door not in (1, 2):
                return -1
            self.unlocked.add(door)
            self.punch("0", card="", door=door, event=8)
        self.done.append(text)
        if text.startswith("DATA QUERY ATTLOG "):
            return self._find(*(part.partition("=")[2] for part in text.removeprefix("DATA QUERY ATTLOG ").split("\t")))
        return 0

    def _find(self, start: str, end: str) -> int:
        """Puts the records between two times into what is to be sent, taken or not."""
        again = [each for each in self.memory if each not in self.kept and start <= each[1].split("\t")[1] <= end]
        self.kept = again + self.kept
        return 0
