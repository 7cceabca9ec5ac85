"""`plantroom write` and `plantroom release`: one point, once, by way of the running agent or of a link of one's own.

The checks and the write itself are those of `commands`; here is only who asks, what is shown and what is asked back.
Exit codes: 0 done and read back, 1 refused or failed, 2 wrong usage (also: nobody to confirm and no --yes).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from device_profiles.errors import CommandRefused, DeviceError, LinkError
from device_profiles.vocabulary import vocabulary
from edge_agent.cli.local import AsJson, socket_of
from edge_agent.cli.options import grouped
from edge_agent.cli.target import Asked, Reach, target_of
from edge_agent.cli.write_way import Order, OwnLink, ThroughAgent, Way, somebody_answers

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


@grouped
def command(
    words: Words,
    reach: Reach,
    priority: Priority = None,
    hold: Hold = None,
    expected: If = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    socket: Socket = None,
    config: ConfigFile = None,
) -> None:
    """Write a point: DEVICE POINT VALUE, or POINT VALUE with --link and --profile.

    Goes through the running agent; with --config and no agent running, or with --link, over a link of its own (which cannot
    hold a value for a time). First shows what stands there and what will be sent, then asks.
    """
    from edge_agent.cli.write_value import seconds_of, value_of

    device_id, rest = _named(words, 2, reach.link)
    way = _way(reach.asked(device_id, config), socket, config)
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


@grouped
def release(
    words: ReleaseWords,
    reach: Reach,
    priority: Priority = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    socket: Socket = None,
    config: ConfigFile = None,
) -> None:
    """Give back a point that is held: DEVICE POINT, or POINT with --link and --profile.

    The agent ends its hold at once. Over a link of one's own: our BACnet priority is given back, or the profile's `release`
    is written.
    """
    device_id, [point_id] = _named(words, 1, reach.link)
    way = _way(reach.asked(device_id, config), socket, config)
    order = Order(way.device_id, point_id, None, priority, None, None, why, is_release=True)
    _carry_out(way, order, dry_run=dry_run, yes=yes, as_json=as_json)


def _named(words: list[str], after: int, link: str | None) -> tuple[str | None, list[str]]:
    """(device id, what follows it): with --link there is no device to be named."""
    names = ["DEVICE", "POINT", "VALUE"][: after + 1]
    names = names[1:] if link is not None else names
    if len(words) != len(names):
        raise typer.BadParameter(f"give {' '.join(names)}; got {len(words)} words")
    return (None, words) if link is not None else (words[0], words[1:])


def _way(asked: Asked, socket: Path | None, config: Path | None) -> Way:
    if asked.link is not None and asked.profile is None:
        raise typer.BadParameter("--profile is missing: a point is written as its profile says")
    if asked.device is not None and asked.profile is not None:
        raise typer.BadParameter("--profile goes with --link")
    target = target_of(asked) if asked.link is not None or config is not None else None
    if asked.link is None:
        path = socket_of(socket, config)
        if target is None or somebody_answers(path):
            assert asked.device is not None
            return ThroughAgent(path, asked.device, target.device if target is not None else None)
    assert target is not None
    return OwnLink(target.link, target.device, trace=asked.trace)


def _carry_out(way: Way, order: Order, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    if not dry_run and not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to confirm it: give --yes, or look first with --dry-run")
    defined = vocabulary().point(order.point)
    known: dict[str, Any] = {"unit": defined.unit} if defined is not None else {}
    try:
        if dry_run or not yes:
            answer = way.send(order, dry=True)
            known |= {name: value for name, value in (answer.get("res") or {}).items() if name in ("unit", "label")}
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
        answer["res"] = {**known, **(answer.get("res") or {})}
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
    show_outcome(answer, target=order.target)


def _show(answer: dict[str, Any], order: Order, *, dry: bool) -> None:
    from edge_agent.cli.write_show import show_plan

    show_plan(answer.get("res") or {}, order.target, hold_s=order.hold_s, dry=dry, is_release=order.is_release)
