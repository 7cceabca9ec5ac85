"""`plantroom decode PROTOCOL [HEX | -]`: what frames say, from hexadecimal text or a stream of bytes. Opens nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from drivers.frames import Frame, FrameDecoder, Reject


def command(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="As modbus-rtu; `list` names them all.")],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HEX | -", help="Bytes as hexadecimal text in any usual form; - reads standard input.",
            show_default="-",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a frame.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each byte is.")] = False,
    binary: Annotated[
        bool,
        typer.Option(
            "--binary", help="Standard input is bytes as they are. Needed only where they begin with printable text."
        ),
    ] = False,
) -> None:  # fmt: skip
    """Decode frames. Exit code 1 when something in the input is no right frame, 2 when the input is no bytes at all.

    Standard input may be hexadecimal text, the bytes themselves (where one of its first is not printable), or a trace of
    JSON lines (.osdpcap).
    """
    from drivers.registry import FRAME_DECODERS, load_frame_decoder

    from .decode_input import NotBytes, from_hex, standard_input

    if protocol == "list":
        print(json.dumps(list(FRAME_DECODERS)) if as_json else "\n".join(FRAME_DECODERS))
        return
    if protocol not in FRAME_DECODERS:
        names = ", ".join(FRAME_DECODERS)
        said = f"there is no decoder for {protocol!r}; use one of {names}"
        _refuse(said, {"error": "protocol", "expected": names, "got": protocol}, as_json=as_json)
    decoder = load_frame_decoder(protocol)
    text = " ".join(data or ["-"])
    chunks = standard_input(is_binary=binary) if text == "-" else from_hex(text.encode())
    tell = _tell_json(explain) if as_json else _tell_people(explain)
    is_good, is_any = True, False
    try:
        for found in _decoded(decoder, chunks):
            is_good, is_any = is_good and not hasattr(found, "error"), True
            tell(found)
    except NotBytes as error:
        told = {"error": "input", "expected": "hexadecimal digits", "got": str(error)}
        _refuse(f"{error}; {_next_step(text)}", told, as_json=as_json)
    if not is_any:
        if as_json:
            print(json.dumps({"ok": False, "error": "input", "expected": "bytes", "got": "none"}))
        print("plantroom decode: there were no bytes to decode", file=sys.stderr)
    if not is_good or not is_any:
        raise typer.Exit(1)


def _refuse(said: str, told: Mapping[str, str], *, as_json: bool) -> NoReturn:
    """Wrong usage, to a program in the form of a frame that is none."""
    if not as_json:
        raise typer.BadParameter(said)
    print(json.dumps({"ok": False, **told}))
    print(f"plantroom decode: {said}", file=sys.stderr)
    raise typer.Exit(2)


def _next_step(text: str) -> str:
    if text == "-":
        return "give the frames alone, without times and names of a log; for bytes as they are use - --binary"
    if Path(text).is_file():
        return f"for the file of that name use - < {text}"
    return "write two digits a byte"


def _decoded(decoder: FrameDecoder, chunks: Iterable[bytes]) -> Iterator[Frame | Reject]:
    """What each chunk completes, shown before the next one is waited for."""
    for chunk in chunks:
        yield from decoder.feed(chunk)
        sys.stdout.flush()
    yield from decoder.end()


def _tell_json(explain: bool) -> Callable[[Frame | Reject], None]:
    from .decode_show import as_document

    write = json.JSONEncoder(ensure_ascii=False).encode
    return lambda found: print(write(as_document(found, explain=explain)))


def _tell_people(explain: bool) -> Callable[[Frame | Reject], None]:
    from .decode_show import Shown

    return Shown(explain=explain).show
