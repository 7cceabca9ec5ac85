"""Rows of the ledger are one series an agent and epoch: two with one time would be one row of InfluxDB."""

from __future__ import annotations

from gateway.intake import Intake, Receipt
from gateway.stores.base import LedgerRow


def taken(*seqs: int) -> Intake:
    intake = Intake()
    receipt = intake.receipts.setdefault(("hq", "gw-01", "7Q2XK9M4TB"), Receipt())
    receipt.ok.extend(seqs)
    return intake


def test_batches_within_one_millisecond_have_times_of_their_own() -> None:
    vouched: dict[tuple[str, str], int] = {}
    rows: list[LedgerRow] = []
    for intake, now_ms in ((taken(1, 2, 5), 1000), (taken(3), 1000), (taken(4, 7), 1001), (taken(6), 1500)):
        intake.vouch(now_ms, vouched)
        rows += [row for row in intake.batch.rows if isinstance(row, LedgerRow)]
    times = [row.t_ms for row in rows]
    assert len(set(times)) == len(times) == 6
    assert times == sorted(times)
    assert times[-1] == 1500, "the clock goes before what was counted"
