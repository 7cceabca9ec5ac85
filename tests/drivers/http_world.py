"""A host of the conformance suite that is asked over HTTP: it holds n in value n."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from device_profiles.schema import Point
from firmware_sim.http_host import HttpHost


class Numbers(HttpHost):
    """One resource with all the values; those of which `refused` says so are not there. `gone` closes every connection."""

    def __init__(self, refused: Callable[[int], bool]) -> None:
        super().__init__()
        self.gone = False
        self._refused = refused

    async def respond(self, request: web.Request) -> web.StreamResponse:
        if self.gone and request.transport is not None:
            request.transport.abort()
        return web.json_response({f"r{reg}": reg for reg in range(300) if not self._refused(reg)})


def numbered_values(*regs: int) -> list[Point]:
    kind = {"get": "/values", "type": "u16"}
    return [Point.model_validate({"id": f"r{reg}", "pick": f"r{reg}", **kind}) for reg in regs]
