"""Opens what a serial line hangs on, a port of this machine or a serial server's socket, and says in words why it cannot.

A Port moves bytes and nothing else; framing and time are the line's. It is used by one thread. On Linux a port is read by its
file descriptor (a third of pyserial's cost), elsewhere by pyserial, which sets it up in both cases. The port is locked: by
flock against programs that ask, by TIOCEXCL against those that do not. (Not on a pseudo terminal: there the flag would outlive
a killed process as long as the other end is open.)
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Protocol

import serial
from serial.tools import list_ports

from device_profiles.errors import LinkLost, LinkRefused, LinkTimeout, PlantroomError

from .base import LinkConfig

_CHUNK = 4096
PTS_MAJORS = range(136, 144)
"""Device numbers of pseudo terminals (Linux, Documentation/admin-guide/devices.txt)."""
_BY_ID = "name it by /dev/serial/by-id/..., which stays the same when it is plugged in again"


class Port(Protocol):
    """Bytes in and out of one wire. Raises LinkLost when the wire is gone."""

    def write(self, data: bytes) -> None: ...

    def read(self, wait_s: float) -> bytes:
        """What has come; waits at most `wait_s` for the first byte. Empty when nothing came, or when woken."""
        ...

    def wake(self) -> None:
        """Ends a waiting `read`; the one method for other threads."""
        ...

    def tune(self, link: LinkConfig) -> None:
        """Takes up baud rate and character format of `link`. Raises LinkRefused for what the port does not have, LinkLost."""
        ...

    def close(self) -> None: ...


def open_port(link: LinkConfig) -> Port:
    """Opens and locks the line of a link. Raises LinkRefused, LinkTimeout."""
    if link.kind == "rtu+tcp":
        return _open_socket(link)
    device = _open_serial(link)
    if sys.platform == "win32":
        return _PyserialPort(device, link)
    return _SerialFd(device, link)


class _Selected:
    """Reads a file descriptor when the selector says that there is something, or when it was woken."""

    def __init__(self, fd: int, link: LinkConfig) -> None:
        self._fd = fd
        self._link = link
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(fd, selectors.EVENT_READ)
        self._selector.register(self._wakes, selectors.EVENT_READ)

    def read(self, wait_s: float) -> bytes:
        ready = {key.fd for key, _ in self._selector.select(max(0.0, wait_s))}
        if self._wakes.fileno() in ready:
            self._wakes.recv(_CHUNK)
        if self._fd not in ready:
            return b""
        try:
            data = self._receive()
        except BlockingIOError:
            return b""
        except OSError as error:
            raise lost(self._link, error) from error
        if not data:
            raise lost(self._link, None)
        return data

    def wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            return  # full: it is being woken already; closed: nobody waits

    def write(self, data: bytes) -> None:
        end = time.monotonic() + self._link.timeout_s
        while data:
            try:
                data = data[self._send(data) :]
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise LinkLost(
                        "the port takes no more bytes",
                        where=self._link.where,
                        next_step="check flow control, and replug the adapter",
                    ) from error
                time.sleep(0.001)
            except OSError as error:
                raise lost(self._link, error) from error

    def _receive(self) -> bytes:
        raise NotImplementedError

    def _send(self, data: bytes) -> int:
        raise NotImplementedError

    def _close_waker(self) -> None:
        self._selector.close()
        self._wakes.close()
        self._waker.close()


class _SerialFd(_Selected):
    def __init__(self, device: serial.Serial, link: LinkConfig) -> None:
        self._device = device
        super().__init__(device.fileno(), link)

    def _receive(self) -> bytes:
        return os.read(self._fd, _CHUNK)

    def _send(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def tune(self, link: LinkConfig) -> None:
        _retune(self._device, link)

    def close(self) -> None:
        self._close_waker()
        _unlock(self._fd)
        self._device.close()


class _SocketPort(_Selected):
    def __init__(self, connection: socket.socket, link: LinkConfig) -> None:
        self._connection = connection
        super().__init__(connection.fileno(), link)

    def _receive(self) -> bytes:
        return self._connection.recv(_CHUNK)

    def _send(self, data: bytes) -> int:
        return self._connection.send(data)

    def tune(self, link: LinkConfig) -> None:
        raise LinkRefused(
            "a serial server's own settings cannot be changed over its socket",
            where=self._link.where,
            next_step="give its devices one baud rate and character format",
        )

    def close(self) -> None:
        self._close_waker()
        self._connection.close()


class _PyserialPort:
    """Where there is no file descriptor to wait for (Windows)."""

    def __init__(self, device: serial.Serial, link: LinkConfig) -> None:
        self._device = device
        self._link = link

    def read(self, wait_s: float) -> bytes:
        try:
            self._device.timeout = max(0.0, wait_s)
            return bytes(self._device.read(max(1, self._device.in_waiting)))
        except (serial.SerialException, OSError) as error:
            raise lost(self._link, error) from error

    def write(self, data: bytes) -> None:
        try:
            self._device.write(data)
        except (serial.SerialException, OSError) as error:
            raise lost(self._link, error) from error

    def wake(self) -> None:
        self._device.cancel_read()

    def tune(self, link: LinkConfig) -> None:
        _retune(self._device, link)

    def close(self) -> None:
        self._device.close()


def lost(link: LinkConfig, error: Exception | None) -> LinkLost:
    """The error of a line that was open and is gone."""
    if link.kind == "rtu+tcp":
        return LinkLost(
            f"the serial server closed the connection{f' ({error})' if error else ''}",
            where=link.where,
            next_step="it is opened again by itself; if this repeats, see how many connections the serial server allows",
        )
    why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error or "end of file")
    return LinkLost(
        f"the port {link.path} is gone ({why})", where=link.id, next_step=f"plug the adapter in again, and {_BY_ID}"
    )


# -- opening ----------------------------------------------------------------------------------------------------------


def _open_socket(link: LinkConfig) -> Port:
    where = link.where
    try:
        connection = socket.create_connection((link.host, link.port), timeout=link.connect_timeout_s)
    except TimeoutError as error:
        raise LinkTimeout(
            f"no connection within {link.connect_timeout_s:g} s",
            where=where,
            next_step="check the serial server's address",
        ) from error
    except ConnectionRefusedError as error:
        raise LinkRefused(
            "connection refused", where=where, next_step="check the port; many serial servers allow one connection only"
        ) from error
    except OSError as error:
        raise LinkRefused(
            f"cannot connect: {error.strerror or error}", where=where, next_step="check the host name and the network"
        ) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setblocking(False)
    return _SocketPort(connection, link)


def _parity(link: LinkConfig) -> str:
    # a pseudo terminal has no parity, and refuses it with EINVAL where nothing else changes
    return "N" if os.path.realpath(link.path).startswith("/dev/pts/") else link.parity


def _retune(device: serial.Serial, link: LinkConfig) -> None:
    try:
        device.flush()
        device.apply_settings(
            {"baudrate": link.baud, "bytesize": link.data_bits, "parity": _parity(link), "stopbits": link.stop_bits}
        )
    except (serial.SerialException, OSError) as error:
        raise lost(link, error) from error
    except (ValueError, OverflowError) as error:
        raise _not_taken(link, error) from error


def _not_taken(link: LinkConfig, error: Exception) -> LinkRefused:
    return LinkRefused(
        f"{link.path} does not take {link.baud} {link.data_bits}{link.parity}{link.stop_bits}: {error}",
        where=link.id,
        next_step="choose a baud rate and framing that the port has",
    )


def _open_serial(link: LinkConfig) -> serial.Serial:
    try:
        device = serial.Serial(
            port=link.path,
            baudrate=link.baud,
            bytesize=link.data_bits,
            parity=_parity(link),
            stopbits=link.stop_bits,
            timeout=0,
            write_timeout=None if sys.platform != "win32" else link.timeout_s,
            exclusive=None if sys.platform == "win32" else True,
        )
    except (serial.SerialException, OSError) as error:
        raise _refusal(link, error) from error
    except (ValueError, OverflowError) as error:
        raise _not_taken(link, error) from error
    try:
        _lock(device)
        device.reset_input_buffer()
    except (serial.SerialException, OSError) as error:
        device.close()
        raise _refusal(link, error) from error
    return device


def _lock(device: serial.Serial) -> None:
    if sys.platform == "win32":
        return
    import fcntl
    import termios

    if os.major(os.fstat(device.fileno()).st_rdev) not in PTS_MAJORS:
        fcntl.ioctl(device.fileno(), termios.TIOCEXCL)


def _unlock(fd: int) -> None:
    if sys.platform == "win32":
        return
    import fcntl
    import termios

    try:
        fcntl.ioctl(fd, termios.TIOCNXCL)
    except OSError:
        return  # the adapter is gone, and its lock with it


def _refusal(link: LinkConfig, error: Exception) -> PlantroomError:
    """What a person is told about a port that does not open."""
    path, number = link.path, _number(error)
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        holder = holder_of(path) or "another program"
        return LinkRefused(
            f"{path} is in use by {holder}",
            where=link.id,
            next_step="stop it; what a running agent reads there is in plantroom status --device",
        )
    if number in (errno.EACCES, errno.EPERM):
        return LinkRefused(
            f"no permission for {path}{_owner(path)}",
            where=link.id,
            next_step="add the user to the port's group (sudo usermod -aG dialout $USER) and log in again",
        )
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or (
        sys.platform == "win32" and "FileNotFound" in str(error)
    ):
        return LinkRefused(
            f"there is no port {path}; {ports_there_are()}", where=link.id, next_step=f"check the adapter, and {_BY_ID}"
        )
    if number in (errno.ENOTTY, errno.EINVAL, errno.EISDIR):
        return LinkRefused(f"{path} is no serial port ({error})", where=link.id, next_step=ports_there_are())
    return LinkRefused(f"{path} does not open: {error}", where=link.id, next_step=ports_there_are())


def _number(error: Exception) -> int | None:
    """The errno, also where pyserial wrapped a termios.error in words."""
    number: object = getattr(error, "errno", None)
    if number is None and error.__context__ is not None and error.__context__.args:
        number = error.__context__.args[0]
    return number if isinstance(number, int) else None


def ports_there_are() -> str:
    """The serial ports of this machine, in words."""
    found = sorted(list_ports.comports())
    if not found:
        return "this machine has no serial port"
    words = [
        f"{port.device} ({port.description})" if port.description not in (None, "n/a") else port.device
        for port in found
    ]
    return f"there are {', '.join(words[:8])}"


def _owner(path: str) -> str:
    if sys.platform == "win32":
        return ""
    import grp
    import pwd

    try:
        status = Path(path).stat()
        user, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
        return f" (it belongs to {user}:{group}, mode {status.st_mode & 0o777:o})"
    except (OSError, KeyError):
        return ""


def holder_of(path: str) -> str | None:
    """`PID 812 (agent)` that has a port open, as far as /proc shows it to us; None when it does not."""
    target = os.path.realpath(path)
    own = os.getpid()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) != target:
                continue
            pid = int(link.parts[2])
            name = (Path("/proc") / link.parts[2] / "comm").read_text().strip()
        except (OSError, ValueError):
            continue
        return f"PID {pid} ({name}{', this program' if pid == own else ''})"
    return None
