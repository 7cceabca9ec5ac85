"""What agent.yaml must say of devices that speak in strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import ConfigError
from edge_agent.config.load import load_config

HEAD = """
agent: {id: gw-01, site: hq, tz: Asia/Shanghai, data_dir: /nowhere, socket: /nowhere/s.sock}
mqtt: {url: "mqtt://127.0.0.1:18999"}
links: {doors: "tcp-listen://127.0.0.1:18091", line: "tcp://127.0.0.1:4001"}
devices:
  - """


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("{id: a, link: doors, profile: rdm6300}", "told by its address"),
        ("{id: a, link: line, profile: lg-monitor-rs232}", "tells its devices apart by unit"),
    ],
)
def test_what_is_missing_is_said(entry: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(HEAD + entry)
    with pytest.raises(ConfigError, match=what):
        load_config(file)


def test_a_device_has_what_its_messages_look_like(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(HEAD + "{id: a, link: doors, profile: rdm6300, at: 10.0.0.9}")
    [device] = load_config(file).devices
    assert device.address.strings is device.profile.strings is not None


@pytest.mark.parametrize("mixed", ["", ", mixed: true"])
@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ("generic-osdp-reader", "osdp shares no line .* polls every reader"),
        ("lg-monitor-rs232", "strings shares no line .* unasked"),
    ],
)
def test_what_shares_no_line_with_a_meter_says_why(profile: str, why: str, mixed: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    links = f"links: {{line: {{kind: serial, path: /dev/ttyUSB0, baud: 9600, parity: N{mixed}}}}}"
    entry = f"{{id: a, link: line, unit: 1, profile: {profile}}}\n  - {{id: b, link: line, unit: 2, profile: eastron-sdm630}}"
    file.write_text(
        HEAD.replace('links: {doors: "tcp-listen://127.0.0.1:18091", line: "tcp://127.0.0.1:4001"}', links) + entry
    )
    with pytest.raises(ConfigError, match=why):
        load_config(file)
