"""What the control panel knows of one reader, and what it says to it next. Does no I/O and knows no line: bytes in, bytes out.

A conversation begins with sequence 0: who are you, what can you do, the secure channel where a key is configured, the state of
inputs and outputs; then polls. A command that got no answer is repeated byte for byte, which a reader knows by its sequence and
answers again without doing it twice. Three in a row end the conversation. A reader with a key is never spoken to in plain but
for what comes before the channel. Source: SIA OSDP 2.2 (IEC 60839-11-5:2020), section 5.7 to 5.10, annex D.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Callable

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout

from . import frame as wire
from . import secure, words
from .facts import Facts, Order, Phase, Told, changes

POLL, ID, CAP, LSTAT, ISTAT, OSTAT, RSTAT, COMSET = 0x60, 0x61, 0x62, 0x64, 0x65, 0x66, 0x67, 0x6E
ACK, NAK, PDID, PDCAP, LSTATR, ISTATR, OSTATR, RSTATR, COM = 0x40, 0x41, 0x45, 0x46, 0x48, 0x49, 0x4A, 0x4B, 0x54
RAW, FMT, KEYPAD, CCRYPT, RMAC_I, BUSY = 0x50, 0x51, 0x53, 0x76, 0x78, 0x79
CHLNG, SCRYPT = 0x76, 0x77
TRIES = 3
"""So often is a command sent before a reader counts as gone."""
MOST_BUSY = 100
"""BUSY may be answered this often to one command."""
_PROBES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 20.0)
"""Between two attempts to begin with a reader that is gone."""
_SOON_S = 0.05
"""Before a new conversation with a reader that is there."""
_STEADY_S = 1.0
"""A conversation that ends sooner than this was none: the next one is put off as if the reader were gone."""
REFRESH_S = 10.0
"""Each status is asked for so often, one at a time: not every reader tells a change by itself, or the end of a pulse."""
_STATUSES = (LSTAT, ISTAT, OSTAT, RSTAT)
_ANSWERS = {
    ID: PDID, CAP: PDCAP, LSTAT: LSTATR, ISTAT: ISTATR, OSTAT: OSTATR, RSTAT: RSTATR, CHLNG: CCRYPT, SCRYPT: RMAC_I,
    COMSET: COM,
}  # fmt: skip
_NEVER_POLLED = frozenset({PDID, PDCAP, CCRYPT, RMAC_I, COM})
"""Replies that no poll has."""


class Reader:
    """One reader. `key` gives its SCBK (16 bytes) when a channel begins, None for a reader without one."""

    def __init__(self, address: int, key: Callable[[], bytes] | None, *, may_install: bool = False) -> None:
        self.number = self.address = address
        """`address` is another one where the reader was moved by COMSET."""
        self.facts = Facts()
        self.phase = Phase.GONE
        self.due = 0.0
        """When it is to be spoken to next, by the line's clock."""
        self.polled = 0.0
        """When it was spoken to last."""
        self._key = key
        self._may_install = may_install
        self._installing = False
        self._channel: secure.SecureChannel | None = None
        self._keys: tuple[bytes, bytes] | None = None
        """(key, panel's random number) of a channel that is being established."""
        self._sequence = 0
        self._has_crc = True
        self._script: deque[int] = deque()
        self._statuses = deque(_STATUSES)
        """Those that it knows, as far as it said."""
        self._met = self._refreshed = 0.0
        self._orders: deque[Order] = deque()
        self._current: tuple[wire.Frame, bytes] | None = None
        """The command under way: in clear, and as it went out."""
        self._order: Order | None = None
        self._tries = self._busy = self._probes = 0
        self._failed_channels = 0
        self._is_refused = False
        """No channel could be had since the last one: told once."""
        self._mac: bytes = b""

    @property
    def patience(self) -> int:
        """After so many attempts a reader that was never there is taken to be gone."""
        return 4 if self._may_install else 2

    def standing(self) -> list[Told]:
        """What is so now, for somebody who begins to listen."""
        facts = self.facts
        told = [Told({"status": "secure", "active": False})] if self._is_refused else []
        if not facts.online:
            return told
        told.append(Told({"status": "online", "active": True}))
        told += [Told({"status": "secure", "active": True})] if facts.secure or facts.install else []
        told += [Told({"status": "install", "active": facts.install})]
        for name, state in (("tamper", facts.tamper), ("power_fault", facts.power)):
            told += [] if state is None else [Told({"status": name, "active": state})]
        return told

    def add(self, order: Order) -> None:
        """To be sent as soon as possible. A reader that is gone does not take it."""
        if self.phase is not Phase.POLLING:
            order.done(self.gone())
        else:
            self._orders.append(order)
            self.due = 0.0

    def gone(self) -> DeviceTimeout:
        """Why nothing can be said to it."""
        step = "check address, baud rate, wiring (A and B) and supply of the reader"
        return DeviceTimeout(self.facts.trouble or "the reader does not answer", next_step=step)

    def next(self) -> bytes:
        """The bytes to send now. Raises ConfigError where its key cannot be had: see `keyless`."""
        if self._current is None:
            self._current = self._compose()
        self._tries += 1
        return self._current[1]

    def foreign(self, frame: wire.Frame) -> str:
        """Why a frame with this reader's address is no answer to the command under way; empty when it is one."""
        assert self._current is not None
        sent = self._current[0]
        if not frame.is_reply or (frame.code == BUSY and frame.sequence == 0):
            return "" if frame.is_reply else "a command"
        if frame.sequence != sent.sequence:
            return f"an answer with sequence {frame.sequence} where {sent.sequence} is due"
        if frame.mac and self._channel is None:
            return "a signed answer where no channel stands"
        due = _ANSWERS.get(sent.code)
        wrong = frame.code != due if due else sent.code == POLL and frame.code in _NEVER_POLLED
        if wrong and frame.code not in (NAK, BUSY):
            return f"{frame.name} came as an answer to {sent.name}"
        return ""

    @property
    def has_more(self) -> bool:
        """There is more to say to it than that it is polled."""
        return self.phase is not Phase.GONE and bool(self._script or self._orders)

    @property
    def probes(self) -> int:
        """Attempts to begin since it was there."""
        return self._probes

    def missed(self, now: float, why: str) -> list[Told]:
        """Nothing that answers came in time."""
        if self._sequence and self._tries < TRIES:  # the first command of all is a probe: sent once
            self.due = now
            return []
        self.facts.trouble = why
        return self._end(now, DeviceTimeout(why, next_step="check the reader's supply and wiring"))

    def keyless(self, now: float, why: str) -> list[Told]:
        """Its key cannot be read: without it nothing more is said to it."""
        return self._channel_lost(now, why)

    def heard(self, reply: wire.Frame, now: float) -> list[Told]:
        """An answer with this reader's address and the sequence that is due, or BUSY. What it tells is returned."""
        assert self._current is not None
        sent = self._current[0]
        if reply.code == BUSY and not reply.security:
            self._busy += 1
            if self._busy > MOST_BUSY:
                return self._end(now, DeviceTimeout("the reader stays busy", next_step="look whether it hangs"))
            self._tries = 0
            self.due = now + 0.02
            return []
        try:
            plain = self._opened(reply)
        except DeviceMismatch as error:
            return self._channel_lost(now, error.what)
        if plain.code == NAK:
            return self._refused(plain.data[0] if plain.data else 0, sent, now)
        try:
            told = self._understood(plain)
        except DeviceMismatch as error:
            if sent.code in (CHLNG, SCRYPT):
                return self._channel_lost(now, error.what)
            told = [Told({}, fault=error.what)]
        return [*told, *self._answered()]

    # what is said next

    def _compose(self) -> tuple[wire.Frame, bytes]:
        if self.phase is Phase.GONE:
            self._begin()
        elif self._statuses and not self._script and self.polled - self._refreshed > REFRESH_S / len(_STATUSES):
            self._statuses.rotate()
            self._script, self._refreshed = deque((self._statuses[0],)), self.polled
        code, data, security = POLL, b"", b""
        if self._script:
            code = self._script[0]
            data = b"\0" if code in (ID, CAP) else b""
        elif self._orders:
            self._order = self._orders.popleft()
            code, data = self._order.code, self._order.data
        if code == CHLNG:
            panel_random = secrets.token_bytes(secure.RANDOM_SIZE)
            assert self._key is not None
            self._keys = (secure.INSTALL_KEY if self._installing else self._key(), panel_random)
            data, security = panel_random, bytes((0x11, 0 if self._installing else 1))
        elif code == SCRYPT:
            data, security = self._mac, bytes((0x13, 0 if self._installing else 1))
        frame = wire.Frame(self.address, code, data, self._sequence, has_crc=self._has_crc, security=security)
        sealed = self._channel.seal(frame) if self._channel is not None else frame
        return frame, wire.encode(sealed)

    def _begin(self) -> None:
        """From sequence 0. A reader that knows no CRC is found by the checksum at every other attempt."""
        self.phase = Phase.BEGINNING
        self._sequence, self._channel, self._keys = 0, None, None
        self._has_crc = self._probes % 2 == 0 if self.facts.identity is None else self._has_crc
        self._installing = self._may_install and self._failed_channels % 2 == 1
        self._statuses = deque(_STATUSES)
        self._script = deque((ID, CAP, *((CHLNG, SCRYPT) if self._key is not None else ()), *_STATUSES))

    # what was heard

    def _opened(self, reply: wire.Frame) -> wire.Frame:
        if self._channel is None:
            return reply
        if reply.code == NAK and not reply.mac:
            reason = reply.data[0] if reply.data else 0
            raise DeviceMismatch(f"the reader ended it: {words.NAKS.get(reason, f'reason {reason:02X}')}")
        return self._channel.open(reply)

    def _understood(self, reply: wire.Frame) -> list[Told]:
        code, data = reply.code, reply.data
        if self._order is not None:
            self._settle((code, data))
        facts = self.facts
        if code == PDID:
            facts.identity = words.identity(data)
        elif code == PDCAP:
            facts.capabilities = words.capabilities(data)
            # the checksum is always right; the CRC where the reader says that it has it, or showed it by answering
            level = facts.capabilities.get(words.CAP_INTEGRITY, (1, 0))[0]
            self._has_crc = level == 1 or (self._has_crc and words.CAP_INTEGRITY not in facts.capabilities)
        elif code == CCRYPT:
            self._challenge(reply)
        elif code == RMAC_I:
            return self._established(reply)
        elif code == LSTATR and len(data) >= 2:
            tamper, power = words.statuses(data[:2])
            told = changes("tamper", (facts.tamper,), (tamper,)) + changes("power_fault", (facts.power,), (power,))
            facts.tamper, facts.power = tamper, power
            return told
        elif code == ISTATR:
            before, facts.inputs = facts.inputs, words.statuses(data)
            return changes("input", before, facts.inputs)
        elif code == OSTATR:
            before, facts.outputs = facts.outputs, words.statuses(data)
            return changes("output", before, facts.outputs)
        elif code == RSTATR:
            facts.readers = tuple(data)
        elif code == RAW:
            found = words.card(data)
            return [Told({"reply": "card", "reader": found.reader, "format": found.form}, card=found)]
        elif code == FMT:
            number, text = words.characters(data)
            return [Told({"reply": "card", "reader": number, "format": "text"}, text=text)]
        elif code == KEYPAD:
            number, count = words.keys(data)
            return [Told({"reply": "keypad", "reader": number}, count=count)]
        return []

    def _challenge(self, reply: wire.Frame) -> None:
        """CCRYPT: the reader's number, its random number, and the proof that it has the key."""
        assert self._keys is not None
        key, panel_random = self._keys
        if len(reply.data) != 32 or reply.security[:1] != b"\x12":
            raise DeviceMismatch("the reader's answer to the challenge has a wrong form")
        if reply.security[1:] == b"\0" and not self._installing:
            raise DeviceMismatch("the reader has no key of its own yet, only the one that everybody knows")
        reader_random, proof = reply.data[8:16], reply.data[16:]
        keys = secure.session_keys(key, panel_random)
        if not hmac.compare_digest(secure.reader_cryptogram(keys, panel_random, reader_random), proof):
            raise DeviceMismatch("the reader has another key")
        self._mac = secure.panel_cryptogram(keys, panel_random, reader_random)

    def _established(self, reply: wire.Frame) -> list[Told]:
        """RMAC_I: the channel stands."""
        assert self._keys is not None
        keys = secure.session_keys(*self._keys)
        first = secure.initial_mac(keys, self._mac)
        if reply.security[:2] != b"\x14\x01" or not hmac.compare_digest(first, reply.data):
            raise DeviceMismatch("the reader did not take our proof of the key")
        self._channel, self._keys = secure.SecureChannel(keys, first), None
        self.facts.secure, self.facts.install = not self._installing, self._installing
        self.facts.trouble = "the channel has the key that everybody knows" if self._installing else ""
        self._failed_channels = 0
        self._is_refused = False
        return [
            Told({"status": "secure", "active": True, "install": self._installing}),
            Told({"status": "install", "active": self._installing}),
        ]

    def _answered(self) -> list[Told]:
        """On to the next command: sequence 1, 2, 3, 1 ..."""
        sent = self._current[0] if self._current is not None else None
        if sent is not None and self._script and self._script[0] == sent.code:
            self._script.popleft()
        self._sequence = self._sequence % 3 + 1
        self._current = None
        self._tries = self._busy = 0
        if self.phase is not Phase.BEGINNING or self._script:
            if sent is not None and sent.code != POLL:
                self.due = min(self.due, self.polled)  # a card may wait: the poll that this took the place of is due
            return []
        self.phase = Phase.POLLING
        self._met = self.polled
        self._refreshed = self.polled + self.number % 8 * REFRESH_S / len(_STATUSES) / 8  # not all readers at once
        self.facts.online = True
        self.facts.trouble = self.facts.trouble if self.facts.install else ""
        self.facts.changed += 1
        return [Told({"status": "online", "active": True})]

    def _refused(self, reason: int, sent: wire.Frame, now: float) -> list[Told]:
        """NAK, by what it says."""
        why = f"{words.REFUSAL}{sent.name}: {words.NAKS.get(reason, f'reason {reason:02X}')}"
        if reason == words.CHECKSUM:
            return self.missed(now, why)
        if reason == words.SEQUENCE:
            return self._end(
                now,
                DeviceTimeout(why, next_step="nothing: the conversation begins anew"),
                is_soon=self.phase is Phase.POLLING,
            )
        if sent.code in (CHLNG, SCRYPT) or (reason == words.BLOCK and self._channel is not None):
            return self._channel_lost(now, why)
        if reason == words.WANTS_CHANNEL and self._key is None:
            self.facts.trouble = f"{why}; no key is configured for it"
            return self._end(now, DeviceTimeout(self.facts.trouble, next_step="give the device its key as secret"))
        if self._order is not None:
            status = "BadUserAccessDenied" if reason in (words.BLOCK, words.WANTS_CHANNEL) else "BadNotSupported"
            step = "see what the reader can do in its data sheet"
            self._settle(DeviceRefused(why, code=reason, status=status, next_step=step))
        if reason == words.WANTS_CHANNEL and self._channel is None and self._script:
            self._script.append(sent.code)  # who it is, it says within the channel only
        elif sent.code in self._statuses:
            self._statuses.remove(sent.code)
        return self._answered()  # what it does not know is passed over

    def _channel_lost(self, now: float, why: str) -> list[Told]:
        """The conversation begins anew, and never in plain."""
        was_secure = self._channel is not None
        self._failed_channels += not was_secure
        tries_other_key = not was_secure and self._may_install and self._failed_channels % 2 == 1
        self.facts.trouble = f"no secure channel: {why}"
        told = self._end(
            now,
            DeviceTimeout(
                self.facts.trouble, next_step="check the device's key; a new reader is given one with keyset"
            ),
            is_soon=self.phase is Phase.POLLING or tries_other_key,
        )
        news, self._is_refused = not self._is_refused, True
        return [Told({"status": "secure", "active": False}), *told] if news else told

    def _end(self, now: float, error: DeviceError, *, is_soon: bool = False) -> list[Told]:
        """The conversation is over. The next one begins at once, or later with every failure."""
        facts, was_online = self.facts, self.facts.online
        if was_online and now - self._met > _STEADY_S:
            self._probes = 0
        elif was_online:
            is_soon = False
        self.due = now + (_SOON_S if is_soon else _PROBES_S[min(self._probes, len(_PROBES_S) - 1)])
        self._probes += not is_soon
        self.phase = Phase.GONE
        self._current, self._channel, self._keys = None, None, None
        self._tries = self._busy = 0
        facts.online = facts.secure = facts.install = False
        facts.trouble = facts.trouble or error.what
        facts.changed += 1
        self._settle(error)
        while self._orders:
            self._orders.popleft().done(error)
        return [Told({"status": "online", "active": False})] if was_online else []

    def _settle(self, outcome: tuple[int, bytes] | DeviceError) -> None:
        order, self._order = self._order, None
        if order is not None:
            order.done(outcome)

    # what people told it

    def begin_anew(self, now: float) -> None:
        """After KEYSET or COMSET was taken: from sequence 0, with the reader's own key."""
        self._failed_channels = 0
        self._end(now, DeviceTimeout("the reader begins anew", next_step="send it again"), is_soon=True)
