"""The server of the OPC UA bench, in a process of its own: `python -m drivers.opcua.bench_server ITEMS RATE`.

asyncua's server cannot change 20,000 values a second, so it only holds the subscription: the notifications are put together
here, as bytes, and handed to it whole. Prints its port as JSON; `start SECONDS` on standard input changes values for so long
and answers with their number. The end of the input ends it.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from typing import Any

from asyncua import Server, ua

NAMESPACE = "urn:plantroom:bench"
_ITEM = struct.Struct("<IBBdq")
"""Client handle, a DataValue of value and source time, a Variant of type Double."""
_TICKS_1970 = 116_444_736_000_000_000
_TICK_S = 0.01


class _Feed:
    """Changes of one subscription that wait for its next publishing interval."""

    def __init__(self, subscription: Any) -> None:
        self.handles = [item.client_handle for item in subscription.monitored_item_srv._monitored_items.values()]
        self.items: list[bytes] = []
        self.taken = asyncio.Event()
        subscription.has_published_results = lambda: (
            bool(self.items) or type(subscription).has_published_results(subscription)
        )
        subscription._pop_triggered_datachanges = self._pop

    def _pop(self, result: Any) -> None:
        body = struct.pack("<i", len(self.items)) + b"".join(self.items) + struct.pack("<i", -1)
        kind = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
        result.NotificationMessage.NotificationData.append(ua.ExtensionObject(kind, body))
        self.items = []
        self.taken.set()


async def serve(items: int, rate: int) -> None:
    """Serves until standard input ends."""
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/bench")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    for n in range(items):
        await server.nodes.objects.add_variable(ua.NodeId(n + 1, index), f"{index}:v{n}", 0.0)
    await server.start()
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"port": server.bserver.port}), flush=True)
    count = 0
    while order := (await reader.readline()).split():
        [subscription] = server.iserver.subscription_service.subscriptions.values()
        before, count = count, await _change(_Feed(subscription), rate, float(order[1]), count)
        print(json.dumps({"changed": count - before, "last": float(count)}), flush=True)
    await server.stop()


async def _change(feed: _Feed, rate: int, seconds: float, count: int) -> int:
    """Changes values evenly; gives the number of the last change, which is also its value."""
    began, done, total = time.perf_counter(), 0, int(rate * seconds)
    handles, size = feed.handles, len(feed.handles)
    while done < total:
        due = min(total, int((time.perf_counter() - began + _TICK_S) * rate))
        now = time.time_ns() // 100 + _TICKS_1970
        for _ in range(done, due):
            count += 1
            feed.items.append(_ITEM.pack(handles[count % size], 5, 11, float(count), now))
        done = due
        feed.taken.clear()
        await asyncio.sleep(_TICK_S)
    await feed.taken.wait()
    return count


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
