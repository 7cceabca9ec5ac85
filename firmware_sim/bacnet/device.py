"""One simulated BACnet device: its objects over a world, what it answers to a request, and what is wrong with it. No sockets."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Sequence

from firmware_sim.bacnet import names, npdu, services, tags
from firmware_sim.bacnet.faults import BacnetFaults
from firmware_sim.bacnet.models import BacnetModel
from firmware_sim.bacnet.objects import PropertyFault, SimObject
from firmware_sim.bacnet.special import About, Calendar, DeviceObject, Schedule, TrendLog, build_object, local_clock
from firmware_sim.bacnet.subscriptions import Subscription, Subscriptions
from firmware_sim.bacnet.tags import TagError
from firmware_sim.clock import Now

Peer = Hashable
"""How a server reaches whoever sent a request; equal for the same sender."""


class BacnetDevice:
    """A device that answers. Belongs to one server and one event loop."""

    CACHE = 64
    """Answers kept while no value moves, so that a device that is asked the same again costs little."""

    def __init__(
        self,
        model: BacnetModel,
        *,
        id: str,
        instance: int | None = None,
        name: str = "",
        prefix: str | None = None,
        seed: int = 0,
        now: Now,
        utc_offset_s: float = 0.0,
    ) -> None:
        self.model, self.id = model, id
        self.faults = BacnetFaults(seed)
        self.rng = random.Random(seed)
        self.now, self._monotonic = now, time.monotonic
        self.about = About(
            model.vendor, model.vendor_id, model.model_name, model.firmware, f"SN{seed % 10_000_000:07}", model.max_apdu,
            model.segmentation, utc_offset_min=int(utc_offset_s // 60), restarted_at=now(),
        )  # fmt: skip
        self.world = model.world(seed, utc_offset_s)
        self.world.step(now(), 0.0)  # so that it is known what its programme commands
        local = local_clock(now, utc_offset_s)
        self._objects = {
            one.key: one for one in (build_object(row, local) for row in model.rows(prefix or model.prefix))
        }
        self.me = DeviceObject(
            model.instance if instance is None else instance, name or id, self.about, local,
            object_keys=lambda: [self.me.key, *self._objects], services=self.services(),
        )  # fmt: skip
        self._givers = [one for one in self._objects.values() if one.slots is not None or one.row.writes]
        self._join()
        self.subscriptions: Subscriptions[Peer] = Subscriptions(model.max_subscriptions)
        self.requests = 0
        self._refreshed = float("-inf")
        self._answers: dict[bytes, bytes] = {}
        self.on_write: Callable[[], object] = lambda: None
        """Called after a write, so that subscribers hear of it at once."""

    def _join(self) -> None:
        """Schedules find what they command, logs what they record."""
        calendar = next((one for one in self._objects.values() if isinstance(one, Calendar)), None)
        for one in self._objects.values():
            if isinstance(one, Schedule | TrendLog) and one.row.of:
                kind, _, number = one.row.of.partition(":")
                one.target = self._objects[names.object_id(names.KINDS[kind], int(number))]
            if isinstance(one, Schedule):
                one.calendar = calendar
            elif isinstance(one, TrendLog):
                one.device_key = self.me.key

    @property
    def instance(self) -> int:
        return self.me.row.instance

    @property
    def objects(self) -> Sequence[SimObject]:
        return tuple(self._objects.values())

    def services(self) -> list[int]:
        """Confirmed services the device knows."""
        model = self.model
        known = [names.READ_PROPERTY, names.WRITE_PROPERTY, names.REINITIALIZE]
        if model.has_multiple:
            known += [names.READ_MULTIPLE, names.WRITE_MULTIPLE]
        if model.has_cov:
            known.append(names.SUBSCRIBE_COV)
        if model.has_cov_property:
            known.append(names.SUBSCRIBE_COV_PROPERTY)
        if any(row.kind == "TL" for row in model.rows(model.prefix)):
            known.append(names.READ_RANGE)
        return known

    # values

    def find(self, key: int) -> SimObject | None:
        if key == self.me.key or key == names.object_id(8, names.ANY_INSTANCE):
            return self.me
        return self._objects.get(key)

    def object(self, kind: str, instance: int) -> SimObject:
        """By short kind and instance, for tests and orders. Raises KeyError."""
        self.refresh()
        return self._objects[names.object_id(names.KINDS[kind], instance)]

    def refresh(self, *, force: bool = False) -> None:
        """Takes the world's values over as often as the controller does."""
        now = self.now()
        if not force and now - self._refreshed < self.model.refresh_s:
            return
        self._refreshed = now
        world = self.world
        for one in self._givers:
            one.give(world)
        world.advance(now)
        moved = False
        for one in self._objects.values():
            moved |= one.take(world)
        if moved:
            self._answers.clear()

    def written(self, one: SimObject) -> None:
        self._answers.clear()
        one.give(self.world)
        self.on_write()

    def snapshot(self) -> dict[str, float | str]:
        """Every object's value by its name."""
        self.refresh()
        return {one.name: one.value for one in self._objects.values()}

    # requests

    def answer(self, service: int, payload: bytes, invoke: int, peer: Peer, room: int) -> bytes:
        """The whole answer APDU; `room` is how many octets an acknowledgement may have in all its segments."""
        self.requests += 1
        self.refresh()
        try:
            if service in self.me.services:
                return self._served(service, payload, invoke, peer, room)
        except PropertyFault as fault:
            return npdu.error(invoke, service, fault.cause)
        except services.WriteStopped as stop:
            return stop.encode(invoke)
        except services.Rejected as rejected:
            return npdu.reject(invoke, rejected.reason)
        except TagError:
            return npdu.reject(invoke, names.REJECT_TAG)
        return npdu.reject(invoke, names.REJECT_SERVICE)

    def _served(self, service: int, payload: bytes, invoke: int, peer: Peer, room: int) -> bytes:
        if service in (names.READ_PROPERTY, names.READ_MULTIPLE):
            question = bytes((service,)) + payload
            result = self._answers.get(question)
            if result is None:
                result = services.PLAIN[service](self, payload) or b""
                if not self._is_fleeting(payload) and len(self._answers) < self.CACHE:
                    self._answers[question] = result
            return npdu.complex_ack(invoke, service, result)
        if service in (names.SUBSCRIBE_COV, names.SUBSCRIBE_COV_PROPERTY):
            by_property = service == names.SUBSCRIBE_COV_PROPERTY
            self.subscriptions.subscribe(peer, payload, self.find, self._monotonic(), by_property=by_property)
        elif service == names.READ_RANGE:
            return npdu.complex_ack(invoke, service, services.read_range(self, payload, room))
        elif service == names.REINITIALIZE:
            raise PropertyFault(names.PASSWORD_FAILURE)
        else:
            services.PLAIN[service](self, payload)
        return npdu.simple_ack(invoke, service)

    @staticmethod
    def _is_fleeting(payload: bytes) -> bool:
        """The device object tells the time: what asks for it is worked out afresh."""
        return payload[1:2] == b"\x02"  # context tag 0 of four octets, the highest of a device is 02

    def notifications(self) -> list[tuple[Subscription[Peer], bytes]]:
        """What subscribers have to be told now."""
        if not self.subscriptions.held:
            return []
        self.refresh()
        now = self._monotonic()
        return [(one, one.notification(self.me.key, now)) for one in self.subscriptions.due(now)]

    def i_am(self) -> bytes:
        about = self.about
        return (
            bytes((0x10, names.I_AM)) + tags.object_identifier(self.me.key) + tags.unsigned(about.max_apdu)
            + tags.enumerated(about.segmentation) + tags.unsigned(about.vendor_id)
        )  # fmt: skip

    def unconfirmed(self, service: int, payload: bytes) -> bytes | None:
        """The APDU with which a broadcast question is answered; None for silence. Raises TagError."""
        reader = tags.Reader(payload)
        if service == names.WHO_IS:
            low, high = reader.optional(0), reader.optional(1)
            hit = low is None or (high is not None and low <= self.instance <= high)
            return self.i_am() if hit else None
        if service == names.WHO_HAS:
            low, high = reader.optional(0), reader.optional(1)
            if low is not None and not (high is not None and low <= self.instance <= high):
                return None
            found = self._named(reader)
            if found is None:
                return None
            key = tags.object_identifier(self.me.key) + tags.object_identifier(found.key)
            return bytes((0x10, names.I_HAVE)) + key + tags.text(found.name)
        return None  # time synchronisation is taken without a word: the simulated clock is the one that counts

    def _named(self, reader: tags.Reader) -> SimObject | None:
        if reader.is_next(2):
            return self.find(reader.object(2))
        wanted = reader.expect(3)[1:].decode("utf-8", "replace")
        return next((one for one in (self.me, *self._objects.values()) if one.name == wanted), None)

    # what happens to devices

    def restart(self) -> None:
        """Subscriptions are gone, the revision of the database is one higher."""
        self.subscriptions.forget()
        self.about.revision += 1
        self.about.restarted_at, self.about.restart_reason = self.now(), 2
        self._answers.clear()

    def rename(self, name: str) -> None:
        self.me.name = name
        self.about.revision += 1
        self._answers.clear()

    def replace(self) -> None:
        """Another piece of hardware with the same instance: other serial number, model and firmware."""
        self.about.serial = f"SN{self.rng.randrange(10_000_000):07}"
        self.about.model += "-B"
        self.about.firmware = "99.0"
        self.restart()

    def override(self, kind: str, instance: int, value: float | None, priority: int = 5) -> None:
        """Somebody else commands an object, by default above every priority we may take; None lets go. Raises KeyError."""
        one = self.object(kind, instance)
        if one.slots is None:
            raise KeyError(f"{kind}:{instance} has no priority array")
        one.slots[priority - 1] = value
        one.value = one.commanded()
        one.give(self.world)
        self.written(one)
