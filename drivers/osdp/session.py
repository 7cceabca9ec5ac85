"""An open OSDP line: readers as points, events and operations. What goes over the wire is the poll cycle's."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import structlog

from device_profiles.control import Operation
from device_profiles.credential import Clear, CredentialError
from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout, LinkLost
from device_profiles.events import source_of
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.secrets import secret_text
from drivers.base import Address, Batch, Layout, LinkConfig, Trace, WireCount
from drivers.listening import Listened, Occurrence
from drivers.serial_line import Line, LineInterrupted, LineOwner

from . import secure, words
from .cycle import GAP_CHARS, Cycle
from .facts import Order, Told
from .masking import masking
from .reader import ACK, COM, OSTATR, Reader
from .search import look

_FIRST_CONTACT_S = 3.0
_ORDER_S = 5.0
MOST_WAITING = 4096
"""Occurrences that wait to be taken; the oldest are dropped, and counted, beyond."""
_T = TypeVar("_T")
_KEY = re.compile(r"[0-9A-Fa-f]{32}")
_log = structlog.get_logger("osdp")


class OsdpSession:
    """A Session that also listens, identifies, discovers and operates (see drivers.base, drivers.listening)."""

    def __init__(self, owner: LineOwner, now: Callable[[], float] = time.time) -> None:
        self.link = owner.link
        self.dropped = 0
        """Occurrences that nobody took in time."""
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._cycle = Cycle(owner.link, self._from_line)
        self._running = self._loop.create_task(owner.call(self._cycle.run), name=f"osdp {owner.link.id}")
        self._readers: dict[int, Reader] = {}
        self._listened: dict[int, Listened] = {}
        self._waiting: list[Occurrence] = []
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._running.add_done_callback(lambda _task: self._wake())
        self._began_ms = int(now() * 1000)
        self._told = 0

    @property
    def counts(self) -> WireCount:
        """What went over the wire since the link was opened."""
        return self._owner.counts

    @property
    def cycle(self) -> Cycle:
        """The poll cycle, for figures."""
        return self._cycle

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """What the reader's answers to polls said last; nothing is asked. Raises ConfigError, LinkError; DeviceTimeout where the
        reader is gone and nothing is asked that says so.
        """
        reader = await self._met(device)
        if not reader.facts.online and not any(fact in ("online", "secure") for fact in batch.plan):
            raise reader.gone()
        return [value_of(reader, fact) for fact in batch.plan]

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Vendor code, model, serial and firmware as PDID has them. Raises DeviceError, LinkError."""
        reader = await self._met(device)
        who = reader.facts.identity
        if not reader.facts.online:
            raise reader.gone()
        if who is None:
            raise DeviceMismatch("the reader does not say who it is", next_step="nothing: its events come all the same")
        can = reader.facts.capabilities
        return who.facts() | ({"capabilities": _capabilities(can)} if can else {})

    async def discover(self, units: Sequence[int]) -> AsyncIterator[tuple[Address, Mapping[str, str]]]:
        """See drivers.base.CanDiscover, and `search`. Raises ConfigError, LinkError."""
        for unit in units:
            address = Address(unit)
            if found := await self._in_line(partial(look, self._cycle, address=_number(address))):
                yield address, found

    async def listen(self, device: Listened) -> None:
        """See drivers.listening.CanListen. Raises ConfigError, LinkError; a reader that is gone is listened to all the same."""
        reader = self._reader(device.address)
        self._listened[reader.number] = device
        for told in reader.standing():
            self._tell(reader, device, told)

    async def forget(self, device: Address) -> None:
        """See drivers.listening.CanListen."""
        self._listened.pop(_number(device), None)
        reader = self._readers.pop(_number(device), None)
        if reader is not None:
            self._cycle.forget(reader)

    async def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen. Raises LinkError when the line is gone."""
        while True:
            await self._news.wait()
            self._news.clear()
            turn, self._waiting = self._waiting, []
            if turn:
                yield turn
            if self._running.done():
                self._check()
                return

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """A reader keeps nothing, and is told nothing."""

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """LED, buzzer, text, output, COMSET, KEYSET. A command is sent once: a repeat has its sequence, by which the reader
        knows it. Raises ConfigError, DeviceError, LinkError.
        """
        call: dict[str, Any] = {**operation.call, **inputs}
        code, data = words.command(call)
        reader = await self._met(device)
        if call["command"] == "keyset":
            data = self._new_key(device, reader)
        reply, answer = await self._ordered(reader, code, data)
        if call["command"] == "keyset":
            self._cycle.post(lambda line: reader.begin_anew(line.clock.now()))
            _log.warning("a reader has a key of its own now", device=device.device, address=reader.address)
        if reply == COM:
            return self._moved(reader, answer, follow=bool(call.get("follow", False)))
        if reply == OSTATR:
            return {f"output_{at}": is_on for at, is_on in enumerate(words.statuses(answer))}
        return {} if reply == ACK else {"reply": f"{reply:02X}"}

    def _new_key(self, device: Address, reader: Reader) -> bytes:
        """KEYSET's data. Raises ConfigError where it would go over the wire in clear."""
        if device.secret is None:
            raise ConfigError(
                "there is no key to give the reader", where=device.device, next_step="give the device a secret"
            )
        if not (reader.facts.secure or reader.facts.install):
            step = "set the device's option install to true for as long as the reader takes its key"
            raise ConfigError("a key is never sent in clear", where=device.device, next_step=step)
        return bytes((1, secure.BLOCK)) + key_of(device)

    async def _ordered(self, reader: Reader, code: int, data: bytes) -> tuple[int, bytes]:
        done: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()

        def settle(outcome: tuple[int, bytes] | DeviceError) -> None:
            if done.done():
                return
            if isinstance(outcome, DeviceError):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

        def hand_over(outcome: tuple[int, bytes] | DeviceError) -> None:
            self._loop.call_soon_threadsafe(settle, outcome)

        order = Order(code, data, hand_over)
        self._cycle.post(lambda _line: reader.add(order))
        waiting: set[asyncio.Future[Any]] = {done, self._running}
        await asyncio.wait(waiting, timeout=_ORDER_S, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            return done.result()
        done.cancel()
        self._check()
        raise DeviceTimeout(
            f"the reader's turn did not come within {_ORDER_S:g} s", next_step="look at the line's load"
        )

    async def _in_line(self, job: Callable[[Line], _T]) -> _T:
        """What a job between two commands gives. Raises LinkError."""
        done: asyncio.Future[_T] = self._loop.create_future()

        def settle(outcome: _T) -> None:
            if not done.done():
                done.set_result(outcome)

        def run(line: Line) -> None:
            self._loop.call_soon_threadsafe(settle, job(line))

        self._cycle.post(run)
        waiting: set[asyncio.Future[Any]] = {done, self._running}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            self._check()
        return done.result()

    def _moved(self, reader: Reader, answer: bytes, *, follow: bool) -> Mapping[str, Raw]:
        """COM: where the reader is from now on. The line goes along only when it was told to."""
        if len(answer) < 5:
            raise DeviceRefused("the reader's COM is too short", code=COM, status="BadDeviceFailure")
        address, baud = answer[0] & 0x7F, int.from_bytes(answer[1:5], "little")
        if follow:
            self._cycle.post(lambda line: self._cycle.follow(line, reader, address, baud))
        return {"address": address, "baud": baud}

    async def _met(self, device: Address) -> Reader:
        """The reader, once it answered or is known not to. Raises ConfigError, LinkError."""
        reader = self._reader(device)
        end = self._loop.time() + _FIRST_CONTACT_S
        while not reader.facts.online and reader.facts.changed < reader.patience and self._loop.time() < end:
            self._check()
            self._changed.clear()
            try:
                async with asyncio.timeout_at(min(end, self._loop.time() + 0.1)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._check()
        return reader

    def _reader(self, device: Address) -> Reader:
        """Polled from now on. Raises ConfigError."""
        number = _number(device)
        if number not in self._readers:
            may_install = device.secret is not None and device.options.get("install", "false") == "true"
            key = None
            if device.secret is not None:
                key_of(device)
                key = lambda: key_of(device)  # noqa: E731 - read when it is needed, kept nowhere
            if may_install:
                _log.warning(
                    "install mode: a reader without a key of its own is spoken to with the key that everybody knows",
                    device=device.device, address=number,
                )  # fmt: skip
            self._readers[number] = reader = Reader(number, key, may_install=may_install)
            self._cycle.attend(reader)
        return self._readers[number]

    def _check(self) -> None:
        """Raises LinkError where the cycle has ended."""
        if not self._running.done():
            return
        error = None if self._running.cancelled() else self._running.exception()
        if error is None or isinstance(error, LineInterrupted):
            raise LinkLost("the line was closed", where=self.link.id)
        raise error

    def _from_line(self, reader: Reader, told: list[Told]) -> None:
        """In the line's thread."""
        self._loop.call_soon_threadsafe(self._take, reader, told)

    def _take(self, reader: Reader, told: list[Told]) -> None:
        listened = self._listened.get(reader.number)
        if listened is not None:
            for one in told:
                self._tell(reader, listened, one)
        self._changed.set()

    def _tell(self, reader: Reader, listened: Listened, told: Told) -> None:
        if told.fault:
            self._unread(listened, told.fault)
            return
        source = source_of(listened.events, told.message)
        if source is None or source.event is None:
            return
        data: dict[str, Any] = dict(source.data)
        clear: dict[str, Clear] = {}
        if told.card is not None or told.text is not None:
            if listened.credential is None:
                return
            try:
                card = told.card
                clear["card"] = (
                    listened.credential.of_bits(card.bits) if card else listened.credential.of_text(told.text or "")
                )
            except CredentialError as error:
                self._unread(listened, str(error))
                return
            if card is not None and source.event == "card.read":
                data["bits"] = len(card.bits)
        if source.event == "keypad.entered":
            data["count"] = told.count
        if listened.direction is not None and source.event in ("card.read", "keypad.entered"):
            data["dir"] = listened.direction
        if (
            source.event == "alarm.raised"
            and reader.facts.trouble
            and told.message.get("status") in ("online", "secure")
        ):
            data.setdefault("text", reader.facts.trouble)
        self._told += 1
        # a reader numbers nothing and has no clock: when the line was opened and how many came since tell them apart
        key = f"heard:{self._began_ms}:{self._told}"
        self._waiting.append(Occurrence(listened.address.device, source.event, key, data, clear))
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[0]
            self.dropped += 1
        self._news.set()

    def _unread(self, listened: Listened, reason: str) -> None:
        self.counts.errors["card"] = self.counts.errors.get("card", 0) + 1
        _log.warning("what a reader told could not be read", device=listened.address.device, reason=reason)

    def _wake(self) -> None:
        self._news.set()
        self._changed.set()

    async def close(self) -> None:
        """Ends the cycle."""
        self._cycle.stop()
        await asyncio.wait((self._running,), timeout=1)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


def _number(device: Address) -> int:
    if isinstance(device.unit, int) and 0 <= device.unit <= 126:
        return device.unit
    raise ConfigError(f"{device.unit!r} is no OSDP address", where=device.device, next_step="give 0 to 126 as unit")


def key_of(device: Address) -> bytes:
    """The reader's own key. Raises ConfigError, without it."""
    assert device.secret is not None
    text = secret_text(device.secret).strip()
    if _KEY.fullmatch(text) is None:
        raise ConfigError(
            "the reader's key is not 32 hexadecimal digits", where=device.device, next_step="write the SCBK so"
        )
    key = bytes.fromhex(text)
    if key == secure.INSTALL_KEY:
        step = "make one of its own, as with: openssl rand -hex 16"
        raise ConfigError("the reader's key is the one that everybody knows", where=device.device, next_step=step)
    return key


def value_of(reader: Reader, fact: str) -> Raw | PointFault:
    """What is known of a reader, by the word of a point's address."""
    facts = reader.facts
    if fact == "online":
        return facts.online
    if fact in ("secure", "install"):
        return facts.online and (facts.secure if fact == "secure" else facts.install)
    if not facts.online:
        return PointFault("BadNoCommunication", facts.trouble)
    name, _, number = fact.partition(":")
    value: Raw | None
    if number:
        states: tuple[Raw, ...] = {"input": facts.inputs, "output": facts.outputs, "reader": facts.readers}[name]
        value = states[int(number)] if int(number) < len(states) else None
    elif fact in ("tamper", "power_fault"):
        value = facts.tamper if fact == "tamper" else facts.power
    else:
        value = getattr(facts.identity, fact, None)
    return PointFault("BadNodeIdUnknown", f"the reader does not say its {fact}") if value is None else value


def _capabilities(can: Mapping[int, tuple[int, int]]) -> str:
    return " ".join(f"{function}:{level}/{count}" for function, (level, count) in sorted(can.items()))


@asynccontextmanager
async def open_line(link: LinkConfig, trace: Trace | None) -> AsyncIterator[OsdpSession]:
    """Opens the line, and closes it at the end. Raises LinkError."""
    owner = LineOwner(link, masking(trace), gap_chars=GAP_CHARS)
    session: OsdpSession | None = None
    try:
        await owner.open()
        session = OsdpSession(owner)
        yield session
    finally:
        if session is not None:
            await session.close()
        await owner.close()
