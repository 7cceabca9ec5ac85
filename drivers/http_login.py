"""Which login a device asks for, and when one that it refused is tried again: cameras lock an account after a handful of wrong
passwords.

Opens nothing and holds no password; only when its file was changed is known, so that a corrected one is tried at once.
Source: RFC 9110, 11.6.1 (several challenges, in one header or in many); RFC 7616, 3.3 (stale), 3.7 (take the first that one can).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE_S, LAST_PAUSE_S = 300.0, 3600.0
"""How long a login that was refused is not tried again; doubles with each refusal."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"?')
_SCHEME = re.compile(r"(?:^|,)[\s,]*([A-Za-z][\w-]*)(?=\s+[\w-]+\s*=|\s*(?:,|$))")
_FIELD = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]+))')
_ALGORITHMS = frozenset({"md5", "md5-sess", "sha-256", "sha-256-sess"})


@dataclass(slots=True)
class Lockout:
    """What is remembered of a refused login, for as long as its driver lives: reconnecting does not try the password again."""

    clock: Callable[[], float] = time.monotonic
    until: float = 0.0
    pause_s: float = 0.0
    password: tuple[int, int] | None = None
    """Time and size of the password file that was refused."""

    def refused(self, stamp: tuple[int, int] | None) -> None:
        """The password was tried, and the device said no."""
        self.pause_s = min(LAST_PAUSE_S, self.pause_s * 2) if self.pause_s else FIRST_PAUSE_S
        self.until = self.clock() + self.pause_s
        self.password = stamp

    def accepted(self) -> None:
        self.pause_s = self.until = 0.0

    def remaining_s(self, stamp: tuple[int, int] | None) -> float:
        """Seconds in which it is not tried; none where the file has changed since."""
        if self.pause_s and stamp != self.password:
            self.accepted()
        return max(0.0, self.until - self.clock())


@dataclass(slots=True)
class Lockouts:
    """A driver's lockouts, by link."""

    of: dict[str, Lockout] = field(default_factory=dict)

    def link(self, link_id: str) -> Lockout:
        return self.of.setdefault(link_id, Lockout())


def stamp_of(path: str) -> tuple[int, int] | None:
    """Time of change and size of a file; None without one."""
    try:
        found = Path(path).stat() if path else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in that a device offers. `scheme` and the names of the fields are in lower case."""

    scheme: str
    text: str
    fields: dict[str, str] = field(hash=False)

    @property
    def is_possible(self) -> bool:
        """A digest that we can answer."""
        ways = {way.strip().lower() for way in self.fields.get("qop", "auth").split(",")}
        return (
            self.scheme == "digest"
            and bool(self.fields.get("nonce"))
            and "realm" in self.fields
            and self.fields.get("algorithm", "md5").lower() in _ALGORITHMS
            and bool(ways & {"auth", "auth-int"})
        )


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """All challenges of a refusal, in its order. What is none is left out."""
    found = []
    for header in headers:
        plain = _QUOTED.sub(lambda match: "_" * len(match[0]), header)
        begins = [match.start(1) for match in _SCHEME.finditer(plain)]
        for begin, end in zip(begins, [*begins[1:], None], strict=False):
            text = header[begin:end].strip(" ,\t")
            scheme, _, rest = text.partition(" ")
            fields = {name.lower(): quoted or bare for name, quoted, bare in _FIELD.findall(rest)}
            found.append(Challenge(scheme.lower(), text, fields))
    return found


def challenge_of(headers: Sequence[str]) -> str:
    """The first digest that we can answer, as a header of its own; "" where there is none. Of `auth` and `auth-int` the first:
    devices seldom get the other right.
    """
    found = next((each for each in challenges(headers) if each.is_possible), None)
    if found is None:
        return ""
    ways = [way.strip().lower() for way in found.fields.get("qop", "").split(",")]
    return re.sub(r'(\bqop\s*=\s*)"[^"]*"', r'\1"auth"', found.text) if "auth" in ways else found.text
