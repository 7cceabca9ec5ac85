"""`plantroom call`: an operation of a device's profile, once, by way of the running agent or of a link of one's own.

The checks and the call itself are those of `commands`; here is only who asks, what is shown and what is asked back.
Exit codes: 0 done, 1 refused, failed or not known, 2 wrong usage (also: nobody to confirm and no --yes).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from device_profiles.control import Input, Operation
from device_profiles.errors import CommandRefused, ConfigError, DeviceError, LinkError
from edge_agent.cli.call_way import Call, CallOwnLink, CallThroughAgent, CallWay
from edge_agent.cli.local import AsJson, socket_of
from edge_agent.cli.options import grouped
from edge_agent.cli.tables import unit_text
from edge_agent.cli.target import Asked, Reach, target_of
from edge_agent.cli.write import ConfigFile, Socket, Why, Yes
from edge_agent.cli.write_way import somebody_answers

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DEVICE [OPERATION [NAME=VALUE ...]]",
        help="As: door-01 open_1, or osdp-01 led colour=2. DEVICE alone lists its operations.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would happen; do nothing.")]
_YES, _NO = frozenset({"on", "true", "yes", "1"}), frozenset({"off", "false", "no", "0"})


@grouped
def command(
    reach: Reach,
    words: Words = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    socket: Socket = None,
    config: ConfigFile = None,
) -> None:
    """Carry out an operation: DEVICE OPERATION [NAME=VALUE ...], or without DEVICE with --link and --profile.

    Goes through the running agent; with --config and no agent running, or with --link, over a link of its own. First shows what
    will be done, then asks. Nothing is ever sent twice. Without OPERATION it lists what the device can be told to do.
    """
    given = list(words or ())
    if reach.link is None and not given:
        raise typer.BadParameter("give DEVICE, or --link and --profile")
    device_id = given.pop(0) if reach.link is None else None
    way = _way(reach.asked(device_id, config), socket, config)
    known = way.operations()
    if not given:
        _list(way.device_id, known, as_json=as_json)
        return
    operation = _chosen(way.device_id, known, given[0])
    call = Call(way.device_id, operation, _inputs(operation, given[1:]), why)
    _carry_out(way, call, dry_run=dry_run, yes=yes, as_json=as_json)


def _way(asked: Asked, socket: Path | None, config: Path | None) -> CallWay:
    if asked.link is not None and asked.profile is None:
        raise typer.BadParameter("--profile is missing: an operation is carried out as its profile says")
    if asked.device is not None and asked.profile is not None:
        raise typer.BadParameter("--profile goes with --link")
    if asked.device is not None:
        path = socket_of(socket, config)
        if config is None or somebody_answers(path):
            return CallThroughAgent(path, asked.device)
    target = target_of(asked)
    return CallOwnLink(target.link, target.device, trace=asked.trace)


def _chosen(device_id: str, known: Sequence[Operation], name: str) -> Operation:
    """By its id, or by what it is (`gate.open`) where the profile has only one of these. Raises ConfigError."""
    import difflib

    found = [each for each in known if each.id == name] or [each for each in known if each.op == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(
            f"{device_id} has {len(found)} operations {name}",
            next_step=f"name one: {', '.join(each.id for each in found)}",
        )
    close = difflib.get_close_matches(name, [each.id for each in known], n=1)
    listed = f"it has {', '.join(each.id for each in known)}" if known else "its profile describes none"
    raise ConfigError(
        f"{device_id} has no operation {name!r}", next_step=f"did you mean {close[0]!r}?" if close else listed
    )


def _inputs(operation: Operation, given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE of each input, in its type. Names that it does not take are refused with the others by the command path."""
    inputs: dict[str, Any] = {}
    for word in given:
        name, sign, text = word.partition("=")
        if not sign or not name:
            raise typer.BadParameter(
                f"{word!r} is no NAME=VALUE; {operation.id} takes {_takes(operation) or 'nothing'}"
            )
        if name in inputs:
            raise typer.BadParameter(f"{name} is given twice")
        wanted = operation.inputs.get(name)
        inputs[name] = text if wanted is None else _value(name, wanted, text)
    return inputs


def _value(name: str, wanted: Input, text: str) -> float | int | bool | str:
    if wanted.type == "text":
        return text
    if wanted.type == "bool":
        if text.lower() not in _YES | _NO:
            raise ConfigError(f"{text[:40]!r} is neither on nor off", where=name, next_step="write on or off")
        return text.lower() in _YES
    try:
        number = float(text)
    except ValueError as error:
        raise ConfigError(f"{text[:40]!r} is no number", where=name, next_step="write it as 2 or 0.5") from error
    return int(number) if number.is_integer() else number


def _takes(operation: Operation) -> str:
    return ", ".join(_input(name, wanted) for name, wanted in operation.inputs.items())


def _input(name: str, wanted: Input) -> str:
    kind = {"num": "", "bool": "on|off", "text": "text"}[wanted.type]
    if wanted.type == "num":
        low, high = ("" if end is None else f"{end:g}" for end in (wanted.min, wanted.max))
        kind = f"{low}..{high}" if low or high else "number"
    unit = f" {unit_text(wanted.unit)}".rstrip()
    default = "" if wanted.default is None else f" [{wanted.default}]"
    return f"{name}={kind}{unit}{default}"


def _holds(operation: Operation) -> str:
    held = [f"at most {operation.per_hour} an hour"]
    for lock in operation.interlocks:
        ends = [f"is {lock.equals}"] if lock.equals is not None else []
        ends += [f"from {lock.low:g}"] if lock.low is not None else []
        ends += [f"to {lock.high:g}"] if lock.high is not None else []
        held.append(f"if {lock.point} {' '.join(ends)}")
    return ", ".join(held)


def _list(device_id: str, known: Sequence[Operation], *, as_json: bool) -> None:
    if as_json:
        listed = [each.model_dump(mode="json", exclude={"call"}) for each in known]
        print(json.dumps({"device": device_id, "operations": listed}, ensure_ascii=False))
        return
    from device_profiles.logs import printable
    from edge_agent.cli.tables import Column, fitted, screen

    console = screen()
    if not known:
        console.print(f"{device_id}: its profile describes no operation", markup=False)
        return
    columns = [Column("operation"), Column("does"), Column("takes"), Column("holds", 1), Column("label", 2)]
    rows = [(each.id, each.op, _takes(each), _holds(each), printable(each.label)) for each in known]
    console.print(fitted(columns, rows, width=console.width, title=device_id))


def _carry_out(way: CallWay, call: Call, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    if not dry_run and not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to confirm it: give --yes, or look first with --dry-run")
    try:
        if dry_run or not yes:
            answer = way.send(call, dry=True)
            is_refused = bool(answer.get("err"))
            if dry_run or is_refused:
                _tell(answer, call, dry=dry_run, as_json=as_json)
                if is_refused:
                    raise typer.Exit(1)
                return
            _show_plan(answer, call, dry=False)
            if not typer.confirm("Do it?", default=False, err=True):
                raise typer.Exit(1)
        answer = way.send(call, dry=False)
    except CommandRefused as error:
        answer = {"st": "rejected", "res": None, "err": {"code": error.code, "msg": str(error)}}
    except (DeviceError, LinkError) as error:
        if not as_json:
            raise
        answer = {"st": "failed", "res": None, "err": {"code": "device_down", "msg": str(error)}}
    _tell(answer, call, dry=dry_run, as_json=as_json)
    if answer.get("err") or answer["st"] != "succeeded":
        raise typer.Exit(1)


def _tell(answer: dict[str, Any], call: Call, *, dry: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"device": call.device, "call": call.operation.id, "dry": dry, **answer}, ensure_ascii=False))
    elif dry and not answer.get("err"):
        _show_plan(answer, call, dry=True)
    else:
        _show_outcome(answer, call)


def _show_plan(answer: dict[str, Any], call: Call, *, dry: bool) -> None:
    from device_profiles.logs import printable
    from edge_agent.cli.tables import screen
    from edge_agent.cli.write_show import amount

    facts, operation = answer.get("res") or {}, call.operation
    rows = [("does", printable(operation.op + (f": {operation.label}" if operation.label else "")))]
    rows += [("with", f"{name} = {amount(value)}") for name, value in (facts.get("inputs") or {}).items()]
    rows += [
        ("interlock", f"{lock['p']} is {amount(lock.get('val'))}: {'holds' if lock['ok'] else 'BLOCKS'}")
        for lock in facts.get("interlocks") or ()
    ]
    rows += [("limits", f"at most {operation.per_hour} an hour"), ("sent", "once, never again by itself")]
    console = screen(soft_wrap=True)
    console.print(call.target + (" (dry run: nothing is sent)" if dry else ""), style="bold", markup=False)
    for name, text in rows:
        console.print(f"{name:<9}  {text}", markup=False)


def _show_outcome(answer: dict[str, Any], call: Call) -> None:
    from rich.markup import escape

    from device_profiles.logs import printable
    from edge_agent.cli.tables import screen
    from edge_agent.cli.write_show import amount, show_outcome

    facts = answer.get("res") or {}
    if answer.get("err"):
        show_outcome(answer, target=call.target)
        return
    said = (
        ", ".join(f"{name} = {amount(value)}" for name, value in facts.items()) or "the device says no more than that"
    )
    screen().print(
        f"[green]{answer['st']}[/]: {escape(call.target)} is done ({escape(printable(said))})", soft_wrap=True
    )
