"""`plantroom check` and `plantroom schema` as programs and people meet them: exit codes, JSON, findings of files and ports."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli import invoke
from edge_agent.cli.schema import File, schema_of
from edge_agent.config import ports
from edge_agent.config.report import examine

GOOD = """\
agent: {id: gw-01, site: hq, tz: Asia/Shanghai}
mqtt: {url: "mqtt://127.0.0.1:1883"}
links:
  tcp-1: tcp://127.0.0.1:5020
devices:
  - {id: m1, name: "Incomer [bold]1", link: tcp-1, unit: 1, profile: eastron-sdm630, poll: 30}
  - {id: m2, link: tcp-1, unit: 2, profile: eastron-sdm630, disabled: being moved}
"""


def plantroom(*arguments: str) -> int:
    return invoke(list(arguments))


@pytest.fixture
def agent_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_file(agent_yaml: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert plantroom("check", str(agent_yaml)) == 0
    told = capsys.readouterr().out
    for said in (
        "agent gw-01 of site hq",
        "2 devices",
        "Incomer [bold]1",
        "disabled: being moved",
        "messages a day",
        "is good",
    ):
        assert said in told, told


def test_json_is_one_document(agent_yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plantroom("check", str(agent_yaml), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["devices"], found["links"][0]["devices"]) == (True, 2, 1)
    assert found["messages_per_day"]["least"] == 288  # one heartbeat of 300 s of the one device that is not disabled
    assert found["messages_per_day"]["most"] >= 2880
    assert found["syncs_per_day"] <= 86_400


@pytest.mark.parametrize("text", [GOOD.replace("unit: 1", "unit: 300"), "a: [", ""])
def test_a_bad_file_is_exit_code_1(agent_yaml: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    agent_yaml.write_text(text)
    assert plantroom("check", str(agent_yaml)) == 1
    assert "problem agent.yaml:" in capsys.readouterr().out
    assert plantroom("check", str(agent_yaml), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert all(problem["where"].startswith("agent.yaml:") and problem["next_step"] for problem in found["problems"])


def test_wrong_usage_is_exit_code_2(agent_yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plantroom("check") == 2
    assert plantroom("check", str(agent_yaml), "--jsn") == 2
    assert plantroom("schema", "agnt") == 2
    assert capsys.readouterr().out == ""


def test_no_escape_sequence_reaches_the_terminal(agent_yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent_yaml.write_text(
        GOOD.replace("tcp-1, unit: 1", '"\\e]0;owned\\a", unit: 1').replace("being moved", '"\\e[2J"')
    )
    assert plantroom("check", str(agent_yaml)) == 1
    told = capsys.readouterr().out
    assert "owned" in told
    assert "\x1b" not in told
    assert "\x07" not in told


def test_a_secret_that_others_can_read_is_a_problem_here(tmp_path: Path, agent_yaml: Path) -> None:
    (tmp_path / "pw").write_text("s3cret")
    (tmp_path / "pw").chmod(0o644)
    agent_yaml.write_text(GOOD.replace('1883"', '1883", username: u, password: {file: pw}'))
    assert "mode 0644: others can read" in examine(agent_yaml).problems[0].what
    (tmp_path / "pw").chmod(0o640)
    assert examine(agent_yaml).problems == ()


def test_a_port_that_does_not_exist(agent_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_yaml.write_text(GOOD.replace("tcp://127.0.0.1:5020", "serial:/dev/ttyUSB77"))
    monkeypatch.setattr(ports, "ports", lambda: ["/dev/serial/by-id/usb-FTDI-1"])
    (problem,) = examine(agent_yaml).problems
    assert str(problem) == (
        "agent.yaml:4 links.tcp-1: there is no port /dev/ttyUSB77. there are /dev/serial/by-id/usb-FTDI-1"
    )


def test_a_file_is_no_port(agent_yaml: Path, tmp_path: Path) -> None:
    agent_yaml.write_text(GOOD.replace("tcp://127.0.0.1:5020", f"serial:{tmp_path}/agent.yaml"))
    assert "is no serial port" in examine(agent_yaml).problems[0].what


@pytest.mark.parametrize("kind", ["udp", "http-listen", "tcp-listen"])
def test_a_port_where_somebody_else_listens(agent_yaml: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind != "udp":
            taken.listen()
        port = taken.getsockname()[1]
        link = f"{{kind: {kind}, host: 127.0.0.1, port: {port}, listen: {{allow: [127.0.0.1]}}}}"
        agent_yaml.write_text(GOOD.replace("links:\n", f"links:\n  ear: {link}\n"))
        report = examine(agent_yaml)
        assert report.problems == ()
        (warning,) = [each for each in report.warnings if "cannot listen" in each.what]
        assert str(warning).startswith(
            f"agent.yaml:4 links.ear: cannot listen at 127.0.0.1:{port} (Address already in use)"
        )
        assert f"ss -lnp | grep :{port}" in warning.next_step
        monkeypatch.setattr("edge_agent.config.report.answers", lambda path: True)  # the agent itself has the port
        assert not [each for each in examine(agent_yaml).warnings if "cannot listen" in each.what]


def test_a_key_that_belongs_into_a_section(agent_yaml: Path) -> None:
    link = "{kind: udp, host: 127.0.0.1, port: 60001, broadcast: 127.0.0.255}"
    agent_yaml.write_text(GOOD.replace("links:\n", f"links:\n  doors: {link}\n"))
    (problem,) = examine(agent_yaml).problems
    assert str(problem) == (
        "agent.yaml:4 links.doors.broadcast: unknown key 'broadcast'. write it below listen, as listen: {broadcast: ...}"
    )


def test_a_disk_without_room_for_the_spool(agent_yaml: Path, tmp_path: Path) -> None:
    huge = GOOD.replace("agent: {", f"agent: {{data_dir: {tmp_path}/data, spool: {{floor_free_bytes: 4000GiB}}, ", 1)
    agent_yaml.write_text(huge)
    (warning,) = [each for each in examine(agent_yaml).warnings if "MB free" in each.what]
    assert str(tmp_path) in warning.what
    assert "agent.data_dir" in str(warning)
    assert "lower agent.spool.floor_free_bytes" in warning.next_step


def test_an_address_that_is_not_ours(agent_yaml: Path) -> None:
    link = "{kind: udp, host: 192.0.2.77, port: 60001, listen: {broadcast: 192.0.2.255}}"
    agent_yaml.write_text(GOOD.replace("links:\n", f"links:\n  doors: {link}\n"))
    assert any("give an address of this machine" in each.next_step for each in examine(agent_yaml).warnings)


def test_a_pty_is_a_port_and_a_permission_may_be_missing(agent_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    try:
        name = os.ttyname(slave)
        agent_yaml.write_text(GOOD.replace("tcp://127.0.0.1:5020", f"serial:{name}"))
        assert examine(agent_yaml).problems == ()
        os.chmod(name, 0o600)
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != name)  # root may do everything
        (problem,) = examine(agent_yaml).problems
        assert f"this user may not open {name} (group " in problem.what
        assert "mode 0600" in problem.what
        assert "usermod -aG" in problem.next_step
        assert stat.S_ISCHR(os.stat(name).st_mode)
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("file", list(File))
def test_schemas_are_json_schema(file: File) -> None:
    jsonschema = pytest.importorskip("jsonschema_rs", reason="jsonschema-rs comes with schemathesis")
    jsonschema.meta.validate(schema_of(file))


def test_the_schema_knows_good_from_bad() -> None:
    jsonschema = pytest.importorskip("jsonschema_rs", reason="jsonschema-rs comes with schemathesis")
    from device_profiles.yamlfile import parse_yaml

    validator: Any = jsonschema.validator_for(schema_of(File.agent))
    assert validator.is_valid(parse_yaml(GOOD, "agent.yaml").data)
    for bad in (GOOD.replace("unit: 1", "unti: 1"), GOOD.replace("gw-01", "GW 01"), GOOD.replace("site: hq, ", "")):
        assert not validator.is_valid(parse_yaml(bad, "agent.yaml").data), bad


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert plantroom("schema", "profile") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Device profile"


def test_a_gateway_yaml_is_known_by_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "centre.yaml"
    path.write_text('mqtt: {url: "mqtt://127.0.0.1"}\nagents: any\nstore: {kind: sqlite}\ndata_dir: data\n')
    assert plantroom("check", str(path), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["ok"]) == ("gateway", True)
    path.write_text('mqtt: {url: "mqtt://127.0.0.1"}\nagents: any\nstore: {kind: oracle}\n')
    assert plantroom("check", str(path)) == 1
    assert "oracle" in capsys.readouterr().out
