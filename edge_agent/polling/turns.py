"""What a turn of one device on a link does, and what follows from how it went: reads in and out of the schedule, probes, outages.

It decides nothing about the link itself and nothing about who is next: the poller does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from device_profiles.errors import ConfigError, DeviceError
from edge_agent.clock import Clock
from edge_agent.polling.polled import Group, Polled
from edge_agent.polling.reader import Outcome, Reader
from edge_agent.polling.schedule import Entry, Probes, Schedule

_log = structlog.get_logger("poller")


class Turns:
    """The schedule and the probes of one link."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.schedule: Schedule[Group] = Schedule()
        self.probes: Probes[Polled] = Probes(clock.monotonic())
        self.answered_at = clock.monotonic()
        """When any device of the link answered last."""
        self.reads = 0
        self.failed = 0
        self.since_answer = 0
        """Times the link was lost since a device answered on it."""

    def enter(self, polled: Polled) -> None:
        """Puts those reads of a device into the schedule, due now, that are not in it."""
        for group in polled.reads():
            if group.entry is None:
                self._enter_group(group)

    def _enter_group(self, group: Group) -> None:
        now = self._clock.monotonic()
        if group.is_aligned:
            group.entry = self.schedule.add_aligned(group, int(group.period_s), now)
        else:
            group.entry = self.schedule.add(group, group.polled.device.id, group.period_s, now)

    def park(self, polled: Polled) -> None:
        """Takes a device's reads out of the schedule and the probes."""
        for group in polled.reads():
            if group.entry is not None:
                self.schedule.remove(group.entry)
                group.entry = None
        self.probes.remove(polled)

    async def turn(self, reader: Reader, entry: Entry[Group]) -> None:
        """One read of one group, and what follows from how it went. Raises LinkError."""
        group = entry.owner
        polled = group.polled
        is_over = entry.mark_ms is None
        try:
            if not polled.is_planned and not await self._prepare(reader, polled):
                return
            if group.is_care:
                await self._care(reader, polled)
            elif group.is_params:
                await reader.read_params(group)
            elif entry.is_alive:
                outcome = await reader.read(group, entry)
                self._answered(polled, outcome)
                if reader.recaller is not None:
                    reader.recaller.heard(polled, outcome.t_ms, outcome.at, polled.longest_period_s())
                group.heard_at, group.is_failing = outcome.at, False
                group.missing = outcome.missing
                is_over = not outcome.missing
        except DeviceError as error:
            group.is_failing = True
            self._missed(polled, error)
        finally:
            now = self._clock.monotonic()
            if is_over or not self.schedule.retry(entry, now):
                group.missing = ()
                self.schedule.done(entry, now, self._clock.wall_ms() if entry.align_ms else 0)

    async def probe(self, reader: Reader, polled: Polled) -> bool:
        """Asks a device that did not answer; an answer brings all of its reads back. False without one. Raises LinkError."""
        before = self._clock.monotonic()
        try:
            if polled.is_planned or await self._prepare(reader, polled):
                await reader.probe(polled)
        except DeviceError as error:
            self._missed(polled, error)
            now = self._clock.monotonic()
            self.probes.done(polled, now, now - before)
            return False
        self.probes.remove(polled)
        if polled.is_gone:
            return True
        if polled.state == "down":
            self.park(polled)
            self.enter(polled)
        else:
            self._hasten(polled)
        return True

    async def _prepare(self, reader: Reader, polled: Polled) -> bool:
        """Gets a device ready to be read. False when it cannot be read as it is described."""
        for group in polled.groups:
            if group.is_suspect and group.entry is not None:
                self.schedule.remove(group.entry)
        try:
            await reader.prepare(polled)
        except ConfigError as error:
            _log.error("a device cannot be read", device=polled.device.id, reason=str(error))
            polled.down("BadConfigurationError", error.what)
            self.park(polled)
            return False
        if polled.is_gone:
            return True
        if reader.subscriber is not None:
            polled.offer()
        self.enter(polled)
        return True

    async def _care(self, reader: Reader, polled: Polled) -> None:
        """Subscribes what is not reported, or not reported well, when it is time to."""
        subscription = polled.subscription
        if subscription is None:
            return
        now = self._clock.monotonic()
        missed = subscription.check(now)
        if missed:
            _log.warning(
                "a device did not report changes", device=polled.device.id, points=missed[:5], count=len(missed)
            )
        if subscription.is_due(now) and await reader.subscribe(polled) and not polled.is_gone:
            self._regroup(polled)

    def lost(self, polled: Polled, points: Sequence[str], reason: str) -> None:
        """Points that a device does not report any more are polled from now on."""
        if polled.subscription is not None and polled.subscription.lost(points):
            _log.info("a device reports less", device=polled.device.id, count=len(points), reason=reason)
            self._regroup(polled)

    def afresh(self, polled: Polled) -> None:
        """The link is open again, or the device gone: nothing is reported any more."""
        if polled.subscription is not None and polled.subscription.over():
            self._regroup(polled)
        elif polled.subscription is not None:
            polled.is_planned = False  # the next turn subscribes

    def _regroup(self, polled: Polled) -> None:
        """Other points are reported than before: the reads are formed anew, all due now."""
        for group in polled.groups:
            if group.entry is not None:
                self.schedule.remove(group.entry)
        polled.regroup()
        if polled.state not in ("down", "disabled") and not polled.is_gone:
            self.enter(polled)

    def _answered(self, polled: Polled, outcome: Outcome) -> None:
        self.reads += 1
        self.since_answer = 0
        self.answered_at = outcome.at
        if polled.answered(outcome.at, outcome.t_ms, outcome.rtt_s, outcome.status):
            _log.info("a device is back", device=polled.device.id)
        if polled in self.probes:
            self.probes.remove(polled)

    def _missed(self, polled: Polled, error: DeviceError) -> None:
        self.failed += 1
        if polled.missed(error.status, error.what):
            _log.info("a device is down", device=polled.device.id, reason=str(error))
            self.afresh(polled)
        if polled.state == "down":
            self.park(polled)
        if not polled.is_gone:
            self.probes.add(polled, self._clock.monotonic())

    def _hasten(self, polled: Polled) -> None:
        """What a device just did not say is asked for at once: its heartbeat slot may not be left empty."""
        now = self._clock.monotonic()
        for group in polled.groups:
            if group.entry is not None and not group.is_aligned:
                group.entry = self.schedule.hasten(group.entry, now)

    def put_back(self, entries: Iterable[Entry[Group]]) -> None:
        """Reads that could not begin keep their turns."""
        for entry in entries:
            self.schedule.put_back(entry)
