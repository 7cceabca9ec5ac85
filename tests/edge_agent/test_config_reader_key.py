"""A reader's own key: one that can be no key is said before the agent runs, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import ConfigError
from edge_agent.config.load import load_config
from edge_agent.model import Config

CONFIG = """\
agent: {id: gw-01, site: hq, tz: Asia/Shanghai}
mqtt: {url: "mqtt://127.0.0.1:1883"}
links: {readers: {kind: serial, path: /dev/ttyUSB0, baud: 38400}}
devices:
  - {id: reader-1, link: readers, unit: 0, profile: generic-osdp-reader, secret: {file: key}}
"""


def load(folder: Path, key: str) -> Config:
    (folder / "key").write_text(key)
    (folder / "key").chmod(0o600)
    (folder / "agent.yaml").write_text(CONFIG)
    return load_config(folder / "agent.yaml")


@pytest.mark.parametrize("key", ["00112233445566778899aabbccddeeff\n", "00112233445566778899AABBCCDDEEFF"])
def test_32_digits_are_a_key(tmp_path: Path, key: str) -> None:
    assert load(tmp_path, key).devices[0].secret is not None


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("c0ffee", "this one is 6 characters"),
        ("00112233445566778899aabbccddeeff00", "this one is 34 characters"),
        ("0011223344556677-899aabbccddeef0", "not all of them digits"),
    ],
)
def test_anything_else_is_none_and_is_not_shown(tmp_path: Path, key: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, key)
    assert says in str(caught.value)
    assert "openssl rand -hex 16" in str(caught.value)
    assert key not in str(caught.value)
