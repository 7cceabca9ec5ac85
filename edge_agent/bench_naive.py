"""The straightforward pipeline that the bench compares with: pymodbus, one JSON message a point, paho with QoS 1.

`python -m edge_agent.bench_naive MODBUS_PORT BROKER_PORT` prints its points a second of processor as one JSON line. It stores
nothing, checks nothing and loses what the broker loses.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Any

_ROUNDS = 60
_POINTS = 62


async def _run(modbus_port: int, broker_port: int) -> float:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion
    from pymodbus.client import AsyncModbusTcpClient

    done = threading.Event()
    acknowledged = 0
    total = _ROUNDS * _POINTS

    def on_publish(client: Any, userdata: Any, mid: Any, reason: Any, properties: Any) -> None:
        nonlocal acknowledged
        acknowledged += 1
        if acknowledged == total:
            done.set()

    mqtt = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    mqtt.on_publish = on_publish
    mqtt.connect("127.0.0.1", broker_port)
    mqtt.loop_start()
    modbus = AsyncModbusTcpClient("127.0.0.1", port=modbus_port)
    await modbus.connect()
    began = time.process_time()
    for _ in range(_ROUNDS):
        answer = await modbus.read_holding_registers(0, count=_POINTS * 2, device_id=1)
        for number in range(_POINTS):
            value = modbus.convert_from_registers(
                answer.registers[2 * number : 2 * number + 2], modbus.DATATYPE.FLOAT32
            )
            message = {"device": "meter-1", "point": f"value_{number}", "value": value, "time": time.time()}
            mqtt.publish(f"naive/meter-1/value_{number}", json.dumps(message), qos=1)
    if not await asyncio.to_thread(done.wait, 60):
        raise SystemExit(f"only {acknowledged} of {total} messages were acknowledged")
    used = time.process_time() - began
    mqtt.loop_stop()
    modbus.close()
    return total / used


if __name__ == "__main__":
    rate = asyncio.run(_run(int(sys.argv[1]), int(sys.argv[2])))
    sys.stdout.write(json.dumps({"points_per_core_s": rate}) + "\n")
