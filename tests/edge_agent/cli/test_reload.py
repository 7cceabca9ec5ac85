"""`plantroom reload` and SIGHUP on a running agent: one device of many changes, the others do not notice."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import AGENT, SITE, Listener, Site, plantroom, until

UP = f"plantroom/v1/{SITE}/{AGENT}/up"
METERS = 8
POLL_S = 0.5
UNTOUCHED = [f"meter-{number}" for number in range(4, METERS + 1)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("reload")) as one:
        one.start_meters(METERS)
        one.start_broker()
        one.start_gateway()
        one.start_agent(one.agent_file(poll=POLL_S))
        one.await_stored(METERS)
        yield one


def reload(site: Site, devices: list[dict[str, Any]]) -> Any:
    """What `plantroom reload --json` says of it."""
    site.write_agent({**site.agent_file(poll=POLL_S), "devices": devices})
    done = plantroom("reload", "--socket", site.socket, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def device(site: Site, name: str) -> dict[str, Any]:
    found = [entry for entry in site.get(f"/api/v1/devices?site={SITE}") if entry["id"] == name]
    return found[0] if found else {}


def test_one_of_many_changes_and_the_others_miss_no_poll(site: Site) -> None:
    devices = site.agent_file(poll=POLL_S)["devices"]
    skipped = site.ask("status")["links"]["line"]["skipped"]
    with Listener(site.broker_port, f"{UP}/dev/+/+") as listener:
        until(lambda: listener.last(f"{UP}/dev/meter-3/state"), "the retained documents")

        devices[0] = {**devices[0], "poll": 1, "name": "Incomer"}
        assert reload(site, devices) == {"added": [], "removed": [], "changed": ["meter-1"]}
        until(lambda: device(site, "meter-1").get("name") == "Incomer", "the new meta")

        devices[1] = {**devices[1], "disabled": "rewired until Friday, WO-118"}
        site.write_agent({**site.agent_file(poll=POLL_S), "devices": devices})
        site.process("agent").send_signal(signal.SIGHUP)
        until(lambda: device(site, "meter-2").get("state") == "disabled", "meter-2 to be disabled")
        assert device(site, "meter-2")["note"] == "rewired until Friday, WO-118"
        asked = site.order("stats")["requests"]["eastron-sdm630-2"]

        added = {**devices[3], "id": "canteen", "unit": 3}
        assert reload(site, [*devices[:2], *devices[3:], added]) == {
            "added": ["canteen"], "removed": ["meter-3"], "changed": [],
        }  # fmt: skip
        for what in ("meta", "state"):
            until(lambda what=what: listener.last(f"{UP}/dev/meter-3/{what}") == b"", f"meter-3/{what} to be cleared")
        until(lambda: device(site, "canteen").get("state") == "ok", "the added device")
        until(lambda: not device(site, "meter-3"), "the removed device to go")
        site.await_stored(3 * METERS)

    assert site.order("stats")["requests"]["eastron-sdm630-2"] == asked, "a disabled device was polled"
    assert not [topic for topic in retained(site) if "/meter-3/" in topic]
    missed = 0
    for name in UNTOUCHED:
        times = sorted({t for _, samples in site.samples(name) for t, _ in samples})
        missed += round((times[-1] - times[0]) / 1000 / POLL_S) + 1 - len(times)
    links = site.ask("status")["links"]["line"]
    assert links["connects"] == 1
    assert missed <= links["skipped"] - skipped, f"{missed} polls of untouched devices are missing"
    events = site.get(f"/api/v1/events?site={SITE}&types=system.config_applied&from=-1h")
    assert len(events) == 3


def retained(site: Site) -> set[str]:
    """Topics under which the broker keeps something for who comes new."""
    with Listener(site.broker_port, f"{UP}/#") as fresh:
        until(lambda: fresh.last(f"{UP}/dev/meter-{METERS}/meta"), "the retained documents")
        return {topic for _, topic, _, kept in fresh.heard if kept}


def test_a_broken_configuration_is_refused_and_the_old_one_stays(site: Site) -> None:
    good = site.agent_yaml.read_text()
    epoch = site.ask("status")["epoch"]
    site.agent_yaml.write_text(good.replace("poll: 0.5", "poll: soon", 1))
    done = plantroom("reload", "--socket", site.socket)
    assert done.returncode == 1
    line = next(number for number, text in enumerate(site.agent_yaml.read_text().splitlines(), 1) if "soon" in text)
    assert f"agent.yaml:{line}" in done.stderr
    assert "soon" in done.stderr
    assert "Traceback" not in done.stderr
    site.process("agent").send_signal(signal.SIGHUP)
    until(lambda: "the old one stays in force" in site.log("agent"), "the refusal in the log")
    site.agent_yaml.write_text(good)
    assert site.ask("status")["epoch"] == epoch
    site.await_stored(METERS)


def test_what_cannot_change_while_the_agent_runs_is_said(site: Site) -> None:
    good = site.agent_yaml.read_text()
    site.agent_yaml.write_text(good.replace(f"site: {SITE}", "site: north"))
    done = plantroom("reload", "--config", site.agent_yaml)
    site.agent_yaml.write_text(good)
    assert done.returncode == 1
    assert "site cannot change while the agent runs. restart the agent to take it up" in done.stderr


def test_nothing_changed_and_nobody_there(site: Site, tmp_path: Path) -> None:
    done = plantroom("reload", "--socket", site.socket)
    assert (done.returncode, done.stdout) == (0, "nothing changed\n")
    absent = plantroom("reload", "--socket", tmp_path / "agent.sock")
    assert absent.returncode == 1
    assert "no agent answers here" in absent.stderr
    assert "plantroom run" in absent.stderr


def test_status_of_one_device_says_how_each_point_is_kept(site: Site) -> None:
    until(lambda: site.ask("latest")[f"meter-{METERS}"]["s"], "readings")
    done = plantroom("status", "--socket", site.socket, "--device", f"meter-{METERS}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    points = json.loads(done.stdout)["points"]
    assert {point["mode"] for point in points} == {"polled"}
    assert all(point["value"] is not None and point["age_s"] < 60 for point in points)
    assert plantroom("status", "--socket", site.socket, "--device", "nobody").returncode != 0
    done = plantroom("watch", f"meter-{METERS}", "--socket", site.socket, "-n", "2", "-i", "0.1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert [point["mode"] for look in looks for point in look["points"]] == ["polled"] * 2 * len(points)
    assert "mode" in plantroom("watch", f"meter-{METERS}", "--config", site.agent_yaml, "-n", "1").stdout
