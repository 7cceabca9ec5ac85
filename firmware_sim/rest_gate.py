"""A barrier and a turnstile with a small HTTP controller of its own (JSON), as parking and passage makers build them.

GET /api/status, POST /api/gate {"action": "open" | "close" | "hold" | "release"}, GET /api/info. A gate needs `travel_s` to
move, closes by itself after `open_s` while nothing stands in the loop, and counts who goes through.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from .http_host import HttpHost


class RestGate(HttpHost):
    """One gate. `pass_through` is somebody or something going through it."""

    def __init__(
        self,
        *,
        port: int = 0,
        user: str = "admin",
        password: str = "",
        kind: str = "barrier",
        travel_s: float = 1.0,
        open_s: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(port=port, user=user, password=password)
        self.kind = kind
        self.travel_s = travel_s
        self.open_s = open_s
        self.passes_in = 0
        self.passes_out = 0
        self.obstructed = False
        self.vehicle = False
        self.held = False
        self._clock = clock
        self._target = 0.0
        self._from = (0.0, clock())
        """(position, since when it moves from there): 0 closed, 1 open."""
        self._opened_at = 0.0

    @property
    def position(self) -> float:
        """0 closed to 1 open, now."""
        start, since = self._from
        moved = (self._clock() - since) / self.travel_s if self.travel_s else 1.0
        return min(1.0, start + moved) if self._target else max(0.0, start - moved)

    @property
    def state(self) -> str:
        """open, closed, opening, closing, obstructed."""
        self._settle()
        here = self.position
        if self.obstructed and 0 < here < 1:
            return "obstructed"
        if self._target:
            return "open" if here == 1 else "opening"
        return "closed" if here == 0 else "closing"

    def act(self, action: str) -> bool:
        """False for an action that there is not, or that it refuses: it does not close onto what stands in its way."""
        if action in ("open", "hold"):
            self.held = action == "hold" or self.held
            self._move(1.0)
        elif action == "release":
            self.held = False
        elif action == "close" and not self.held and not self.vehicle and not self.obstructed:
            self._move(0.0)
        else:
            return False
        return True

    def pass_through(self, way: str = "in") -> None:
        """Somebody passes."""
        if way == "in":
            self.passes_in += 1
        else:
            self.passes_out += 1

    def _move(self, target: float) -> None:
        self._from = (self.position, self._clock())
        self._target = target
        self._opened_at = self._clock()

    def _settle(self) -> None:
        is_due = self._clock() - self._opened_at > self.travel_s + self.open_s
        if self._target and is_due and not (self.held or self.vehicle or self.obstructed):
            self._move(0.0)

    def status(self) -> dict[str, Any]:
        """What GET /api/status answers."""
        return {
            "gate": {"state": self.state, "position": round(100 * self.position), "held": self.held},
            "safety": {"obstructed": self.obstructed, "loop": self.vehicle},
            "counters": {"in": self.passes_in, "out": self.passes_out},
        }

    async def respond(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api/status":
            return web.json_response(self.status())
        if request.path == "/api/info":
            return web.json_response({"model": f"SIM-{self.kind}", "serial": "SIM0001", "firmware": "1.4.2"})
        if request.path == "/api/gate" and request.method == "POST":
            try:
                action = str((await request.json()).get("action"))
            except (ValueError, AttributeError):
                return web.json_response({"result": "error", "reason": "no JSON"}, status=400)
            done = self.act(action)
            return web.json_response({"result": "ok"} if done else {"result": "error", "reason": "refused"})
        return web.json_response({"result": "error", "reason": "no such resource"}, status=404)


def obey(gate: RestGate, line: str) -> str:
    """An order of standard input: {"op": "pass", "way": "out"} {"op": "vehicle", "is": true} {"op": "obstruct", "is": true}
    {"op": "mood", "mood": "silent"} {"op": "open"} {"op": "close"}."""
    try:
        order = json.loads(line)
        what = order["op"]
    except (ValueError, KeyError, TypeError):
        return json.dumps({"ok": False, "error": "an order is one JSON object with op"})
    if what == "pass":
        gate.pass_through(str(order.get("way", "in")))
    elif what == "vehicle":
        gate.vehicle = bool(order.get("is", True))
    elif what == "obstruct":
        gate.obstructed = bool(order.get("is", True))
    elif what == "mood":
        gate.mood = str(order.get("mood", ""))
    elif not gate.act(str(what)):
        return json.dumps({"ok": False, "error": f"there is no order {what!r}, or the gate refuses it"})
    return json.dumps({"ok": True, **gate.status()})


async def people(gate: RestGate, every_s: float) -> None:
    """A morning: one after the other comes in."""
    while True:
        await asyncio.sleep(every_s)
        gate.act("open")
        gate.pass_through("in")
