"""Who may speak to a link where devices dial in: the allow-list, how many at once from one address, and who else tried.

Opens nothing and reads nothing: it is asked with the peer's address before a byte is taken. A refusal is counted, and told in the
log once a second at most; it never contains a secret.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

import structlog

from device_profiles.errors import ConfigError, DeviceError

from .base import Address, LinkConfig, Stranger, WireCount
from .link import ListenLink

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_log = structlog.get_logger("listener")
_SAY_EVERY_S = 1.0
_MOST_STRANGERS = 32
_MOST_GUESSERS = 256
_PER_SECOND, _BURST = 500.0, 2000.0
"""Requests, and connections, of one address that cost nothing: more than a device that sends all its memory has."""
_GUESSES = 20
"""Wrong secrets within a minute after which an address has to wait for the next one."""


def host_of(at: str) -> str:
    """The host of a device's `at`: `10.0.0.9`, `10.0.0.9:60000` or `[fd00::9]:60000`."""
    if at.startswith("["):
        return at[1:].partition("]")[0]
    return at.partition(":")[0] if at.count(":") == 1 else at


def plain(host: str) -> str:
    """An address without zone, and an IPv4 one as itself where the socket shows it as IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def networks_of(own: ListenLink, where: str) -> tuple[Network, ...]:
    """The allow-list. Raises ConfigError naming the entry that is no address."""
    found: list[Network] = []
    for text in own.allow:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            step = "write an address or a network, as 10.1.2.0/24"
            raise ConfigError(f"{text!r} in allow is no network", where=where, next_step=step) from error
    return tuple(found)


def _shown(text: str) -> str:
    """What a stranger says of itself, fit for a log and a screen."""
    return "".join(each if each.isprintable() else "?" for each in text[:64])


class Admission:
    """The list of one link. `per_address` and `most` are connections at the same time."""

    def __init__(
        self,
        link: LinkConfig,
        counts: WireCount,
        *,
        per_address: int = 8,
        most: int = 512,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._counts = counts
        self._networks = networks_of(link.listen or ListenLink(), link.where)
        self._hosts: dict[str, str] = {}
        """Device to its host."""
        self._inside: dict[str, int] = {}
        self._guesses: dict[str, tuple[int, float]] = {}
        self._due: dict[tuple[str, str], float] = {}
        """When the next one of an address would be due at the steady rate, by kind."""
        self._per_address = per_address
        self._most = most
        self._clock = clock
        self._said: dict[str, float] = {}
        self._named: set[str] = set()
        """Unknown devices that the log has named."""

    @property
    def strangers(self) -> dict[str, Stranger]:
        """The unknown devices heard last, by what they call themselves."""
        return {each.who: each for each in self._counts.strangers if each.who}

    def expect(self, device: Address) -> None:
        """This device may come, from its own address where it has one. Raises DeviceError for an address that is a name."""
        if not device.at:
            return
        host = plain(host_of(device.at))
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            step = "give the address itself, so that it can be told who speaks"
            raise DeviceError(f"at: {device.at!r} is no IP address", where=device.device, next_step=step) from error
        self._hosts[device.device or str(device.unit)] = host

    def forget(self, device: Address) -> None:
        """It is expected no more."""
        self._hosts.pop(device.device or str(device.unit), None)

    def admits(self, host: str) -> bool:
        """The address is on the list, and has not guessed secrets lately."""
        tries, since = self._guesses.get(host, (0, 0.0))
        if tries >= _GUESSES and self._clock() - since < 60:
            return False
        if not self._networks:
            return host in self._hosts.values()
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def is_at(self, device: Address, host: str) -> bool:
        """The device has no address of its own in the configuration, or it is this one."""
        return not device.at or plain(host_of(device.at)) == host

    def enter(self, host: str) -> bool:
        """A connection from here may be taken; `leave` gives it back. A refusal is counted."""
        if not self.admits(host):
            self.refuse("address_not_allowed", host)
            return False
        if self.wait_s("connection", host):
            self.refuse("too_fast", host)
            return False
        is_full = sum(self._inside.values()) >= self._most and host not in self._hosts.values()
        if is_full or self._inside.get(host, 0) >= self._per_address:  # who fills it shuts no configured device out
            self.refuse("too_many_connections", host)
            return False
        self._inside[host] = self._inside.get(host, 0) + 1
        return True

    def wait_s(self, kind: str, host: str) -> float:
        """Seconds that one more of an address has to wait: 0, unless it has sent far more than a device would."""
        now, each_s = self._clock(), 1 / _PER_SECOND
        unused = now - _BURST * each_s
        due = max(self._due.pop((kind, host), unused), unused) + each_s
        if len(self._due) >= _MOST_GUESSERS:
            self._due.pop(next(iter(self._due)))  # whoever was quiet for longest
        is_refused = kind == "connection" and due > now
        self._due[kind, host] = due - each_s if is_refused else due  # what is sent away takes nobody's turn
        return max(0.0, due - now)

    def leave(self, host: str) -> None:
        """A connection that `enter` let in has ended."""
        left = self._inside.get(host, 0) - 1
        if left > 0:
            self._inside[host] = left
        else:
            self._inside.pop(host, None)

    def refuse(self, why: str, host: str, detail: str = "") -> None:
        """Counts what was not taken, and says so once a second for each reason."""
        self._counts.errors[why] = self._counts.errors.get(why, 0) + 1
        if why == "address_not_allowed":
            self._meet("", host)
        if self._may_say(why):
            _log.warning(why, link=self._link.id, peer=host, so_far=self._counts.errors[why], detail=detail)

    def guessed(self, host: str) -> None:
        """A wrong secret came from here."""
        now = self._clock()
        tries, since = self._guesses.get(host, (0, now))
        if now - since >= 60:
            tries, since = 0, now
        if len(self._guesses) >= _MOST_GUESSERS and host not in self._guesses:
            self._guesses.pop(next(iter(self._guesses)))
        self._guesses[host] = (tries + 1, since)
        self.refuse("wrong_secret", host)

    def stranger(self, who: str, peer: str, facts: dict[str, str] | None = None) -> None:
        """A device that nobody configured: counted each time, and told once; in turn, where there are many."""
        self._counts.errors["unknown_device"] = self._counts.errors.get("unknown_device", 0) + 1
        who = _shown(who)
        self._meet(who, peer).facts.update({_shown(name): _shown(text) for name, text in (facts or {}).items()})
        if who not in self._named and self._may_say("unknown_device"):
            if len(self._named) >= _MOST_STRANGERS:
                self._named.clear()
            self._named.add(who)
            _log.warning("unknown_device", link=self._link.id, unit=who, peer=peer, next_step="add it to agent.yaml")

    def _meet(self, who: str, peer: str) -> Stranger:
        """Puts it last in the list; whoever was not heard for longest makes room."""
        strangers = self._counts.strangers
        found = next((each for each in strangers if each.who == who and (who or each.peer == peer)), None)
        if found is not None:
            strangers.remove(found)
        elif len(strangers) >= _MOST_STRANGERS:
            del strangers[0]
        found = found or Stranger(who, peer)
        found.count += 1
        found.peer = peer
        strangers.append(found)
        return found

    def _may_say(self, why: str) -> bool:
        """Once a second for each reason."""
        now = self._clock()
        if now - self._said.get(why, -_SAY_EVERY_S) < _SAY_EVERY_S:
            return False
        self._said[why] = now
        return True
