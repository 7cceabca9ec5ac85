"""The `privacy` section: keys of pseudonyms by reference, which of them when, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from device_profiles.credential import Clear
from device_profiles.errors import ConfigError
from edge_agent.config.load import load_config
from edge_agent.model import Config

CARD = Clear("4711")
OCTOBER, NOVEMBER = 1_790_812_800_000, 1_793_491_200_000
"""2026-10-01 and 2026-11-01, UTC."""


def load(folder: Path, privacy: str = "", profile: str = "uhppote-l04") -> Config:
    for name in ("old", "new"):
        (folder / name).write_text(f"{name} key with more than 32 characters\n")
        (folder / name).chmod(0o600)
    (folder / "short").write_text("too short to be a key\n")
    (folder / "short").chmod(0o600)
    link, unit = (
        ("{kind: udp, host: 127.0.0.1, port: 60001}", "423187757")
        if "uhppote" in profile
        else ("tcp://127.0.0.1:5020", "1")
    )
    path = folder / "agent.yaml"
    path.write_text(
        dedent(
            f"""\
            agent: {{id: gw-01, site: hq, tz: Asia/Shanghai}}
            mqtt: {{url: "mqtt://127.0.0.1:1883"}}
            links: {{door: {link}}}
            devices:
              - {{id: door-1, link: door, unit: {unit}, at: 127.0.0.1, profile: {profile}}}
            """
        ).replace(", at: 127.0.0.1" if "uhppote" not in profile else "\0", "")
        + (f"privacy:\n{indent(dedent(privacy), '  ')}" if privacy else "")
    )
    return load_config(path)


def test_the_key_of_the_events_time_is_taken(tmp_path: Path) -> None:
    keys = """\
        keys:
          - {id: k1, secret: {file: old}}
          - {id: k2, secret: {file: new}, since: 2026-11-01}
        """
    privacy = load(tmp_path, keys).privacy
    assert [(key.id, key.since_ms) for key in privacy.keys] == [("k1", 0), ("k2", NOVEMBER)]
    assert privacy.written("card", CARD, OCTOBER).startswith("hmac:k1:")
    assert privacy.written("card", CARD, NOVEMBER).startswith("hmac:k2:")
    assert "more than 32" not in repr(privacy)


def test_a_site_may_want_plates_in_clear(tmp_path: Path) -> None:
    privacy = load(tmp_path, "plates: clear\nkeys: [{id: k1, secret: {file: old}}]\n").privacy
    assert privacy.written("plate", Clear("KH35192"), OCTOBER) == "KH35192"
    assert privacy.written("card", CARD, OCTOBER).startswith("hmac:k1:")


def test_without_keys_a_site_with_readers_is_warned(tmp_path: Path) -> None:
    assert [warning.what for warning in load(tmp_path).warnings] == [
        "no key for pseudonyms: this agent makes one that no other has"
    ]
    assert load(tmp_path, "cards: clear\nplates: clear\n").warnings == ()
    assert load(tmp_path, profile="eastron-sdm630").warnings == ()


@pytest.mark.parametrize(
    ("privacy", "says"),
    [
        ("keys: [{id: k1, secret: {file: short}}]\n", "the key has 21 characters, 32 are needed"),
        ("keys: [{id: k1, secret: {file: nowhere}}]\n", "there is no file"),
        ("keys: [{id: k1, secret: 0123456789abcdef0123456789abcdef}]\n", "the secret itself stands here"),
        (
            "keys: [{id: k1, secret: {file: old}}, {id: k1, secret: {file: new}, since: 2026-11-01}]\n",
            "k1 is there twice",
        ),
        (
            "keys: [{id: k1, secret: {file: old}}, {id: k2, secret: {file: new}}]\n",
            "another key begins at the same time",
        ),
        ("keys: [{id: k1, secret: {file: old}, since: tomorrow}]\n", "since"),
        ("cards: hidden\n", "cards"),
        ("card: clear\n", "did you mean 'cards'"),
    ],
)
def test_what_is_wrong_is_said_and_the_secret_is_not(tmp_path: Path, privacy: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, privacy)
    assert says in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)
    assert "too short to be" not in str(caught.value)
