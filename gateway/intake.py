"""One batch of ingest: what came, in order, and what it became. Pure but for the caches; no I/O.

It takes each message to rows, to a dead letter, or to nothing, and knows for every message whom to tell what afterwards.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway import check, rows
from gateway.check import Rejection
from gateway.contract import topics
from gateway.contract.messages import Ack
from gateway.inventory import Inventory
from gateway.mqtt import Incoming
from gateway.stores.base import LedgerRow, Refused, RowBatch

_MOST_ROUTES = 50_000
_MOST_SEEN = 512
"""Sequence numbers of an epoch whose bytes are remembered, to notice two messages under one number."""
_MOST_EPOCHS = 1024

Origin = tuple[str, str, str]
"""(site, agent, epoch): whom an acknowledgement is for."""


class Kind(Enum):
    TELEMETRY = auto()
    EVENT = auto()
    DOCUMENT = auto()
    FOREIGN = auto()


@dataclass(frozen=True, slots=True)
class Route:
    """What a topic says, worked out once a topic."""

    kind: Kind
    topic: topics.Parsed | None = None
    site: str = ""
    agent: str = ""
    dev: str = ""
    event_class: str = ""


@dataclass(slots=True)
class Receipt:
    """What is to be told to one (site, agent, epoch)."""

    ok: list[int] = field(default_factory=list)
    dead: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Receipt) -> None:
        self.ok += other.ok
        self.dead += other.dead

    def document(self, epoch: str) -> Ack:
        return Ack(epoch=epoch, ok=ranges(self.ok), dead=sorted(self.dead))


@dataclass(slots=True)
class Dead:
    """A message for the dead-letter file."""

    topic: str
    payload: bytes
    reason: str
    detail: str
    lines: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Intake:
    """The outcome of some messages: rows to write, letters to keep, receipts to send, and all of them to acknowledge."""

    incoming: list[Incoming] = field(default_factory=list)
    batch: RowBatch = field(default_factory=RowBatch)
    origins: list[tuple[Origin, int] | None] = field(default_factory=list)
    """By position of the message: where it came from and its seq."""
    dead: dict[int, Dead] = field(default_factory=dict)
    receipts: dict[Origin, Receipt] = field(default_factory=dict)
    points: int = 0
    acquired_ms: list[int] = field(default_factory=list)
    """Times of the live telemetry in it, for the figure of latency."""

    def note(self, position: int, origin: Origin, seq: int) -> None:
        receipt = self.receipts.get(origin)
        if receipt is None:
            receipt = self.receipts[origin] = Receipt()
        receipt.ok.append(seq)
        self.origins[position] = (origin, seq)

    def bury(self, position: int, reason: str, detail: str) -> None:
        """The message will be a dead letter; its receipt says so."""
        message = self.incoming[position]
        self.dead[position] = Dead(message.topic, message.payload, reason, detail)
        origin = self.origins[position]
        if origin is not None:
            self.receipts[origin[0]].dead.append((origin[1], reason))

    def refuse(self, refused: Iterable[Refused]) -> list[Refused]:
        """Buries the messages behind rows that the store refused. Returns those that no message stands behind."""
        orphans = []
        for row in refused:
            position = self.batch.owners[row.index]
            if position < 0:
                orphans.append(row)
                continue
            if position not in self.dead:
                self.bury(position, row.reason, row.detail)
            if row.line:
                self.dead[position].lines.append(row.line)
        return orphans

    def vouch(self, now_ms: int, vouched_ms: dict[tuple[str, str], int], worker: str = "") -> None:
        """Adds the ledger rows for everything noted so far: they are written with what they vouch for.

        `vouched_ms` is the time of the last row by agent and epoch. Rows of one series need times of their own, or the second
        would replace the first, and batches follow each other faster than the clock ticks.
        """
        ledger: list[LedgerRow] = []
        for (_, agent, epoch), receipt in self.receipts.items():
            at = max(now_ms, vouched_ms.get((agent, epoch), 0) + 1)
            for a, b in ranges(receipt.ok):
                ledger.append(LedgerRow(agent, epoch, a, b, at, worker))
                vouched_ms[agent, epoch] = at
                at += 1
        self.batch.add(ledger, -1)


class Reader:
    """Takes messages in. It keeps what topics mean and which numbers were seen; the inventory answers who may."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._routes: dict[str, Route] = {}
        self._seen: dict[Origin, dict[int, int]] = {}
        self.unregistered = 0
        self.seq_conflicts = 0
        self.dev_conflicts = 0

    def take(self, intake: Intake, message: Incoming, now_ms: int) -> None:
        """Appends one message and what becomes of it. Raises nothing."""
        position = len(intake.incoming)
        intake.incoming.append(message)
        intake.origins.append(None)
        route = self._routes.get(message.topic)
        if route is None:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            route = self._routes[message.topic] = _route(message.topic)
        try:
            if route.kind is Kind.DOCUMENT:
                self._document(intake, position, route, message)
            elif route.kind is Kind.FOREIGN:
                raise Rejection("topic", "no topic of the contract")
            elif not self._inventory.is_registered(route.site, route.agent):
                self.unregistered += 1
                self._inventory.count_refused(route.site, route.agent)
            elif route.kind is Kind.TELEMETRY:
                self._telemetry(intake, position, route, message, now_ms)
            else:
                self._event(intake, position, route, message, now_ms)
        except Rejection as rejection:
            self._reject(intake, position, route, message, rejection)

    def _reject(self, intake: Intake, position: int, route: Route, message: Incoming, rejection: Rejection) -> None:
        if route.kind in (Kind.TELEMETRY, Kind.EVENT) and intake.origins[position] is None:
            said = check.seq_of(message.payload)
            if said is not None:
                intake.note(position, (route.site, route.agent, said[0]), said[1])
        intake.bury(position, rejection.reason, rejection.detail)

    def _telemetry(self, intake: Intake, position: int, route: Route, message: Incoming, now_ms: int) -> None:
        telemetry, text = check.telemetry(message.payload, now_ms)
        origin = (route.site, route.agent, telemetry.epoch)
        intake.note(position, origin, telemetry.seq)
        self._compare(origin, telemetry.seq, message.payload)
        if not self._inventory.saw(route.site, route.agent, route.dev, telemetry.t):
            self.dev_conflicts += 1
            raise Rejection("dev_conflict", f"{route.dev} of {route.site} belongs to another agent")
        intake.batch.add(rows.telemetry_rows(route.site, route.dev, telemetry, text), position)
        intake.points += len(telemetry.s) + len(telemetry.x)
        if route.topic is not None and route.topic.rest[0] == "data":
            intake.acquired_ms.append(telemetry.t)

    def _event(self, intake: Intake, position: int, route: Route, message: Incoming, now_ms: int) -> None:
        event, name, time = check.event(message.payload, now_ms)
        assert route.topic is not None
        check.event_agrees(route.topic, route.dev, route.event_class, event, name)
        origin = (route.site, route.agent, event.epoch)
        intake.note(position, origin, int(event.seq))
        self._compare(origin, int(event.seq), message.payload)
        device = self._inventory.device(route.site, route.dev)
        if device is not None and not self._inventory.may_take(device, route.agent):
            self.dev_conflicts += 1
            raise Rejection("dev_conflict", f"{route.dev} of {route.site} belongs to {device.agent}")
        intake.batch.add([rows.event_row(route.site, route.agent, route.dev, event, name, time)], position)
        self._inventory.saw_agent(route.site, route.agent)

    def _document(self, intake: Intake, position: int, route: Route, message: Incoming) -> None:
        assert route.topic is not None
        is_known = self._inventory.is_registered(route.site, route.agent)
        if not is_known and route.topic.rest != ("status",):
            return  # only that it is there is of interest until it is registered
        reason = self._inventory.take(route.topic, message.payload)
        if reason == "dev_conflict":
            self.dev_conflicts += 1
        if reason is not None:
            intake.bury(position, reason, f"{'/'.join(route.topic.rest)} was not taken")

    def _compare(self, origin: Origin, seq: int, payload: bytes) -> None:
        """Counts a number that came before with other bytes. It is stored all the same."""
        seen = self._seen.get(origin)
        if seen is None:
            if len(self._seen) >= _MOST_EPOCHS:
                del self._seen[next(iter(self._seen))]
            seen = self._seen[origin] = {}
        mark = zlib.crc32(payload)
        before = seen.setdefault(seq, mark)
        if before != mark:
            self.seq_conflicts += 1
        elif len(seen) > _MOST_SEEN:
            del seen[next(iter(seen))]


def _route(topic: str) -> Route:
    parsed = topics.parse(topic)
    if parsed is None or parsed.direction != "up":
        return Route(Kind.FOREIGN)
    dev = check.telemetry_topic(parsed)
    if dev is not None:
        return Route(Kind.TELEMETRY, parsed, parsed.site, parsed.agent, dev)
    event = check.event_topic(parsed)
    if event is not None:
        return Route(Kind.EVENT, parsed, parsed.site, parsed.agent, *event)
    if parsed.rest[0] in ("data", "hist", "event"):
        return Route(Kind.FOREIGN)
    return Route(Kind.DOCUMENT, parsed, parsed.site, parsed.agent)


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """`[3, 1, 2, 2, 7]` -> `[(1, 3), (7, 7)]`."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], number))
        else:
            found.append((number, number))
    return found
