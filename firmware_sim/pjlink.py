"""A projector on the network that speaks PJLink, class 1 or 2: warms up, cools down, counts lamp hours, asks for a password.

Written from JBMIA's PJLink specification class 2 version 2.1; shares no code with the driver. It drops whoever is silent for 30 s
and takes one connection at a time, as real ones do; a second one waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

IDLE_S = 30.0
_ERRORS = ("fan", "lamp", "temperature", "cover", "filter", "other")
_SECOND = frozenset({"SNUM", "SVER", "INNM", "IRES", "RRES", "FILT", "RLMP", "RFIL", "SVOL", "MVOL", "FREZ", "SRCH"})


class PjlinkProjector:
    """Listens while it is entered. `password` "" asks for none. `mood`: "" answers, "silent" never does, "garbage", "long"."""

    def __init__(
        self,
        *,
        port: int = 0,
        level: int = 2,
        password: str = "",
        warm_s: float = 0.0,
        cool_s: float = 0.0,
        idle_s: float = IDLE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.port = port
        self.level = level
        self.password = password
        self.warm_s, self.cool_s, self.idle_s = warm_s, cool_s, idle_s
        self.on = False
        self.input = "31"
        self.inputs = ("11", "21", "31", "32", "51") + (("3A", "61") if level == 2 else ())
        self.muted = {"picture": False, "audio": False}
        self.frozen = False
        self.volumes = {"SVOL": 10, "MVOL": 10}
        self.lamps = [1234.0, 567.0]
        self.errors = dict.fromkeys(_ERRORS, 0)
        self.mood = ""
        self.failed = False
        """Answers ERR4 to everything."""
        self.texts = {
            "NAME": "Hall 2 front", "INF1": "Plantroom", "INF2": "SIM-PJ2", "INFO": "simulated",
            "SNUM": "PJ000042", "SVER": "2.10", "IRES": "1920x1080", "RRES": "1920x1200", "RLMP": "LMP-1", "RFIL": "FLT-1",
        }  # fmt: skip
        self.tells: tuple[str, int] | None = None
        """Where it sends what changes, by UDP, as class 2 does."""
        self.padding = b""
        """What it fills its packets with."""
        self.says_nothing_to: frozenset[str] = frozenset()
        """Commands that it does not answer at all."""
        self.is_stubborn = False
        """In standby it answers every question with its power, as older NEC projectors do."""
        self.is_strong = False
        """Takes logins by SHA-256 only, as version 2.10 may be told to."""
        self.asked: list[str] = []
        self.refused_logins = 0
        self.connections = 0
        self._now = now
        self._changed, self._counted = -1e9, now()
        self._one = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """As a link of the agent names it."""
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def power(self) -> int:
        """0 standby, 1 on, 2 cooling, 3 warming up."""
        since = self._now() - self._changed
        if self.on:
            return 3 if since < self.warm_s else 1
        return 2 if since < self.cool_s else 0

    def tell(self, text: str, host: str = "127.0.0.1") -> None:
        """`%2POWR=1` and the like, from an address of loopback."""
        assert self.tells is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind((host, 0))
            own.sendto(text.encode() + b"\r" + self.padding, self.tells)

    def switch(self, on: bool) -> bool:
        """False where it warms up or cools down."""
        if self.power in (2, 3):
            return False
        if on != self.on:
            self._count()
            self.on, self._changed = on, self._now()
            if self.tells is not None:
                self.tell(f"%2POWR={self.power}")
        return True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._greeted, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _greeted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with self._one:
                self.connections += 1
                await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        salt = secrets.token_hex(4)
        expected = hashlib.md5((salt + self.password).encode(), usedforsecurity=False).hexdigest()
        if self.mood == "garbage":
            writer.write(b"\xff\xfe no PJLink at all\r")
        elif self.mood == "long":
            writer.write(b"P" * 4000 + b"\r")
        elif self.mood != "silent":
            writer.write(f"PJLINK 1 {salt}\r".encode() if self.password else b"PJLINK 0\r")
        is_in, strong = not self.password, b""
        while True:
            async with asyncio.timeout(self.idle_s):
                line = (await reader.readuntil(b"\r"))[:-1]
            if self.mood == "silent" or line[-6:-2].decode("latin-1") in self.says_nothing_to:
                continue
            if not is_in and self.is_strong and line == b"PJLINK 2":
                strong = secrets.token_bytes(16)
                writer.write(f"PJLINK 2 {strong.hex()}\r".encode())
                continue
            if not is_in and self.is_strong:
                told = line[:96].decode("latin-1")
                if len(strong) != 16 or told != self._strong(strong, told[:32]):
                    self.refused_logins += 1
                    writer.write(b"PJLINK ERRA\r")
                    return
                is_in, line = True, line[96:]
            elif not is_in:
                if line[:32].decode("latin-1") != expected:
                    self.refused_logins += 1
                    writer.write(b"PJLINK ERRA\r")
                    return
                is_in, line = True, line[32:]
            elif self.password and line[:32].decode("latin-1") == expected:
                line = line[32:]
            writer.write(self.answer(line.decode("latin-1")).encode() + b"\r" + self.padding)
            await writer.drain()

    def _strong(self, salt: bytes, theirs: str) -> str:
        """The 96 characters that let in."""
        try:
            mixed = bytes(a ^ b for a, b in zip(salt, bytes.fromhex(theirs), strict=True)).hex()
        except ValueError:
            return ""
        return theirs + hashlib.sha256((mixed + self.password).encode()).hexdigest()

    def answer(self, line: str) -> str:
        """The reply to one command, without CR."""
        self.asked.append(line)
        if len(line) < 8 or line[0] != "%" or line[6] != " " or line[1] not in "12":
            return "%1ERR1"
        level, word, parameter = line[1], line[2:6].upper(), line[7:]
        known = word in _SECOND if level == "2" else word not in _SECOND
        if (level == "2" and self.level == 1) or not (known or (level == "2" and word == "INPT")):
            return f"%{level}{word}=ERR1"
        if self.is_stubborn and self.power == 0 and parameter == "?":
            return "%1POWR=0"
        if self.failed and word != "ERST":
            return f"%{level}{word}=ERR4"
        return f"%{level}{word}={self._body(word, parameter, level)}"

    def _body(self, word: str, parameter: str, level: str) -> str:
        if parameter == "?":
            return self._told(word, level)
        if word == "POWR":
            return "ERR2" if parameter not in ("0", "1") else "OK" if self.switch(parameter == "1") else "ERR3"
        if word in ("INPT", "AVMT", "FREZ") and self.power != 1:
            return "ERR3"
        if word == "INPT":
            if parameter not in self.inputs:
                return "ERR2"
            self.input = parameter
            return "OK"
        if word == "AVMT":
            if len(parameter) != 2 or parameter[0] not in "123" or parameter[1] not in "01":
                return "ERR2"
            for kind in {"1": ("picture",), "2": ("audio",), "3": ("picture", "audio")}[parameter[0]]:
                self.muted[kind] = parameter[1] == "1"
            return "OK"
        if word in ("SVOL", "MVOL") and parameter in ("0", "1"):
            if self.power != 1:
                return "ERR3"
            self.volumes[word] += 1 if parameter == "1" else -1
            return "OK"
        if word == "FREZ" and parameter in ("0", "1"):
            self.frozen = parameter == "1"
            return "OK"
        return "ERR2"

    def _told(self, word: str, level: str) -> str:
        if word in self.texts:
            return self.texts[word] if word != "IRES" or self.power == 1 else "ERR3"
        if word == "POWR":
            return str(self.power)
        if word in ("INPT", "AVMT", "FREZ") and self.power != 1:
            return "ERR3"
        if word == "AVMT":
            return {(False, False): "30", (True, True): "31", (True, False): "11", (False, True): "21"}[
                self.muted["picture"], self.muted["audio"]
            ]
        if word == "INPT" and level == "1" and not (self.input.isdigit() and self.input < "60"):
            return "ERR3"
        if word == "LAMP":
            self._count()
            return " ".join(f"{int(hours)} {int(self.power in (1, 3))}" for hours in self.lamps)
        return {
            "INPT": self.input, "ERST": "".join(str(self.errors[name]) for name in _ERRORS),
            "INST": " ".join(self.inputs), "CLSS": str(self.level), "FILT": "88", "FREZ": str(int(self.frozen)),
        }.get(word, "ERR1")  # fmt: skip

    def _count(self) -> None:
        now = self._now()
        if self.on:
            self.lamps = [hours + (now - self._counted) / 3600 for hours in self.lamps]
        self._counted = now
