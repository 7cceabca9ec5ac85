"""What slaves may still have to say on a line: whether a telegram that comes can be an older request's. Pure.

An acknowledgement is one byte without a name, and a telegram does not tell which request it answers; but a slave answers in
order. So behind a telegram that did not come in time a slave is initialised until more acknowledgements came than can be left
over from before: one of them then follows that telegram, which cannot come any more.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

_MANY = 300
"""So many slaves are remembered before those are forgotten that owe nothing any more: a search asks thousands of addresses."""


@dataclass(slots=True)
class _Slave:
    asked: list[float] = field(default_factory=list)
    """When it was asked for acknowledgements since its last telegram that came in time. Any that came may be another's."""
    telegram: float | None = None
    """When it was asked for a telegram that did not come."""
    proofs: int = 0
    """Acknowledgements that came for it since."""

    @property
    def last(self) -> float:
        """When anything was asked of it last."""
        return max(*self.asked[-1:], self.telegram or 0.0, 0.0)


class Debts:
    """Of all slaves of one line. Nothing comes later than `forget_s` after it was asked for. Times are monotonic seconds."""

    def __init__(self, forget_s: float) -> None:
        self._forget_s = forget_s
        self._slaves: dict[Hashable, _Slave] = {}

    def asks_acknowledgement(self, slave: Hashable, now: float) -> None:
        """One is about to be asked for."""
        if len(self._slaves) > _MANY:
            self._slaves = {key: one for key, one in self._slaves.items() if now - one.last < 2 * self._forget_s}
        asked = self._slaves.setdefault(slave, _Slave()).asked
        asked[:] = [when for when in asked if now - when < 2 * self._forget_s] + [now]

    def acknowledged(self, slave: Hashable) -> None:
        """One came where `slave` was asked."""
        self._slaves[slave].proofs += 1

    def misses_telegram(self, slave: Hashable, asked: float) -> None:
        """The telegram that was asked for at this time did not come, or was none."""
        debtor = self._slaves.setdefault(slave, _Slave())
        debtor.telegram, debtor.proofs = asked, 0

    def answered(self, slave: Hashable) -> None:
        """The telegram came that was asked for: nothing older of this slave can."""
        self._slaves.pop(slave, None)

    def may_send_telegram(self, slave: Hashable, now: float) -> bool:
        """Whether a telegram of this slave that comes now may be an older request's."""
        debtor = self._slaves.get(slave)
        if debtor is None or debtor.telegram is None:
            return False
        since = debtor.telegram
        left_over = sum(
            1
            for key, one in self._slaves.items()
            for when in one.asked
            if when > since - self._forget_s and (key != slave or when < since)
        )
        if now - since < self._forget_s and debtor.proofs <= left_over:
            return True
        debtor.telegram = None
        return False

    def do_others_owe(self, slave: Hashable, now: float) -> bool:
        """Whether a telegram of another slave than this may still come."""
        return any(
            one.telegram is not None and now - one.telegram < self._forget_s
            for key, one in self._slaves.items()
            if key != slave
        )
