"""Finds BACnet devices and what they hold: who answers Who-Is, who they are, their objects, one device's objects in full.

Asks several devices at once, never two behind one router's network, never one twice. Object lists are read once and kept by
device and Database_Revision. Prints nothing. Source: ANSI/ASHRAE 135-2020, clauses 16.10 (Who-Is) and 12 (objects).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_profiles.bacnet import COMMANDABLE, MAX_INSTANCE, OBJECT_NAMES, OBJECT_TYPES, VALUE_TYPES
from device_profiles.errors import DeviceError

from . import locate, names, quality, tags, units, values
from .bulk import BulkReader, text_of, unsigned_of
from .client import BacnetClient, Peer
from .codec import Ref, Result
from .tags import ObjectId

_P = names.PROPERTIES
_DEVICE = 8
_MOST_OBJECTS = 50_000
_AT_ONCE = 20
"""Objects of a device that are looked at in one go; so often a progress bar moves."""
_TEXTS = frozenset({13, 14, 19})
_BINARY = frozenset({3, 4, 5})
_WITH_UNITS = frozenset({0, 1, 2, 12, 23, 24, 45, 46, 48})
_VALUES = frozenset({2, 5, 19, 40, 45, 46, 48})
"""Object types that may have a priority array, or not."""

Progress = Callable[[int, int], None]
"""Called with (done, all)."""


@dataclass(frozen=True, slots=True)
class Station:
    """One device that said I-Am, and who it says it is. `problem` is why it did not say."""

    peer: Peer
    facts: Mapping[str, str] = field(default_factory=dict)
    """`vendor`, `model`, `firmware`, `software`, `serial`, `name`, `vendor_id`, as far as it says them."""
    revision: int | None = None
    """Database_Revision."""
    services: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """Objects by type, the device object not among them."""
    problem: str = ""
    is_duplicate: bool = False
    """True when another station has the same instance."""

    @property
    def objects(self) -> int:
        """How many objects it holds."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """One object of a device. `value` is its present value as text; `status` as `quality` names it, "" where it has no flags."""

    kind: str
    instance: int
    name: str
    description: str = ""
    unit: int | None = None
    ucum: str | None = None
    texts: Mapping[int, str] = field(default_factory=dict)
    value: float | int | bool | str | None = None
    status: str = ""
    is_commandable: bool = False
    """It has a priority array."""

    @property
    def reference(self) -> str:
        """As `analog-input:3`."""
        return f"{self.kind}:{self.instance}"

    @property
    def shown(self) -> str:
        """The value for people: state texts, unit."""
        if self.value is None:
            return ""
        text = self.texts.get(int(self.value)) if isinstance(self.value, int) else None
        shown = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        return f"{shown} {text}" if text else f"{shown} {self.ucum}" if self.ucum and self.ucum != "1" else shown


# Who is there.


async def find_stations(
    client: BacnetClient,
    *,
    low: int | None = None,
    high: int | None = None,
    networks: Sequence[int] = (),
    wait_s: float = 3.0,
    heard: Callable[[int], None] | None = None,
) -> list[Station]:
    """Every station that says I-Am within the time, by instance and address. Asks twice: a datagram may be lost, and devices
    that all answer at once lose some. Raises LinkError.
    """
    found: dict[tuple[int, str], Peer] = {}

    def on_i_am(peer: Peer) -> None:
        if low is not None and high is not None and not low <= peer.instance <= high:
            return
        if networks and _network(peer) not in networks:
            return
        found[peer.instance, peer.address] = peer
        if heard is not None:
            heard(len(found))

    ending = client.listen_i_am(on_i_am)
    try:
        targets = [f"{network}:*" for network in networks] or None
        for _ in range(2):
            await client.who_is(low, high, targets)
            await asyncio.sleep(wait_s / 2)
    finally:
        ending()
    claims = Counter(instance for instance, _ in found)
    ordered = sorted(found.items())
    return [Station(peer, is_duplicate=claims[instance] > 1) for (instance, _), peer in ordered]


def _network(peer: Peer) -> int:
    """The number of the network behind a router; 0 for our own."""
    network, separator, _ = peer.address.partition(":0x")
    return int(network) if separator else 0


async def describe(
    client: BacnetClient,
    stations: Sequence[Station],
    *,
    cache: ObjectCache | None = None,
    with_counts: bool = True,
    progress: Progress | None = None,
) -> list[Station]:
    """The stations with who they are and what they hold; one that does not answer says so in `problem`. Raises LinkError."""
    at_once = asyncio.Semaphore(client.own.parallel)
    lanes: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
    described: dict[int, Station] = {}

    async def one(at: int, station: Station) -> None:
        lane = str(_network(station.peer) or station.peer.address)
        async with lanes[lane], at_once:
            described[at] = await _described(client, station, cache, with_counts=with_counts)
        if progress is not None:
            progress(len(described), len(stations))

    async with asyncio.TaskGroup() as group:
        for at, station in enumerate(stations):
            group.create_task(one(at, station), name=f"bacnet describe {station.peer.instance}")
    return [described[at] for at in range(len(stations))]


async def _described(
    client: BacnetClient, station: Station, cache: ObjectCache | None, *, with_counts: bool
) -> Station:
    peer = station.peer
    try:
        found = await locate.facts(client, peer)
        there = await object_list(client, peer, found, cache) if with_counts else []
    except DeviceError as error:
        return Station(peer, problem=error.what, is_duplicate=station.is_duplicate)
    counts = Counter(OBJECT_NAMES.get(one.kind, str(one.kind)) for one in there if one.kind != _DEVICE)
    return Station(
        peer, found["identity"], found["revision"], tuple(found["services"]), dict(sorted(counts.items())),
        is_duplicate=station.is_duplicate,
    )  # fmt: skip


# What they hold.


class ObjectCache:
    """Object lists in files, one a device. What is damaged, of another device or of another revision counts as not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, peer: Peer, found: Mapping[str, Any]) -> list[ObjectId] | None:
        """The list of this device as it is now; None where it must be read."""
        if found["revision"] is None:
            return None
        try:
            kept = json.loads(self._path(peer).read_text(encoding="utf-8"))
            if kept["key"] != _key(found):
                return None
            pairs = [ObjectId(int(kind), int(instance)) for kind, instance in kept["objects"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pairs if all(0 <= one.kind <= 1023 and 0 <= one.instance <= MAX_INSTANCE for one in pairs) else None

    def put(self, peer: Peer, found: Mapping[str, Any], there: Sequence[ObjectId]) -> None:
        """Keeps the list. A cache that cannot be written is no error: the list is read again next time."""
        if found["revision"] is None:
            return
        document = json.dumps({"key": _key(found), "objects": there})
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(dir=self.folder, suffix=".new")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(document)
            os.replace(path, self._path(peer))

    def _path(self, peer: Peer) -> Path:
        return self.folder / f"{peer.instance}.json"


def _key(found: Mapping[str, Any]) -> list[Any]:
    identity = found["identity"]
    return [found["revision"], *(identity.get(fact, "") for fact in ("vendor", "model", "serial", "name"))]


async def object_list(
    client: BacnetClient,
    peer: Peer,
    found: Mapping[str, Any],
    cache: ObjectCache | None = None,
    progress: Progress | None = None,
) -> list[ObjectId]:
    """The objects of a device, at most 50,000. `found` is what `locate.facts` gave. Raises DeviceError, LinkError."""
    kept = None if cache is None else cache.get(peer, found)
    if kept is not None:
        return kept
    reader = BulkReader(client, peer)
    result = await reader.array(Ref(_DEVICE, peer.instance, _P["object-list"]), progress)
    there = [element.value for element in result.elements if isinstance(element.value, ObjectId)][:_MOST_OBJECTS]
    if cache is not None and there:
        cache.put(peer, found, there)
    return there


async def walk(
    client: BacnetClient, peer: Peer, there: Sequence[ObjectId], progress: Progress | None = None
) -> list[ObjectFacts]:
    """Every object with name, description, unit, state texts, present value and status. Raises DeviceError, LinkError."""
    reader = BulkReader(client, peer)
    objects = [one for one in there if one.kind != _DEVICE]
    described: list[ObjectFacts] = []
    for first in range(0, len(objects), _AT_ONCE):
        part = objects[first : first + _AT_ONCE]
        refs = [Ref(*one, prop) for one in part for prop in _properties(one.kind)]
        results: defaultdict[ObjectId, dict[int, Result]] = defaultdict(dict)
        for result in await reader.read(refs):
            results[ObjectId(result.ref.kind, result.ref.instance)][result.ref.prop] = result
        described += [_facts(one, results[one]) for one in part]
        if progress is not None:
            progress(len(described), len(objects))
    return described


def _properties(kind: int) -> list[int]:
    wanted = [_P["object-name"], _P["description"]]
    if OBJECT_NAMES.get(kind) in VALUE_TYPES:
        wanted += [_P["present-value"], _P["status-flags"]]
    if kind in _WITH_UNITS:
        wanted.append(_P["output-units"] if kind == OBJECT_TYPES["loop"] else _P["units"])
    if kind in _BINARY:
        wanted += [_P["inactive-text"], _P["active-text"]]
    if kind in _TEXTS:
        wanted.append(_P["state-text"])
    if kind in _VALUES:
        wanted.append(_P["relinquish-default"])
    return wanted


def _facts(one: ObjectId, results: Mapping[int, Result]) -> ObjectFacts:
    kind = OBJECT_NAMES.get(one.kind, str(one.kind))
    unit = (
        unsigned_of(results.get(_P["units"]))
        if one.kind != OBJECT_TYPES["loop"]
        else unsigned_of(results.get(_P["output-units"]))
    )
    flags = results.get(_P["status-flags"])
    has_flags = flags is not None and bool(flags.elements)
    return ObjectFacts(
        kind=kind,
        instance=one.instance,
        name=text_of(results.get(_P["object-name"])),
        description=text_of(results.get(_P["description"])),
        unit=unit,
        ucum=None if unit is None else units.ucum(unit),
        texts=_texts(one.kind, results),
        value=_value(kind, results.get(_P["present-value"])),
        status=quality.quality(values.flags_of(flags))[0] if has_flags else "",
        is_commandable=kind in COMMANDABLE or _has(results, "relinquish-default"),
    )


def _has(results: Mapping[int, Result], prop: str) -> bool:
    result = results.get(_P[prop])
    return result is not None and result.error is None


def _texts(kind: int, results: Mapping[int, Result]) -> dict[int, str]:
    if kind in _BINARY:
        pair = [text_of(results.get(_P[prop])) for prop in ("inactive-text", "active-text")]
        return {at: text for at, text in enumerate(pair) if text}
    result = results.get(_P["state-text"])
    told = [element.value for element in result.elements] if result is not None else []
    return {at: text for at, text in enumerate(told, 1) if isinstance(text, str) and text}


def _value(kind: str, result: Result | None) -> float | int | bool | str | None:
    if result is None or len(result.elements) != 1 or result.elements[0].form != tags.APPLICATION:
        return None
    value = result.elements[0].value
    if isinstance(value, int) and VALUE_TYPES.get(kind) == "bool":
        return int(value)
    return value if isinstance(value, bool | int | float | str) else None
