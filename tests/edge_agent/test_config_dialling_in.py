"""Devices that dial in: one that could never come is refused by `plantroom check`, one that others can speak for is warned of."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from device_profiles.errors import ConfigError
from edge_agent.config.load import load_config

ZKTECO, ISAPI, BOARD = "zkteco-security-push", "hikvision-push", "uhppote-l04"


def load(folder: Path, profile: str, device: str = "", link: str = "") -> tuple[ConfigError, ...]:
    """The warnings. Raises ConfigError."""
    unit, kind = ("423187757", "udp") if profile == BOARD else ("CJ9H000001", "http-listen")
    secret = folder / "secret"
    secret.write_text("hunter2hunter2")
    secret.chmod(0o600)
    path = folder / "agent.yaml"
    path.write_text(
        dedent(
            f"""\
            agent: {{id: gw-01, site: hq, tz: Asia/Shanghai}}
            mqtt: {{url: "mqtt://127.0.0.1:1883"}}
            links: {{doors: {{kind: {kind}, host: 127.0.0.1, port: 60001{link}}}}}
            devices:
              - {{id: door-1, link: doors, unit: {unit}, profile: {profile}{device}}}
            """
        )
    )
    return tuple(each for each in load_config(path).warnings if "privacy" not in str(each.where))


ALLOW = ", listen: {allow: [10.0.0.0/8]}"


@pytest.mark.parametrize(
    ("profile", "device", "link", "match"),
    [
        (ZKTECO, "", "", "nobody is let in to doors"),
        (ZKTECO, ", secret: {file: secret}", "", "nobody is let in to doors"),
        (BOARD, "", ", listen: {broadcast: 10.0.0.255}", "nobody is let in to doors"),
        (ISAPI, "", ALLOW, "neither"),
        (ZKTECO, ", at: terminal.example", "", "no IP address"),
        (BOARD, ', at: "board.example:60000"', ALLOW, "no IP address"),
    ],
)
def test_a_device_that_could_never_come_is_refused(
    tmp_path: Path, profile: str, device: str, link: str, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        load(tmp_path, profile, device, link)


@pytest.mark.parametrize(("profile", "device", "link"), [(ZKTECO, "", ALLOW), (BOARD, "", ALLOW)])
def test_whom_others_can_speak_for_is_warned_of(tmp_path: Path, profile: str, device: str, link: str) -> None:
    (warning,) = load(tmp_path, profile, device, link)
    assert "whoever is in 10.0.0.0/8" in warning.what
    assert ("secret" in (warning.next_step or "")) is (profile == ZKTECO)


@pytest.mark.parametrize(
    ("profile", "device", "link"),
    [
        (ZKTECO, ", at: 10.0.0.9", ""),
        (ZKTECO, ", secret: {file: secret}", ALLOW),
        (ISAPI, ", at: 10.0.0.9", ""),
        (ISAPI, ", secret: {file: secret}", ALLOW),
        (BOARD, ', at: "10.0.0.9:60000"', ""),
    ],
)
def test_what_can_come_and_is_told_apart_is_silent(tmp_path: Path, profile: str, device: str, link: str) -> None:
    assert load(tmp_path, profile, device, link) == ()
