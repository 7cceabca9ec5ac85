"""`plantroom watch`: one device again and again; what changed stands out. Ends with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli import watch_agent
from edge_agent.cli.living import Living
from edge_agent.cli.local import Socket, socket_of
from edge_agent.cli.options import grouped
from edge_agent.cli.read import document, table_of, value_text
from edge_agent.cli.tables import unit_text
from edge_agent.cli.target import Asked, Target, opened, target_of
from edge_agent.cli.watch_events import line, listening

if TYPE_CHECKING:
    from edge_agent.cli.one_device import OneDevice, Row, Shot

_REOPEN_S = 5.0


@grouped
def command(
    asked: Asked,
    interval: Annotated[float, typer.Option("--interval", "-i", help="Seconds between two reads.", min=0.05)] = 2.0,
    times: Annotated[int | None, typer.Option("--times", "-n", help="Stop after so many reads.", min=1)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document a read and an event on standard output.")
    ] = False,
    socket: Socket = None,
) -> None:
    """Read a device again and again and show what changes, and its events as they come. Takes what `read` takes; a lost
    device is waited for.

    While an agent runs that has the device (--config, --socket, or the usual socket), what it has is shown: each point with its
    mode and age. The line is the agent's.
    """
    if asked.device is not None and asked.link is None and not asked.trace:
        where = socket_of(socket, asked.config)
        if watch_agent.agent_has(where, asked.device) or asked.config is None:
            with suppress(KeyboardInterrupt):
                watch_agent.watch(where, asked.device, interval=interval, times=times, as_json=as_json)
            raise typer.Exit(0)
    watch = _Watch(target_of(asked), asked.trace, interval, times, as_json)
    try:
        asyncio.run(watch.run())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


class _Watch:
    def __init__(self, target: Target, trace: bool, interval: float, times: int | None, as_json: bool) -> None:
        self._target = target
        self._trace = trace
        self._interval = interval
        self._left = times
        self._as_json = as_json
        self._before: dict[str, Row] = {}
        self._living = None if as_json else Living()

    async def run(self) -> None:
        from device_profiles.errors import DeviceError, LinkError

        with self._living or nullcontext():
            while True:
                try:
                    async with opened(self._target, self._trace) as one:
                        await self._attend(one)
                    return
                except (LinkError, DeviceError) as error:
                    if not self._before:
                        raise  # it never worked: say so and end
                    self._say(str(error))
                    if not self._goes_on():
                        return
                await asyncio.sleep(min(_REOPEN_S, self._interval))

    async def _attend(self, one: OneDevice) -> None:
        """Reads, and tells events, until the number of times is reached. Raises DeviceError, LinkError."""
        async with listening(one, self._tell, self._say) as has_events:
            await self._read_on(one, has_events)

    async def _read_on(self, one: OneDevice, has_events: bool) -> None:
        from device_profiles.errors import DeviceError

        is_prepared = False
        while True:
            due = time.monotonic() + self._interval
            try:
                if not is_prepared:
                    await one.prepare()
                    is_prepared = True
                self._show(await one.read(), one.serial)
            except DeviceError as error:
                if not has_events:
                    raise
                self._say(str(error))  # one that dials in may come at any time: the link stays open for it
            if not self._goes_on():
                return
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _goes_on(self) -> bool:
        if self._left is not None:
            self._left -= 1
        return self._left is None or self._left > 0

    def _show(self, shot: Shot, serial: str | None) -> None:
        now = {row.point: row for row in shot.rows}
        changed = frozenset(
            name for name, row in now.items() if name in self._before and self._before[name].value != row.value
        )
        self._before = now
        if self._living is None:
            print(
                json.dumps(document(self._target, shot, serial) | {"changed": sorted(changed)}, ensure_ascii=False),
                flush=True,
            )
        else:
            table = table_of(self._target, shot, serial, changed, width=self._living.width)
            rows = (
                f"{row.point} {value_text(row)} {unit_text(row.unit)}".rstrip()
                for row in shot.rows
                if row.point in changed
            )
            self._living.draw(table, f"{shot.ms:.0f} ms, {len(changed)} changed", rows)

    def _tell(self, event: Mapping[str, Any]) -> None:
        if self._living is None:
            print(json.dumps(event, ensure_ascii=False), flush=True)
        else:
            self._living.say(line(event))

    def _say(self, text: str) -> None:
        if self._living is None:
            print(json.dumps({"error": text}), flush=True)
            print(f"plantroom watch: {text}", file=sys.stderr)
        else:
            self._living.say(f"{time.strftime('%H:%M:%S')}  {text}", style="red")
