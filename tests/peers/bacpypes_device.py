"""bacpypes3's own application as devices: 120 analog values, a switch, a selector. Prints UDP ports, ends with its input."""

from __future__ import annotations

import asyncio
import socket
import sys

from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogValueObject
from bacpypes3.local.binary import BinaryValueObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.multistate import MultiStateValueObject
from bacpypes3.pdu import IPv4Address


async def main(max_apdus: list[str]) -> None:
    ports = []
    for at, made in enumerate(max_apdus):
        octets, _, segmentation = made.partition(":")
        ports.append(serve(599 + at, int(octets), segmentation))
    print(*ports, flush=True)
    await asyncio.to_thread(sys.stdin.read)


def serve(instance: int, max_apdu: int, segmentation: str) -> int:
    """One device; gives its UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    device = DeviceObject(
        objectIdentifier=("device", instance), objectName="Sample", vendorIdentifier=999, maxApduLengthAccepted=max_apdu,
        segmentationSupported=segmentation, maxSegmentsAccepted=64,
    )  # fmt: skip
    app = NormalApplication(device, IPv4Address(f"127.0.0.1:{port}"))
    sound = {"eventState": "normal", "outOfService": False, "statusFlags": [0, 0, 0, 0]}
    for at in range(120):
        is_faulty = at == 7
        app.add_object(
            AnalogValueObject(
                objectIdentifier=("analogValue", at), objectName=f"Room.{at}.Temperature", presentValue=at + 0.5,
                units="degreesFahrenheit", reliability=12 if is_faulty else 0,
                **{**sound, "statusFlags": [0, int(is_faulty), 0, 0]},
            )
        )  # fmt: skip
    app.add_object(
        BinaryValueObject(
            objectIdentifier=("binaryValue", 1), objectName="Switch", presentValue="active", activeText="Running",
            inactiveText="Stopped", **{**sound, "statusFlags": [0, 0, 0, 1], "outOfService": True},
        )
    )  # fmt: skip
    app.add_object(
        MultiStateValueObject(
            objectIdentifier=("multiStateValue", 1), objectName="Mode", presentValue=2, numberOfStates=3,
            stateText=["Off", "Auto", "Hand"], **sound,
        )
    )  # fmt: skip
    return port


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
