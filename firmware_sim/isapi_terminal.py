"""A simulated access terminal of the ISAPI family: a door, a reader, and a memory of records. Own code, no driver's.

It tells each record in its alert stream as JSON, keeps the last `room` of them under growing numbers, and answers searches for
them thirty at a time. With `replays` it tells the newest old ones again to whoever begins to listen, as real ones do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from aiohttp import web

from .isapi import IsapiHost, between, status

_LOCKED, _UNLOCKED = 0, 1
_COMMANDS = ("open", "close", "alwaysOpen", "alwaysClose")
_PAGE = 30


class Terminal(IsapiHost):
    """One door. `knows_begin` False is firmware that ignores beginSerialNo."""

    realm = "DS-K1T671"
    model = "DS-K1T671M"
    kind = "ACS"
    firmware = "V3.2.30"

    def __init__(
        self, *, port: int = 0, user: str = "admin", password: str = "", room: int = 100_000, open_s: float = 5.0
    ) -> None:
        super().__init__(port=port, user=user, password=password, serial="DS-K1T671M0000000000SIM")
        self.room = room
        self.open_s = open_s
        self.records: list[dict[str, Any]] = []
        self.next_serial = 1
        self.is_deaf = False
        """Records are kept and not told: the network was away."""
        self.knows_begin = True
        self.replays = 0
        self.has_search = True
        """False is firmware that answers notSupport to searches for records."""
        self.needs_times = False
        """True is firmware that finds a search without times incomplete."""
        self.door_open = False
        self.locked = True
        self.mode = 4
        """1 sleeps, 2 stays open, 3 stays closed, 4 normal."""
        self.searches = 0
        self._relock: asyncio.TimerHandle | None = None

    def record(self, major: int, minor: int, **more: Any) -> int:
        """Something happens; gives its number."""
        serial, self.next_serial = self.next_serial, self.next_serial + 1
        kept = {
            "major": major, "minor": minor, "time": self.stamp(), "doorNo": 1, "cardReaderNo": 1, "serialNo": serial,
            "type": 0, "mask": "no", **more,
        }  # fmt: skip
        self.records.append(kept)
        if len(self.records) > self.room:
            del self.records[: len(self.records) - self.room]
        if not self.is_deaf:
            self.say(self._json(kept, is_current=True), 'application/json; charset="UTF-8"')
        return serial

    def swipe(self, card: str, *, is_known: bool = True) -> int:
        """A card at the reader: minor 1 opens, 9 knows no such card."""
        if not is_known:
            return self.record(5, 9, cardNo=card)
        serial = self.record(5, 1, cardNo=card, employeeNoString="1001", name="Somebody")
        self.unlock()
        return serial

    async def cards(self, every_s: float) -> None:
        """A morning: one card after the other, now and then one that nobody knows."""
        for number in itertools.count():
            await asyncio.sleep(every_s)
            self.swipe(str(1_000_000 + number % 50), is_known=number % 9 != 8)

    def unlock(self) -> None:
        """The lock opens for its time."""
        self.locked = False
        if self._relock is not None:
            self._relock.cancel()
        self._relock = asyncio.get_running_loop().call_later(self.open_s, self._lock)

    def _lock(self) -> None:
        if self.mode != 2:
            self.locked = True

    def clear(self) -> None:
        """Its memory is wiped, and numbers begin anew."""
        self.records.clear()
        self.next_serial = 1

    def begin(self, queue: asyncio.Queue[bytes | None]) -> None:
        for kept in self.records[-self.replays :] if self.replays else ():
            queue.put_nowait(self._part(self._json(kept, is_current=False).encode(), "application/json"))

    def _json(self, kept: dict[str, Any], *, is_current: bool) -> str:
        told = {
            **{key: value for key, value in kept.items() if key not in ("major", "minor", "time")},
            "deviceName": "Access Controller", "majorEventType": kept["major"], "subEventType": kept["minor"],
            "currentEvent": is_current,
        }  # fmt: skip
        return json.dumps(
            {
                "ipAddress": "127.0.0.1", "portNo": 80, "protocol": "HTTP", "channelID": 1, "dateTime": kept["time"],
                "activePostCount": 1, "eventType": "AccessControllerEvent", "eventState": "active",
                "eventDescription": "Access Controller Event", "AccessControllerEvent": told,
            }
        )  # fmt: skip

    def heartbeat(self) -> str:
        return json.dumps(
            {"dateTime": self.stamp(), "activePostCount": 0, "eventType": "heartBeat", "eventState": "active"}
        )

    async def more(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/ISAPI/AccessControl/AcsWorkStatus":
            return web.json_response(
                {
                    "AcsWorkStatus": {
                        "doorLockStatus": [_LOCKED if self.locked else _UNLOCKED],
                        "doorStatus": [self.mode],
                        "magneticStatus": [int(self.door_open)],
                        "caseStatus": [],
                        "powerSupplyStatus": "ACPowerSupply",
                        "hostAntiDismantleStatus": "close",
                        "cardReaderOnlineStatus": [1],
                        "cardNum": 2,
                    }
                }
            )
        if request.path.startswith("/ISAPI/AccessControl/RemoteControl/door/") and request.method == "PUT":
            return self._door(between(await request.text(), "cmd"))
        if request.path == "/ISAPI/AccessControl/AcsEvent" and request.method == "POST":
            self.searches += 1
            if not self.has_search:
                return status(4, "Invalid Operation")
            try:
                if self.needs_times and "startTime" not in (await request.json())["AcsEventCond"]:
                    return web.json_response({"statusCode": 6, "subStatusCode": "badJsonContent"}, status=400)
                return self._search((await request.json())["AcsEventCond"])
            except (ValueError, KeyError, TypeError):
                return status(6, "Invalid Content")
        return await super().more(request)

    def _door(self, command: str) -> web.Response:
        if command not in _COMMANDS:
            return status(6, "Invalid XML Content")
        if command == "open":
            self.unlock()
        else:
            self.mode = {"alwaysOpen": 2, "alwaysClose": 3}.get(command, 4)
            self.locked = command != "alwaysOpen"
        self.record(5, 21 if not self.locked else 22)
        return status(1, "OK")

    def _search(self, condition: dict[str, Any]) -> web.Response:
        begin = int(condition.get("beginSerialNo", 0)) if self.knows_begin else 0
        end = int(condition.get("endSerialNo", 1 << 32)) if self.knows_begin else 1 << 32
        found = [kept for kept in self.records if begin <= kept["serialNo"] <= end]
        if condition.get("timeReverseOrder"):
            found.reverse()
        at = int(condition["searchResultPosition"])
        page = found[at : at + min(int(condition["maxResults"]), _PAGE)]
        answer = {
            "searchID": condition["searchID"],
            "responseStatusStrg": "MORE" if at + len(page) < len(found) else "OK" if page else "NO MATCH",
            "numOfMatches": len(page),
            "totalMatches": len(found),
            "InfoList": page,
        }
        return web.json_response({"AcsEvent": answer})


def obey_terminal(terminal: Terminal, line: str) -> str:
    """An order of standard input: {"op": "swipe", "card": "1234567", "known": true} {"op": "door", "open": true}
    {"op": "record", "major": 5, "minor": 27} {"op": "clear"} {"op": "deaf", "is": true} {"op": "hang_up"}
    {"op": "skew", "s": 90}.
    """
    try:
        order = json.loads(line)
        what = order["op"]
        if what == "swipe":
            terminal.swipe(str(order["card"]), is_known=bool(order.get("known", True)))
        elif what == "door":
            terminal.door_open = bool(order["open"])
            terminal.record(5, 25 if terminal.door_open else 26)
        elif what == "record":
            terminal.record(int(order["major"]), int(order["minor"]))
        elif what == "clear":
            terminal.clear()
        elif what == "deaf":
            terminal.is_deaf = bool(order.get("is", True))
        elif what == "hang_up":
            terminal.hang_up()
        elif what == "skew":
            terminal.skew_s = float(order["s"])
        else:
            return json.dumps({"ok": False, "error": f"there is no order {what!r}"})
    except (ValueError, KeyError, TypeError) as error:
        return json.dumps({"ok": False, "error": f"an order is one JSON object ({error})"})
    return json.dumps({"ok": True, "records": len(terminal.records)})
