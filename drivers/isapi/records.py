"""The records that an access terminal keeps, read by their number (AcsEvent search).

Source: Hikvision, ISAPI Developer Guide (Access Control on Person), POST /ISAPI/AccessControl/AcsEvent?format=json: pages of
at most 30, told apart by searchID. Which terminals know beginSerialNo: source: unverified.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import DeviceMismatch
from drivers.http_client import HttpClient
from drivers.http_points import parsed

from .messages import Message, of_record

PATH = "/ISAPI/AccessControl/AcsEvent?format=json"
PAGE = 30
HIGHEST = 3_000_000_000
"""Terminals say so in their capabilities (serialNo, @max)."""
_MOST_PAGES = 200_000
_EVER = {"startTime": "1970-01-01T00:00:00+00:00", "endTime": "2037-12-31T23:59:59+00:00"}
"""Optional by the guide, and asked for by some firmware: source: unverified."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `total` is how many records fit the search."""

    messages: tuple[Message, ...]
    count: int
    total: int
    is_last: bool


async def search(
    client: HttpClient,
    where: str,
    *,
    begin: int = 0,
    end: int = HIGHEST,
    position: int = 0,
    most: int = PAGE,
    search_id: str,
    is_timed: bool = False,
) -> Page:
    """One page of the records from number `begin` to `end`; `is_timed`: says that all times are meant. Raises DeviceError,
    LinkError.
    """
    condition: dict[str, Any] = {
        "searchID": search_id, "searchResultPosition": position, "maxResults": most, "major": 0, "minor": 0,
        "timeReverseOrder": False,
    }  # fmt: skip
    if begin:
        condition["beginSerialNo"] = begin
        condition["endSerialNo"] = end
    if is_timed:
        condition |= _EVER
    body = json.dumps({"AcsEventCond": condition}).encode()
    reply = await client.request("POST", PATH, body=body, content_type="application/json", limit=1 << 20, where=where)
    found = parsed(reply, PATH, where)
    answer = found.get("AcsEvent") if isinstance(found, dict) else None
    if not isinstance(answer, dict):
        raise DeviceMismatch("the answer to a search for records holds none", where=where)
    records = answer.get("InfoList") or []
    if not isinstance(records, list) or len(records) > 1000:
        raise DeviceMismatch("the answer to a search for records is no list of them", where=where)
    messages = tuple(
        message for each in records if (message := of_record(each)) is not None and message.serial is not None
    )
    total = answer.get("totalMatches")
    return Page(
        messages=messages,
        count=len(records),
        total=total if isinstance(total, int) else len(records),
        is_last=answer.get("responseStatusStrg") != "MORE" or not records,
    )


async def kept(client: HttpClient, where: str, *, is_timed: bool = False) -> tuple[int, int] | None:
    """(oldest, newest) number in the memory; None when it is empty. Raises DeviceError, LinkError.

    Records come in the order of time: where the newest has a lower number than the oldest, the numbers began anew, at 1.
    """
    search_id = _new_id()
    first = await search(client, where, most=1, search_id=search_id, is_timed=is_timed)
    if not first.messages:
        return None
    last = first
    if first.total > 1:
        at = first.total - 1
        last = await search(client, where, position=at, most=1, search_id=search_id, is_timed=is_timed)
    oldest = first.messages[0].serial or 0
    newest = (last.messages or first.messages)[-1].serial or 0
    return (oldest if oldest <= newest else min(1, newest)), newest


async def after(
    client: HttpClient, number: int, newest: int, where: str, *, is_timed: bool = False
) -> AsyncIterator[list[Message]]:
    """The records above `number`, up to `newest`, by their number upwards, a page at a time. Raises DeviceError, LinkError.

    Each page is a search of its own from the last record on: what the device overwrites meanwhile moves nothing. A terminal that
    does not know beginSerialNo gives all it has, page by page, and those below are passed over.
    """
    begin, position, search_id = number + 1, 0, _new_id()
    knows_begin = True
    for _ in range(_MOST_PAGES):
        page = await search(
            client, where, begin=begin, end=newest, position=position, search_id=search_id, is_timed=is_timed
        )
        serials = [message.serial or 0 for message in page.messages]
        fresh = {message.serial or 0: message for message in page.messages if begin <= (message.serial or 0) <= newest}
        if fresh:
            yield [fresh[serial] for serial in sorted(fresh)]
        if page.is_last:
            return
        knows_begin = knows_begin and min(serials, default=begin) >= begin
        begin = max(fresh, default=begin - 1) + 1
        if knows_begin and fresh:
            position, search_id = 0, _new_id()
        else:
            position += page.count
    raise DeviceMismatch("its search for records has no end", where=where)


def _new_id() -> str:
    return secrets.token_hex(8)
