"""A projector on RS-232 with `*key=value#` commands: warms up, cools down, counts lamp hours, sends back what it was sent.

Written from the maker's command table (BenQ LW500 RS232 command control, page 10) and from what such projectors answer in use.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from firmware_sim.strings_wire import StringsWire

_COMMAND = re.compile(rb"\*([a-z]+)=([^#\r]+)#")
_SOURCES = ("RGB", "hdmi", "hdmi2", "vid")


class Projector:
    """One projector. `late_s`: so much later comes each answer; `spoil(frame)` gives what goes out instead of a right answer."""

    def __init__(self, *, warm_s: float = 0.0, echo: bool = True, now: Callable[[], float] = time.monotonic) -> None:
        self.power = "off"
        self.source = "hdmi"
        self.muted = {"mute": "off", "blank": "off"}
        self.lamp_hours = 1234
        self.warm_s = warm_s
        self.echo = echo
        self.mute = False
        """It answers nobody."""
        self.late_s = 0.0
        self.spoil: Callable[[bytes], bytes] = lambda frame: frame
        self.asked: list[str] = []
        self.wire: StringsWire | None = None
        self._now = now
        self._changed = -1e9
        self._buffer = b""

    def plug(self, wire: StringsWire) -> None:
        self.wire = wire

    def heard(self, data: bytes) -> None:
        self._buffer = (self._buffer + data)[-256:]
        while match := _COMMAND.search(self._buffer):
            self._buffer = self._buffer[match.end() :]
            key, value = match[1].decode(), match[2].decode()
            self.asked.append(f"{key}={value}")
            if self.echo and not self.mute:
                self._say(b">" + match[0] + b"\r\n")
            if not self.mute:
                self._answer(self.spoil(self.answer(key, value)))

    def answer(self, key: str, value: str) -> bytes:
        """The reply to one command."""
        busy = self._now() - self._changed < self.warm_s
        if key == "pow":
            if value in ("on", "off"):
                if busy:
                    return b"Block item\r\n"
                if value != self.power:
                    self.power, self._changed = value, self._now()
            return self._is("POW", self.power)
        if self.power == "off":
            return b"Block item\r\n"
        if key == "sour":
            if value in _SOURCES:
                self.source = value
            elif value != "?":
                return b"Unsupported item\r\n"
            return self._is("SOUR", self.source)
        if key == "ltim" and value == "?":
            return self._is("LTIM", str(self.lamp_hours))
        if key in self.muted and value in ("on", "off", "?"):
            self.muted[key] = self.muted[key] if value == "?" else value
            return self._is(key.upper(), self.muted[key])
        return b"Illegal format\r\n"

    def _is(self, key: str, value: str) -> bytes:
        return f"*{key}={value.upper()}#\r\n".encode()

    def _answer(self, frame: bytes) -> None:
        if self.late_s:
            asyncio.get_running_loop().call_later(self.late_s, self._say, frame)
        else:
            self._say(frame)

    def _say(self, data: bytes) -> None:
        assert self.wire is not None, "not on a wire"
        self.wire.say(data)
