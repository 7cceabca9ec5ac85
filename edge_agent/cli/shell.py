"""Turns the table of subcommands into a command line; the only place where errors become exit codes."""

from __future__ import annotations

import difflib
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from typing import Any

from device_profiles.errors import ConfigError, PlantroomError

OK, PROBLEM, USAGE = 0, 1, 2
INTERRUPTED = 130
"""As the shell has it for a program that SIGINT ended."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What a write to standard output fails with: a full disk, a full share, a terminal that is gone."""


def run(
    commands: Mapping[str, tuple[str, str]], services: Collection[str], load: Callable[[str], Any], argv: list[str]
) -> int:
    """Runs one subcommand and returns its exit code: 0 ok, 1 found a problem, 2 usage. `services` take argv themselves."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview(commands))
        return OK if argv else USAGE
    if argv[0] in ("-V", "--version", "version"):
        print(f"plantroom {_version()}")
        return OK
    name, rest = argv[0], argv[1:]
    _prepare_output()
    if name not in commands:
        close = difflib.get_close_matches(name, commands, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "see plantroom --help"
        print(f"plantroom: unknown command {name!r}; {hint}", file=sys.stderr)
        return USAGE
    try:
        target = load(commands[name][0])
        code = target(rest) if name in services else _call(target, name, rest)
        sys.stdout.flush()
    except PlantroomError as error:
        print(f"plantroom {name}: {error}", file=sys.stderr)
        return PROBLEM
    except KeyboardInterrupt:  # before the command had taken the signal itself
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return PROBLEM
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _forget_output()
        print(
            f"plantroom {name}: the output could not be written ({error.strerror}). make room or write it elsewhere",
            file=sys.stderr,
        )
        return PROBLEM
    return code if isinstance(code, int) else OK


def _prepare_output() -> None:
    """Output may be closed (`>&-`), and a locale without degrees and Chinese shall show what it can."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """What still waits to be written goes nowhere, so that the interpreter does not fail once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _call(target: Any, name: str, argv: list[str]) -> object:
    import typer

    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name)(target)
        target = app
    command = typer.main.get_command(target)
    _flow(command)
    is_json = "--json" in argv and _offers_json(command, argv)
    try:
        return command.main(
            args=argv, prog_name=f"plantroom {name}", standalone_mode=False, help_option_names=["-h", "--help"]
        )
    except typer.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            return INTERRUPTED
        print(f"\nplantroom {name}: nobody answers here; give the answer as an option (-h)", file=sys.stderr)
        return USAGE
    except typer.Exit as error:
        return error.exit_code
    except PlantroomError as error:
        if is_json:
            _tell_problems(error.problems or (error,) if isinstance(error, ConfigError) else (error,))
        raise
    except _click_error() as error:
        if is_json:
            place = error.ctx.command_path if getattr(error, "ctx", None) else f"plantroom {name}"
            said = error.format_message().removeprefix("Invalid value: ")
            _tell_problems((PlantroomError(said, where=place, next_step=f"see {place} -h"),))
        error.show()
        return error.exit_code


def _offers_json(command: Any, argv: list[str]) -> bool:
    """`--json` asks this command, or its subcommand, for JSON; elsewhere it may name a file."""
    command = getattr(command, "commands", {}).get(argv[0], command)
    return any("--json" in option.opts and option.is_flag for option in command.params if hasattr(option, "is_flag"))


def _tell_problems(problems: Iterable[PlantroomError]) -> None:
    """What a program gets where a person reads standard error, in the form that `plantroom check --json` has."""
    told = [{"where": each.where, "what": each.what, "next_step": each.next_step} for each in problems]
    print(json.dumps({"ok": False, "problems": told}, ensure_ascii=False))


def _flow(command: Any) -> None:
    """Paragraphs of help without the line ends of the source: typer keeps them in all but the first."""
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    for each in getattr(command, "commands", {}).values():
        _flow(each)


def _click_error() -> type[Any]:
    """The class of every wrong use of the command line: click's own, or that of the click that newer typers carry in them."""
    import typer

    base: type[Any] = typer.BadParameter.__mro__[2]
    return base


def _overview(commands: Mapping[str, tuple[str, str]]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in commands.items()]
    return "\n".join(
        [
            "Usage: plantroom COMMAND [OPTIONS]",
            "",
            "Connects the hardware of buildings: polls it, publishes over MQTT, stores without loss.",
            "",
            *lines,
            "",
            "plantroom COMMAND --help tells more. Exit codes: 0 ok, 1 found a problem, 2 wrong usage.",
        ]
    )


def _version() -> str:
    try:
        return version("plantroom")
    except PackageNotFoundError:
        return "unknown"
