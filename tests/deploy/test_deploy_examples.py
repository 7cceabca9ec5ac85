"""The shipped examples are true: the very files load, and what they refer to exists."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from device_profiles.yamlfile import read_yaml
from drivers.link import LINK_KINDS
from edge_agent.cli import invoke
from edge_agent.cli.schema import File, schema_of
from edge_agent.config.load import load_config, load_drivers
from edge_agent.line_load import link_loads
from gateway.config import load_config as load_gateway_config
from gateway.stores.influx import InfluxSettings

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def etc(tmp_path: Path, tls: Path) -> Path:
    """A folder like /etc/plantroom: the examples, certificates of the shipped script, and secrets of one line."""
    for name in ("agent.yaml", "gateway.yaml"):
        shutil.copy(DEPLOY / name, tmp_path)
    (tmp_path / "tls").symlink_to(tls)
    for name in ("influx.token", "wall-screen.token"):
        (tmp_path / name).write_text("s3cret\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_agent_yaml(etc: Path) -> None:
    config = load_config(etc / "agent.yaml")
    assert config.warnings == ()
    assert (config.site, config.agent, config.mqtt.tls, config.mqtt.port) == ("hq", "gw-01", True, 8883)
    by_id = {device.id: device for device in config.devices}
    assert {"incomer-1", "panel-1-1", "server-room", "panel-1-24", "inverter-1", "rest-b1"} <= by_id.keys()
    assert by_id["panel-1-24"].disabled == "not connected"
    assert by_id["server-room"].codes == {"energy": "01D00"}
    loads = link_loads(config.links, [device for device in config.devices if device.link], load_drivers(config.devices))
    assert all(load.share < 0.8 for load in loads if load.link.is_line)


_EXAMPLE = re.compile(r"^\s*# +(- \{|[a-z][a-z0-9_-]*:(\s|$))")


def uncommented(text: str) -> str:
    """The example with every line that is commented out in force: what begins like a key or an entry of a list is one."""
    head, *lines = text.splitlines(keepends=True)
    return head + "".join(re.sub(r"# ", "", line, count=1) if _EXAMPLE.match(line) else line for line in lines)


def test_what_is_commented_out_in_agent_yaml(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each link kind, each protocol: `plantroom check` takes them all. Missing are the serial adapters and the box's address."""
    path = etc / "agent.yaml"
    text = uncommented(path.read_text())
    assert text.count("\n  - {id: ") > 15
    path.write_text(text)
    for name in set(re.findall(r"(?:secrets|tls)/[a-z0-9-]+(?:\.key)?(?=[},])", text)):
        secret = etc / name if name.startswith("secrets/") else etc / f"cards-{Path(name).name}"
        secret.parent.mkdir(exist_ok=True)
        secret.write_text("00112233445566778899aabbccddeeff\n")
        secret.chmod(0o640)
        text = text.replace(name, str(secret.relative_to(etc)))
    (etc / "opcua-password").write_text("s3cret\n")
    (etc / "opcua-password").chmod(0o640)
    key = Ed25519PrivateKey.generate().public_key()
    (etc / "commands-k1.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    path.write_text(text.replace("tls/commands-k1.pem", "commands-k1.pem"))

    invoke(["check", str(path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found.get("kind") == "agent", found
    problems = [f"{each['where']}: {each['what']}" for each in found["problems"]]
    assert all("there is no port /dev/serial/by-id/" in each for each in problems), problems
    assert all("cannot listen at 10.20.0.5" in each["what"] for each in found["warnings"]), found["warnings"]
    config = load_config(path)
    kinds = {link.kind for link in config.links}
    assert kinds == set(LINK_KINDS) - {"fake"}
    protocols = {device.protocol for device in config.devices if device.link}
    assert protocols >= {
        "dlt645-2007",
        "cjt188",
        "mbus",
        "osdp",
        "uhppote",
        "zkteco-push",
        "onvif",
        "isapi",
        "pjlink",
        "strings",
    }
    assert next(link for link in config.links if link.id == "meters").mixed
    assert len(config.privacy.keys) == 2


_DIAL_IN = (DEPLOY / "devices-that-dial-in.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", _DIAL_IN, re.S))
def test_the_page_on_devices_that_dial_in(block: str, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in re.findall(r"secrets/[a-z0-9.-]+", block):
        (tmp_path / name).write_text("3f9c00112233445566778899aabbccdd\n")
        (tmp_path / name).chmod(0o640)
    head = "agent: {id: gw-01, site: hq, tz: Asia/Shanghai}\nmqtt: {url: mqtt://127.0.0.1}\n"
    (tmp_path / "agent.yaml").write_text(head + block)
    (device,) = load_config(tmp_path / "agent.yaml").devices
    assert device.at, "each is told apart by its address"


def test_gateway_yaml(etc: Path) -> None:
    config = load_gateway_config(etc / "gateway.yaml")
    assert isinstance(config.store, InfluxSettings)
    assert config.agents is not None
    assert ("hq", "gw-01") in config.agents
    assert "s3cret" not in repr(config)


def test_the_examples_belong_together(etc: Path) -> None:
    agent, gateway = load_config(etc / "agent.yaml"), load_gateway_config(etc / "gateway.yaml")
    assert gateway.agents is not None
    assert (agent.site, agent.agent) in gateway.agents
    assert agent.mqtt.root == gateway.mqtt.root
    listeners = re.findall(r"^listener (\d+)$", (DEPLOY / "mosquitto" / "mosquitto.conf").read_text(), re.M)
    assert [str(agent.mqtt.port), str(gateway.mqtt.port)] == listeners


@pytest.mark.parametrize(
    ("name", "file"),
    [("agent.yaml", File.agent), ("gateway.yaml", File.gateway), ("compose.gateway.yaml", File.gateway)],
)
def test_an_editor_finds_nothing_wrong_with_them(name: str, file: File) -> None:
    jsonschema = pytest.importorskip("jsonschema_rs", reason="jsonschema-rs comes with schemathesis")
    as_json = json.loads(json.dumps(read_yaml(DEPLOY / name).data))  # JSON knows text keys only
    jsonschema.validator_for(schema_of(file)).validate(as_json)


def test_the_example_acl_is_what_the_tool_makes_of_the_example_gateway() -> None:
    made = subprocess.run(
        [sys.executable, str(DEPLOY / "make_acl.py"), "--gateway", str(DEPLOY / "gateway.yaml")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == (DEPLOY / "mosquitto" / "acl.example").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["hq/gw-01", "north/gw-01"], 1, "agent ids are unique over all sites"),
        (["hq/ingest"], 1, "has the name of a service"),
        (["hq/gw 01"], 1, "agent id 'gw 01' is not valid"),
        (["hq/#"], 1, "agent id '#' is not valid"),
        (["gw-01"], 1, "write site/agent"),
        (["--gateway", "/none.yaml"], 1, "there is no such file"),
        ([], 2, "name at least one agent"),
    ],
)
def test_make_acl_refuses(arguments: list[str], code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "make_acl.py"), *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_no_agent_may_a_wildcard_site() -> None:
    roles = (DEPLOY / "mosquitto" / "acl.example").read_text().split("user ")[1:]
    wild = {role.split("\n", 1)[0] for role in roles if "/+/" in role}
    assert wild == {"ingest", "platform", "reader"}


def test_make_certs_keeps_keys_private_and_what_is_there(tls: Path, make_certs: Any) -> None:
    for key in tls.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(AssertionError, match="is there already"):
        make_certs(tls, "client", "gw-01")
    for name in ("../gw", "GW", "a b", "x" * 49):
        with pytest.raises(AssertionError, match="is no id"):
            make_certs(tls, "client", name)


def compose() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_the_compose_file_names_files_that_are_shipped_or_made() -> None:
    """There is no container engine where this runs: what is checked is that it is YAML and that its paths are true."""
    made = re.compile(r"\./(tls/[a-z]+\.(pem|key)|mosquitto/plantroom\.acl|secrets/[a-z_]+)")
    document = compose()
    for service in document["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file() or made.fullmatch(source), source
            else:
                assert source in document["volumes"]
        for secret in service.get("secrets", ()):
            assert secret in document["secrets"]
        for needed in service.get("depends_on", ()):
            assert needed in document["services"]
    gateway = document["services"]["gateway"]
    assert (DEPLOY / gateway["build"]["context"] / gateway["build"]["dockerfile"]).is_file()


def test_the_broker_of_the_compose_file_finds_what_its_configuration_names() -> None:
    conf = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    named = re.findall(r"^(?:cafile|certfile|keyfile|acl_file) (\S+)$", conf, re.M)
    mounted = {volume.split(":")[1] for volume in compose()["services"]["mosquitto"]["volumes"]}
    assert set(named) <= mounted
    assert "/var/lib/mosquitto" in mounted


def test_the_gateway_yaml_of_the_compose_file(tmp_path: Path, tls: Path) -> None:
    text = (DEPLOY / "compose.gateway.yaml").read_text()
    secrets = re.findall(r"/run/secrets/([a-z_]+)", text)
    assert set(secrets) <= set(compose()["services"]["gateway"]["secrets"])
    for name in secrets:
        (tmp_path / name).write_text("s3cret")
    (tmp_path / "gateway.yaml").write_text(text.replace("/run/secrets/", f"{tmp_path}/"))
    (tmp_path / "tls").symlink_to(tls)
    config = load_gateway_config(tmp_path / "gateway.yaml")
    assert config.mqtt.host in compose()["services"]
    assert isinstance(config.store, InfluxSettings)
    assert config.store.url.split("/")[2].split(":")[0] in compose()["services"]


def test_the_dockerfile_copies_what_there_is() -> None:
    root = DEPLOY.parent
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M):
        *sources, _ = line.split()
        assert all((root / source).exists() for source in sources), line
    packages = {path.parent.name for path in root.glob("*/__init__.py")}
    copied = " ".join(re.findall(r"^COPY (.+)$", text, re.M))
    assert all(package in copied for package in packages)


def test_every_example_is_plain_yaml() -> None:
    for name in ("agent.yaml", "gateway.yaml", "compose.gateway.yaml", "compose.yaml"):
        assert read_yaml(DEPLOY / name).data
