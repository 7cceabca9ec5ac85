"""The protocols there are: one explicit table. A driver is imported only when a link needs it."""

from __future__ import annotations

import difflib
from importlib import import_module

from device_profiles.errors import ConfigError

from .base import Driver
from .frames import FrameDecoder

DRIVERS: dict[str, str] = {
    "modbus": "drivers.modbus.driver:ModbusDriver",
    "opcua": "drivers.opcua.driver:OpcUaDriver",
    "bacnet": "drivers.bacnet.driver:BacnetDriver",
    "dlt645-2007": "drivers.dlt645.driver:Dlt645Driver2007",
    "dlt645-1997": "drivers.dlt645.driver:Dlt645Driver1997",
    "cjt188": "drivers.cjt188.driver:Cjt188Driver",
    "mbus": "drivers.mbus.driver:MbusDriver",
    "isapi": "drivers.isapi.driver:IsapiDriver",
    "rest": "drivers.rest.driver:RestDriver",
    "strings": "drivers.strings.driver:StringsDriver",
    "uhppote": "drivers.uhppote.driver:UhppoteDriver",
    "osdp": "drivers.osdp.driver:OsdpDriver",
    "onvif": "drivers.onvif.driver:OnvifDriver",
    "pjlink": "drivers.pjlink.driver:PjlinkDriver",
    "zkteco-push": "drivers.zkteco.driver:ZktecoDriver",
    "fake": "drivers.fake:FakeDriver",
}
"""Protocol to import string of its driver class. Protocol `virtual` is no driver: the agent computes it."""


def load_driver(protocol: str) -> Driver:
    """A new driver of this protocol. Raises ConfigError for a protocol that there is none for."""
    if protocol not in DRIVERS:
        close = difflib.get_close_matches(protocol, DRIVERS, n=1)
        raise ConfigError(
            f"there is no driver for protocol {protocol!r}",
            next_step=f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(DRIVERS)}",
        )
    module, _, name = DRIVERS[protocol].partition(":")
    driver: Driver = getattr(import_module(module), name)()
    return driver


FRAME_DECODERS: dict[str, str] = {
    "modbus-rtu": "drivers.modbus.frames:RtuDecoder",
    "modbus-tcp": "drivers.modbus.frames:TcpDecoder",
    "bacnet": "drivers.bacnet.frames:Decoder",
    "dlt645-2007": "drivers.dlt645.frames:Decoder2007",
    "dlt645-1997": "drivers.dlt645.frames:Decoder1997",
    "cjt188": "drivers.cjt188.frames:Decoder",
    "mbus": "drivers.mbus.frames:Decoder",
    "osdp": "drivers.osdp.frames:Decoder",
}
"""Protocol, as `plantroom decode` calls it, to import string of its frame decoder."""


def load_frame_decoder(protocol: str) -> FrameDecoder:
    """A decoder for one stream of this protocol. Raises ConfigError for a protocol that there is none for."""
    if protocol not in FRAME_DECODERS:
        close = difflib.get_close_matches(protocol, FRAME_DECODERS, n=1)
        raise ConfigError(
            f"there is no frame decoder for {protocol!r}",
            next_step=f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(FRAME_DECODERS)}",
        )
    module, _, name = FRAME_DECODERS[protocol].partition(":")
    decoder: FrameDecoder = getattr(import_module(module), name)()
    return decoder
