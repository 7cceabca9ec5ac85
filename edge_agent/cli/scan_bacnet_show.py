"""What `plantroom scan bacnet` found, as tables, JSON, EDE rows and objects for a proposal. No I/O but the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from device_profiles.bacnet import ABBREVIATIONS
from device_profiles.logs import printable

if TYPE_CHECKING:
    from device_profiles.propose_found import FoundObject
    from drivers.bacnet.discovery import ObjectFacts, Station
    from drivers.bacnet.ede import EdeObject

_SHORT = {kind: short.upper() for short, kind in reversed(ABBREVIATIONS.items())}


@contextmanager
def bar(text: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; what it gives is called with (done, all[, text])."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=None)

        def moved(done: int, total: int, said: str = "") -> None:
            progress.update(task, completed=done, total=total or None, description=said or text)

        yield moved


def show_stations(found: Sequence[Station]) -> None:
    """One line a device."""
    from edge_agent.cli.tables import Column, fitted, screen

    rows = [
        (
            f"{one.peer.instance}{' (twice)' if one.is_duplicate else ''}", one.peer.address,
            *(printable(one.facts.get(key, "")) for key in ("name", "vendor", "model", "firmware")),
            "" if one.revision is None else str(one.revision),
            "" if one.problem else str(sum(one.counts.values())),
            printable(one.problem) if one.problem else _counted(one.counts),
        )
        for one in found
    ]  # fmt: skip
    columns = (
        Column("instance", right=True), Column("address"), Column("name"), Column("vendor", spare=2), Column("model", spare=1),
        Column("firmware", spare=4), Column("revision", spare=5, right=True), Column("objects", right=True),
        Column("kinds", spare=0 if any(one.problem for one in found) else 3),
    )  # fmt: skip
    styles = ["red" if one.problem or one.is_duplicate else "" for one in found]
    console = screen(highlight=True)
    console.print(fitted(columns, rows, width=console.width, styles=styles))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_SHORT.get(kind, kind)} {count}" for kind, count in counts.items())


def show_objects(found: Sequence[ObjectFacts]) -> None:
    """One line an object."""
    from edge_agent.cli.tables import Column, fitted, screen

    rows = [
        (one.reference, printable(one.name), printable(one.description), printable(one.shown), one.status or "")
        for one in found
    ]
    columns = (
        Column("object"), Column("name"), Column("description", spare=2), Column("value"), Column("status", spare=1),
    )  # fmt: skip
    styles = ["" if one.status in ("", "Good", None) else "yellow" for one in found]
    console = screen(highlight=True)
    console.print(fitted(columns, rows, width=console.width, styles=styles))


def station_document(one: Station) -> dict[str, Any]:
    """A device for `--json`."""
    return {
        "instance": one.peer.instance,
        "address": one.peer.address,
        "max_apdu": one.peer.max_apdu,
        "segmentation": one.peer.segmentation,
        "vendor_id": one.peer.vendor,
        "identity": dict(one.facts),
        "revision": one.revision,
        "services": list(one.services),
        "objects": dict(one.counts),
        "duplicate": one.is_duplicate,
        "problem": one.problem or None,
    }


def object_document(one: ObjectFacts) -> dict[str, Any]:
    """An object for `--json`."""
    return {
        "object": one.reference,
        "name": one.name,
        "description": one.description,
        "unit": one.ucum,
        "bacnet_unit": one.unit,
        "texts": {str(number): text for number, text in one.texts.items()},
        "value": one.value,
        "status": one.status or None,
        "commandable": one.is_commandable,
    }


def as_ede(instance: int, found: Sequence[ObjectFacts]) -> list[EdeObject]:
    """The objects as rows of an EDE file."""
    from drivers.bacnet.ede import EdeObject

    return [
        EdeObject(
            device=instance, kind=one.kind, instance=one.instance, name=one.name, description=one.description,
            unit=one.unit, texts=one.texts, settable=one.is_commandable,
        )
        for one in found
    ]  # fmt: skip


def from_ede_rows(rows: Sequence[EdeObject]) -> list[ObjectFacts]:
    """The rows of an EDE file as objects: no values, no status."""
    from drivers.bacnet.discovery import ObjectFacts
    from drivers.bacnet.units import ucum

    return [
        ObjectFacts(
            kind=one.kind, instance=one.instance, name=one.name, description=one.description, unit=one.unit,
            ucum=None if one.unit is None else ucum(one.unit), texts=one.texts, is_commandable=bool(one.settable),
        )
        for one in rows
    ]  # fmt: skip


def found_objects(found: Sequence[ObjectFacts]) -> list[FoundObject]:
    """The objects as a proposal wants them."""
    from device_profiles.propose_found import FoundObject

    return [
        FoundObject(
            kind=one.kind, reference=one.reference, name=one.name, description=one.description, unit=one.ucum,
            states=tuple(text for _, text in sorted(one.texts.items())), writable=one.is_commandable, value=one.value,
        )
        for one in found
    ]  # fmt: skip
