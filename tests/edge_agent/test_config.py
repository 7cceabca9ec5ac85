"""agent.yaml: what a good file becomes, and that everything wrong with a bad one is said at once, at its line."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent, indent

import pytest

from device_profiles.errors import ConfigError
from device_profiles.library import SHIPPED, Library
from drivers.base import Limits
from edge_agent.config.load import load_config
from edge_agent.model import Config, Device

HEAD = """\
agent: {id: gw-01, site: hq, tz: Asia/Shanghai}
mqtt: {url: "mqtt://127.0.0.1:1883"}
"""
LINKS = """\
links:
  tcp-1: tcp://127.0.0.1:5020
  rs485-1: {kind: serial, path: /dev/ttyUSB0, baud: 9600, parity: E, timeout: 500ms}
"""
BRANCHES = """\
profile: test-branches
version: 1
class: electricity_meter
system: energy
products: [Test branch meter]
protocol: modbus
poll: 60
options:
  wiring: {values: [1p, 3p], default: 1p}
params:
  ct: {default: 1}
points:
  - {id: voltage, reg: 0, type: u16, scale: "0.1"}
  - {id: current, reg: 100, type: u16, scale_from: {point: a_sf}, ratio: [ct]}
  - {id: power_active, reg: 101, type: s16, only: wiring=3p}
  - {id: a_sf, reg: 9, type: s16, internal: true}
instances: {count: 3, stride: 10, points: [current, power_active]}
source: {title: made for this test}
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "test-branches.yaml").write_text(BRANCHES)
    needs = BRANCHES.replace("test-branches", "test-needs-ct").replace("ct: {default: 1}", "ct: {}")
    (folder / "test-needs-ct.yaml").write_text(needs.split("instances:")[0] + "source: {title: made for this test}\n")
    return Library((folder, SHIPPED))


class Loader:
    def __init__(self, folder: Path, library: Library) -> None:
        self.path = folder / "agent.yaml"
        self.library = library

    def __call__(self, devices: str, *, links: str = LINKS, head: str = HEAD) -> Config:
        self.path.write_text(head + links + "devices:\n" + indent(dedent(devices), "  "))
        return load_config(self.path, profiles=self.library)

    def refusal(self, devices: str, *, links: str = LINKS, head: str = HEAD) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self(devices, links=links, head=head)
        return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def load(tmp_path: Path, library: Library) -> Loader:
    return Loader(tmp_path, library)


def device(config: Config, device_id: str) -> Device:
    return next(device for device in config.devices if device.id == device_id)


METER = "- {id: m1, link: tcp-1, unit: 1, profile: eastron-sdm630}\n"


def test_a_whole_file(load: Loader, tmp_path: Path) -> None:
    head = """\
agent:
  id: gw-01
  site: hq
  name: Head office
  tz: Asia/Shanghai
  building: 330302A001
  calendar: {holidays: [2027-01-01], workdays: []}
  data_dir: data
  socket: agent.sock
  log_level: debug
  metrics_port: 9464
  snapshot_s: 2min
  spool: {max_bytes: 1GiB, floor_free_bytes: 64MiB, commit_ms: 200, ballast: 0}
mqtt: {url: "mqtt://localhost", root: a/b, username: u, password: {env: PLANTROOM_TEST_PW}, delivery: broker, keepalive: 1min}
"""
    os.environ["PLANTROOM_TEST_PW"] = "s3cret"
    config = load(
        """\
        - id: m1
          name: Incomer 1
          link: rs485-1
          unit: 12
          profile: eastron-sdm630
          space: b1/f3
          asset: KT-0031
          serial: 2311
          codes: {energy: 01B00}
          ext: {anything: [1, 2]}
          limits: {max_registers: 60, forbidden: [[input, 10, 20]]}
          disabled: rewired until Friday
        """,
        head=head,
    )
    assert (config.agent, config.site, config.name, config.building) == ("gw-01", "hq", "Head office", "330302A001")
    assert config.calendar == {"holidays": ("2027-01-01",), "workdays": ()}
    assert config.data_dir == tmp_path / "data"
    assert config.spool.path.parent == config.data_dir
    assert (config.spool.max_bytes, config.spool.ballast_bytes, config.spool.commit_ms) == (2**30, 0, 200)
    assert (config.metrics_port, config.snapshot_s, config.log_level) == (9464, 120, "debug")
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.root) == ("localhost", 1883, "a/b")
    assert (config.mqtt.password, config.mqtt.keepalive_s, config.delivery) == ("s3cret", 60, "broker")
    assert "s3cret" not in repr(config)
    line = config.links[1]
    assert (line.id, line.kind, line.path, line.baud, line.parity, line.timeout_s) == (
        "rs485-1", "serial", "/dev/ttyUSB0", 9600, "E", 0.5,
    )  # fmt: skip
    meter = config.devices[0]
    assert (meter.serial, meter.codes, meter.ext) == ("2311", {"energy": "01B00"}, {"anything": [1, 2]})
    assert meter.limits == Limits(max_registers=60, forbidden=(("input", 10, 20),), max_gap=meter.limits.max_gap)
    assert meter.disabled == "rewired until Friday"


def test_points_are_final(load: Loader) -> None:
    config = load(
        """\
        - id: m1
          link: tcp-1
          unit: 1
          profile: eastron-sdm630
          poll: 20s
          heartbeat: 10min
          points:
            voltage_l1: {poll: 5, deadband: 2, min: 100, max: 400}
            voltage_l2: false
            energy_active_import: {poll: 1min}
            frequency: {align: 15min}
        """
    )
    points = {point.id: point for point in config.devices[0].points}
    voltage, current, energy = points["voltage_l1"], points["current_l1"], points["energy_active_import"]
    assert (voltage.poll, voltage.deadband, voltage.min, voltage.max, voltage.unit) == (5, 2, 100, 400, "V")
    assert (current.poll, current.heartbeat, current.quantity) == (20, 600, "current")
    assert (energy.poll, energy.align, energy.counter) == (60, None, True)
    assert (points["energy_active_export"].poll, points["energy_active_export"].align) == (None, 900)
    assert (points["frequency"].poll, points["frequency"].align) == (None, 900)
    assert "voltage_l2" not in points


def test_instances_are_devices_of_their_own(load: Loader) -> None:
    config = load(
        """\
        - id: panel-1
          name: Panel 1
          link: tcp-1
          unit: 3
          profile: test-branches
          space: b1
          params: {ct: 40}
          options: {wiring: 3p}
          instances:
            2: {id: lifts, name: Lifts, space: b1/shaft, codes: {energy: 01C10}, disabled: not connected}
        """
    )
    assert [device.id for device in config.devices] == ["panel-1", "panel-1-1", "lifts", "panel-1-3"]
    head, first, lifts, third = config.devices
    assert [point.id for point in head.points] == ["voltage"]
    assert {point.id: point.address.reg for point in third.points} == {"current": 120, "power_active": 121, "a_sf": 9}  # type: ignore[union-attr]
    assert (first.parent, first.space, first.name, first.params) == ("panel-1", "b1", "Panel 1 1", {"ct": 40})
    assert (lifts.space, lifts.codes, lifts.disabled) == ("b1/shaft", {"energy": "01C10"}, "not connected")
    assert {device.unit for device in config.devices} == {3}


def test_a_scale_factor_stays_when_its_point_does(load: Loader) -> None:
    config = load("- {id: p, link: tcp-1, unit: 1, profile: test-branches, points: {voltage: false}}")
    assert [(point.id, point.internal) for point in device(config, "p-1").points] == [
        ("current", False),
        ("a_sf", True),
    ]
    assert [found.id for found in config.devices] == ["p-1", "p-2", "p-3"]


def test_tcp_bears_units_0_and_255(load: Loader) -> None:
    config = load(
        "- {id: a, link: tcp-1, unit: 0, profile: eastron-sdm630}\n"
        "- {id: b, link: tcp-1, unit: 255, profile: eastron-sdm630}\n"
    )
    assert [found.unit for found in config.devices] == [0, 255]


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (METER.replace("unit: 1", "unit: 300"), "agent.yaml:7 devices[0].unit: 300 is no Modbus unit. give a unit of 1 to 247"),
        (METER.replace("tcp-1", "rs485-1").replace("unit: 1", "unit: 0"), "0 is the broadcast unit"),
        (METER.replace("tcp-1", "rs485-1").replace("unit: 1", "unit: 255"), "255 is no Modbus unit"),
        (METER.replace("unit: 1", "unit: x1"), "'x1' is no Modbus unit"),
        (METER.replace("tcp-1", "tcp-2"), "devices[0].link: link 'tcp-2' unknown. did you mean 'tcp-1'?"),
        (METER.replace("sdm630", "sdm63"), "devices[0].profile: no profile 'eastron-sdm63'. did you mean 'eastron-sdm630'?"),
        (METER.replace("sdm630", "../../x"), "'eastron-../../x' is not valid"),
        (METER.replace("id: m1", "id: M1"), "devices[0].id: 'M1' is not valid. use 1 to 48 of a-z"),
        (METER.replace("id: m1", "id: " + "x" * 49), "is not valid"),
        (METER.replace("unit: 1", "unit: 1, colour: red"), "devices[0].colour: unknown key 'colour'"),
        (METER.replace("unit: 1", "unit: 1, pol: 1"), "unknown key 'pol'. did you mean 'poll'?"),
        (METER.replace("unit: 1, ", ""), "devices[0].unit: unit is missing. add unit"),
        (METER.replace("unit: 1", "unit: 1, poll: 0"), "devices[0].poll: 0 is out of range"),
        (METER.replace("unit: 1", "unit: 1, poll: -1"), "-1 is out of range"),
        (METER.replace("unit: 1", "unit: 1, poll: 1e9"), "1000000000.0 is out of range"),
        (METER.replace("unit: 1", "unit: 1, disabled: true"), "disabled needs a reason"),
        (METER.replace("unit: 1", "unit: 1, params: {ctt: 1}"), "param 'ctt' unknown"),
        (METER.replace("unit: 1", "unit: 1, instances: {1: {}}"), "sdm630 has 0 instances, there is no number 1"),
        (METER.replace("unit: 1", 'unit: 1, name: "\\e[31m"'), "the control character '\\x1b'"),
        (METER.replace("unit: 1", "unit: 1, points: {voltge_l1: false}"), "point 'voltge_l1' unknown. did you mean 'voltage_l1'"),
        (METER.replace("unit: 1", "unit: 1, points: {voltage_l1: {min: 2, max: 1}}"), "min 2 is above max 1"),
        (METER.replace("unit: 1", "unit: 1, points: {voltage_l1: {min: 2000000}}"), "min 2e+06 is above max"),
        (METER + METER.replace("m1", "m2"), "m2 has the address of m1 (127.0.0.1:5020 unit 1)"),
        (METER + METER.replace("unit: 1", "unit: 2"), "agent.yaml:8 devices[1].id: device id 'm1' is taken by devices[0]"),
        ("- {id: p, link: tcp-1, unit: 1, profile: test-branches, options: {wiring: 2p}}", "wiring: '2p' unknown"),
        ("- {id: p, link: tcp-1, unit: 1, profile: test-branches, options: {wirin: 1p}}", "did you mean 'wiring'?"),
        ("- {id: p, link: tcp-1, unit: 1, profile: test-branches, params: {ct: 0}}", "ct is 0"),
        ("- {id: p, link: tcp-1, unit: 1, profile: test-branches, params: {ct: .nan}}", "'.nan' is no number"),
        ("- {id: p, link: tcp-1, unit: 1, profile: test-branches, instances: {4: {}}}", "has 3 instances, there is no number 4"),
        ("- {id: p, link: tcp-1, unit: 1, profile: test-needs-ct}", "param ct is missing. add params: {ct: ...}"),
        (
            "- {id: p, link: tcp-1, unit: 1, profile: test-branches}\n- {id: p-2, link: tcp-1, unit: 2, profile: eastron-sdm630}",
            "device id 'p-2' is taken by devices[0].instances[2]",
        ),
        (
            "- {id: p, link: tcp-1, unit: 1, profile: test-branches, points: {voltage: false, current: false}}",
            "no point of this device is left",
        ),
        ("- {id: " + "p" * 47 + ", link: tcp-1, unit: 1, profile: test-branches}", "is not valid. shorten the device's id"),
        ("- 7", "devices[0]: 7 is no mapping"),
    ],
)  # fmt: skip
def test_refuses_a_device(load: Loader, devices: str, said: str) -> None:
    told = load.refusal(devices)
    assert any(said in line for line in told), told
    assert all("agent.yaml:" in line for line in told)


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ("links: {a: 'tcp://h:0'}\n", "a port of 1 to 65535"),
        ("links: {a: 'tcp://h:65536'}\n", "agent.yaml:3 links.a: port out of range"),
        ("links: {a: {kind: tcp, host: h, port: 65536}}\n", "links.a.port: 65536 is out of range"),
        ("links: {a: {kind: tcp, host: h, port: 0}}\n", "links.a.port: 0 is out of range"),
        ("links: {a: {kind: tcp, host: 'http://h'}}\n", "'http://h' is no host"),
        ("links: {a: {kind: tcp}}\n", "a tcp link without host"),
        ("links: {a: {kind: rtu+tcp, host: h}}\n", "a rtu+tcp link without port"),
        ("links: {a: {kind: serial}}\n", "a serial link without path"),
        ("links: {a: {kind: serial, path: /dev/x, host: h}}\n", "a serial link has no host"),
        ("links: {a: {kind: usb}}\n", "links.a.kind: 'usb' is unknown"),
        ("links: {a: {host: h}}\n", "kind is missing"),
        ("links: {a: 'usb:x'}\n", "unknown kind of link 'usb'"),
        ("links: {a: 'serial:/dev/x?baud=5'}\n", "5 is out of range"),
        ("links: {a: 'serial:/dev/x?speed=5'}\n", "unknown option speed='5'"),
        ("links: {A: 'tcp://h:502'}\n", "link id 'A' is not valid"),
        ("links: [1]\n", "links is a list of 1"),
        (
            "links: {a: 'serial:/dev/x', b: 'serial:/dev/../dev/x'}\n",
            "b is the same port as a (/dev/../dev/x 9600 8N1)",
        ),
        ("links: {a: 'rtu+tcp://h:4001', b: 'rtu+tcp://H:4001'}\n", "b is the same host and port as a"),
        ("links: {a: 'rtu+tcp://h:4001', b: 'tcp://h:4001'}\n", "b is the same host and port as a"),
        ("links: {a: {kind: tcp, host: h, timeout: 0}}\n", "links.a.timeout: 0 is out of range"),
        ("links: {a: {kind: bacnet}}\n", "a bacnet link without host"),
        ("links: {a: {kind: tcp, host: h, bacnet: {ttl: 60}}}\n", "a tcp link has no bacnet"),
        ("links: {a: {kind: bacnet, host: 10.0.0.1/24, bacnet: {ttl: 5}}}\n", "5 is out of range"),
        ("links: {a: 'bacnet://10.0.0.1/24', b: 'bacnet://10.0.0.1/16'}\n", "b is the same host and port as a"),
        ("links: {a: {kind: opcua, host: h, opcua: {identity: user}}}\n", "user and password_file"),
        ("links: {a: {kind: opcua, host: h, opcua: {policy: Basic128}}}\n", "'Basic128' is unknown"),
    ],
)
def test_refuses_a_link(load: Loader, links: str, said: str) -> None:
    told = load.refusal("- {id: m1, link: a, unit: 1, profile: eastron-sdm630}", links=links)
    assert any(said in line for line in told), told


def test_two_tcp_links_to_one_host_share_its_units(load: Loader) -> None:
    links = "links: {a: 'tcp://h:502', b: 'tcp://h:502'}\n"
    both = "- {{id: m1, link: a, unit: 1, profile: eastron-sdm630}}\n- {{id: m2, link: b, unit: {}, profile: eastron-sdm630}}\n"
    assert len(load(both.format(2), links=links).devices) == 2
    assert "m2 has the address of m1" in load.refusal(both.format(1), links=links)[0]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (HEAD.replace("Asia/Shanghai", "Asia/Shangai"), "agent.yaml:1 agent.tz: time zone 'Asia/Shangai' unknown. did you mean"),
        (HEAD.replace("Asia/Shanghai", "../../etc/passwd"), "time zone '../../etc/passwd' unknown"),
        (HEAD.replace("Asia/Shanghai", "UTC+8"), "time zone 'UTC+8' unknown"),
        (HEAD.replace("Asia/Shanghai", "Asia"), "time zone 'Asia' unknown"),
        (HEAD.replace("Asia/Shanghai", '"a\\0b"'), "control character"),
        (HEAD.replace("tz: ", "profiles: [none], tz: "), "agent.yaml:1 agent.profiles[0]: there is no folder"),
        (HEAD.replace("gw-01", "gw/01"), "agent.id: 'gw/01' is not valid"),
        (HEAD.replace("tz: ", "metrics_port: 65536, tz: "), "65536 is out of range"),
        (HEAD.replace("mqtt:", "mqt:"), "unknown key 'mqt'. did you mean 'mqtt'?"),
        (HEAD.replace("mqtt:", "mqt:"), "the section mqtt is missing. add mqtt: with url"),
        (HEAD.replace("mqtt://127", "http://127"), "has neither scheme mqtt nor mqtts"),
        (HEAD.replace(":1883", ":0"), "is no broker's address"),
        (HEAD.replace(":1883", ":99999"), "this is no address"),
        (HEAD.replace('1883"', '1883", cert: c.pem'), "cert without key"),
        (HEAD.replace('1883"', '1883", ca: ca.pem'), "there is no file"),
        (HEAD.replace('1883"', '1883", password: {file: pw}'), "agent.yaml:2 mqtt.password.file: there is no file"),
        (HEAD.replace('1883"', '1883", password: {env: PLANTROOM_NONE}'), "the environment has no PLANTROOM_NONE"),
        (HEAD.replace('1883"', '1883", root: "a/+"'), "mqtt.root: 'a/+' is not valid"),
        (HEAD.replace("tz: ", "calendar: {holidays: [2027-02-30]}, tz: "), "'2027-02-30' is no date"),
    ],
)  # fmt: skip
def test_refuses_the_head(load: Loader, head: str, said: str) -> None:
    told = load.refusal(METER, head=head)
    assert any(said in line for line in told), told


def test_secrets_are_never_repeated(load: Loader) -> None:
    for head in (
        HEAD.replace("mqtt://127", "mqtt://me:hunter2@127"),
        HEAD.replace('1883"', '1883", password: hunter2'),
        HEAD.replace('1883"', '1883", password: [hunter2]'),
    ):
        told = "\n".join(load.refusal(METER, head=head))
        assert "hunter2" not in told
        assert "{file: PATH}" in told


def test_secret_files(load: Loader, tmp_path: Path) -> None:
    head = HEAD.replace('1883"', '1883", password: {file: pw}')
    file = tmp_path / "pw"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    config = load(METER, head=head)
    assert (config.mqtt.username, config.mqtt.password, config.warnings) == ("gw-01", "s3cret", ())
    file.chmod(0o644)
    assert "has mode 0644: others can read or change it" in str(load(METER, head=head).warnings[0])
    file.write_text("")
    assert "is empty or not one line" in load.refusal(METER, head=head)[0]


def test_a_broker_elsewhere_without_tls_is_warned_of(load: Loader) -> None:
    warnings = load(METER, head=HEAD.replace("127.0.0.1", "broker.example")).warnings
    assert "without encryption" in str(warnings[0])


def test_everything_wrong_is_said_at_once(load: Loader) -> None:
    told = load.refusal(
        """\
        - {id: m1, link: tcp-9, unit: 1, profile: eastron-sdm63}
        - {id: m1, link: tcp-1, unit: 300, profile: eastron-sdm630, poll: 0}
        - {id: rest, protocol: virtual, class: electricity_metr, points: {power_active: {plus: [m1/power_active]}}}
        """,
        links="links: {tcp-1: 'tcp://h:502', bad: 'tcp://h:70000'}\n",
        head=HEAD.replace("Shanghai", "Shangai").replace("1883", "0"),
    )
    for said in (
        "tz",
        "mqtt.url",
        "links.bad",
        "link 'tcp-9'",
        "eastron-sdm63'",
        "id 'm1' is taken",
        "poll",
        "electricity_metr",
    ):
        assert any(said in line for line in told), (said, told)


def test_a_profile_that_is_wrong_is_told_once(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "profiles" / "broken.yaml").write_text(
        BRANCHES.replace("test-branches", "broken").replace("u16", "u17")
    )
    told = load.refusal(
        "- {id: a, link: tcp-1, unit: 1, profile: broken}\n- {id: b, link: tcp-1, unit: 2, profile: broken}\n"
    )
    assert len([line for line in told if "broken.yaml:" in line]) == 2  # one a wrong point, not one a device
    assert any("broken.yaml:13 points[0].type: 'u17' is unknown" in line for line in told), told


def test_the_sites_own_profiles(load: Loader, tmp_path: Path) -> None:
    head = HEAD.replace("tz: ", "profiles: [profiles], tz: ")
    load("- {id: p, link: tcp-1, unit: 1, profile: test-branches}", head=head)
    assert len(load_config(load.path).devices) == 4


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent.yaml: there is no such file. check the path"):
        load_config(tmp_path / "agent.yaml")


@pytest.mark.parametrize(
    "text", ["", "[]", "devices: 7\n", "agent: x\nmqtt: 1\nlinks: 2\ndevices: {a: 1}\n", "agent: []\n"]
)
def test_any_shape_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"agent\.yaml:1"):
        load_config(path)


def test_very_many_devices_share_what_is_equal(load: Loader) -> None:
    links = "links:\n" + "".join(f"  l{n}: tcp://10.0.{n // 250}.{n % 250}:502\n" for n in range(30))
    devices = "".join(
        f"- {{id: m{n}, link: l{n // 200}, unit: {n % 200 + 1}, profile: eastron-sdm630}}\n" for n in range(6_000)
    )
    config = load(devices, links=links)
    assert len(config.devices) == 6_000
    assert len({id(found.points) for found in config.devices}) == 1


def test_a_long_list_of_problems_is_cut(load: Loader) -> None:
    told = load.refusal("".join(METER.replace("m1", f"m{n}").replace("unit: 1", "unit: 700") for n in range(500)))
    assert len(told) == 201
    assert "and 300 more problems" in told[-1]


def test_the_files_of_an_opcua_link(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    entry = (
        "{kind: opcua, host: h, opcua: {identity: user, user: reader, password_file: password, policy: Basic256Sha256}}"
    )
    links = f"links: {{tcp-1: tcp://127.0.0.1:5020, a: {entry}}}\n"
    link = load(METER, links=links).links[1]
    assert link.opcua is not None
    assert link.port == 4840
    assert link.opcua.password_file == str(tmp_path / "password")
    assert link.opcua.pki == "/var/lib/plantroom/pki"
    assert "secret" not in repr(link)
    (tmp_path / "password").unlink()
    assert any("there is no file" in line for line in load.refusal(METER, links=links))
