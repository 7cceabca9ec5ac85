"""Reads devices on an open link: plans when needed, reads batch after batch, and makes acquisitions of them.

A Reader exists as long as its session. It decides neither when to read nor what a failure means for a device: it raises
DeviceError when a device gave nothing, LinkError when the link is gone, ConfigError when a device cannot be read as described.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import structlog

from device_profiles.errors import DeviceError, DeviceTimeout
from device_profiles.reading import Acquisition
from drivers.base import (
    Batch,
    CanCount,
    CanLearn,
    CanLocate,
    CanSubscribe,
    Driver,
    LinkConfig,
    Session,
    SpeaksMany,
)
from edge_agent.clock import Clock
from edge_agent.form import Form
from edge_agent.polling.polled import Group, Polled
from edge_agent.polling.recalling import Recaller
from edge_agent.polling.schedule import Entry

TOGETHER_S = 1.0
"""Batches of a device that end within this share one acquisition."""
_log = structlog.get_logger("poller")


class Outcome(NamedTuple):
    """What a read of a group brought: when its last batch ended, how long that took, the status of what failed of it, and the
    batches to ask for again soon: those of a device that was busy, and for a mark those that failed."""

    at: float
    t_ms: int
    rtt_s: float
    status: str | None
    missing: tuple[tuple[Batch, Form], ...]


class Reader:
    """One open session. `interrupt` is awaited between two batches: commands do not wait for a whole device."""

    def __init__(
        self,
        session: Session,
        driver: Driver,
        link: LinkConfig,
        clock: Clock,
        interrupt: Callable[[Polled], Awaitable[None] | None],
    ) -> None:
        self.session = session
        self._driver = driver
        self._link = link
        self._clock = clock
        self._interrupt = interrupt
        self._locator = session if isinstance(session, CanLocate) else None
        self._learner = session if isinstance(session, CanLearn) else None
        self.recaller: Recaller | None = None
        """Told of every device that was heard, where devices remember."""
        self.subscriber = session if isinstance(session, CanSubscribe) else None

    def wire(self) -> Mapping[str, Any]:
        """What went over the link since it was opened; empty where the session does not count."""
        return asdict(self.session.counts) if isinstance(self.session, CanCount) else {}

    async def prepare(self, polled: Polled) -> None:
        """Locates what has to be located, plans, and reads what the values depend on."""
        points, driver = polled.device.points, self._driver
        if isinstance(driver, SpeaksMany):
            driver = driver.speaking(polled.device.protocol)
        if self._locator is not None and polled.layout is None and self._locator.needs_locating(points):
            polled.learn(await self._locator.locate(polled.address, points))
        polled.plan(driver, polled.device.on(self._link))
        if polled.params is not None:
            await self.read_params(polled.params)

    async def read(self, group: Group, entry: Entry[Group]) -> Outcome:
        """Reads a group's batches and hands over what they bring, also when the link breaks on the way."""
        clock, polled = self._clock, group.polled
        normalizer, address = polled.normalizer, polled.address
        mark_ms = entry.mark_ms if group.is_aligned else None
        acquisition: Acquisition | None = None
        began = now = rtt_s = 0.0
        t_ms = 0
        failed: list[tuple[Form, DeviceError]] = []
        missing: list[tuple[Batch, Form]] = []
        try:
            for batch, form in group.missing or group.batches:
                before = clock.monotonic()
                try:
                    heard = await self.session.read(address, batch)
                except DeviceError as error:
                    failed.append((form, error))
                    if group.is_aligned:
                        missing.append((batch, form))
                    if acquisition is None and isinstance(error, DeviceTimeout):
                        raise  # nobody there: the other batches would cost a time limit each
                    continue
                now = clock.monotonic()
                rtt_s = now - before
                if acquisition is None or now - began > TOGETHER_S:
                    polled.emit(acquisition)
                    began, t_ms = now, polled.next_stamp()
                    acquisition = Acquisition(polled.device.id, t_ms, mark_ms=mark_ms)
                if group.is_audit and polled.subscription is not None:
                    polled.subscription.audit(batch.points, heard, now)
                normalizer.take(form, heard, t_ms, acquisition, marked=mark_ms is not None, late=entry.is_late)
                if normalizer.has_later:
                    missing.append((batch, form))
                waiting = self._interrupt(polled)
                if waiting is not None:
                    await waiting
            if acquisition is None and failed:
                raise failed[0][1]
            for form, failure in failed:
                normalizer.fail(form, failure.status, t_ms, acquisition)  # type: ignore[arg-type]  # it is there: some batch was heard
        finally:
            polled.emit(acquisition)
        self._learn(polled)
        return Outcome(now, t_ms, rtt_s, failed[0][1].status if failed else None, tuple(missing))

    async def read_params(self, group: Group) -> None:
        """Reads ratios and serial number. What a device does not say of them stays as it was."""
        for batch, _ in group.batches:
            heard = await self.session.read(group.polled.address, batch)
            group.polled.take_params(batch, heard, self._clock.wall_ms())
        group.polled.emit(None)

    async def subscribe(self, polled: Polled) -> bool:
        """Offers the device's points to it. True when other points are reported from now on. Raises LinkError."""
        subscription = polled.subscription
        if self.subscriber is None or subscription is None or not subscription.offered:
            return False
        subscription.begin(self._clock.monotonic())
        try:
            taken = await self.subscriber.subscribe(polled.address, subscription.offered, polled.layout)
        except DeviceError as error:
            _log.info("a device takes no subscription", device=polled.device.id, reason=str(error))
            taken = frozenset()
        return subscription.took(taken)

    async def probe(self, polled: Polled) -> None:
        """Asks for the cheapest batch, only to hear whether the device answers."""
        batches = [batch for group in polled.groups if not group.is_suspect for batch, _ in group.batches]
        if batches:
            await self.session.read(polled.address, min(batches, key=_cost))

    def _learn(self, polled: Polled) -> None:
        if self._learner is None or polled.is_gone:
            return
        layout = self._learner.learned(polled.address)
        if layout is not None:
            _log.info("a device's map was corrected", device=polled.device.id, layout=dict(layout))
            polled.learn(layout)


def _cost(batch: Batch) -> int:
    return batch.request_bytes + batch.reply_bytes
