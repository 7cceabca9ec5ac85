"""Mixed lines in agent.yaml: allowed when the link says so, refused when it does not, and counted as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import ConfigError
from drivers.base import LineSettings
from edge_agent.config.load import load_config, load_drivers
from edge_agent.line_load import link_loads

METER = 'id: m1, link: rs485-1, unit: "000000880047", profile: generic-dlt645-2007-three-phase'
MODBUS = "id: m2, link: rs485-1, unit: 7, profile: eastron-sdm630"
OWN = ", line: {baud: 2400, parity: E}"


def agent_yaml(folder: Path, link: str, *devices: str) -> Path:
    path = folder / "agent.yaml"
    head = 'agent: {id: a, site: s, tz: Asia/Shanghai}\nmqtt: {url: "mqtt://127.0.0.1"}\n'
    entries = "".join(f"- {{{device}}}\n" for device in devices)
    path.write_text(f"{head}links:\n  rs485-1: {link}\ndevices:\n{entries}")
    return path


SERIAL = "{kind: serial, path: /dev/ttyUSB0, baud: 9600%s}"


def test_two_protocols_and_speeds_on_a_line_that_says_so(tmp_path: Path) -> None:
    config = load_config(agent_yaml(tmp_path, SERIAL % ", mixed: true", METER + OWN, MODBUS))
    meter, modbus = config.devices
    assert (meter.line, modbus.line) == (LineSettings(baud=2400, parity="E"), None)
    assert meter.address.line == meter.line
    assert (meter.address.protocol, meter.address.tz) == ("dlt645-2007", "Asia/Shanghai")
    [link] = config.links
    assert meter.on(link).place == "/dev/ttyUSB0 2400 8E1"
    assert modbus.on(link).place == "/dev/ttyUSB0 9600 8N1"


def test_each_device_costs_what_it_costs_at_its_own_speed(tmp_path: Path) -> None:
    config = load_config(agent_yaml(tmp_path, SERIAL % ", mixed: true", METER + OWN, MODBUS))
    slow, fast = (link_loads(config.links, [device], load_drivers([device]))[0].share for device in (config.devices))
    [both] = link_loads(config.links, config.devices, load_drivers(config.devices))
    assert both.share == pytest.approx(slow + fast)
    assert "at 2400 8E1 and 9600 8N1" in both.text()
    assert "x 11 bits / 2400 Bd" in both.arithmetic()
    assert "x 10 bits / 9600 Bd" in both.arithmetic()
    fast_meter = load_config(agent_yaml(tmp_path, SERIAL % ", mixed: true", METER, MODBUS))
    assert link_loads(fast_meter.links, [fast_meter.devices[0]], load_drivers(fast_meter.devices))[0].share < slow / 3


@pytest.mark.parametrize(
    ("link", "devices", "words"),
    [
        (SERIAL % "", (METER, MODBUS), "mixed: true if both are on one line"),
        (SERIAL % "", (METER + OWN,), "remove line, or set links.rs485-1.mixed: true"),
        ("{kind: rtu+tcp, host: h, port: 4001, mixed: true}", (METER + OWN,), "have no settings of their own"),
        (SERIAL % ", mixed: true", (METER + ", line: {baud: 7}",), "baud"),
        (SERIAL % ", mixed: true", (METER + ", line: {speed: 7}",), "speed"),
        (SERIAL % ", mixed: true", (METER, METER.replace("m1", "m3")), "has the address of m1"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, link: str, devices: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(agent_yaml(tmp_path, link, *devices))
    assert words in str(caught.value)


def test_two_protocols_of_one_speed_share_a_serial_server(tmp_path: Path) -> None:
    config = load_config(agent_yaml(tmp_path, "{kind: rtu+tcp, host: h, port: 4001, mixed: true}", METER, MODBUS))
    assert len(config.devices) == 2
