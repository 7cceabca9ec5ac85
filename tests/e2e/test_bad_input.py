"""Bad input as a user meets it: one clear line of what, where, what was seen and what to do; nothing lost, nothing hung."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_deployed_broker import issue
from tests.e2e.processes import AGENT, METER, SITE, WAIT_S, Listener, Site, plantroom, until
from tests.gateway.mqtt_box import needs_mosquitto

BAD = """\
agent: {id: box-1, site: hq, tz: Asia/Shanghai, data_dir: data, socket: a.sock, profiles: [profiles]}
mqtt: {url: "mqtt://127.0.0.1:1883"}
links:
  line: tcp://127.0.0.1:1502
  rs485-1: "serial:/dev/ttyNONE7?baud=9600"
devices:
  - {id: a, link: line, unit: 1, profile: eastron-sdm63}
  - {id: b, link: line, unit: 2, profile: eastron-sdm630}
  - {id: c, link: line, unit: 2, profile: eastron-sdm630}
  - {id: d, link: rs485-1, unit: 300, profile: eastron-sdm630}
  - {id: e, link: rs485-1, unit: 3, profile: bad-meter}
"""


def test_a_configuration_tells_all_its_errors_at_once(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(BAD)
    (tmp_path / "profiles").mkdir()
    bad_profile = tmp_path / "profiles" / "bad-meter.yaml"
    bad_profile.write_text(
        METER.replace("quick-meter", "bad-meter").replace(
            "id: current_l1, reg: 6", "id: power_active, reg: 6, unit: kw"
        )
    )
    done = plantroom("run", tmp_path / "agent.yaml")
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("plantroom run: ")
    for line, (where, said, step) in zip(
        lines,
        (
            ("agent.yaml:7 devices[0].profile", "no profile 'eastron-sdm63'", "did you mean 'eastron-sdm630'?"),
            ("agent.yaml:9 devices[2].unit", "c has the address of b (127.0.0.1:1502 unit 2)", "give each device its own unit"),
            ("agent.yaml:10 devices[3].unit", "300 is no Modbus unit", "1 to 247"),
            (f"agent.yaml:11 devices[4].profile: {bad_profile}:13 points[3].unit", '"kw" unknown', 'did you mean "kW"?'),
        ),
        strict=True,
    ):  # fmt: skip
        assert where in line
        assert said in line
        assert step in line
    as_json = plantroom("check", tmp_path / "agent.yaml", "--json")
    assert as_json.returncode == 1
    assert len(json.loads(as_json.stdout)["problems"]) == len(lines)


def test_a_serial_port_that_is_not_there(tmp_path: Path) -> None:
    done = plantroom("read", "--link", "serial:/dev/ttyNONE7?baud=9600", "--unit", "1", "--profile", "eastron-sdm630")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no port /dev/ttyNONE7" in done.stderr
    assert "/dev/serial/by-id" in done.stderr
    port = plantroom("read", "--link", "tcp://127.0.0.1:1", "--unit", "1", "--profile", "eastron-sdm630")
    assert (port.returncode, port.stderr.count("\n")) == (1, 1)
    assert "127.0.0.1:1): connection refused" in port.stderr


def test_a_serial_port_that_this_user_may_not_open(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_agent.cli"]
    main, peer = os.openpty()
    try:
        path = os.ttyname(peer)
        os.fchmod(peer, 0)
        if os.geteuid() == 0:
            setpriv = shutil.which("setpriv")
            if setpriv is None:
                pytest.skip("root may open everything, and setpriv (util-linux) is not there to take that right away")
            command = [setpriv, "--bounding-set", "-dac_override,-dac_read_search", *command]
        read = ["read", "--link", f"serial:{path}?baud=9600", "--unit", "1", "--profile", "eastron-sdm630"]
        done = subprocess.run([*command, *read], capture_output=True, text=True, timeout=WAIT_S, check=False)
    finally:
        os.close(peer)
        os.close(main)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert path in done.stderr
    assert "no permission for" in done.stderr
    assert "usermod -aG" in done.stderr


@contextmanager
def refused(folder: Path, mqtt: dict[str, Any], **agent: str) -> Iterator[tuple[Site, Callable[[str], str]]]:
    """An agent whose broker will not have it; gives the line of `plantroom status` that holds a word."""
    with Site(folder) as site:
        site.start_meters(1)
        document = site.agent_file(mqtt=mqtt)
        document["agent"] |= agent
        site.start_agent(document)

        def line(word: str) -> str:
            done = plantroom("status", "--socket", site.socket)
            return next((text for text in done.stdout.splitlines() if word in text and done.returncode == 1), "")

        yield site, lambda word: until(lambda: line(word), f"status to say {word!r}")
        waiting = site.ask("status")["spool"]["msgs"]
        until(lambda: site.ask("status")["spool"]["msgs"] > waiting, "polling to go on into the spool")
        assert site.end("agent") == 0
        kept = plantroom("spool", "verify", "--dir", folder / "agent", "--json")
        assert json.loads(kept.stdout)["msgs"] > waiting
        assert "Traceback" not in site.log("agent")


@pytest.mark.real
@needs_mosquitto
def test_a_broker_that_refuses_the_password(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("")
    with Site(tmp_path / "centre") as centre:
        centre.start_mosquitto(f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}")
        url = f"mqtt://127.0.0.1:{centre.broker_port}"
        (tmp_path / "secret").write_text("open sesame")
        (tmp_path / "secret").chmod(0o600)
        mqtt = {"url": url, "username": AGENT, "password": {"file": str(tmp_path / "secret")}}
        with refused(tmp_path / "box", mqtt) as (site, line):
            said = line("not authori")
            assert url in said
            assert "password" in said
            assert "open sesame" not in site.log("agent") + said


@pytest.mark.real
def test_a_broker_whose_access_list_refuses(broker: Any, tmp_path: Path) -> None:
    """The certificate is gw-01's of site hq, the configuration says site north."""
    with refused(tmp_path, mqtts(broker, broker.tls), id="gw-01", site="north") as (_, line):
        assert "access list" in line("0x87")


@pytest.mark.real
def test_a_client_certificate_that_expired(broker: Any, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    issue(tmp_path, "gw-01", authority=broker.tls, start=now - timedelta(days=9), end=now - timedelta(days=1))
    (tmp_path / "gw-01.key").chmod(0o600)
    with refused(tmp_path / "box", mqtts(broker, tmp_path), id="gw-01", site="hq") as (site, line):
        said = line("certificate")
        assert "expired" in said
        checked = plantroom("check", site.agent_yaml)
        assert checked.returncode == 1
        (problem,) = [text for text in checked.stdout.splitlines() if text.startswith("problem")]
        assert "mqtt.cert" in problem
        assert f"{now - timedelta(days=1):%Y-%m-%d}" in problem


def mqtts(broker: Any, certificates: Path) -> dict[str, str]:
    return {
        "url": f"mqtts://localhost:{broker.agents}",
        "ca": str(broker.tls / "ca.pem"),
        "cert": str(certificates / "gw-01.pem"),
        "key": str(certificates / "gw-01.key"),
    }


GARBAGE = {
    "garbage": b"\xff\x00\x13 no JSON",
    "too large": b'{"v":1,"s":{"a":"' + b"x" * 2_000_000 + b'"}}',
    "not a number": b'{"v":1,"cls":"electricity_meter","epoch":"AAAAAAAAAA","seq":1,"meta":"0","clk":"ntp","t":%d,'
    b'"s":{"voltage_l1":NaN}}',
    "empty": b"",
    "deep": b"[" * 50_000,
}  # fmt: skip


def test_garbage_on_an_ingest_topic_is_kept_aside_and_stops_nobody(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.start_meters(1)
        site.start_broker()
        site.start_gateway()
        site.start_agent(site.agent_file())
        site.await_stored(2)
        topic = f"plantroom/v1/{SITE}/{AGENT}/up/data/meter-1"
        now = datetime.now(UTC).timestamp() * 1000
        with Listener(site.broker_port, "none") as stranger:
            for name, payload in GARBAGE.items():
                assert stranger.publish(topic, payload % now if name == "not a number" else payload) == 0
        until(lambda: site.get("/healthz")["ingest"]["dead"] >= len(GARBAGE), "all of it to be aside")
        site.await_stored(3)
        listed = plantroom("deadletter", "list", "--config", tmp_path / "gateway.yaml", "--json")
        assert listed.returncode == 0
        letters = [json.loads(line) for line in listed.stdout.splitlines()]
        assert [letter["size"] for letter in letters] == [
            len(payload % now if name == "not a number" else payload) for name, payload in GARBAGE.items()
        ]
        assert {letter["topic"] for letter in letters} == {topic}
        assert all(letter["reason"] and letter["detail"] for letter in letters)
        assert site.get("/healthz")["ingest"]["dead"] == len(GARBAGE)
        until(lambda: site.ask("status")["uplink"]["connected"], "the agent to be connected")
        assert "Traceback" not in site.log("gateway") + site.log("agent")
        shown = plantroom("deadletter", "show", str(letters[0]["id"]), "--config", tmp_path / "gateway.yaml")
        assert shown.returncode == 0
        assert "no JSON" in shown.stdout


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.start_broker()
        path = tmp_path / "gateway.yaml"
        taken = {
            "mqtt": {"url": f"mqtt://127.0.0.1:{site.broker_port}"},
            "agents": "any",
            "data_dir": str(tmp_path / "c"),
        }
        path.write_text(yaml.safe_dump(taken | {"api": {"host": "127.0.0.1", "port": site.broker_port}}))
        done = plantroom("gateway", path)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"127.0.0.1:{site.broker_port}: cannot listen" in done.stderr
        assert "api.port" in done.stderr
        assert "Traceback" not in done.stderr
