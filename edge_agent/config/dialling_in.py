"""Devices that dial in: can each come at all, and how is it told from somebody who only says its number? Pure."""

from __future__ import annotations

import ipaddress

from device_profiles.findings import shown
from drivers.base import LinkConfig
from drivers.link import CARRIERS

Finding = tuple[str, str, str]
"""(key of the device's entry, what is wrong, what to do)."""


def refused(protocol: str, at: str, *, has_secret: bool, link: LinkConfig) -> Finding | None:
    """Why this device would never be let in; None where it can be, and on links that dial."""
    own = link.listen
    if own is None or protocol not in CARRIERS or link.kind not in CARRIERS[protocol]:
        return None
    if at and not _is_address(at):
        return "at", f"{shown(at)} is no IP address, and who dials in is told by its address", "give the address itself"
    if not at and not own.allow:
        what = f"nobody is let in to {link.id}: it has no allow, and this device no at"
        return "at", what, f"add at: the device's IP address, or links.{link.id}.allow: its network"
    if protocol == "isapi" and not at and not has_secret:
        step = "add secret, which stands in the path that it pushes to, or at: its IP address"
        return "secret", "a device that pushes is told by its secret or its address, and this one has neither", step
    return None


def open_to(protocol: str, at: str, *, has_secret: bool, link: LinkConfig) -> Finding | None:
    """Who else may speak as this device; None where nobody may."""
    if link.listen is None or at or has_secret:
        return None
    others = ", ".join(link.listen.allow[:3]) + (" and more" if len(link.listen.allow) > 3 else "")
    step = "add at: its IP address" + ("" if protocol == "uhppote" else ", or a secret")
    return "at", f"whoever is in {others} and says this number is taken for the device", step


def _is_address(at: str) -> bool:
    host = at[1:].partition("]")[0] if at.startswith("[") else at.partition(":")[0] if at.count(":") == 1 else at
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
