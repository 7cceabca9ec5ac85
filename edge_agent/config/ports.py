"""Looks whether the ports that a configuration names may be used: serial ports (opens none), and those where it listens (binds
each for an instant)."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from device_profiles.problems import Problems
from device_profiles.yamlfile import KeyPath
from drivers.base import LinkConfig
from drivers.link import refused_to_listen
from drivers.serial_port import PTS_MAJORS, holder_of

BY_ID = Path("/dev/serial/by-id")
"""Names that stay the same when a USB adapter is plugged elsewhere (udev)."""


def check_ports(links: Iterable[LinkConfig], problems: Problems, *, is_running: bool = False) -> None:
    """Notes ports that are missing, no serial port, or not this user's to open, and those where somebody else listens.
    `is_running`: the agent of this configuration runs, and has them.
    """
    for link in links:
        at: KeyPath = ("links", link.id)
        if link.kind == "serial":
            _check_port(link.path, at, problems, is_running=is_running)
        elif link.listen is not None or link.bacnet is not None:
            _check_listening(link, at, problems, is_running=is_running)


def _check_listening(link: LinkConfig, at: KeyPath, problems: Problems, *, is_running: bool) -> None:
    """A taken port is a warning: whoever has it may be gone when the agent starts."""
    host = link.host.partition("/")[0]
    kind = socket.SOCK_STREAM if link.kind in ("http-listen", "tcp-listen") else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as bound:
        try:
            if kind == socket.SOCK_STREAM and os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the agent does
            bound.bind((host, link.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and is_running:
                return
            refusal = refused_to_listen(link, error)
            problems.warn(at, refusal.what, refusal.next_step)


def _check_port(path: str, at: KeyPath, problems: Problems, *, is_running: bool) -> None:
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
    elif not is_running and os.major(mode.st_rdev) not in PTS_MAJORS and (holder := holder_of(path)) is not None:
        problems.warn(at, f"{path} is in use by {holder}", "end that before the agent starts")
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
