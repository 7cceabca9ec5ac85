"""`plantroom write` and `plantroom release`: one point, once, by way of the running agent or of a link of one's own.

The checks and the write itself are those of `commands`; here is only who asks, what is shown and what is asked back.
Exit codes: 0 done and read back, 1 refused or failed, 2 wrong usage (also: nobody to confirm and no --yes).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from device_profiles.errors import CommandRefused, ConfigError, DeviceError, LinkError
from edge_agent.cli.local import DEFAULT_SOCKET, AsJson
from edge_agent.cli.read import (
    AsTrace,
    Dirs,
    Instance,
    LinkText,
    Options,
    Params,
    ProfileId,
    Timeout,
    Unit,
    target_of,
)

if TYPE_CHECKING:
    from device_profiles.schema import Point
    from drivers.base import LinkConfig
    from edge_agent.commands.act import Target
    from edge_agent.model import Device

T = TypeVar("T")
_COUNTED = frozenset({"per_hour", "min_interval"})
"""Limits that only somebody who remembers earlier writes can keep: the agent."""
Words = Annotated[
    list[str],
    typer.Argument(
        metavar="DEVICE POINT VALUE",
        help='As: ahu-01 supply_air_temperature_setpoint 18 (or "70 degF", on, auto; -- before a negative number).',
    ),
]
ReleaseWords = Annotated[list[str], typer.Argument(metavar="DEVICE POINT")]
Priority = Annotated[
    int | None, typer.Option(help="BACnet priority, 8 to 16; the profile's without it.", min=1, max=16)
]
Hold = Annotated[
    str | None, typer.Option("--hold", help="How long it is held, as 600, 10min, 2h; then it is released.")
]
If = Annotated[str | None, typer.Option("--if", help="Write only if the point shows this value now.")]
Why = Annotated[str, typer.Option("--why", help="For the audit log: work order, reason.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would happen; write nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The agent's agent.yaml: its socket, its devices.")]
Socket = Annotated[Path | None, typer.Option("--socket", help="The agent's local socket.", envvar="PLANTROOM_SOCKET")]


def command(
    words: Words,
    priority: Priority = None,
    hold: Hold = None,
    expected: If = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    socket: Socket = None,
    config: ConfigFile = None,
    link: LinkText = None,
    unit: Unit = 1,
    profile: ProfileId = None,
    directory: Dirs = None,
    option: Options = None,
    param: Params = None,
    instance: Instance = None,
    timeout: Timeout = None,
    trace: AsTrace = False,
) -> None:
    """Write a point: DEVICE POINT VALUE, or POINT VALUE with --link and --profile.

    Goes through the running agent; with --config and no agent running, or with --link, over a link of its own (which cannot
    hold a value for a time). First shows what stands there and what will be sent, then asks.
    """
    from edge_agent.cli.write_value import seconds_of, value_of

    device_id, rest = _named(words, 2, link)
    way = _way(device_id, socket, config, link, unit, profile, directory, option, param, instance, timeout, trace)
    point_id, text = rest
    order = Order(
        device=way.device_id,
        point=point_id,
        value=value_of(text, point_id, way.point(point_id)),
        priority=priority,
        hold_s=seconds_of(hold),
        expected=None if expected is None else value_of(expected, point_id, way.point(point_id)),
        why=why,
    )
    _carry_out(way, order, dry_run=dry_run, yes=yes, as_json=as_json)


def release(
    words: ReleaseWords,
    priority: Priority = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    socket: Socket = None,
    config: ConfigFile = None,
    link: LinkText = None,
    unit: Unit = 1,
    profile: ProfileId = None,
    directory: Dirs = None,
    option: Options = None,
    param: Params = None,
    instance: Instance = None,
    timeout: Timeout = None,
    trace: AsTrace = False,
) -> None:
    """Give back a point that is held: DEVICE POINT, or POINT with --link and --profile.

    The agent ends its hold at once. Over a link of one's own: our BACnet priority is given back, or the profile's `release`
    is written.
    """
    device_id, [point_id] = _named(words, 1, link)
    way = _way(device_id, socket, config, link, unit, profile, directory, option, param, instance, timeout, trace)
    order = Order(way.device_id, point_id, None, priority, None, None, why, is_release=True)
    _carry_out(way, order, dry_run=dry_run, yes=yes, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants. `value` and `expected` in the vocabulary's unit, or a label."""

    device: str
    point: str
    value: Any
    priority: int | None
    hold_s: float | None
    expected: Any
    why: str
    is_release: bool = False

    @property
    def target(self) -> str:
        return f"{self.device}/{self.point}"

    def as_command(self, *, dry: bool) -> dict[str, Any]:
        """The command of CONTRACT.md section 6, without what the agent itself fills in."""
        given = {"p": self.point, "val": self.value, "prio": self.priority, "hold_s": self.hold_s}
        return {
            "op": "point.release" if self.is_release else "point.write",
            "dev": self.device,
            "args": {name: value for name, value in given.items() if value is not None},
            **({"if": {"val": self.expected}} if self.expected is not None else {}),
            **({"why": self.why} if self.why else {}),
            "dry": dry,
        }


class Way(Protocol):
    """How the order reaches the device."""

    @property
    def device_id(self) -> str: ...

    def point(self, point_id: str) -> Point | None:
        """The point, where this side knows it. Raises ConfigError for one that the device does not have."""
        ...

    def send(self, order: Order, *, dry: bool) -> dict[str, Any]:
        """`{"st": ..., "res": {...}, "err": {"code", "msg"} or None}`. Raises PlantroomError."""
        ...


def _named(words: list[str], after: int, link: str | None) -> tuple[str | None, list[str]]:
    """(device id, what follows it): with --link there is no device to be named."""
    names = ["DEVICE", "POINT", "VALUE"][: after + 1]
    names = names[1:] if link is not None else names
    if len(words) != len(names):
        raise typer.BadParameter(f"give {' '.join(names)}; got {len(words)} words")
    return (None, words) if link is not None else (words[0], words[1:])


def _way(
    device_id: str | None,
    socket: Path | None,
    config: Path | None,
    link: str | None,
    unit: int,
    profile: str | None,
    directories: list[Path] | None,
    options: list[str] | None,
    params: list[str] | None,
    instance: int | None,
    timeout: float | None,
    trace: bool,
) -> Way:
    if link is not None and profile is None:
        raise typer.BadParameter("--profile is missing: a point is written as its profile says")
    if device_id is not None and profile is not None:
        raise typer.BadParameter("--profile goes with --link")
    target = None
    if link is not None or config is not None:
        target = target_of(
            device_id, config if link is None else None, link, unit, profile, directories or (), options or (),
            params or (), instance, (), None, "0", 1, None, "ABCD", timeout,
        )  # fmt: skip
    if link is None:
        path = socket or _socket_of(config)
        if target is None or _somebody_answers(path):
            assert device_id is not None
            return ThroughAgent(path, device_id, target.device if target is not None else None)
    assert target is not None
    return OwnLink(target.link, target.device, trace=trace)


def _socket_of(config: Path | None) -> Path:
    if config is None:
        return DEFAULT_SOCKET
    from edge_agent.config import load_config

    return load_config(config).socket


def _somebody_answers(path: Path) -> bool:
    import socket

    if not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except PermissionError:
            return True  # an agent may well be there: going past it would be wrong, and the question then says why
        except OSError:
            return False
    return True


def _carry_out(way: Way, order: Order, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    if not dry_run and not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to confirm it: give --yes, or look first with --dry-run")
    try:
        if dry_run or not yes:
            answer = way.send(order, dry=True)
            is_refused = bool(answer.get("err"))
            if dry_run or is_refused:
                _tell(answer, order, dry=dry_run, as_json=as_json)
                if is_refused:
                    raise typer.Exit(1)
                return
            _show(answer, order, dry=False)
            if not typer.confirm("Do it?", default=False, err=True):
                raise typer.Exit(1)
        answer = way.send(order, dry=False)
    except CommandRefused as error:
        answer = {"st": "rejected", "res": None, "err": {"code": error.code, "msg": str(error)}}
    except (DeviceError, LinkError) as error:
        if not as_json:
            raise
        answer = {"st": "failed", "res": None, "err": {"code": "device_down", "msg": str(error)}}
    _tell(answer, order, dry=dry_run, as_json=as_json)
    if answer.get("err") or answer["st"] != "succeeded":
        raise typer.Exit(1)


def _tell(answer: dict[str, Any], order: Order, *, dry: bool, as_json: bool) -> None:
    if as_json:
        document = {"device": order.device, "point": order.point, "dry": dry, **answer}
        print(json.dumps(document, ensure_ascii=False))
        return
    from edge_agent.cli.write_show import show_outcome

    if dry and not answer.get("err"):
        _show(answer, order, dry=True)
        return
    facts = answer.get("res") or {}
    show_outcome(answer, target=order.target, unit=facts.get("unit"), label=facts.get("label"))


def _show(answer: dict[str, Any], order: Order, *, dry: bool) -> None:
    from edge_agent.cli.write_show import show_plan

    show_plan(answer.get("res") or {}, order.target, hold_s=order.hold_s, dry=dry, is_release=order.is_release)


class ThroughAgent:
    """The running agent does it: journal, holds, rates and audit are its own."""

    def __init__(self, socket: Path, device_id: str, device: Device | None) -> None:
        self._socket = socket
        self._device_id = device_id
        self._device = device

    @property
    def device_id(self) -> str:
        return self._device_id

    def point(self, point_id: str) -> Point | None:
        return None if self._device is None else _point_of(self._device, point_id)

    def send(self, order: Order, *, dry: bool) -> dict[str, Any]:
        from edge_agent.local_api import ask

        answer: dict[str, Any] = ask(self._socket, "command", timeout_s=90.0, command=order.as_command(dry=dry))
        return answer


class OwnLink:
    """A link that this command opens by itself. It ends with the command, so it holds nothing."""

    def __init__(self, link: LinkConfig, device: Device, *, trace: bool) -> None:
        self._link = link
        self._device = device
        self._trace = trace

    @property
    def device_id(self) -> str:
        return self._device.id

    def point(self, point_id: str) -> Point | None:
        return _point_of(self._device, point_id)

    def send(self, order: Order, *, dry: bool) -> dict[str, Any]:
        if order.hold_s is not None:
            raise ConfigError(
                "nobody would end the hold after this command",
                where="--hold",
                next_step="run the agent, which holds and releases; or leave out --hold",
            )
        work = self._release if order.is_release else self._write
        return asyncio.run(self._opened(order, lambda target: work(target, order, dry=dry)))

    async def _opened(self, order: Order, work: Callable[[Target], Awaitable[T]]) -> T:
        from drivers.registry import load_driver
        from drivers.trace import printer
        from edge_agent.clock import SystemClock
        from edge_agent.commands import act, limits

        driver = load_driver(self._device.protocol)
        tracer = printer(self._link, lambda line: print(line, file=sys.stderr)) if self._trace else None
        async with driver.open(self._link, tracer) as session:
            layout = await act.locate(session, self._device)
            point = limits.on_device(_point_of(self._device, order.point), layout)
            way = act.direct(session)
            return await work(act.Target(self._device, point, driver, self._link, way, SystemClock(), layout))

    async def _write(self, target: Target, order: Order, *, dry: bool) -> dict[str, Any]:
        from edge_agent.commands.act import Plan, write_point

        done = await write_point(target, order.value, priority=order.priority, expected=order.expected, dry=dry)
        plan = done if isinstance(done, Plan) else done.plan
        facts = {name: value for name, value in plan.facts(target).items() if name not in _COUNTED}
        if isinstance(done, Plan):
            return {"st": "succeeded", "res": facts, "err": None}
        facts["readback"] = done.readback
        return {"st": done.st, "res": facts, "err": {"code": done.code, "msg": done.text} if done.code else None}

    async def _release(self, target: Target, order: Order, *, dry: bool) -> dict[str, Any]:
        from edge_agent.commands import act, limits

        if not target.point.is_writable:
            raise CommandRefused("this point is not written", code="not_writable", where=target.where)
        if not act.has_priorities(target.point):
            if target.rules.release is None:
                raise CommandRefused(
                    "this device has no priorities, and its profile does not say what ends a hold",
                    code="unsupported",
                    where=target.where,
                    next_step="write the value that it is to have",
                )
            return await self._write(target, _with_value(order, target.rules.release), dry=dry)
        slot = limits.check_priority(target.point, order.priority, where=target.where)
        facts = {"p": order.point, "prio": slot, "does": f"NULL into our slot {slot}"}
        if not dry:
            await act.release(target, slot, None)
        return {"st": "succeeded", "res": facts, "err": None}


def _with_value(order: Order, value: Any) -> Order:
    return Order(order.device, order.point, value, order.priority, None, None, order.why)


def _point_of(device: Device, point_id: str) -> Point:
    import difflib

    for point in device.points:
        if point.id == point_id and not point.internal:
            return point
    known = [point.id for point in device.points if point.is_writable]
    close = difflib.get_close_matches(point_id, known or [point.id for point in device.points], n=1)
    listed = f"what can be written: {', '.join(known)}" if known else "it has nothing that can be written"
    raise ConfigError(
        f"{device.id} has no point {point_id!r}", next_step=f"did you mean {close[0]!r}?" if close else listed
    )
