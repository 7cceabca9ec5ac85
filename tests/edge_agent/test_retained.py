"""Retained documents: what is published, when, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_agent.retained import Retained


class Broker:
    """Takes what is published; answers when told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.waiting: list[Callable[[int], None]] = []
        self.memory: dict[str, Any] = {}
        self.is_full = False

    def publish(self, rest: str, payload: bytes, on_ack: Callable[[int], None]) -> bool:
        if self.is_full:
            return False
        self.sent.append((rest, payload))
        self.waiting.append(on_ack)
        return True

    def remember(self, rest: str, mark: int | None) -> None:
        if mark is None:
            self.memory.pop(rest, None)
        else:
            self.memory[rest] = mark

    def answer(self, reason: int = 0) -> None:
        waiting, self.waiting = self.waiting, []
        for on_ack in waiting:
            on_ack(reason)

    def documents(self) -> Retained:
        """As after a start of the agent."""
        return Retained(self.publish, dict(self.memory), self.remember)


def test_changes_are_coalesced_while_one_is_on_its_way() -> None:
    broker = Broker()
    documents = broker.documents()
    documents.connected(False)
    for number in range(5):
        documents.set("site", b"%d" % number)
    assert broker.sent == [("site", b"0")]
    broker.answer()
    assert broker.sent[1:] == [("site", b"4")]
    broker.answer()
    documents.catch_up()
    assert len(broker.sent) == 2


def test_session_present_spares_what_the_broker_has_even_after_a_restart() -> None:
    broker = Broker()
    documents = broker.documents()
    documents.set("site", b"s")
    documents.set("dev/a/meta", b"m")
    documents.set("dev/a/state", b"st")
    documents.connected(False)
    broker.answer()
    broker.sent.clear()
    again = broker.documents()
    again.set("site", b"s")
    again.set("dev/a/meta", b"m2")
    again.set("dev/a/state", b"st")
    again.connected(True)
    assert broker.sent == [("dev/a/meta", b"m2"), ("dev/a/state", b"st")]  # of states only that they exist is kept
    again.disconnected()
    broker.sent.clear()
    again.connected(False)
    assert [rest for rest, _ in broker.sent] == ["site", "dev/a/meta", "dev/a/state"]


def test_device_that_is_gone_takes_its_documents_with_it() -> None:
    broker = Broker()
    documents = broker.documents()
    for what in ("meta", "state", "last"):
        documents.set(f"dev/a/{what}", b"x")
    documents.set("dev/b/meta", b"x")
    documents.connected(False)
    broker.answer()
    broker.sent.clear()
    documents.set("dev/a/meta", b"")
    assert broker.sent == [("dev/a/meta", b"")]
    broker.answer()
    later = broker.documents()
    later.set("dev/b/meta", b"x")
    later.connected(True)
    assert sorted(broker.sent[1:]) == [("dev/a/last", b""), ("dev/a/state", b"")]
    broker.answer()
    assert set(broker.memory) == {"dev/b/meta"}


def test_lost_on_the_way_is_sent_with_the_next_connection() -> None:
    broker = Broker()
    documents = broker.documents()
    documents.connected(False)
    documents.set("site", b"s")
    documents.disconnected()
    broker.answer(0x100)
    documents.connected(True)
    assert broker.sent == [("site", b"s")] * 2


def test_refused_is_not_repeated_until_it_changes_or_we_reconnect() -> None:
    broker = Broker()
    documents = broker.documents()
    documents.connected(False)
    documents.set("site", b"s")
    broker.answer(0x87)
    documents.catch_up()
    assert len(broker.sent) == 1
    documents.set("site", b"t")
    assert len(broker.sent) == 2
    broker.answer(0x87)
    documents.connected(True)
    assert len(broker.sent) == 3


def test_full_queue_is_tried_again() -> None:
    broker = Broker()
    documents = broker.documents()
    documents.connected(False)
    broker.is_full = True
    documents.set("site", b"s")
    broker.is_full = False
    documents.catch_up()
    assert broker.sent == [("site", b"s")]


def test_an_alarm_that_was_cleared_while_nobody_could_say_so_is_taken_back() -> None:
    broker = Broker()
    documents = broker.documents()
    documents.connected(False)
    for rest in ("dev/door-1/meta", "alarm/door-1/tamper", "alarm/door-1/power"):
        documents.set(rest, b"x")
    broker.answer()
    later = broker.documents()
    later.set("dev/door-1/meta", b"x")
    later.set("alarm/door-1/power", b"x")
    broker.sent.clear()
    later.connected(True)
    assert broker.sent == [("alarm/door-1/tamper", b"")]
