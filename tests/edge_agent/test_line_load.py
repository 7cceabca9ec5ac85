"""The load of a line is bytes, silences and turnaround, and what cannot fit is refused with the sum."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import ConfigError
from device_profiles.schema import Modbus, Point, ScaleFrom
from drivers.base import Batch, LinkConfig
from edge_agent.config.load import load_config, load_drivers
from edge_agent.config.report import examine
from edge_agent.line_load import gap_s, groups_of, link_loads, percent, request_s

LINE = LinkConfig(id="rs485-1", kind="serial", path="/dev/ttyUSB0", baud=9600, parity="E")


@pytest.mark.parametrize(
    ("baud", "registers", "per_second"),
    [(9600, 1, 39.7), (9600, 10, 21.8), (9600, 125, 3.23), (19200, 10, 43.6), (115200, 10, 150), (115200, 125, 34.9)],
)
def test_the_least_time_of_a_request(baud: int, registers: int, per_second: float) -> None:
    """Request of 8 and reply of 5 + 2n characters of 11 bits with both silences, worked out by hand."""
    link = replace(LINE, baud=baud)
    assert 1 / request_s(link, Batch(("a",), 8, 5 + 2 * registers)) == pytest.approx(per_second, rel=0.01)


def test_gaps_are_fixed_above_19200() -> None:
    assert gap_s(replace(LINE, baud=19200)) == pytest.approx(3.5 * 11 / 19200)
    assert gap_s(replace(LINE, baud=38400)) == 0.00175


def test_turnaround_and_round_trips() -> None:
    batch = Batch(("a",), 8, 7)
    assert request_s(replace(LINE, turnaround_s=0.05), batch) == pytest.approx(request_s(LINE, batch) + 0.05)
    assert request_s(LinkConfig(id="t", kind="tcp", host="h"), batch) == 0.02


def test_groups_take_their_scale_factors_along() -> None:
    def point(name: str, **keys: object) -> Point:
        return Point.model_validate({"id": name, "address": Modbus(reg=1), **keys})

    points = (
        point("a", poll=10, scale_from=ScaleFrom(point="sf")),
        point("b", align=900, scale_from=ScaleFrom(point="sf")),
        point("c", poll=10, align=900),
        point("sf", internal=True, poll=30),
    )
    named = {key: [member.id for member in members] for key, members in groups_of(points).items()}
    assert named == {(10.0, False): ["a", "c", "sf"], (900.0, True): ["b", "c", "sf"]}


def agent_yaml(tmp_path: Path, links: str, devices: str) -> Path:
    path = tmp_path / "agent.yaml"
    head = 'agent: {id: a, site: s, tz: UTC}\nmqtt: {url: "mqtt://127.0.0.1"}\n'
    path.write_text(f"{head}links:\n  {links}\ndevices:\n{devices}")
    return path


def meters(count: int, more: str = "") -> str:
    return "".join(
        f"- {{id: m{n}, link: rs485-1, unit: {n}, profile: eastron-sdm630{more}}}\n" for n in range(1, count + 1)
    )


def test_what_cannot_fit_is_refused_with_the_arithmetic(tmp_path: Path) -> None:
    link = "rs485-1: {kind: serial, path: /dev/ttyUSB0, baud: 2400, parity: E}"
    path = agent_yaml(tmp_path, link, meters(40, ", poll: 10"))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    told = str(caught.value)
    assert "agent.yaml:4 links.rs485-1: rs485-1 at 2400 8E1: " in told
    assert " % of the line, the 10 s group needs " in told
    assert "requests of 40 devices" in told
    assert "bytes x 11 bits / 2400 Bd" in told
    assert "allow_overload: true" in told
    path.write_text(path.read_text().replace("parity: E", "parity: E, allow_overload: true"))
    assert "readings will be late" in str(load_config(path).warnings[0])


def test_the_load_of_a_configuration(tmp_path: Path) -> None:
    link = "rs485-1: {kind: serial, path: /dev/ttyUSB0, baud: 9600}\n  t: 'tcp://h'"
    devices = (
        meters(2, ", poll: 1min") + "- {id: off, link: rs485-1, unit: 9, profile: eastron-sdm630, disabled: why}\n"
    )
    devices += "- {id: t1, link: t, unit: 1, profile: eastron-sdm630, poll: 0.01}\n"
    config = load_config(agent_yaml(tmp_path, link, devices))
    serial, tcp = link_loads(config.links, config.devices, load_drivers(config.devices))
    assert serial.devices == 2
    assert [(group.period_s, group.is_aligned, group.devices) for group in serial.groups] == [
        (60, False, 2),
        (900, True, 2),
    ]
    assert serial.share == pytest.approx(sum(group.seconds / group.period_s for group in serial.groups))
    assert 0 < serial.share < 0.5
    assert tcp.share > 1
    assert not tcp.is_overloaded


def test_what_no_read_can_bring_is_said_at_its_device(tmp_path: Path) -> None:
    devices = (
        meters(1)
        + "- {id: m9, link: rs485-1, unit: 9, profile: eastron-sdm630, limits: {forbidden: [[input, 0, 0]]}}\n"
    )
    with pytest.raises(ConfigError, match=r"agent.yaml:7 devices\[1\]: m9 voltage_l1: registers 0 to 1 .* forbidden"):
        load_config(agent_yaml(tmp_path, "rs485-1: 'serial:/dev/ttyUSB0'", devices))


@pytest.mark.parametrize(("share", "text"), [(1.37, "137 %"), (0.0042, "0.42 %"), (0.105, "10 %"), (0, "0 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.fixture(autouse=True)
def reader_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READER_KEY", "00112233445566778899aabbccddeeff")


@pytest.mark.parametrize(
    ("baud", "secret", "needs_ms"), [(9600, "", 208), (9600, ", secret: {env: READER_KEY}", 308), (38400, "", 66)]
)
def test_an_osdp_line_is_loaded_by_its_poll_cycle(tmp_path: Path, baud: int, secret: str, needs_ms: float) -> None:
    """Eight readers, each polled every 200 ms: POLL and ACK of 9 bytes, 15 with a secure channel, and four silences' worth."""
    rows = "".join(
        f"  - {{id: door-{unit}, link: osdp-1, unit: {unit}, profile: generic-osdp-reader{secret}}}\n"
        for unit in range(8)
    )
    links = f"osdp-1: {{kind: serial, path: /dev/ttyUSB0, baud: {baud}, parity: N, allow_overload: true}}"
    config = load_config(agent_yaml(tmp_path, links, rows))
    (load,) = link_loads(config.links, config.devices, load_drivers(config.devices))
    (group,) = load.groups
    assert (group.requests, group.period_s) == (8, 0.2)
    assert group.seconds * 1000 == pytest.approx(needs_ms, abs=1)
    assert load.is_overloaded is (baud == 9600)
    if load.is_overloaded:
        refused = agent_yaml(tmp_path, links.replace(", allow_overload: true", ""), rows)
        with pytest.raises(ConfigError, match="raise the baud rate or split the line"):
            load_config(refused)


@pytest.mark.parametrize("install", ["true", "false"])
def test_a_reader_with_the_key_that_everybody_knows_is_warned_of(tmp_path: Path, install: str) -> None:
    options = f'options: {{install: "{install}"}}'
    rows = f"  - {{id: d1, link: l1, unit: 1, profile: generic-osdp-reader, secret: {{env: READER_KEY}}, {options}}}\n"
    report = examine(agent_yaml(tmp_path, "l1: 'serial:/dev/ttyUSB0?baud=9600&parity=N'", rows))
    assert any("everybody knows" in warning.what for warning in report.warnings) is (install == "true")


def test_install_mode_without_a_key_to_install_is_refused(tmp_path: Path) -> None:
    rows = '  - {id: d1, link: l1, unit: 1, profile: generic-osdp-reader, options: {install: "true"}}\n'
    with pytest.raises(ConfigError, match="no key that its reader could be given"):
        load_config(agent_yaml(tmp_path, "l1: 'serial:/dev/ttyUSB0?baud=9600&parity=N'", rows))


def test_a_line_of_devices_that_speak_in_strings_is_loaded_by_their_profiles_shapes(tmp_path: Path) -> None:
    """`ka 01 FF<CR>` of 9 bytes and `a 01 OK01x` of 10, three times a monitor; 8N1, and four silences of 3.5 characters."""
    rows = "".join(f"- {{id: m{n}, link: l1, unit: {n}, profile: lg-monitor-rs232, poll: 1}}\n" for n in range(1, 21))
    links = "l1: {kind: serial, path: /dev/ttyUSB0, baud: 9600, parity: N, allow_overload: true}"
    config = load_config(agent_yaml(tmp_path, links, rows))
    (load,) = link_loads(config.links, config.devices, load_drivers(config.devices))
    (group,) = load.groups
    assert (group.requests, group.wire_bytes) == (60, 60 * 19)
    assert group.seconds == pytest.approx(60 * (19 + 7) * 10 / 9600)
    assert load.is_overloaded
    heard_only = agent_yaml(tmp_path, links, "- {id: r, link: l1, profile: rdm6300}\n")
    config = load_config(heard_only)
    (load,) = link_loads(config.links, config.devices, load_drivers(config.devices))
    assert load.share == 0
