"""bacpypes3's own application as a device: 120 analog values, a switch, a selector. Prints its UDP port, ends with its input."""

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


async def main(max_apdu: int, segmentation: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    device = DeviceObject(
        objectIdentifier=("device", 599), objectName="Sample", vendorIdentifier=999, maxApduLengthAccepted=max_apdu,
        segmentationSupported=segmentation, maxSegmentsAccepted=64,
    )  # fmt: skip
    app = NormalApplication(device, IPv4Address(f"127.0.0.1:{port}"))
    common = {"eventState": "normal"}
    for at in range(120):
        app.add_object(
            AnalogValueObject(
                objectIdentifier=("analogValue", at), objectName=f"Room.{at}.Temperature", presentValue=at + 0.5,
                statusFlags=[0, 1, 0, 0] if at == 7 else [0, 0, 0, 0], reliability=12 if at == 7 else 0,
                units="degreesFahrenheit", outOfService=False, **common,
            )
        )  # fmt: skip
    app.add_object(
        BinaryValueObject(
            objectIdentifier=("binaryValue", 1), objectName="Switch", presentValue="active", statusFlags=[0, 0, 0, 1], outOfService=True,
            activeText="Running", inactiveText="Stopped", **common,
        )
    )  # fmt: skip
    app.add_object(
        MultiStateValueObject(
            objectIdentifier=("multiStateValue", 1), objectName="Mode", presentValue=2, numberOfStates=3,
            stateText=["Off", "Auto", "Hand"], outOfService=False, statusFlags=[0, 0, 0, 0], **common,
        )
    )  # fmt: skip
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    app.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
