"""gateway.yaml: what is right becomes settings, what is wrong is said with file, line and a next step, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError
from gateway.config import GatewayFile, examine, load_config
from gateway.stores.influx import InfluxSettings

LEAST = "mqtt: {url: 'mqtt://127.0.0.1:1883'}\nagents: any\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


def wrong(folder: Path, text: str) -> list[str]:
    found = examine(written(folder, text))
    assert found["ok"] is not bool(found["problems"])
    return [
        f"{one['where'].removeprefix(str(folder) + '/')}: {one['what']}. {one['next_step']}"
        for one in found["problems"]
    ]


def test_the_least(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, LEAST + "data_dir: centre\n"))
    assert config.store == tmp_path / "centre" / "store.db"
    assert (config.agents, config.client_id, config.host, config.port) == (None, "ingest-1", "127.0.0.1", 8080)
    assert (config.retention.raw_days, config.tokens) == (400, ())


def test_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    (tmp_path / "secret").write_text("from file\n")
    (tmp_path / "secret").chmod(0o640)
    monkeypatch.setenv("INFLUX_TOKEN", "from env")
    config = load_config(
        written(
            tmp_path,
            """
mqtt:
  url: mqtts://broker.example
  root: campus/plantroom
  ca: ca.pem
  cert: cert.pem
  key: key.pem
  username: ingest
  password: {file: secret}
store:
  kind: influx
  version: v2
  url: https://influx.example:8086/
  org: campus
  bucket: plantroom
  token: {env: INFLUX_TOKEN}
  gzip: true
agents:
  - {site: hq, agent: gw-01}
worker: a
api:
  host: 0.0.0.0
  port: 80
  tokens: [{name: wall, token: {file: secret}}]
retention: {raw: 90d, quarter: forever, classes: {room_sensor: 30}}
""",
        )
    )
    assert isinstance(config.store, InfluxSettings)
    assert (config.store.database, config.store.token, config.store.url) == (
        "plantroom",
        "from env",
        "https://influx.example:8086",
    )
    assert (config.mqtt.port, config.mqtt.tls, config.mqtt.root, config.mqtt.password) == (
        8883,
        True,
        "campus/plantroom",
        "from file",
    )
    assert (config.agents, config.client_id, config.tokens) == (
        frozenset({("hq", "gw-01")}),
        "ingest-a",
        ("from file",),
    )
    assert (config.retention.raw_days, config.retention.quarter_days) == (90, None)
    assert config.retention.classes == {"room_sensor": 30}
    assert "from" not in repr(config).replace("frozenset", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "gateway.yaml:1 mqtt: mqtt is missing. add mqtt"),
        (LEAST + "stroe: {}", "gateway.yaml:3 stroe: unknown key 'stroe'. did you mean 'store'?"),
        (LEAST + "store: {kind: mysql}", "gateway.yaml:3 store"),
        (LEAST + "api: {port: 70000}", "gateway.yaml:3 api.port: 70000 is out of range. give a value of at most 65535"),
        (LEAST + "api: {host: 0.0.0.0}", "is reachable from other machines and there is no token. add api.tokens"),
        (LEAST + "retention: {raw: soon}", "'soon' is no number of days. write 400, 400d or forever"),
        (LEAST + "store: {kind: influx, version: v1, url: 'http://127.0.0.1:8086'}", "v1 lacks database. add database"),
        (
            LEAST + "store: {kind: influx, version: v1, url: 'http://127.0.0.1:8086', database: a, org: b}",
            "v1 knows no org. remove org",
        ),
        (
            LEAST
            + "store: {kind: influx, version: v3, url: 'http://127.0.0.1', database: a, token: {env: NO_SUCH_TOKEN}}",
            "gateway.yaml:3 store.token.env: the environment has no NO_SUCH_TOKEN. set NO_SUCH_TOKEN, or use file",
        ),
        ("mqtt: {url: 'http://x'}", "write mqtts://host:8883"),
        (
            "mqtt: {url: 'mqtt://u:hush@127.0.0.1'}",
            "a name or password stands in the address. use username: and password:",
        ),
        ("mqtt: {url: 'mqtts://x', ca: none.pem}", "gateway.yaml:1 mqtt.ca: there is no file"),
        ("mqtt: {url: 'mqtts://x', cert: gateway.yaml}", "cert without key. add key, or remove cert"),
        ("mqtt: {url: 'mqtt://127.0.0.1', password: {}}", "a secret needs one of file and env"),
        ("a: [", "gateway.yaml:"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, expected: str) -> None:
    found = wrong(tmp_path, text)
    assert any(expected in line for line in found), found
    assert not any("hush" in line for line in found)
    with pytest.raises(ConfigError):
        load_config(tmp_path / "gateway.yaml")


def test_all_at_once(tmp_path: Path) -> None:
    text = "mqtt: {url: 'mqtts://x', ca: a, cert: b, key: c}\napi: {host: 0.0.0.0, tokens: [{name: a, token: {env: NOPE_1}}]}\n"
    found = wrong(tmp_path, text)
    assert len(found) == 4
    assert sum(".yaml:1 " in line for line in found) == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nothing.yaml")


def test_warnings_do_not_stop(tmp_path: Path) -> None:
    found = examine(written(tmp_path, "mqtt: {url: 'mqtt://broker.example'}"))
    assert found["ok"]
    assert [one["what"] for one in found["warnings"]] == [
        "no agent is registered: nothing will be acknowledged",
        "readings go to broker.example without encryption",
    ]


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "gateway.yaml").write_bytes(text.encode("utf-8", "replace"))
    assert examine(folder / "gateway.yaml")["problems"]


def test_the_schema_for_editors_is_made() -> None:
    schema = GatewayFile.model_json_schema()
    assert {"mqtt", "store", "agents", "api", "retention"} <= schema["properties"].keys()
