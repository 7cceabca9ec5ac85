"""The media profiles of an ONVIF host, by whichever media service it has: the first (profile S), or only the second (profile T).

Asks only. onvif-zeep-async ships no WSDL of the second one, whose three questions are flat enough to be written by hand.
Source: Media Service Specification 24.06, 5 (profiles, addresses); Media2 Service Specification 24.06, 5.2.3, 5.9.1, 5.9.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from device_profiles.errors import DeviceRefused

if TYPE_CHECKING:
    from .device import OnvifHost

_MOST = 512
"""Profiles that are looked at."""


@dataclass(frozen=True, slots=True)
class MediaProfile:
    """One of a host's media profiles."""

    token: str
    source: str
    source_configuration: str
    encoder: Mapping[str, Any] = field(hash=False)


class Media:
    """The media service of one host. Where there are both, the first: more devices were tested with it."""

    def __init__(self, host: OnvifHost) -> None:
        self._host = host
        self._name = ""

    async def profiles(self) -> list[MediaProfile]:
        """All media profiles, in the device's order. Raises DeviceError, LinkError."""
        found: list[MediaProfile] = []
        refused: DeviceRefused | None = None
        for name in (self._name,) if self._name else ("media", "media2"):
            try:
                params = {"Type": "All"} if name == "media2" else {}
                told = rows((await self._host.ask(name, "GetProfiles", **params)).get("Profiles"))
            except DeviceRefused as error:
                if error.code == 401:
                    raise
                refused = error if self._name or name == "media" else refused
                continue
            found = [profile for each in told[:_MOST] if (profile := _profile(each)) is not None]
            if found:
                self._name = name
                return found
        if refused is not None:
            raise refused
        return found

    async def stream_address(self, profile: str) -> Any:
        """RTSP address of a media profile, as the device says it."""
        if await self._service() == "media2":
            return (await self._host.ask("media2", "GetStreamUri", Protocol="RTSP", ProfileToken=profile)).get("Uri")
        setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        found = await self._host.ask("media", "GetStreamUri", StreamSetup=setup, ProfileToken=profile)
        return mapping(found.get("MediaUri")).get("Uri")

    async def snapshot_address(self, profile: str) -> Any:
        """HTTP address of a picture, as the device says it."""
        name = await self._service()
        found = await self._host.ask(name, "GetSnapshotUri", ProfileToken=profile)
        return found.get("Uri") if name == "media2" else mapping(found.get("MediaUri")).get("Uri")

    async def _service(self) -> str:
        if not self._name:
            await self.profiles()
        return self._name or "media"


def _profile(row: Mapping[str, Any]) -> MediaProfile | None:
    own = mapping(row.get("Configurations")) or row
    source = mapping(own.get("VideoSource", own.get("VideoSourceConfiguration")))
    token = str(row.get("@token", ""))
    if not token or not source:
        return None
    encoder = mapping(own.get("VideoEncoder", own.get("VideoEncoderConfiguration")))
    return MediaProfile(token, str(source.get("SourceToken", "")), str(source.get("@token", "")), encoder)


def of_source(profiles: Sequence[MediaProfile], number: int) -> list[MediaProfile]:
    """The media profiles of the n-th video source, in the device's order."""
    sources = list(dict.fromkeys(profile.source for profile in profiles))
    return [profile for profile in profiles if 0 < number <= len(sources) and profile.source == sources[number - 1]]


def mapping(value: Any) -> Mapping[str, Any]:
    """An element with children; nothing for what is none."""
    return value if isinstance(value, dict) else {}


def rows(value: Any) -> list[Mapping[str, Any]]:
    """Elements that may stand there once, several times or not at all."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]
