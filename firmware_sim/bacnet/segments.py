"""Segmented messages: a long answer in windows with retransmission, a long request put together. Source: clause 5.4 and 20.1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from firmware_sim.bacnet import npdu

Key = tuple[Hashable, int]
"""(peer, invoke id)."""
TIMEOUT_S, TRIES, WINDOW = 2.0, 3, 8


@dataclass(slots=True)
class Answer:
    """A long acknowledgement on its way to `key`."""

    service: int
    parts: list[bytes]
    send: Callable[[bytes], None]
    lose: Callable[[int], bool]
    """Whether the segment of this number gets lost."""
    base: int = 0
    window: int = 1
    """The first segment goes alone, the client then says how many it takes at once."""
    tries: int = TRIES
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Segmented:
    """Long answers and requests under way, at most `most` of each."""

    timeout_s: float = TIMEOUT_S
    most: int = 64
    answers: dict[Key, Answer] = field(default_factory=dict)
    requests: dict[Key, list[bytes]] = field(default_factory=dict)

    def begin(self, key: Key, answer: Answer) -> None:
        """Sends the first segment; the rest follows its acknowledgement."""
        if key in self.answers or len(self.answers) >= self.most:
            return
        self.answers[key] = answer
        self._send_window(key, answer)

    def acknowledged(self, key: Key, number: int, window: int) -> None:
        """A SegmentACK: go on after segment `number` (modulo 256), `window` at once."""
        answer = self.answers.get(key)
        if answer is None:
            return
        last = next((at for at in range(answer.base - 1, answer.base + answer.window) if at & 0xFF == number), None)
        if last is None:
            return
        answer.base, answer.window, answer.tries = last + 1, max(1, min(window, WINDOW)), TRIES
        if answer.base >= len(answer.parts):
            self.drop(key)
        else:
            self._send_window(key, answer)

    def _send_window(self, key: Key, answer: Answer) -> None:
        if answer.timer is not None:
            answer.timer.cancel()
        for at in range(answer.base, min(answer.base + answer.window, len(answer.parts))):
            if not answer.lose(at):
                more = at + 1 < len(answer.parts)
                answer.send(npdu.segment_of(key[1], answer.service, at, WINDOW, answer.parts[at], more=more))
        answer.timer = asyncio.get_running_loop().call_later(self.timeout_s, self._late, key)

    def _late(self, key: Key) -> None:
        answer = self.answers.get(key)
        if answer is None:
            return
        answer.tries -= 1
        if answer.tries <= 0:
            self.drop(key)
        else:
            self._send_window(key, answer)

    def drop(self, key: Key) -> None:
        """The answer is through, or nobody wants it any more."""
        answer = self.answers.pop(key, None)
        if answer is not None and answer.timer is not None:
            answer.timer.cancel()

    def stop(self) -> None:
        for key in list(self.answers):
            self.drop(key)
        self.requests.clear()

    def take(self, key: Key, number: int, part: bytes, *, more: bool) -> tuple[bytes | None, bytes]:
        """One segment of a request: (the whole of it, once it is there; the SegmentACK to send)."""
        if number == 0:
            while len(self.requests) >= self.most:
                self.requests.pop(next(iter(self.requests)))
            self.requests[key] = []
        parts = self.requests.get(key)
        if parts is None or number != len(parts) & 0xFF:
            held = (len(parts) - 1) & 0xFF if parts else 0
            return None, npdu.segment_ack(key[1], held, 1, negative=True)
        parts.append(part)
        acknowledgement = npdu.segment_ack(key[1], number, 1)
        if more:
            return None, acknowledgement
        del self.requests[key]
        return b"".join(parts), acknowledgement
