"""A small grey JPEG that changes: flat blocks of 8 by 8, which need nothing but the DC coefficients.

Source: ITU-T T.81, annexes B, F and K.3.
"""

from __future__ import annotations

import struct

_DC_BITS = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))
_DC_VALUES = bytes(range(12))


def _codes() -> dict[int, str]:
    codes, code, at = dict[int, str](), 0, 0
    for length, count in enumerate(_DC_BITS, 1):
        for _ in range(count):
            codes[_DC_VALUES[at]] = f"{code:0{length}b}"
            code, at = code + 1, at + 1
        code <<= 1
    return codes


_CODES = _codes()


def jpeg(blocks: list[list[int]]) -> bytes:
    """`blocks` are rows of grey values 0 to 255, one a block of 8 by 8 pixels."""
    bits, last = [], 0
    for row in blocks:
        for grey in row:
            step = (grey - 128) - last
            last = grey - 128
            size = abs(step).bit_length()
            bits.append(_CODES[size])
            if size:
                bits.append(f"{step if step > 0 else step + (1 << size) - 1:0{size}b}")
            bits.append("0")  # end of block
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = bytes(int(stream[at : at + 8], 2) for at in range(0, len(stream), 8)).replace(b"\xff", b"\xff\x00")
    height, width = 8 * len(blocks), 8 * len(blocks[0])
    return b"".join((
        b"\xff\xd8",
        _part(0xDB, b"\x00" + bytes([8]) * 64),
        _part(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"),
        _part(0xC4, b"\x00" + _DC_BITS + _DC_VALUES),
        _part(0xC4, b"\x10" + bytes((1,)) + bytes(15) + b"\x00"),
        _part(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
        data,
        b"\xff\xd9",
    ))  # fmt: skip


def _part(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def picture(moment: int, *, width: int = 40, height: int = 30) -> bytes:
    """A bright bar that walks over a slope: another picture each moment."""
    bar = moment % width
    return jpeg([[255 if abs(x - bar) < 2 else (x * 3 + y * 2) % 200 for x in range(width)] for y in range(height)])
