"""The `commands` section, and `write:` of a point: a site narrows its profiles and never widens them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from device_profiles.errors import ConfigError
from device_profiles.library import SHIPPED, Library
from device_profiles.schema import Point
from edge_agent.config.load import load_config

PROFILE = """\
profile: test-fan
version: 1
class: vfd
system: energy
products: [Test fan]
protocol: modbus
points:
  - {id: x_speed, quantity: temperature, reg: 0, access: rw, min: 0, max: 100,
      write: {min: 20, step: 30, per_hour: 60, hold_max: 3600}}
  - {id: x_power, quantity: temperature, reg: 1}
source: {title: made for this test}
"""


def load(folder: Path, commands: str = "", points: str = "{}") -> dict[str, Point]:
    (folder / "test-fan.yaml").write_text(PROFILE)
    path = folder / "agent.yaml"
    path.write_text(
        dedent(
            f"""\
            agent: {{id: gw-01, site: hq, tz: Asia/Shanghai}}
            mqtt: {{url: "mqtt://127.0.0.1:1883"}}
            {commands}
            links: {{line: "tcp://127.0.0.1:5020"}}
            devices:
              - {{id: fan-1, link: line, unit: 1, profile: test-fan, points: {points}}}
            """
        )
    )
    config = load_config(path, profiles=Library((folder, SHIPPED)))
    return {point.id: point for point in config.devices[0].points}


def problems(folder: Path, **keys: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, **keys)
    return str(caught.value)


def test_a_site_narrows_a_profile(tmp_path: Path) -> None:
    own = "{x_speed: {max: 200, write: {max: 80, step: 10, min_interval: 60, interlocks: [{point: x_power, high: 5}]}}}"
    point = load(tmp_path, points=own)["x_speed"]
    assert point.write is not None
    assert (point.max, point.write.min, point.write.max, point.write.step) == (200, 20, 80, 10)
    assert (point.write.min_interval, point.write.hold_max, len(point.write.interlocks)) == (60, 3600, 1)


def test_limits_of_readings_do_not_widen_those_of_writing(tmp_path: Path) -> None:
    point = load(tmp_path, points="{x_speed: {max: 200}}")["x_speed"]
    assert point.write is not None
    assert (point.max, point.write.max) == (200, 100)


def test_a_point_can_be_left_unwritten(tmp_path: Path) -> None:
    assert not load(tmp_path, points="{x_speed: {write: false}}")["x_speed"].is_writable


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("{x_speed: {write: {max: 101}}}", "max 101 is wider than the profile's 100"),
        ("{x_speed: {write: {min: 10}}}", "min 10 is wider than the profile's 20"),
        ("{x_speed: {write: {hold_max: 7200}}}", "hold_max 7200 is wider than the profile's 3600"),
        ("{x_speed: {write: {per_hour: 61}}}", "per_hour 61 is wider"),
        ("{x_speed: {write: {priority: 9}}}", "knows no priorities"),
        ("{x_speed: {write: {min: 50, max: 40}}}", "min 50 is above max 40"),
        ("{x_power: {write: {max: 1}}}", "does not let x_power be written"),
    ],
)
def test_what_would_widen_it_is_refused_with_its_line(tmp_path: Path, points: str, said: str) -> None:
    text = problems(tmp_path, points=points)
    assert said in text
    assert "agent.yaml:6" in text


def test_keys(tmp_path: Path) -> None:
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    keys = "commands: {signatures: required, keys: {k1: {public_key_file: k.pub, operations: [point.*]}}}"
    load(tmp_path, commands=keys)
    policy = load_config(tmp_path / "agent.yaml", profiles=Library((tmp_path, SHIPPED))).commands
    assert (policy.signatures, len(policy.keys["k1"].public)) == ("required", 32)
    assert policy.keys["k1"].may("point.write")
    assert not policy.keys["k1"].may("gate.open")
    assert "holds no PEM public key" in problems(tmp_path, commands=keys.replace("k.pub", "k.pem"))
    assert "there is no file" in problems(tmp_path, commands=keys.replace("k.pub", "absent"))
    assert "there is no key" in problems(tmp_path, commands="commands: {signatures: required}")
