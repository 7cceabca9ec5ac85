"""The secure channel of OSDP: session keys, cryptograms, MACs and encryption of one session. Pure; draws no random numbers.

Each message is signed with a chain over all before it: a lost, repeated or changed one does not verify, and the session is then
over. Source: SIA OSDP 2.2 (IEC 60839-11-5:2020), annex D (secure channel); checked against the examples of annex E.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Final, Literal

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from device_profiles.errors import DeviceMismatch

from . import frame as wire

BLOCK: Final = 16
RANDOM_SIZE: Final = 8
INSTALL_KEY: Final = bytes(range(0x30, 0x40))
"""SCBK-D, which every reader knows: for giving a reader its own key, never for more."""

Side = Literal["panel", "reader"]
_PLAIN = {"panel": 0x15, "reader": 0x16}
_SEALED = {"panel": 0x17, "reader": 0x18}
_ZERO = bytes(BLOCK)


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The keys of one session."""

    encryption: bytes
    mac_1: bytes
    mac_2: bytes


def session_keys(key: bytes, panel_random: bytes) -> Keys:
    """From the reader's key (16 bytes) and the panel's random number (8 bytes)."""
    derived = [
        _encrypt_block(key, bytes((0x01, kind)) + panel_random[:6] + bytes(BLOCK - 8)) for kind in (0x82, 0x01, 0x02)
    ]
    return Keys(*derived)


def reader_cryptogram(keys: Keys, panel_random: bytes, reader_random: bytes) -> bytes:
    """What the reader proves its key with (CCRYPT)."""
    return _encrypt_block(keys.encryption, panel_random + reader_random)


def panel_cryptogram(keys: Keys, panel_random: bytes, reader_random: bytes) -> bytes:
    """What the panel proves its key with (SCRYPT)."""
    return _encrypt_block(keys.encryption, reader_random + panel_random)


def initial_mac(keys: Keys, cryptogram: bytes) -> bytes:
    """What the chain of MACs begins with (RMAC_I), from the panel's cryptogram."""
    return _encrypt_block(keys.mac_2, _encrypt_block(keys.mac_1, cryptogram))


class SecureChannel:
    """An established session, from one side. After DeviceMismatch it is over: begin a new one."""

    def __init__(self, keys: Keys, first_mac: bytes, side: Side = "panel") -> None:
        self._keys = keys
        self._side: Side = side
        self._other: Side = "reader" if side == "panel" else "panel"
        # Each side signs on top of the last MAC of the other; the first command is signed on top of RMAC_I.
        self._sent = first_mac if side == "reader" else _ZERO
        self._heard = first_mac if side == "panel" else _ZERO

    def seal(self, frame: wire.Frame) -> wire.Frame:
        """The frame signed and, where it has data, encrypted: ready for `frame.encode`."""
        data, kind = frame.data, _PLAIN[self._side]
        if data:
            kind = _SEALED[self._side]
            data = _cbc(self._keys.encryption, _inverted(self._heard), _padded(data, always=True))
        sealed = replace(frame, data=data, security=bytes((kind,)))
        self._sent = self._mac(wire.unsigned(sealed), self._heard)
        return replace(sealed, mac=self._sent[: wire.MAC_SIZE])

    def open(self, frame: wire.Frame) -> wire.Frame:
        """The frame verified, with its data as meant. Raises DeviceMismatch for one that is not of this session."""
        kind = frame.security[0] if frame.security else None
        if kind not in (_PLAIN[self._other], _SEALED[self._other]):
            raise DeviceMismatch(f"{frame.name} came without the secure channel that was established")
        whole = self._mac(wire.unsigned(frame), self._sent)
        if not hmac.compare_digest(whole[: wire.MAC_SIZE], frame.mac):
            raise DeviceMismatch(f"the signature of {frame.name} is wrong")
        data = frame.data
        if kind == _SEALED[self._other] and data:
            data = self._decrypted(data)
        self._heard = whole
        return replace(frame, data=data)

    def _decrypted(self, data: bytes) -> bytes:
        if len(data) % BLOCK:
            raise DeviceMismatch(f"{len(data)} encrypted bytes are no whole blocks of {BLOCK}")
        cipher = Cipher(algorithms.AES(self._keys.encryption), modes.CBC(_inverted(self._sent))).decryptor()
        text = (cipher.update(data) + cipher.finalize()).rstrip(b"\0")
        if not text.endswith(b"\x80"):
            raise DeviceMismatch("the encrypted data do not end as they must")
        return text[:-1]

    def _mac(self, message: bytes, chained: bytes) -> bytes:
        """AES-CBC over the padded message: the last block with the second key, those before with the first."""
        padded = _padded(message, always=False)
        if len(padded) > BLOCK:
            chained = _cbc(self._keys.mac_1, chained, padded[:-BLOCK])[-BLOCK:]
        return _cbc(self._keys.mac_2, chained, padded[-BLOCK:])


def _encrypt_block(key: bytes, block: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # one block: there is nothing to chain
    return cipher.update(block) + cipher.finalize()


def _cbc(key: bytes, start: bytes, data: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    return cipher.update(data) + cipher.finalize()


def _inverted(block: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in block)


def _padded(data: bytes, *, always: bool) -> bytes:
    """80 and zeros up to whole blocks; without `always` whole blocks stay as they are."""
    if len(data) % BLOCK or always:
        data += b"\x80"
        data += bytes(-len(data) % BLOCK)
    return data
