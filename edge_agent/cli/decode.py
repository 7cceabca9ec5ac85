"""`plantroom decode PROTOCOL [HEX | -]`: what frames say, from hexadecimal text or a stream of bytes. Opens nothing."""

from __future__ import annotations

import json
import os
import string
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from drivers.frames import Frame, Reject

_HEX = frozenset(string.hexdigits.encode())
_SPACE = frozenset(b" \t\r\n:-,")
_CHUNK = 65536
_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")


def command(
    protocol: Annotated[str, typer.Argument(help="The protocol, as modbus-rtu; `list` names them all.")],
    data: Annotated[
        str, typer.Argument(metavar="[HEX | -]", help="Bytes as hexadecimal text; - reads standard input.")
    ] = "-",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a frame.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each byte is.")] = False,
    binary: Annotated[
        bool, typer.Option("--binary", help="Standard input is bytes as they are, not hexadecimal text.")
    ] = False,
) -> None:
    """Decode frames. Exit code 1 when something in the input is no right frame."""
    from drivers.registry import FRAME_DECODERS, load_frame_decoder

    if protocol == "list":
        print("\n".join(FRAME_DECODERS))
        return
    decoder = load_frame_decoder(protocol)
    chunks = _standard_input(binary) if data == "-" else iter((_from_hex(data.encode()),))
    is_good, count = True, 0
    for found in _decoded(decoder, chunks):
        count += 1
        is_good = is_good and not hasattr(found, "error")
        if as_json:
            print(json.dumps(as_document(found), ensure_ascii=False))
        else:
            _show(found, explain)
    if not count:
        print("plantroom decode: there were no bytes to decode", file=sys.stderr)
    if not is_good or not count:
        raise typer.Exit(1)


def _decoded(decoder: Any, chunks: Iterable[bytes]) -> Iterator[Frame | Reject]:
    for chunk in chunks:
        yield from decoder.feed(chunk)
    yield from decoder.end()


def _standard_input(binary: bool) -> Iterator[bytes]:
    """Portions of standard input. Hexadecimal text may be broken anywhere between two digits of different bytes."""
    rest = b""
    while chunk := os.read(sys.stdin.fileno(), _CHUNK):
        if binary:
            yield chunk
            continue
        text = rest + bytes(byte for byte in chunk if byte not in _SPACE)
        whole = len(text) - len(text) % 2
        rest = text[whole:]
        yield _from_hex(text[:whole])
    if rest:
        raise typer.BadParameter(f"the last byte has one digit only: {rest.decode('ascii', 'replace')!r}")


def _from_hex(text: bytes) -> bytes:
    digits = bytes(byte for byte in text if byte not in _SPACE)
    for at, byte in enumerate(digits):
        if byte not in _HEX:
            shown = chr(byte) if 32 <= byte < 127 else f"0x{byte:02x}"
            raise typer.BadParameter(
                f"{shown!r} at digit {at + 1} is not hexadecimal; for bytes as they are use - --binary"
            )
    if len(digits) % 2:
        raise typer.BadParameter(f"{len(digits)} hexadecimal digits are no whole number of bytes")
    return bytes.fromhex(digits.decode())


def as_document(found: Frame | Reject) -> dict[str, Any]:
    """A frame, or what is none, as the JSON line says it."""
    from drivers.frames import Reject

    if isinstance(found, Reject):
        document = {"ok": False, "error": found.error, "expected": found.expected, "got": found.got}
        return document | {"detail": found.detail, "at": found.at, "raw": found.raw.hex()}
    values = [
        {"id": value.id, "value": value.value, "unit": value.unit} | ({"status": value.status} if value.status else {})
        for value in found.values
    ]
    document = {"ok": True, "address": found.address, "control": found.control, "values": values}
    return document | {**found.facts, "at": found.at, "raw": found.raw.hex()}


def _show(found: Frame | Reject, explain: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from device_profiles.logs import printable
    from drivers.frames import Reject

    console = Console(highlight=False, soft_wrap=True)
    if isinstance(found, Reject):
        said = f", expected {found.expected}, got {found.got}" if found.expected is not None else ""
        shown = found.raw[:32].hex(" ") + (" ..." if len(found.raw) > 32 else "")
        console.print(Text(f"{found.at:>6}  {found.error}{said}: {found.detail}  [{shown}]", style="red"))
        return
    facts = "  ".join(f"{key}={_fact(value)}" for key, value in found.facts.items() if not isinstance(value, dict))
    console.print(
        Text(
            printable(f"{found.at:>6}  address {found.address or '-'}  control {found.control}  {facts}"), style="bold"
        )
    )
    for value in found.values:
        unit = f" {value.unit}" if value.unit else ""
        status = f"  {value.status}" if value.status else ""
        console.print(Text(printable(f"        {value.id} = {value.value}{unit}{status}")))
    if explain:
        _explain(console, found)


def _fact(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _explain(console: Any, frame: Frame) -> None:
    """The bytes with a colour a part, and a line for each part."""
    from rich.text import Text

    from device_profiles.logs import printable

    line = Text("        ")
    shown = 0
    for number, part in enumerate(frame.parts):
        line.append(frame.raw[shown : part.start].hex(" ") + " " if part.start > shown else "", style="dim")
        line.append(frame.raw[part.start : part.end].hex(" ") + " ", style=_COLOURS[number % len(_COLOURS)])
        shown = max(shown, part.end)
    line.append(frame.raw[shown:].hex(" "), style="dim")
    console.print(line)
    for number, part in enumerate(frame.parts):
        span = f"{part.start}" if part.end == part.start + 1 else f"{part.start}..{part.end - 1}"
        text = Text(f"        {span:>9}  ", style="dim")
        text.append(f"{part.name:<14} ", style=_COLOURS[number % len(_COLOURS)])
        text.append(printable(part.text))
        console.print(text)
