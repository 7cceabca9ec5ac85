"""Kill -9 of agent, broker and ingest at any time and in any order, under traffic: the ledger test of the whole way.

The broker keeps everything in memory, so its death takes sessions, queues and retained messages with it. What the agent's spool
had committed when it was killed is read from the file by a program of its own, and has to be in the store in the end: each
message once, with the very values that it carried.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.spool.look import looking
from tests.e2e.processes import AGENT, SITE, Site, until
from tests.gateway.mqtt_box import needs_mosquitto

ALL = os.environ.get("PLANTROOM_FAULTS") == "all"
only_all = pytest.mark.skipif(not ALL, reason="takes minutes: PLANTROOM_FAULTS=all runs it")
ROUNDS = 40 if ALL else 2
METERS = 3
MORE = 6
"""Messages that have to come through between two rounds."""
PARTS = ("agent", "broker", "gateway")


class Ledger:
    """What was seen in the spool: telemetry by (device, t), the last number of each epoch."""

    def __init__(self) -> None:
        self.committed: dict[tuple[str, int], Mapping[str, float]] = {}
        self.epochs: dict[str, int] = {}

    def look(self, spool: Path) -> None:
        with looking(spool) as look:
            for row in look.epochs():
                self.epochs[row.epoch] = max(self.epochs.get(row.epoch, 0), row.last)
            for entry in look.entries():
                self.epochs[entry.epoch] = max(self.epochs.get(entry.epoch, 0), entry.seq)
                if not entry.cls:
                    message = msgspec.json.decode(entry.payload)
                    self.committed[entry.device, message["t"]] = message.get("s", {})


def kill(site: Site, name: str, ledger: Ledger) -> None:
    """kill -9; of the agent while it is stopped, so that what it had committed is known."""
    if name == "agent":
        os.kill(site.process("agent").pid, signal.SIGSTOP)
        ledger.look(site.folder / "agent" / "spool.db")
    site.kill(name)


def start(site: Site, name: str, broker: str) -> None:
    start_broker = site.start_mosquitto if broker == "mosquitto" else site.start_broker
    {"agent": site.start_agent, "broker": start_broker, "gateway": site.start_gateway}[name]()


def goes_on(site: Site, name: str, rng: random.Random) -> None:
    """Lets a random amount of work be done by what still runs, so that the next kill meets any state."""
    if "agent" in site.running:
        seen, more = site.ask("status")["acquisitions"], rng.randrange(8)
        until(lambda: site.ask("status")["acquisitions"] >= seen + more, f"the agent to poll on without {name}")


@pytest.mark.timeout(1800 if ALL else 180)
@pytest.mark.parametrize(
    "broker", ["embedded", pytest.param("mosquitto", marks=[needs_mosquitto, pytest.mark.real, only_all])]
)
def test_every_committed_message_is_stored_exactly_once(broker: str, tmp_path: Path) -> None:
    rng, ledger = random.Random(20261122), Ledger()
    with Site(tmp_path) as site:
        site.start_meters(METERS)
        start(site, "broker", broker)
        start(site, "gateway", broker)
        site.start_agent(site.agent_file(poll=0.5))
        site.await_stored(MORE)
        for turn in range(ROUNDS):
            # The first rounds kill everything, each in another order; later ones whatever chance brings.
            victims = rng.sample(PARTS, 3 if turn < 2 else rng.randint(1, 3))
            for name in victims:
                kill(site, name, ledger)
                goes_on(site, name, rng)
            for name in rng.sample(victims, len(victims)):
                start(site, name, broker)
                goes_on(site, name, rng)
            site.await_stored(MORE, 60)
        os.kill(site.process("agent").pid, signal.SIGSTOP)
        ledger.look(tmp_path / "agent" / "spool.db")
        os.kill(site.process("agent").pid, signal.SIGCONT)
        agent = until(lambda: drained(site), "the spool to be empty", 90)
        ledger.epochs[agent["epoch"]] = agent["last_seq"]
        judge(site, ledger)


def drained(site: Site) -> Mapping[str, Any] | None:
    status: Mapping[str, Any] = site.ask("drain")
    return status if status["spool"]["msgs"] == 0 else None


def judge(site: Site, ledger: Ledger) -> None:
    stored: dict[tuple[str, int], dict[str, float]] = {}
    for number in range(1, METERS + 1):
        for point, samples in site.samples(f"meter-{number}"):
            assert len(samples) == len({t for t, _ in samples}), "a row is there twice"
            for t, value in samples:
                stored.setdefault((f"meter-{number}", t), {})[point] = value
    assert ledger.committed, "no message was seen in a spool: nothing was tested"
    lost = {key for key, values in ledger.committed.items() if stored.get(key) != values}
    assert not lost, (
        f"{len(lost)} of {len(ledger.committed)} messages seen in the spool are not in the store as they were"
    )
    told = site.ledger()
    assert set(told) == set(ledger.epochs), "an epoch is missing, or one is there that never was"
    for epoch, last in ledger.epochs.items():
        assert (told[epoch]["first"], told[epoch]["missing"], told[epoch]["last"]) == (1, [], last), told[epoch]
    closed = site.get(f"/api/v1/events?site={SITE}&device={AGENT}&types=system.restart&from=-1d")
    links = {
        event["data"]["prev_epoch"]: event["data"]["prev_last"] for event in closed if "prev_epoch" in event["data"]
    }
    assert len(closed) == len(ledger.epochs)
    newest = site.ask("status")["epoch"]
    assert links == {epoch: last for epoch, last in ledger.epochs.items() if epoch != newest}
