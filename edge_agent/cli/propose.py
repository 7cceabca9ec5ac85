"""`plantroom profile propose`: profiles for a list of objects, to be accepted by a person. Opens files, no link."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from device_profiles.errors import ConfigError
from device_profiles.propose import propose as proposal_of
from device_profiles.propose_files import read_json, read_table, unit_of
from device_profiles.propose_found import FoundDevice, FoundObject, Proposal
from device_profiles.propose_yaml import SURE, ProposedProfile, proposed_profiles

_MOST_BYTES = 64 << 20


def propose(
    ede: Annotated[Path | None, typer.Option(help="An EDE file (BIG-EU) of planned or exported objects.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="A table with a header line; - reads stdin.")] = None,
    document: Annotated[Path | None, typer.Option("--json", help="A JSON list of objects; - reads stdin.")] = None,
    instance: Annotated[int | None, typer.Option("--device", help="Only this BACnet device of an EDE file.")] = None,
    name: Annotated[str, typer.Option(help="Name of the device that holds the objects.")] = "",
    vendor: Annotated[str, typer.Option(help="Its maker.")] = "",
    model: Annotated[str, typer.Option(help="Its model.")] = "",
    out: Annotated[Path | None, typer.Option(help="Directory for the files; without it they are printed.")] = None,
    as_json: Annotated[bool, typer.Option("--as-json", help="The proposal as one JSON document instead.")] = False,
) -> None:
    """Propose profiles for objects by their names, units and types. Nothing is written to a device; accept line by line."""
    given = [path for path in (ede, table, document) if path is not None]
    if len(given) != 1:
        raise typer.BadParameter(f"{len(given)} lists are given; give one of --ede, --csv and --json")
    objects = _objects(ede, table, document, instance)
    if not objects:
        raise ConfigError("no object", where=str(given[0]), next_step="give a list that has some")
    device = FoundDevice(
        id="" if instance is None else str(instance),
        name=name,
        vendor=vendor,
        model=model,
        protocol="opcua" if all(found.kind == "opcua" for found in objects) else "bacnet",
    )
    proposal = proposal_of(objects, device=device)
    profiles = proposed_profiles(proposal)
    if as_json:
        print(json.dumps(_document(proposal), ensure_ascii=False))
    elif out is None:
        print("\n---\n".join(profile.text for profile in profiles), end="")
    else:
        for profile in profiles:
            _save(out, profile)
    print(_summary(proposal, profiles), file=sys.stderr)


def _objects(ede: Path | None, table: Path | None, document: Path | None, instance: int | None) -> list[FoundObject]:
    if ede is not None:
        return from_ede(ede, instance)
    path, read = _reader(table, document)
    return read(_text(path), where=str(path))


def _reader(table: Path | None, document: Path | None) -> tuple[Path, Callable[..., list[FoundObject]]]:
    if table is not None:
        return table, read_table
    assert document is not None
    return document, read_json


def from_ede(path: Path, instance: int | None) -> list[FoundObject]:
    """The objects of one device of an EDE file. Raises ConfigError, also where the file has several and none is named."""
    from drivers.bacnet.ede import read_ede

    file = read_ede(path)
    devices = sorted({one.device for one in file.objects})
    if instance is None and len(devices) > 1:
        listed = ", ".join(map(str, devices[:12])) + (" ..." if len(devices) > 12 else "")
        raise ConfigError(f"{len(devices)} devices", where=str(path), next_step=f"give --device, one of {listed}")
    found = []
    for one in file.objects if instance is None else file.of_device(instance):
        unit, words = unit_of("" if one.unit is None else str(one.unit))
        found.append(
            FoundObject(
                kind=one.kind,
                reference=f"{one.kind}:{one.instance}",
                name=one.name,
                description=one.description,
                unit=unit,
                unit_name=words or one.unit_text,
                states=tuple(text for _, text in sorted(one.texts.items())),
                writable=bool(one.settable),
                label=one.key,
            )
        )
    return found


def _text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read(_MOST_BYTES) if str(path) == "-" else path.read_bytes()[:_MOST_BYTES]
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), next_step="correct the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError("is no UTF-8 text", where=str(path), next_step="save it as CSV UTF-8") from error


def _save(folder: Path, profile: ProposedProfile) -> None:
    path = folder / f"{profile.id}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(profile.text)
    except FileExistsError as error:
        raise ConfigError("is there already", where=str(path), next_step="remove it, or give another --out") from error
    except OSError as error:
        step = "give an --out that you may write to"
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(path), next_step=step) from error
    print(path)


def _document(proposal: Proposal) -> dict[str, Any]:
    return {
        "equipment": [
            {
                "id": one.id,
                "class": one.cls,
                "prefix": one.prefix,
                "confidence": one.confidence,
                "reason": one.reason,
                "points": [
                    {
                        "object": point.found.reference,
                        "name": point.found.name,
                        "id": point.id,
                        "quantity": point.quantity,
                        "brick": point.brick,
                        "confidence": point.confidence,
                        "reason": point.reason,
                        "other": point.other,
                    }
                    for point in one.points
                ],
            }
            for one in proposal.equipment
        ],
        "skipped": [found.reference for found in proposal.skipped],
    }


def _summary(proposal: Proposal, profiles: list[ProposedProfile]) -> str:
    points = proposal.points
    sure = sum(point.confidence >= SURE for point in points)
    own = sum(point.id.startswith("x_") for point in points)
    devices = sum(len(profile.devices) for profile in profiles)
    return (
        f"{len(points)} objects, {devices} devices, {len(profiles)} profiles: {sure} sure, "
        f"{len(points) - sure - own} to look at, {own} without a word of the vocabulary, {len(proposal.skipped)} without a value"
    )
