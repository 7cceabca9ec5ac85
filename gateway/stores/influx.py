"""The InfluxDB store: raw line protocol to version 1, 2 or 3, and what the HTTP API asks of it.

One write is at most two requests, because events have times in nanoseconds. A line that the store refuses is found by halving and
returned; all others are stored. Everything else that a store may say is told in `influx_http`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from device_profiles.errors import StoreError
from gateway.stores import line
from gateway.stores.base import (
    Bucket,
    EventRow,
    Latest,
    LedgerRow,
    QualityRow,
    Refused,
    RowBatch,
    Samples,
    Step,
    StoreHealth,
)
from gateway.stores.influx_http import Answer, InfluxHttp, InfluxSettings, Verdict, reason_of
from gateway.stores.influx_read import Questions, dialect_of

__all__ = ["InfluxSettings", "InfluxStore"]

Lines = list[tuple[int, bytes]]
"""(position in the batch, line)."""


class InfluxStore:
    """See `gateway.stores.base.Store`."""

    name: ClassVar[str] = "influx"

    def __init__(self, settings: InfluxSettings) -> None:
        self.settings = settings
        self._http = InfluxHttp(settings)
        self._questions = Questions(dialect_of(self._http))
        self._rows = 0
        self._refused = 0

    async def open(self) -> None:
        self._http.open()

    async def close(self) -> None:
        await self._questions.close()
        await self._http.close()

    async def health(self) -> StoreHealth:
        try:
            await self._questions.ping()
        except StoreError as error:
            return StoreHealth(False, str(error))
        return StoreHealth(True)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def write(self, batch: RowBatch) -> list[Refused]:
        refused: list[Refused] = []
        in_ms: Lines = []
        in_ns: Lines = []
        for index, row in enumerate(batch.rows):
            try:
                text, is_ns = line.encode(row)
            except line.Unencodable as error:
                refused.append(Refused(index, "control" if "control" in str(error) else "malformed", str(error)))
            else:
                (in_ns if is_ns else in_ms).append((index, text))
        # Events first: the ledger rows, which vouch for all of it, are among the others.
        for lines, is_ns in ((in_ns, True), (in_ms, False)):
            if lines:
                refused += await self._put(lines, is_ns)
        self._rows += len(batch) - len(refused)
        self._refused += len(refused)
        return refused

    async def _put(self, lines: Lines, in_ns: bool) -> list[Refused]:
        """Stores what can be stored; returns the rest."""
        answer = await self._send(lines, in_ns)
        if answer.verdict is Verdict.STORED:
            return []
        if answer.verdict is Verdict.TOO_LARGE:
            if len(lines) == 1:
                return [_refused(lines[0], "size", answer.text)]
            half = len(lines) // 2
            return await self._put(lines[:half], in_ns) + await self._put(lines[half:], in_ns)
        return await self._isolate(lines, in_ns, answer)

    async def _isolate(self, lines: Lines, in_ns: bool, answer: Answer) -> list[Refused]:
        """Finds the refused lines of a refused body, each with log2(n) + 1 requests, and stores all others.

        The first bad line is searched by halves; whatever is sent on the way and accepted is stored and never sent again.
        """
        refused: list[Refused] = []
        while lines:
            low, high, said = 0, len(lines), answer.text
            while high - low > 1:
                middle = (low + high) // 2
                part = await self._send(lines[low:middle], in_ns)
                if part.verdict is Verdict.STORED:
                    low = middle
                else:
                    high, said = middle, part.text
            refused.append(_refused(lines[low], reason_of(said), said))
            lines = lines[low + 1 :]
            if lines:
                answer = await self._send(lines, in_ns)
                if answer.verdict is Verdict.STORED:
                    break
                if answer.verdict is Verdict.TOO_LARGE:
                    refused += await self._put(lines, in_ns)
                    break
        return refused

    async def _send(self, lines: Lines, in_ns: bool) -> Answer:
        return await self._http.put(b"\n".join([text for _, text in lines]), in_ns=in_ns)

    def figures(self) -> Mapping[str, float]:
        return {
            "rows_total": self._rows,
            "refused_total": self._refused,
            "requests_total": self._http.requests,
            "sent_bytes_total": self._http.bytes_sent,
        }

    # --- reading ------------------------------------------------------------------------------------------------------

    async def latest(self, site: str | None = None, device: str | None = None) -> list[Latest]:
        return await self._questions.latest(site, device)

    async def samples(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, *, limit: int = 100_000
    ) -> Samples:
        return await self._questions.samples(site, device, points, t0_ms, t1_ms, limit)

    async def buckets(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, step: Step
    ) -> dict[str, list[Bucket]]:
        return await self._questions.buckets(site, device, points, t0_ms, t1_ms, step)

    async def quality(
        self, site: str, device: str, t0_ms: int, t1_ms: int, *, point: str | None = None, before: bool = True
    ) -> list[QualityRow]:
        return await self._questions.quality(site, device, t0_ms, t1_ms, point, before)

    async def events(
        self,
        t0_ms: int,
        t1_ms: int,
        *,
        site: str | None = None,
        device: str | None = None,
        types: Sequence[str] = (),
        limit: int = 1000,
    ) -> list[EventRow]:
        return await self._questions.events(t0_ms, t1_ms, site, device, types, limit)

    async def ledger(self, agent: str, *, t0_ms: int = 0) -> list[LedgerRow]:
        return await self._questions.ledger(agent, t0_ms)


def _refused(found: tuple[int, bytes], reason: str, text: str) -> Refused:
    index, raw = found
    return Refused(index, reason, text.strip()[:400], raw.decode("utf-8", "replace"))
