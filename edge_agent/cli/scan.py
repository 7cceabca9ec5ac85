"""`plantroom scan`: finds devices on a link, one command a protocol."""

from __future__ import annotations

import typer

from .scan_bacnet import bacnet
from .scan_cjt188 import cjt188
from .scan_dlt645 import dlt645
from .scan_doors import uhppote, zkteco
from .scan_mbus import mbus
from .scan_modbus import modbus
from .scan_onvif import onvif
from .scan_opcua import opcua
from .scan_osdp import osdp
from .scan_pjlink import pjlink

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Find devices on a link.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def scan() -> None:
    """Find devices on a link."""


app.command("modbus")(modbus)
app.command("bacnet")(bacnet)
app.command("opcua")(opcua)
app.command("onvif")(onvif)
app.command("dlt645")(dlt645)
app.command("cjt188")(cjt188)
app.command("mbus")(mbus)
app.command("osdp")(osdp)
app.command("uhppote")(uhppote)
app.command("zkteco")(zkteco)
app.command("pjlink")(pjlink)
