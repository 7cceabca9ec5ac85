"""`plantroom scan modbus`: which units answer on a link, who they say they are, and which profile would fit them.

A unit is believed only when it answers the same question twice with right frames (an exception is an answer too); a peer that
answers to every number is one device, and said to be. A profile fits when everything under its `identify` holds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from device_profiles.errors import DeviceError
from edge_agent.cli.searching import end, is_finished

if TYPE_CHECKING:
    from drivers.base import Address, LinkConfig
    from drivers.modbus.driver import ModbusDriver
    from drivers.modbus.session import ModbusSession

_UNLIKELY = (113, 167, 231)
"""Units that are asked to find out whether a TCP peer looks at the number at all."""


@dataclass(slots=True)
class Found:
    """One device that answers."""

    unit: int
    line: str
    facts: Mapping[str, str]
    profiles: list[str] = field(default_factory=list)
    every_unit: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "link": self.line,
            "identity": dict(self.facts),
            "profiles": self.profiles,
            "every_unit": self.every_unit,
        }


def modbus(
    link: Annotated[
        str, typer.Option("--link", help="tcp://host:502, rtu+tcp://host:port, serial:/dev/ttyUSB0?baud=9600")
    ],
    units: Annotated[str, typer.Option(help="Unit ids, as 1-247 or 1,2,10-20.")] = "1-247",
    profile_guess: Annotated[bool, typer.Option("--profile-guess", help="Try which profiles fit each device.")] = False,
    bauds: Annotated[str | None, typer.Option(help="Baud rates to try on a serial port, as 9600,19200.")] = None,
    parities: Annotated[str | None, typer.Option(help="Parities to try on a serial port, as N,E.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each unit.", min=0.02, max=10)] = 0.3,
    directory: Annotated[
        list[Path] | None, typer.Option("--dir", help="Directory of profiles that comes first; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Find Modbus devices: asks every unit, and those that answer who they are. Exit code 1 when none is found."""
    from drivers.base import parse_link

    chosen = units_of(units)
    base = replace(parse_link(link, link_id=link.partition("?")[0]), timeout_s=timeout)
    lines = [
        replace(base, baud=baud, parity=parity)
        for baud in bauds_of(bauds, base)
        for parity in _parities(parities, base)
    ]
    found: list[Found] = []
    finished = is_finished(_scan(lines, chosen, profile_guess, directory or [], found))
    if as_json:
        print(
            json.dumps({"link": link, "asked": len(chosen) * len(lines), "devices": [one.as_json() for one in found]})
        )
    else:
        _show(found, len(chosen))
    end(found, finished)


async def _scan(
    lines: Sequence[LinkConfig], units: Sequence[int], guess: bool, directories: Sequence[Path], found: list[Found]
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from drivers.modbus.driver import ModbusDriver

    driver = ModbusDriver()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(units) * len(lines))
        for line in lines:
            progress.update(task, description=f"{line.place}, {len(found)} found")
            guesser = _Guesser(driver, line, directories) if guess else None
            async for one in _scan_line(driver, line, units, guesser, lambda: progress.advance(task)):
                found.append(one)
                progress.update(task, description=f"{line.place}, {len(found)} found")
                if one.every_unit:
                    break


async def _scan_line(
    driver: ModbusDriver,
    line: LinkConfig,
    units: Sequence[int],
    guesser: _Guesser | None,
    advance: Callable[[], None],
) -> AsyncIterator[Found]:
    async with driver.open(line) as session:
        is_first = True
        for unit in units:
            advance()
            async for address, facts in session.discover([unit]):
                one = Found(unit, line.place, facts)
                if guesser is not None:
                    one.profiles = await guesser.fitting(session, address)
                if is_first and line.kind == "tcp":
                    one.every_unit = await _answers_to_all(session, one)
                is_first = False
                yield one
                if one.every_unit:
                    return


async def _answers_to_all(session: ModbusSession, one: Found) -> bool:
    """True when numbers that nobody would give three devices answer as well, in the same words."""
    others = [unit for unit in _UNLIKELY if unit != one.unit]
    facts = [facts async for _, facts in session.discover(others)]
    return len(facts) == len(others) and all(found == one.facts for found in facts)


class _Guesser:
    """Tries the `identify` expectations of every Modbus profile; registers are read once a device."""

    def __init__(self, driver: ModbusDriver, line: LinkConfig, directories: Sequence[Path]) -> None:
        from device_profiles.library import Library

        self._driver = driver
        self._line = line
        self._profiles = [
            profile
            for _, profile in Library.default(directories).each()
            if not isinstance(profile, Exception) and profile.protocol == "modbus" and profile.identify
        ]

    async def fitting(self, session: ModbusSession, address: Address) -> list[str]:
        """The profiles of which everything under `identify` holds, those that say most first."""
        seen: dict[str, Any] = {}
        fits: list[tuple[int, str]] = []
        for profile in self._profiles:
            try:
                holds = [await self._holds(session, address, expect, seen) for expect in profile.identify]
            except DeviceError:
                continue
            if all(holds):
                fits.append((-sum(_weight(expect) for expect in profile.identify), profile.profile))
        return [name for _, name in sorted(fits)]

    async def _holds(self, session: ModbusSession, address: Address, expect: Any, seen: dict[str, Any]) -> bool:
        key = f"{expect.address} {expect.type} {expect.length}"
        if key not in seen:
            seen[key] = await self._value(session, address, expect)
        value = seen[key]
        if value is None:
            return False
        if expect.low is not None or expect.high is not None:
            inside = not isinstance(value, str) and (expect.low is None or value >= expect.low)
            return inside and (expect.high is None or value <= expect.high)
        wanted = expect.any_of or ((expect.equals,) if expect.equals is not None else ())
        return value in wanted if wanted else True

    async def _value(self, session: ModbusSession, address: Address, expect: Any) -> Any:
        from device_profiles.reading import PointFault, Sample
        from device_profiles.schema import Point
        from drivers.base import Limits

        point = Point(id="identify", address=expect.address, type=expect.type, length=expect.length)
        layout = None
        if session.needs_locating([point]):
            layout = await session.locate(address, [point])
        [batch] = self._driver.plan([point], Limits(), layout, self._line)
        [value] = await session.read(address, batch)
        return None if isinstance(value, PointFault | Sample) else value


def _weight(expect: Any) -> int:
    """An exact match says more than a range."""
    return 10 if expect.equals is not None or expect.any_of else 1


def units_of(text: str, least: int = 1, most: int = 255) -> list[int]:
    """`1-20` or `1,2,10-20` as a list. Raises typer.BadParameter."""
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise typer.BadParameter(f"--units {text!r}: {part!r} is no range; write 1-20 or 1,2,10-20")
        low, high = int(first), int(last) if dash else int(first)
        if not least <= low <= high <= most:
            raise typer.BadParameter(f"--units {text!r}: {part!r} is not within {least} to {most}")
        chosen |= set(range(low, high + 1))
    return sorted(chosen)


def bauds_of(text: str | None, link: LinkConfig) -> list[int]:
    """`9600,19200` as a list; the link's own rate where there is no text. Raises typer.BadParameter."""
    if text is None:
        return [link.baud]
    if link.kind != "serial":
        raise typer.BadParameter("--bauds are tried on serial ports only; a serial server has its own setting")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in text.split(",")):
        raise typer.BadParameter(f"--bauds {text!r}: write them like 9600,19200")
    return [int(part) for part in text.split(",")]


def _parities(text: str | None, link: LinkConfig) -> list[str]:
    if text is None:
        return [link.parity]
    if link.kind != "serial":
        raise typer.BadParameter("--parities are tried on serial ports only; a serial server has its own setting")
    parities = [part.strip().upper() for part in text.split(",")]
    if not set(parities) <= {"N", "E", "O"}:
        raise typer.BadParameter(f"--parities {text!r}: write them like N,E,O")
    return parities


def _show(found: Sequence[Found], asked: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    from device_profiles.logs import printable
    from edge_agent.cli.tables import screen

    if not found:
        print(
            f"plantroom scan: none of {asked} units answered. Check power, A and B, termination, and try --bauds and --parities",
            file=sys.stderr,
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("unit", "link", "says it is", "profiles that fit"):
        table.add_column(name, overflow="fold")
    for one in found:
        words = " ".join(
            printable(one.facts[key]) for key in ("vendor", "product_code", "revision") if key in one.facts
        )
        unit = f"{one.unit} (answers to every number)" if one.every_unit else str(one.unit)
        table.add_row(unit, escape(one.line), escape(words), ", ".join(one.profiles))
    screen(highlight=True).print(table)
