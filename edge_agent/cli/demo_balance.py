"""What became of the messages of a run: stored, still in the agent's spool, or lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from edge_agent.spool.entry import Entry, Kind
from gateway.contract.messages import Telemetry


class Balance(NamedTuple):
    """In messages; `undelivered_values` is how many values those hold that have not been delivered."""

    lost: int
    undelivered: int
    undelivered_values: int


def balance(epoch: str, last_seq: int, ledger: Mapping[str, Mapping[str, Any]], waiting: Iterable[Entry]) -> Balance:
    """`epoch` and `last_seq` are the running agent's, `ledger` is the gateway's by epoch, `waiting` what lay in the spool before
    that was asked. Of an epoch that a kill ended, only what the store has later numbers of, or the spool holds, is known.
    """
    missing = last_seq - ledger.get(epoch, {"messages": 0})["messages"]
    missing += sum(b - a + 1 for name, known in ledger.items() if name != epoch for a, b in known["missing"])
    undelivered = [entry for entry in waiting if not _is_stored(entry, ledger)]
    counted = sum(entry.epoch == epoch or _is_before_end(entry, ledger) for entry in undelivered)
    return Balance(missing - counted, len(undelivered), sum(map(_values_of, undelivered)))


def _is_before_end(entry: Entry, ledger: Mapping[str, Mapping[str, Any]]) -> bool:
    return entry.epoch in ledger and entry.seq <= ledger[entry.epoch]["last"]


def _is_stored(entry: Entry, ledger: Mapping[str, Mapping[str, Any]]) -> bool:
    return _is_before_end(entry, ledger) and not any(a <= entry.seq <= b for a, b in ledger[entry.epoch]["missing"])


def _values_of(entry: Entry) -> int:
    if entry.kind is Kind.EVENT:
        return 0
    told = msgspec.json.decode(entry.payload, type=Telemetry)
    return len(told.s) + sum(flag.val is not None for flag in told.x)
