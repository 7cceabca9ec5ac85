"""What the demo's last line calls lost, and what only not yet delivered."""

from __future__ import annotations

import pytest

from edge_agent.cli.demo_balance import Balance, balance
from edge_agent.spool.entry import Entry, Kind
from gateway.contract.messages import Flag, Telemetry, encode


def entry(epoch: str, seq: int, kind: Kind = Kind.TELEMETRY) -> Entry:
    told = Telemetry(
        cls="c", epoch=epoch, seq=seq, meta="m", clk="ntp", t=1, s={"a": 1.0, "b": 2.0},
        x=[Flag(p="c", q=2), Flag(p="d", q=1, val=3.0)],
    )  # fmt: skip
    return Entry(seq, epoch, seq, kind, "d", "", 1, encode(told) if kind is Kind.TELEMETRY else b"{}")


def of(last: int, *missing: tuple[int, int]) -> dict[str, object]:
    return {"last": last, "missing": list(missing), "messages": last - sum(b - a + 1 for a, b in missing)}


@pytest.mark.parametrize(
    ("ledger", "waiting", "expected"),
    [
        ({"now": of(10)}, [], Balance(0, 0, 0)),
        ({}, [], Balance(10, 0, 0)),
        ({}, [entry("now", seq) for seq in range(1, 11)], Balance(0, 10, 30)),
        ({"now": of(8)}, [entry("now", 9)], Balance(1, 1, 3)),
        ({"now": of(8)}, [entry("now", 9), entry("now", 10, Kind.EVENT)], Balance(0, 2, 3)),
        ({"now": of(10, (3, 4))}, [entry("now", 4)], Balance(1, 1, 3)),
        ({"now": of(10)}, [entry("now", 10)], Balance(0, 0, 0)),
        ({"now": of(10), "old": of(5, (2, 3))}, [], Balance(2, 0, 0)),
        ({"now": of(10), "old": of(5, (2, 3))}, [entry("old", 2), entry("old", 3), entry("old", 6)], Balance(0, 3, 9)),
        ({"now": of(10)}, [entry("old", 1)], Balance(0, 1, 3)),
    ],
)
def test_a_message_is_stored_waits_or_is_lost(
    ledger: dict[str, dict[str, object]], waiting: list[Entry], expected: Balance
) -> None:
    assert balance("now", 10, ledger, waiting) == expected
