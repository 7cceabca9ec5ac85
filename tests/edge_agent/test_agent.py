"""The agent as a process: without a broker, with a device that hangs, beside another agent, and after it was ended or killed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_agent.spool.look import looking
from tests.e2e.processes import WAIT_S, Site, plantroom, until

METERS = 3
BAD_REGISTER = 4
"""Of voltage_l3, which the simulated device refuses in every block that holds it."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as one:
        one.start_meters(METERS)
        yield one


def spool(site: Site) -> Any:
    """What `plantroom spool --json` says, with the agent running or not, without a process for each look."""
    with looking(site.folder / "agent" / "spool.db") as look:
        return look.summary()


def test_boots_and_polls_without_a_broker_and_delivers_later(site: Site) -> None:
    site.start_agent(site.agent_file())
    kept = until(
        lambda: (msgs := site.ask("status")["spool"]["msgs"]) >= 4 * METERS and msgs, "readings to wait in the spool"
    )
    done = plantroom("status", "--socket", site.socket)
    assert done.returncode == 1
    assert "broker away" in done.stdout
    said = plantroom("spool", "--dir", site.folder / "agent", "--json")
    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout)["msgs"] >= kept
    epoch = site.ask("status")["epoch"]
    # Stopped meanwhile: a message that finds a broker without ingest is lost there, and sent again only after 15 s.
    site.process("agent").send_signal(signal.SIGSTOP)
    site.start_broker()
    site.start_gateway()
    until(lambda: site.get("/healthz")["ingest"]["connected"], "ingest to be connected")
    site.process("agent").send_signal(signal.SIGCONT)
    until(lambda: site.ledger().get(epoch, {}).get("last", 0) > kept, "what had waited to be stored", 60)
    until(lambda: site.ledger()[epoch]["missing"] == [], "no number to be missing", 60)
    assert site.ledger()[epoch]["first"] == 1
    healthy = plantroom("status", "--socket", site.socket, "--json")
    assert healthy.returncode == 0
    assert json.loads(healthy.stdout)["uplink"]["connected"] is True


def test_a_second_agent_is_refused_and_the_first_goes_on(site: Site) -> None:
    site.start_agent(site.agent_file())
    done = plantroom("run", site.agent_yaml)
    assert done.returncode == 1
    assert "another agent works in this folder" in done.stderr
    assert str(site.folder) in done.stderr
    assert "Traceback" not in done.stderr
    seen = site.ask("status")["acquisitions"]
    until(lambda: site.ask("status")["acquisitions"] > seen, "the first agent to poll on")


def test_a_hanging_device_does_not_hold_up_the_end(site: Site) -> None:
    site.start_agent(site.agent_file())
    until(lambda: site.ask("status")["acquisitions"] >= METERS, "readings")
    site.order("deaf", link="line", on=True)
    asked = site.order("stats")["requests"]
    until(
        lambda: site.ask("status")["links"]["line"]["failed"] or site.order("stats")["requests"] == asked, "it to hang"
    )
    site.process("agent").send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert site.process("agent").wait(WAIT_S) == 0
    print(f"ended after {time.monotonic() - began:.1f} s (10 are allowed)")
    assert not site.socket.exists()
    with looking(site.folder / "agent" / "spool.db") as look:
        assert list(look.findings()) == []
    assert spool(site)["msgs"] > METERS


def test_what_it_learned_outlives_a_kill(site: Site) -> None:
    """A refused register costs its search once: afterwards each poll takes as many requests as before the restart."""
    for entry in site.devices:
        site.order("fault", device=entry["id"], kind="exception", first=BAD_REGISTER, last=BAD_REGISTER + 1, code=2)
    site.start_agent(site.agent_file(poll=0.2))
    first = polls(site, 12)
    kept = site.ask("latest")
    for values in kept.values():
        assert set(values["s"]) == {"voltage_l1", "voltage_l2", "current_l1", "current_l2", "current_l3"}
        assert [flag["sc"] for flag in values["x"]] == ["BadNodeIdUnknown"]
    steady = requests(site)
    polls(site, 12)
    a_poll = (requests(site) - steady) / 12
    until(lambda: site.ask("status")["uplink"] is not None and not in_memory(site), "the state to be committed")
    site.kill("agent")
    before = requests(site)
    site.start_agent()
    again = polls(site, 12)
    assert requests(site) - before <= again * a_poll + METERS
    assert first >= 12


def requests(site: Site) -> int:
    return sum(site.order("stats")["requests"].values())


def polls(site: Site, count: int) -> int:
    """Waits for so many more acquisitions; how many there are now."""
    before = site.ask("status")["acquisitions"]
    return int(until(lambda: (now := site.ask("status")["acquisitions"]) >= before + count and now, f"{count} polls"))


def in_memory(site: Site) -> bool:
    """Whether the spool has not yet committed what was put last."""
    status: Mapping[str, Any] = site.ask("status")
    return bool(status["last_seq"] > max((entry["last"] for entry in spool(site)["epochs"]), default=0))


def test_a_lost_key_for_pseudonyms_is_an_alarm_in_the_spool(site: Site) -> None:
    site.start_agent(site.agent_file())
    until(lambda: not in_memory(site), "the state to be committed")
    assert site.end("agent") == 0
    (site.folder / "agent" / "pseudonym.key").unlink()
    site.start_agent()
    until(lambda: not in_memory(site), "the alarm to be committed")
    assert site.end("agent") == 0
    assert any(b"pseudonym_key_changed" in path.read_bytes() for path in (site.folder / "agent").glob("spool*"))


def test_a_file_that_is_no_configuration_ends_it_with_a_line(tmp_path: Path) -> None:
    done = plantroom("run", tmp_path / "absent.yaml")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "absent.yaml" in done.stderr


def test_a_socket_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (site.folder / "file").write_text("")
    for path, why in (
        (site.folder / "file" / "run" / "agent.sock", "Not a directory"),
        (site.folder / ("long" * 30), "too long"),
    ):
        document = site.agent_file()
        document["agent"]["socket"] = str(path)
        site.write_agent(document)
        done = plantroom("run", site.agent_yaml)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert f"{path}: the local socket cannot be made" in done.stderr
        assert why in done.stderr
