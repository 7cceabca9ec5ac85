"""What an ONVIF host says of itself: its services, its clock, its recordings, and the value of a point in them. Asks only.

Source: ONVIF Core Specification 24.06, 8 (device management); Recording Control Service Specification 22.06, 5.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw
from drivers.base import Address
from drivers.device_time import posix_zone

from .media import Media, MediaProfile, mapping, of_source, rows

if TYPE_CHECKING:
    from .soap import Soap

DEVICE = "/onvif/device_service"
_SERVICES = {
    "http://www.onvif.org/ver10/media/wsdl": "media",
    "http://www.onvif.org/ver20/media/wsdl": "media2",
    "http://www.onvif.org/ver10/events/wsdl": "events",
    "http://www.onvif.org/ver10/recording/wsdl": "recording",
}
_INFO = {
    "vendor": "Manufacturer", "model": "Model", "serial": "SerialNumber", "firmware": "FirmwareVersion",
    "hardware": "HardwareId",
}  # fmt: skip
_MEDIA = ("sources", "profiles", "snapshot", "stream", "encoding", "resolution", "frame_rate")
_DRIFT_S = 2.0
"""By less no clock is off that was just asked: it tells whole seconds."""


def group_of(fact: str) -> str:
    """Which questions bring a fact of device_profiles.address_onvif: one batch a group."""
    kind = fact.partition(":")[0]
    return "info" if kind in _INFO else "media" if kind in _MEDIA else kind if kind.startswith("record") else "clock"


class OnvifHost:
    """One host, as far as it was asked. What does not change is asked once a session."""

    def __init__(self, soap: Soap, default_path: str = DEVICE) -> None:
        self._soap = soap
        self._device = default_path
        self._paths: dict[str, str] | None = None
        self.media = Media(self)
        soap.clock_moved = self._has_clock_moved

    async def _has_clock_moved(self) -> bool:
        before = self._soap.ahead_s
        try:
            return abs(await self.clock() - before) > _DRIFT_S
        except DeviceError:
            return False

    async def clock(self) -> float:
        """Seconds that the device's clock is ahead of ours; our logins follow it from now on. Raises DeviceError, LinkError."""
        ahead = await self.learn_clock()
        if ahead is None:
            raise DeviceMismatch("its date and time are none", where=self._soap.where)
        return round(ahead, 1)

    async def learn_clock(self) -> float | None:
        """As `clock`; None for a device that says no time, or one that nobody can place: our logins carry our own then.

        Asked without a login, as the specification has it; with one where the device wants it all the same.
        """
        before = time.time()
        try:
            found = await self._soap.ask("devicemgmt", "GetSystemDateAndTime", self._device, login=False)
        except DeviceRefused as error:
            if error.code not in (401, 403) or not self._soap.user:
                raise
            found = await self._soap.ask("devicemgmt", "GetSystemDateAndTime", self._device)
        middle = (before + time.time()) / 2
        told = _utc(found.get("SystemDateAndTime"))
        if told is None:
            return None
        ahead = told + 0.5 - middle  # it tells whole seconds: on average it is half a second further on
        self._soap.set_clock(ahead)
        return ahead

    async def set_clock(self) -> float:
        """Sets the clock to ours; how far it was ahead. Raises DeviceRefused for one that follows NTP."""
        ahead = await self.clock()
        found = await self._soap.ask("devicemgmt", "GetSystemDateAndTime", self._device)
        now = mapping(found.get("SystemDateAndTime"))
        if str(now.get("DateTimeType", "")).upper() == "NTP":
            raise DeviceRefused(
                "it takes its time from NTP", code=0, status="BadInvalidState", where=self._soap.where,
                next_step="correct its NTP server, or set its time mode to manual",
            )  # fmt: skip
        at = datetime.now(UTC)
        zone: dict[str, Any] = (
            {"TimeZone": {"TZ": mapping(now.get("TimeZone")).get("TZ")}} if now.get("TimeZone") else {}
        )
        await self._soap.ask(
            "devicemgmt", "SetSystemDateAndTime", self._device, DateTimeType="Manual",
            DaylightSavings=str(now.get("DaylightSavings", "")).lower() == "true",
            UTCDateTime={
                "Time": {"Hour": at.hour, "Minute": at.minute, "Second": at.second},
                "Date": {"Year": at.year, "Month": at.month, "Day": at.day},
            },
            **zone,
        )  # fmt: skip
        return ahead

    async def info(self) -> dict[str, str]:
        """Vendor, model, serial, firmware, hardware, as far as it says them."""
        found = await self._soap.ask("devicemgmt", "GetDeviceInformation", self._device)
        return {name: str(found[key]) for name, key in _INFO.items() if isinstance(found.get(key), str) and found[key]}

    async def path(self, service: str) -> str:
        """Where a service is on this host. Only the path of what it says is believed: it may know itself by another address.

        Raises DeviceRefused where it has no such service.
        """
        if self._paths is None:
            self._paths = await self._services()
        if service not in self._paths:
            raise DeviceRefused(
                f"the device has no {service} service", code=0, status="BadNotSupported", where=self._soap.where
            )
        return self._paths[service]

    async def _services(self) -> dict[str, str]:
        """Old devices refuse GetServices, know no such operation at all, or answer with nothing: those are asked the old way."""
        told: list[tuple[str | None, Any]] = []
        try:
            found = await self._soap.ask("devicemgmt", "GetServices", self._device, IncludeCapability=False)
            told = [
                (_SERVICES.get(str(each.get("Namespace"))), each.get("XAddr")) for each in rows(found.get("Service"))
            ]
        except DeviceRefused as error:
            if error.code == 401:
                raise
        except DeviceMismatch:
            pass
        if not any(name for name, _ in told):
            found = await self._soap.ask("devicemgmt", "GetCapabilities", self._device, Category=["All"])
            own = mapping(found.get("Capabilities"))
            own = {**mapping(own.get("Extension")), **own}
            told = [(name.lower(), mapping(own.get(name)).get("XAddr")) for name in ("Media", "Events", "Recording")]
        known = [(name, path_of(address), str(address).strip()) for name, address in told if name and path_of(address)]
        self._soap.addresses.update((path, address) for _, path, address in known)
        return {name: path for name, path, _ in known}

    async def ask(self, service: str, operation: str, **params: Any) -> Mapping[str, Any]:
        """The answer of one of its services. Raises DeviceRefused where it has no such service; DeviceError, LinkError."""
        return await self._soap.ask(service, operation, await self.path(service), **params)

    async def facts(self, device: Address, facts: Sequence[str]) -> dict[str, Raw | PointFault]:
        """The values of one group."""
        group = group_of(facts[0])
        if group == "clock":
            ahead = await self.learn_clock()
            skew = PointFault("BadNoData", "it says no time") if ahead is None else round(ahead, 1)
            return {fact: True if fact == "online" else skew for fact in facts}
        if group == "info":
            info = await self.info()
            return {fact: info.get(fact) or PointFault("BadNoData", "it does not say") for fact in facts}
        if group == "media":
            return await self._media_facts(device, facts)
        return {group: await self._recording_fact(group)}

    async def _media_facts(self, device: Address, facts: Sequence[str]) -> dict[str, Raw | PointFault]:
        everything = await self.media.profiles()
        sources = list(dict.fromkeys(profile.source for profile in everything))
        own = of_source(everything, source_number(device))
        found: dict[str, Raw | PointFault] = {}
        for fact in facts:
            kind, _, number = fact.partition(":")
            if kind == "sources":
                found[fact] = len(sources)
            elif kind == "profiles":
                found[fact] = len(own)
            elif len(own) < int(number or 1):
                found[fact] = PointFault("BadNodeIdUnknown", f"it has {len(own)} media profiles")
            else:
                try:
                    found[fact] = await self._profile_fact(kind, own[int(number or 1) - 1])
                except DeviceRefused as error:
                    if error.code == 401:
                        raise
                    found[fact] = PointFault(error.status, error.what)
        return found

    async def _profile_fact(self, kind: str, profile: MediaProfile) -> Raw | PointFault:
        value: Any = None
        if kind == "stream":
            value = bare(await self.media.stream_address(profile.token))
        elif kind == "snapshot":
            value = bare(await self.media.snapshot_address(profile.token))
        elif kind == "encoding":
            value = profile.encoder.get("Encoding")
        elif kind == "resolution":
            size = mapping(profile.encoder.get("Resolution"))
            value = f"{size['Width']}x{size['Height']}" if {"Width", "Height"} <= size.keys() else None
        else:
            limit = mapping(profile.encoder.get("RateControl")).get("FrameRateLimit")
            value = number_of(limit)
        return value if value not in (None, "") else PointFault("BadNoData", "it does not say")

    async def _recording_fact(self, group: str) -> Raw | PointFault:
        try:
            path = await self.path("recording")
            if group == "recordings":
                return len(rows((await self._soap.ask("recording", "GetRecordings", path)).get("RecordingItem")))
            jobs = rows((await self._soap.ask("recording", "GetRecordingJobs", path)).get("JobItem"))
        except DeviceRefused as error:
            if error.code == 401:
                raise
            return PointFault(error.status, error.what)
        return any(mapping(job.get("JobConfiguration")).get("Mode") == "Active" for job in jobs)


def source_number(device: Address) -> int:
    """Which video source of its host the device is, from 1: its `unit`; a host that is one camera has one."""
    return device.unit if isinstance(device.unit, int) and device.unit > 0 else 1


def path_of(address: Any) -> str:
    """Path and query of an address; "" for what is none."""
    try:
        parts = urlsplit(str(address or "").strip())
    except ValueError:
        return ""
    path = urlunsplit(("", "", parts.path, parts.query, ""))
    return path if path.startswith("/") and path.isprintable() and " " not in path and "#" not in path else ""


def bare(address: Any) -> str:
    """An address without user and password, wherever they stand in it: before the host, in the query, in the path. "" for what is
    none, and for one whose password cannot be told from its path.
    """
    try:
        parts = urlsplit(str(address or "").strip())
        if not parts.scheme or not parts.hostname or "@" in parts.path + parts.fragment:
            return ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, host + port, _innocent(parts.path), _innocent(parts.query), ""))[:1024]


_SECRET = frozenset({"user", "usr", "username", "loginuse", "loginpas", "auth", "token", "key"})


def _innocent(text: str) -> str:
    """Without `password=x` and its like: `/user=admin_password=x_channel=1.sdp` is an address too, at some makes."""
    kept = ""
    for part in re.findall(r"[^/&;,]*[/&;,]?", text):
        words = re.split(r"_(?=[A-Za-z]{1,20}=)", part)
        if "=" not in words[0]:
            words = [part]
        left = [word for word in words if not _is_secret(word)]
        kept += "_".join(left) if left else ""
        if len(left) < len(words) and left and words[-1] not in left and part[-1:] in "/&;,":
            kept += part[-1:]
    return kept.rstrip("&;,") if len(kept) < len(text) else text


def _is_secret(word: str) -> bool:
    name, is_pair, _ = unquote(word).lower().partition("=")
    return bool(is_pair) and (name in _SECRET or "pass" in name or "pwd" in name)


def number_of(value: Any) -> float | None:
    """A number of a document; None for what is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if abs(found) < 1e15 else None


def _utc(value: Any) -> float | None:
    """UTC where it is said; else the local time by the zone that is said (old devices leave UTC out)."""
    told = mapping(value)
    utc = _moment(told.get("UTCDateTime"), UTC)
    if utc is not None:
        return utc
    zone = posix_zone(str(mapping(told.get("TimeZone")).get("TZ", "")))
    return None if zone is None else _moment(told.get("LocalDateTime"), zone)


def _moment(value: Any, zone: tzinfo) -> float | None:
    told = mapping(value)
    day, at = mapping(told.get("Date")), mapping(told.get("Time"))
    try:
        numbers = [int(day[key]) for key in ("Year", "Month", "Day")] + [int(at[key]) for key in ("Hour", "Minute")]
        return datetime(*numbers, min(int(at["Second"]), 59), tzinfo=zone).timestamp()  # type: ignore[misc, arg-type]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
