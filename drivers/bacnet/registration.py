"""Registering with a BBMD as a foreign device. The registering itself, and its renewal, is bacpypes3's."""

from __future__ import annotations

import asyncio

from device_profiles.errors import LinkRefused, LinkTimeout
from drivers.base import BacnetLink, LinkConfig

from .directory import station_of
from .stack import Stack


async def register(link: LinkConfig, own: BacnetLink, stack: Stack) -> None:
    """Registers, and waits for the answer. Raises LinkTimeout when the BBMD is silent, LinkRefused when it says no.

    Source: ANSI/ASHRAE 135-2020, annex J.5.2.
    """
    where = link.where
    try:
        async with asyncio.timeout(link.connect_timeout_s):
            result = await stack.register(station_of(own.bbmd or ""), own.ttl_s)
    except TimeoutError as error:
        raise LinkTimeout(
            f"the BBMD {own.bbmd} did not answer within {link.connect_timeout_s:g} s", where=where,
            next_step="check its address, and that nothing between filters UDP",
        ) from error  # fmt: skip
    if result != 0:
        raise LinkRefused(
            f"the BBMD {own.bbmd} refused us as a foreign device (result 0x{result:04x})", where=where,
            next_step="allow foreign devices there, or raise the size of its foreign device table",
        )  # fmt: skip
