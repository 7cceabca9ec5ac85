"""A fire panel's printer port: it prints what happens, in GBK or ASCII, and listens to nobody.

Source: GST9000 printer messages (GBK, published examples); Firesense AFP-2800 Printer and Modem Interface V3.00, page 1.
"""

from __future__ import annotations

from firmware_sim.strings_wire import StringsWire


class FirePanel:
    """One panel. Every byte that anybody sends to it is a fault of his: `bytes_heard` of its wire counts them."""

    def __init__(self, dialect: str = "gst9000") -> None:
        self.dialect = dialect
        self.wire: StringsWire | None = None
        self._is_first = True

    def plug(self, wire: StringsWire) -> None:
        self.wire = wire

    def heard(self, data: bytes) -> None:
        """Nothing is listened to."""

    def fire(
        self, loop: int, detector: int, place: str, kind: str = "感烟探测器", when: str = "08/12/02  17:24"
    ) -> None:
        """A detector sees a fire."""
        if self.dialect == "gst9000":
            state = "首次火警" if self._is_first else "火警后续"
            self._is_first = False
            self._print(f"\x1b6{when}\n  {loop:03d}-{detector:03d}\n\x1b9{state}\n{place}\n{kind}\n\n")
        else:
            self._print(f":{'ALARM':<18}Z{loop:03d} 1.1.Z{detector} {place:<28} 12/08 01:23;\r\n")

    def reset(self, loop: int = 0, detector: int = 0, place: str = "", when: str = "08/12/02  17:25") -> None:
        """Somebody resets the panel, or a detector is well again."""
        if self.dialect == "gst9000":
            self._is_first = True
            self._print(f"\x1b6{when}\n  \n\x1b9系统复位\n\n")
        else:
            self._print(f":{'RESET ALARM':<18}Z{loop:03d} 1.1.Z{detector} {place:<28} 12/08 01:23;\r\n")

    def _print(self, text: str) -> None:
        assert self.wire is not None, "not on a wire"
        self.wire.say(text.encode("gbk"))
