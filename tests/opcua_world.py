"""One simulated plant room a test process: asyncua takes seconds to build its address space. It lives in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from device_profiles.schema import Point
from drivers.base import LinkConfig, OpcUaLink
from firmware_sim.opcua.server import NAMESPACE, PlantServer

CHILLER = "ChillerPlant/Chiller1"
TIMEOUT_S = 2.0


class Plant:
    """The server, and how to ask things of it from another loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="opcua plant", daemon=True).start()
        self.server = PlantServer(refresh_s=None)
        asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result(50)

    async def on(self, work: Coroutine[Any, Any, Any] | Callable[[], Any]) -> Any:
        """Runs a coroutine or a function in the server's loop."""

        async def run() -> Any:
            return await work if isinstance(work, Coroutine) else work()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self.loop))

    def link(self, **own: Any) -> LinkConfig:
        """A link to it."""
        return LinkConfig(
            "plant", "opcua", host="127.0.0.1", port=self.server.port, timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S,
            opcua=replace(OpcUaLink(path="/plant", publish_ms=50), **own),
        )  # fmt: skip

    def drop(self) -> None:
        """Resets every connection, at once."""
        self.loop.call_soon_threadsafe(self.server.drop_connections)


@functools.cache
def plant() -> Plant:
    """The plant room of this process."""
    return Plant()


@functools.cache
def _own_keys() -> Path:
    from drivers.opcua.pki import own_of

    folder = Path(tempfile.mkdtemp(prefix="plantroom-pki-"))
    own_of(LinkConfig("keys", "opcua", opcua=OpcUaLink(pki=str(folder))))
    return folder


def pki_at(folder: Path, *trusted: bytes) -> Path:
    """A PKI folder with our certificate (made once a process) that trusts these servers."""
    shutil.copytree(_own_keys() / "own", folder / "own")
    (folder / "trusted").mkdir()
    for n, certificate in enumerate(trusted):
        (folder / "trusted" / f"server-{n}.der").write_bytes(certificate)
    return folder


def points(*paths: str, **more: Any) -> list[Point]:
    """Points by browse path in the plant's namespace, named by the last element."""
    return [
        Point.model_validate(
            {"id": path.rpartition("/")[2].lower(), "address": {"path": path, "namespace": NAMESPACE}, **more}
        )
        for path in paths
    ]


def register_nodes(*regs: int) -> list[Point]:
    """Nodes that hold their own number, as the conformance suite has it."""
    return [
        Point.model_validate({"id": f"r{reg}", "address": {"node": f"nsu={NAMESPACE};s=Registers.{reg}"}})
        for reg in regs
    ]


def by_node(names: Sequence[str]) -> list[Point]:
    """Points by node id."""
    return [
        Point.model_validate({"id": name.rpartition(".")[2].lower(), "address": {"node": f"nsu={NAMESPACE};s={name}"}})
        for name in names
    ]
