"""Hears what the devices of one link report and makes acquisitions of it: no task, no form and no message a change.

Several changes of one device that arrive in one turn share an acquisition; a second change of the same point begins another, so
that nothing is lost. It polls nothing: what is not reported any more goes back to the schedule by `lost`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from device_profiles.reading import Acquisition
from drivers.base import CanSubscribe, Change, Unsubscribed
from edge_agent.clock import Clock
from edge_agent.polling.polled import Polled

GATHER_S = 0.02
"""Between two turns: what a device reports in one burst shares a message, and the reads of the link have their turn as well."""


class Listener:
    """One a session. `lost` is told of points that a device does not report any more, and why."""

    def __init__(
        self,
        session: CanSubscribe,
        devices: Mapping[str, Polled],
        clock: Clock,
        lost: Callable[[Polled, Sequence[str], str], None],
    ) -> None:
        self._session = session
        self._devices = devices
        self._clock = clock
        self._lost = lost

    async def run(self) -> None:
        """Until the session ends."""
        async for turn in self._session.changes():
            self.take(turn)
            await self._clock.sleep(GATHER_S)

    def take(self, turn: Sequence[Change | Unsubscribed]) -> None:
        """What arrived in one turn, oldest first."""
        now = self._clock.monotonic()
        taken: dict[str, Acquisition] = {}
        for item in turn:
            polled = self._devices.get(item.device)
            if polled is None:
                continue
            if isinstance(item, Unsubscribed):
                self._lost(polled, item.points, item.reason)
                continue
            subscription, places = polled.subscription, polled.places
            if subscription is None:
                continue
            out = taken.get(item.device)
            for name, raw in zip(item.points, item.values, strict=True):
                subscription.hear(name, raw, now)
                place = places.get(name)
                if place is None:
                    continue
                if out is None:
                    out = taken[item.device] = Acquisition(item.device, polled.next_stamp())
                elif name in out.good or (out.flagged and _is_in(name, out)):
                    another = Acquisition(item.device, polled.next_stamp())
                    polled.normalizer.hear(place[0], place[1], raw, another.t_ms, another)
                    if another.good or another.flagged:
                        polled.emit(out)
                        out = taken[item.device] = another
                    continue
                polled.normalizer.hear(place[0], place[1], raw, out.t_ms, out)
        for device_id, out in taken.items():
            polled = self._devices[device_id]
            polled.last_ok_ms = out.t_ms
            polled.emit(out)


def _is_in(point: str, acquisition: Acquisition) -> bool:
    return any(flagged.point == point for flagged in acquisition.flagged)
