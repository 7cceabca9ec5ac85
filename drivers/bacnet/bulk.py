"""Reads any number of properties of one device, one request at a time: for discovery, schedules and whatever is read once.

Finds out by asking how many fit one ReadPropertyMultiple, and reads one by one where the device has no such service. What the
device refuses of a single property is that property's result, never an exception. No schedule, no cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from device_profiles.errors import DeviceMismatch, DeviceRefused

from . import codec, names, tags
from .client import BacnetClient, Peer
from .codec import Ref, Result

_ABORT_CODES = {1: 51, 2: 52, 3: 53, 4: 54, 8: 124, 9: 125, 10: 126, 11: 123}
"""Error codes of class communication that say the same as an abort's reason (clause 21, Error)."""
_MOST = 200
_OCTETS = 40
"""What one property takes in an answer, about."""
_ELEMENTS = 25
_MOST_ELEMENTS = 100_000


class BulkReader:
    """What was learned of a device while reading it."""

    def __init__(self, client: BacnetClient, peer: Peer) -> None:
        self.client = client
        self.peer = peer
        self.has_multiple = True
        can_segment = peer.segmentation in ("both", "transmit")
        self.at_once = _MOST if can_segment else max(1, (peer.max_apdu - 20) // _OCTETS)

    async def read(self, refs: Sequence[Ref], progress: Callable[[int], None] | None = None) -> list[Result]:
        """The results in the order of `refs`; `progress` hears how many came. Raises DeviceTimeout, DeviceMismatch, LinkError."""
        results: list[Result] = []
        while len(results) < len(refs):
            part = refs[len(results) : len(results) + (self.at_once if self.has_multiple else 1)]
            found = await self._some(part)
            if found is None:
                continue  # learned: the next try is another one
            results += found
            if progress is not None:
                progress(len(found))
        return results

    async def _some(self, refs: Sequence[Ref]) -> list[Result] | None:
        """One request's results; None when it has to be asked in another way."""
        if not self.has_multiple or len(refs) == 1:
            return [await self.one(refs[0])]
        try:
            reply = await self.client.confirmed(self.peer, codec.READ_MULTIPLE, codec.encode_read_multiple(refs))
        except DeviceRefused as error:
            if error.code in (names.REJECTED + 9, 67):  # the reject, and the error that some send in its place
                self.has_multiple = False
            else:  # too much at once, or a device that refuses all for the sake of one
                self.at_once = max(1, len(refs) // 2)
            return None
        try:
            results = codec.decode_read_multiple_ack(reply)
        except tags.BacnetError as error:
            raise self._mismatch(str(error)) from error
        if [result.ref for result in results] != list(refs):
            raise self._mismatch(f"{len(results)} results that are not those of the {len(refs)} properties asked for")
        return results

    async def one(self, ref: Ref) -> Result:
        """One property. What the device refuses is the result's error. Raises DeviceTimeout, DeviceMismatch, LinkError."""
        try:
            reply = await self.client.confirmed(self.peer, codec.READ_PROPERTY, codec.encode_read(ref))
        except DeviceRefused as error:
            return Result(ref, error=error_of(error))
        try:
            result = codec.decode_read_ack(reply)
        except tags.BacnetError as error:
            raise self._mismatch(str(error)) from error
        if result.ref != ref:
            raise self._mismatch(f"an answer about {result.ref} where {ref} was asked")
        return result

    async def array(self, ref: Ref, progress: Callable[[int, int], None] | None = None) -> Result:
        """A whole array or list; element by element where it does not fit one answer. `progress` hears (read, all)."""
        whole = await self.one(ref)
        if whole.error is None or whole.error[0] != 7:
            return whole
        size = unsigned_of(await self.one(Ref(*ref[:3], 0)))
        if size is None or size > _MOST_ELEMENTS:
            return whole
        elements: list[codec.Element] = []
        self.at_once = min(self.at_once, max(1, self.peer.max_apdu // _ELEMENTS))
        for first in range(1, size + 1, 100):
            part = [Ref(*ref[:3], at) for at in range(first, min(first + 100, size + 1))]
            for result in await self.read(part):
                elements += result.elements  # one that vanished meanwhile has none
            if progress is not None:
                progress(min(first + 99, size), size)
        return Result(ref, tuple(elements))

    def _mismatch(self, what: str) -> DeviceMismatch:
        return DeviceMismatch(what, where=f"device {self.peer.instance} at {self.peer.address}")


def error_of(error: DeviceRefused) -> tuple[int, int]:
    """A refusal as error class and code; aborts and rejects are of class 7 (communication)."""
    if error.code >= names.REJECTED:
        return 7, 69
    if error.code >= names.ABORTED:
        return 7, _ABORT_CODES.get(error.code - names.ABORTED, 56)
    return 0, error.code


def text_of(result: Result | None) -> str:
    """A character string; "" for everything else."""
    value = value_of(result)
    return value if isinstance(value, str) else ""


def unsigned_of(result: Result | None) -> int | None:
    """An unsigned or enumerated value; None for everything else."""
    value = value_of(result)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def value_of(result: Result | None) -> tags.Primitive:
    """The first element's value; None where there is none."""
    if result is None or not result.elements or result.elements[0].form != tags.APPLICATION:
        return None
    value = result.elements[0].value
    return None if isinstance(value, tuple) and not hasattr(value, "_fields") else value  # type: ignore[return-value]
