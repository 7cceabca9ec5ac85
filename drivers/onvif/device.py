"""What an ONVIF host says of itself: its services, its clock, its media profiles, and the value of a point in them. Asks only.

Source: ONVIF Core Specification 24.06, 8 (device management); Media Service Specification 24.06, 5 (profiles, addresses);
Recording Control Service Specification 22.06, 5.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw
from drivers.base import Address
from drivers.device_time import posix_zone

if TYPE_CHECKING:
    from .soap import Soap

DEVICE = "/onvif/device_service"
_SERVICES = {
    "http://www.onvif.org/ver10/media/wsdl": "media",
    "http://www.onvif.org/ver10/events/wsdl": "events",
    "http://www.onvif.org/ver10/recording/wsdl": "recording",
}
_INFO = {
    "vendor": "Manufacturer", "model": "Model", "serial": "SerialNumber", "firmware": "FirmwareVersion",
    "hardware": "HardwareId",
}  # fmt: skip
_MEDIA = ("sources", "profiles", "snapshot", "stream", "encoding", "resolution", "frame_rate")
_MOST_PROFILES = 512
_DRIFT_S = 2.0
"""By less no clock is off that was just asked: it tells whole seconds."""


def group_of(fact: str) -> str:
    """Which questions bring a fact of device_profiles.address_onvif: one batch a group."""
    kind = fact.partition(":")[0]
    return "info" if kind in _INFO else "media" if kind in _MEDIA else kind if kind.startswith("record") else "clock"


@dataclass(frozen=True, slots=True)
class MediaProfile:
    """One of a host's media profiles."""

    token: str
    source: str
    source_configuration: str
    encoder: Mapping[str, Any] = field(hash=False)


class OnvifHost:
    """One host, as far as it was asked. What does not change is asked once a session."""

    def __init__(self, soap: Soap, default_path: str = DEVICE) -> None:
        self._soap = soap
        self._device = default_path
        self._paths: dict[str, str] | None = None
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
            if error.code != 401 or not self._soap.user:
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
        now = _mapping(found.get("SystemDateAndTime"))
        if str(now.get("DateTimeType", "")).upper() == "NTP":
            raise DeviceRefused(
                "it takes its time from NTP", code=0, status="BadInvalidState", where=self._soap.where,
                next_step="correct its NTP server, or set its time mode to manual",
            )  # fmt: skip
        at = datetime.now(UTC)
        zone: dict[str, Any] = (
            {"TimeZone": {"TZ": _mapping(now.get("TimeZone")).get("TZ")}} if now.get("TimeZone") else {}
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
        try:
            found = await self._soap.ask("devicemgmt", "GetServices", self._device, IncludeCapability=False)
            rows = [
                (_SERVICES.get(str(each.get("Namespace"))), each.get("XAddr")) for each in _rows(found.get("Service"))
            ]
        except DeviceRefused as error:
            if error.code == 401:
                raise
            found = await self._soap.ask("devicemgmt", "GetCapabilities", self._device, Category=["All"])
            told = _mapping(found.get("Capabilities"))
            rows = [(name.lower(), _mapping(told.get(name)).get("XAddr")) for name in ("Media", "Events")]
        known = [(name, path_of(address), str(address).strip()) for name, address in rows if name and path_of(address)]
        self._soap.addresses.update((path, address) for _, path, address in known)
        return {name: path for name, path, _ in known}

    async def media_profiles(self) -> list[MediaProfile]:
        """All media profiles, in the device's order."""
        found = await self._soap.ask("media", "GetProfiles", await self.path("media"))
        profiles = []
        for each in _rows(found.get("Profiles"))[:_MOST_PROFILES]:
            source = _mapping(each.get("VideoSourceConfiguration"))
            token = str(each.get("@token", ""))
            if token and source:
                encoder = _mapping(each.get("VideoEncoderConfiguration"))
                place = str(source.get("SourceToken", ""))
                profiles.append(MediaProfile(token, place, str(source.get("@token", "")), encoder))
        return profiles

    async def stream_address(self, profile: str) -> str:
        """RTSP address of a media profile, without user and password."""
        setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        found = await self._soap.ask(
            "media", "GetStreamUri", await self.path("media"), StreamSetup=setup, ProfileToken=profile
        )
        return bare(_mapping(found.get("MediaUri")).get("Uri"))

    async def snapshot_address(self, profile: str) -> str:
        """HTTP address of a picture, as the device says it."""
        found = await self._soap.ask("media", "GetSnapshotUri", await self.path("media"), ProfileToken=profile)
        return str(_mapping(found.get("MediaUri")).get("Uri", ""))

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
        everything = await self.media_profiles()
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
            value = await self.stream_address(profile.token)
        elif kind == "snapshot":
            value = bare(await self.snapshot_address(profile.token))
        elif kind == "encoding":
            value = profile.encoder.get("Encoding")
        elif kind == "resolution":
            size = _mapping(profile.encoder.get("Resolution"))
            value = f"{size['Width']}x{size['Height']}" if {"Width", "Height"} <= size.keys() else None
        else:
            limit = _mapping(profile.encoder.get("RateControl")).get("FrameRateLimit")
            value = number_of(limit)
        return value if value not in (None, "") else PointFault("BadNoData", "it does not say")

    async def _recording_fact(self, group: str) -> Raw | PointFault:
        try:
            path = await self.path("recording")
            if group == "recordings":
                return len(_rows((await self._soap.ask("recording", "GetRecordings", path)).get("RecordingItem")))
            jobs = _rows((await self._soap.ask("recording", "GetRecordingJobs", path)).get("JobItem"))
        except DeviceRefused as error:
            if error.code == 401:
                raise
            return PointFault(error.status, error.what)
        return any(_mapping(job.get("JobConfiguration")).get("Mode") == "Active" for job in jobs)


def source_number(device: Address) -> int:
    """Which video source of its host the device is, from 1: its `unit`; a host that is one camera has one."""
    return device.unit if isinstance(device.unit, int) and device.unit > 0 else 1


def of_source(profiles: Sequence[MediaProfile], number: int) -> list[MediaProfile]:
    """The media profiles of the n-th video source, in the device's order."""
    sources = list(dict.fromkeys(profile.source for profile in profiles))
    return [profile for profile in profiles if 0 < number <= len(sources) and profile.source == sources[number - 1]]


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
    told = _mapping(value)
    utc = _moment(told.get("UTCDateTime"), UTC)
    if utc is not None:
        return utc
    zone = posix_zone(str(_mapping(told.get("TimeZone")).get("TZ", "")))
    return None if zone is None else _moment(told.get("LocalDateTime"), zone)


def _moment(value: Any, zone: tzinfo) -> float | None:
    told = _mapping(value)
    day, at = _mapping(told.get("Date")), _mapping(told.get("Time"))
    try:
        numbers = [int(day[key]) for key in ("Year", "Month", "Day")] + [int(at[key]) for key in ("Hour", "Minute")]
        return datetime(*numbers, min(int(at["Second"]), 59), tzinfo=zone).timestamp()  # type: ignore[misc, arg-type]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[Mapping[str, Any]]:
    """Elements that may stand there once, several times or not at all."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]
