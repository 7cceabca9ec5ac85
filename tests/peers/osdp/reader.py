"""A libosdp peripheral on an open file (the master end of a pty): runs in its own virtual environment, imports nothing of ours.

    reader.py FD ADDRESS [SCBK]

Orders on standard input, one JSON line each; what the control panel commanded comes out as JSON lines.
"""

import json
import os
import sys

from osdp import (
    Capability,
    CardFormat,
    Channel,
    Event,
    LibFlag,
    LogLevel,
    PDCapabilities,
    PdId,
    PDInfo,
    PeripheralDevice,
)


class File(Channel):
    def __init__(self, fd):
        super().__init__()
        self.fd = fd
        os.set_blocking(fd, False)

    def read(self, max_bytes):
        try:
            return os.read(self.fd, max_bytes)
        except (BlockingIOError, OSError):
            return b""

    def write(self, buf):
        return os.write(self.fd, bytes(buf))

    def flush(self):
        pass


def main():
    fd, address = int(sys.argv[1]), int(sys.argv[2])
    scbk = bytes.fromhex(sys.argv[3]) if len(sys.argv) > 3 else None
    flags = [LibFlag.EnforceSecure] if scbk else []
    capabilities = PDCapabilities(
        [
            (Capability.OutputControl, 1, 2),
            (Capability.CardDataFormat, 1, 1),
            (Capability.LEDControl, 1, 1),
            (Capability.AudibleControl, 1, 1),
            (Capability.TextOutput, 1, 1),
            (Capability.CheckCharacter, 1, 1),
            (Capability.CommunicationSecurity, 1, 1),
        ]
    )
    info = PDInfo(address, File(fd), scbk=scbk, flags=flags, id=PdId(1, 7, 0xC0FFEE, 0x12345678, 0x010203))

    def commanded(command):
        shown = {key: value.hex() if isinstance(value, bytes) else value for key, value in command.items()}
        print(json.dumps(shown), flush=True)
        return 0, None

    reader = PeripheralDevice(info, capabilities, log_level=LogLevel.Emergency, command_handler=commanded)
    reader.start()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "card" in order:
            bits = order["card"]
            size = -(-len(bits) // 8)
            event = {
                "event": Event.CardRead,
                "reader_no": 0,
                "format": CardFormat.Wiegand,
                "direction": 0,
                "length": len(bits),
                "data": int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big"),
            }
        else:
            event = {"event": Event.KeyPress, "reader_no": 0, "data": order["keys"].encode()}
        reader.submit_event(event)
    reader.teardown()


main()
