"""Talks to one display: a connection a visit, because displays drop one that was silent for 30 s and often bear only one.

A visit is greeting, login and some commands, one after the other. Source: JBMIA, PJLink Specifications class 2 version 2.1,
sections 2.1 (connection, 30 s), 2.3 (one command at a time), 5 (security).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from device_profiles.control import Operation
from device_profiles.errors import (
    ConfigError,
    DeviceMismatch,
    DeviceRefused,
    DeviceTimeout,
    LinkLost,
    LinkRefused,
    LinkTimeout,
)
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Pjlink, Point
from device_profiles.secrets import secret_text
from drivers.base import Address, Batch, Change, Layout, LinkConfig, Standing, Trace, Unsubscribed, WireCount

from . import codec
from .notices import Notices

_Answer = TypeVar("_Answer")
_MOST_CHANGES = 100
_INPUT, _POWER = "%1INPT", "%1POWR"
_FOREIGN = 8
"""Lines that may come between command and answer (answers that came late) before the display is not believed."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A visit: the facts of its points, in order."""

    facts: tuple[str, ...]


class _Denied(Exception):
    """The display refused the password."""


class Visit:
    """One connection that is greeted. The login goes before the first command only."""

    def __init__(self, session: PjlinkSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._session = session
        self._reader = reader
        self._writer = writer
        self._login = ""

    async def greet(self, device: Address, where: str, *, is_strong: bool) -> None:
        """Raises DeviceRefused where it asks for a password that we have not; _Denied, DeviceError, LinkError."""
        try:
            salt = codec.salt_of(await self._line(where))
        except codec.BadLine as error:
            step = "check host and port: PJLink is TCP 4352 and is switched on in the display's network menu"
            raise DeviceMismatch(f"what answers is {error}", where=where, next_step=step) from error
        except PermissionError:
            raise _denied(where) from None  # whoever we are
        if salt is None:
            return
        if device.secret is None:
            raise DeviceRefused(
                "the display asks for a password", code=0, status="BadUserAccessDenied", where=where,
                next_step="add secret: {file: ..} to the device, or --secret-file",
            )  # fmt: skip
        password = secret_text(device.secret)
        self._login = await self._strong_login(password, where) if is_strong else codec.login(salt, password)

    async def _strong_login(self, password: str, where: str) -> str:
        salt = None
        with contextlib.suppress(LinkLost, DeviceTimeout):  # older displays hang up, or say nothing
            self._writer.write(b"PJLINK 2\r")
            salt = codec.strong_salt_of(await self._line(where))
        if salt is None:
            raise _Denied
        return codec.strong_login(salt, secrets.token_bytes(16), password)

    async def ask(self, command: str, parameter: str, where: str) -> str | codec.Refusal:
        """The body of the answer. Raises _Denied for a wrong password; DeviceError, LinkError."""
        session, text = self._session, f"{command} {parameter}"
        session.note(">", text.encode(), "with a login" if self._login else "")
        session.counts.requests += 1
        session.counts.bytes_out += len(self._login) + len(text) + 1
        try:
            self._writer.write(f"{self._login}{text}\r".encode())
            async with asyncio.timeout(session.link.timeout_s):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise LinkLost("the connection was closed under a command", where=where) from error
        self._login = ""
        for _ in range(_FOREIGN):
            line = await self._line(where)
            if codec.is_refused_login(line):
                raise _Denied
            try:
                body = codec.body_of(command, line)
            except codec.BadLine as error:
                session.fault("bad_line")
                raise DeviceMismatch(f"the answer to {command[1:]} is {error}", where=where) from error
            if body is not None:
                session.counts.replies += 1
                return body
            session.fault("foreign_answer")
        raise DeviceMismatch(f"it answers everything but {command[1:]}", where=where)

    async def _line(self, where: str) -> bytes:
        session = self._session
        try:
            async with asyncio.timeout(session.link.timeout_s):
                line = await self._reader.readuntil(b"\r")
        except TimeoutError as error:
            session.counts.timeouts += 1
            raise DeviceTimeout(f"no answer within {session.link.timeout_s:g} s", where=where) from error
        except (asyncio.LimitOverrunError, ValueError) as error:
            session.fault("long_line")
            raise DeviceMismatch(f"a line of more than {codec.MOST} bytes", where=where) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            step = "look whether somebody else is connected: many displays bear one connection only"
            raise LinkLost("the display closed the connection", where=where, next_step=step) from error
        session.counts.bytes_in += len(line)
        session.note("<", line[:-1], "")
        return codec.trimmed(line[:-1])


class PjlinkSession:
    """A Session that identifies, writes, operates and hears what a display of class 2 tells by itself (see drivers.base)."""

    def __init__(self, link: LinkConfig, trace: Trace | None = None, notices: Notices | None = None) -> None:
        self.link = link
        self.counts = WireCount()
        self.dropped = 0
        self._notices = notices or Notices()
        self._facts: dict[str, dict[str, str]] = {}
        """Points by fact, by device."""
        self._told: asyncio.Queue[Change] = asyncio.Queue(_MOST_CHANGES)
        self._forget: Callable[[], None] | None = None
        self._level = 0
        self._is_strong: bool | None = None
        """Its login is by SHA-256; None = nobody knows yet."""
        self._trace = trace
        self._busy = asyncio.Lock()

    def note(self, direction: str, data: bytes, remark: str) -> None:
        if self._trace is not None:
            self._trace(direction, data, remark)

    def fault(self, why: str) -> None:
        self.counts.errors[why] = self.counts.errors.get(why, 0) + 1

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """Each command once, in one visit."""
        ask: Ask = batch.plan
        bodies = await self._bodies(device, ask.facts)
        return [_value(fact, bodies[codec.command_of(fact)]) for fact in ask.facts]

    async def close(self) -> None:
        """Nothing is heard any more."""
        if self._forget is not None:
            self._forget()
            self._forget = None

    async def subscribe(self, device: Address, points: Sequence[Point], layout: Layout | None) -> frozenset[str]:
        """Listens to what the display tells by itself, where the link says `notices`. No point is the display's to report: it
        need not know our address, and datagrams are lost. All stay polled, and are heard sooner.
        """
        self._facts[device.device] = {fact_of(point): point.id for point in points}
        if self.link.notices and self._forget is None:
            self._forget = await self._notices.listen(self.link, self._hear)
        return frozenset()

    async def unsubscribe(self, device: Address) -> None:
        """What it tells is not passed on any more."""
        self._facts.pop(device.device, None)

    async def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        """See drivers.base.CanSubscribe."""
        while True:
            turn = [await self._told.get()]
            while not self._told.empty():
                turn.append(self._told.get_nowait())
            yield turn

    def _hear(self, data: bytes) -> None:
        for word, body in codec.notices_of(data):
            self.note("<", f"%2{word}={body}".encode(), "told by itself")
            for device, points in self._facts.items():
                found = {point: _value(fact, body) for fact, point in points.items() if _word_of(fact) == word}
                good = {point: value for point, value in found.items() if not isinstance(value, PointFault)}
                if len(good) < len(found):
                    self.fault("bad_notice")
                elif good:
                    self._tell(Change(device, tuple(good), list(good.values())))

    def _tell(self, change: Change) -> None:
        if self._told.full():
            self._told.get_nowait()
            self.dropped += 1
        self._told.put_nowait(change)

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Maker, product and name; serial number and software where it is of class 2."""
        facts = {
            "vendor": "manufacturer", "model": "product", "name": "name", "serial": "serial", "firmware": "software",
        }  # fmt: skip
        bodies = await self._bodies(device, tuple(facts.values()))
        found = {name: _value(fact, bodies[codec.command_of(fact)]) for name, fact in facts.items()}
        return {name: value for name, value in found.items() if isinstance(value, str) and value}

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """Once. ERR3 (it warms up or cools down) is DeviceRefused like the other errors."""
        await self._send(device, _order(point, value, priority))

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """`{volume: up}` and the like: one step, once. Raises as `write`."""
        order = codec.step_of(operation.call)
        if order is None:
            step = "write call: {volume: up}, or down, or microphone"
            raise ConfigError("a display has no such operation", where=operation.id, next_step=step)
        await self._send(device, order)
        return {}

    async def _send(self, device: Address, order: str) -> None:
        where = self._where(device)
        command, _, parameter = order.partition(" ")
        answer = await self._visit(device, lambda visit: visit.ask(command, parameter, where))
        if isinstance(answer, codec.Refusal):
            step = "try again when the display has warmed up or cooled down" if answer.code == 3 else ""
            raise DeviceRefused(
                f"the display refused {order}: {answer.words}", code=answer.code, status=answer.status, where=where,
                next_step=step,
            )  # fmt: skip
        if answer.upper() != "OK":
            raise DeviceMismatch(f"the display answered {answer[:20]!r} to {order}", where=where)

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """What the point shows now."""
        fact = fact_of(point)
        bodies = await self._bodies(device, (fact,))
        return Standing(_value(fact, bodies[codec.command_of(fact)]))

    def rehearse(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> str:
        """`%1POWR 1`."""
        return _order(point, value, priority)

    async def _bodies(self, device: Address, facts: Sequence[str]) -> dict[str, str | codec.Refusal]:
        where = self._where(device)

        async def ask_all(visit: Visit) -> dict[str, str | codec.Refusal]:
            """Power first: in standby some say nothing to the rest, and are there all the same."""
            commands = sorted(dict.fromkeys(codec.command_of(fact) for fact in facts), key=lambda each: each != _POWER)
            found: dict[str, str | codec.Refusal] = dict.fromkeys(commands, codec.SILENCE)
            for command in commands:
                try:
                    if command == _INPUT and not self._level:
                        self._level = codec.level_of(await visit.ask("%1CLSS", "?", where))
                    found[command] = await visit.ask(self._own(command), "?", where)
                except DeviceTimeout:
                    if command == commands[0]:
                        raise
                    break
            return found

        return await self._visit(device, ask_all)

    def _own(self, command: str) -> str:
        """Inputs of class 2 have letters, and a sixth kind: asked as class 1 those are none."""
        return _INPUT.replace("%1", "%2") if command == _INPUT and self._level == 2 else command

    async def _visit(self, device: Address, work: Callable[[Visit], Awaitable[_Answer]]) -> _Answer:
        """A login by MD5 that is refused is tried once by SHA-256: displays of version 2.10 may take nothing else, and older ones
        understand nothing else. What was refused was not carried out.
        """
        where = self._where(device)
        async with self._busy:
            for is_strong in (True,) if self._is_strong else (False, True) if self._is_strong is None else (False,):
                try:
                    async with connection(self.link, where) as (reader, writer):
                        visit = Visit(self, reader, writer)
                        await visit.greet(device, where, is_strong=is_strong)
                        answer = await work(visit)
                except _Denied:
                    continue
                self._is_strong = is_strong
                return answer
            self._is_strong = self._is_strong or False
        raise _denied(where)

    def _where(self, device: Address) -> str:
        return f"{device.device} ({self.link.where})" if device.device else self.link.where


@asynccontextmanager
async def connection(link: LinkConfig, where: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Raises LinkTimeout, LinkRefused."""
    try:
        async with asyncio.timeout(link.connect_timeout_s):
            reader, writer = await asyncio.open_connection(link.host, link.port, limit=codec.MOST)
    except TimeoutError as error:
        raise LinkTimeout(
            f"no connection within {link.connect_timeout_s:g} s", where=where, next_step="check host, port and cable"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        step = "check host and port, and that PJLink is switched on in the display's network menu"
        raise LinkRefused(f"no connection ({reason})", where=where, next_step=step) from error
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


def _word_of(fact: str) -> str:
    return codec.command_of(fact)[2:]


def fact_of(point: Point) -> str:
    """Raises ConfigError for a point of another protocol."""
    if not isinstance(point.address, Pjlink):
        raise ConfigError(f"{point.id} names no fact of PJLink", next_step="add pjlink: power, or another fact")
    return point.address.pjlink


def _value(fact: str, body: str | codec.Refusal) -> Raw | PointFault:
    if isinstance(body, codec.Refusal):
        return PointFault(body.status, body.words)
    try:
        return codec.value_of(fact, body)
    except codec.BadLine as error:
        return PointFault("BadDecodingError", str(error))


def _order(point: Point, value: Raw | None, priority: int | None) -> str:
    if value is None or priority is not None:
        raise ConfigError("PJLink knows no priorities", where=point.id, next_step="write a value, without a priority")
    order = codec.order_of(fact_of(point), value)
    if order is None:
        step = "power, picture_mute, audio_mute and freeze take 0 and 1, input a number as 31"
        raise ConfigError(f"{value!r} cannot be written to {fact_of(point)}", where=point.id, next_step=step)
    return order


def _denied(where: str) -> DeviceRefused:
    return DeviceRefused(
        "the display refused the password", code=0, status="BadUserAccessDenied", where=where,
        next_step="correct the file of the device's secret",
    )  # fmt: skip
