"""Looks whether the serial ports that a configuration names are there and may be used. Opens none of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from device_profiles.problems import Problems
from device_profiles.yamlfile import KeyPath
from drivers.base import LinkConfig

BY_ID = Path("/dev/serial/by-id")
"""Names that stay the same when a USB adapter is plugged elsewhere (udev)."""


def check_ports(links: Iterable[LinkConfig], problems: Problems) -> None:
    """Notes ports that are missing, no serial port, or not this user's to open."""
    for link in links:
        if link.kind == "serial":
            _check_port(link.path, ("links", link.id), problems)


def _check_port(path: str, at: KeyPath, problems: Problems) -> None:
    if not path.startswith("/"):  # COM3: Windows says what there is
        if path.upper() not in (port.upper() for port in ports()):
            problems.add(at, f"there is no port {path}", _those_there_are())
        return
    try:
        mode = os.stat(path)
    except FileNotFoundError:
        problems.add(at, f"there is no port {path}", _those_there_are())
        return
    except OSError as error:
        problems.add(at, f"{path} cannot be looked at ({error.strerror})", "check the path")
        return
    if not stat.S_ISCHR(mode.st_mode):
        problems.add(at, f"{path} is no serial port", _those_there_are())
    elif not os.access(path, os.R_OK | os.W_OK):
        group = _group(mode.st_gid)
        problems.add(
            at,
            f"this user may not open {path} (group {group}, mode {stat.S_IMODE(mode.st_mode):04o})",
            f"add the user to the group: usermod -aG {group} USER, then log in again",
        )
    elif path.startswith("/dev/ttyUSB") and (stable := _stable_name(path)):
        problems.warn(at, f"{path} changes when adapters are plugged differently", f"use {stable}")


def ports() -> list[str]:
    """The serial ports of this machine, by their stable names where there are some."""
    from serial.tools import list_ports

    return sorted(_stable_name(port.device) or port.device for port in list_ports.comports())


def _those_there_are() -> str:
    found = ports()
    return f"there are {', '.join(found)}" if found else "this machine has no serial port: plug the adapter in"


def _stable_name(path: str) -> str | None:
    if not BY_ID.is_dir():
        return None
    return next((str(link) for link in sorted(BY_ID.iterdir()) if link.resolve() == Path(path).resolve()), None)


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
