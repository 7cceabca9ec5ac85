"""Runs inside a mount namespace of its own, where FOLDER is a small tmpfs: a whole site of which one part has no space left.

Prints one JSON document.

python site_on_full_disk.py FOLDER store|spool|broker
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from spool_on_full_disk import take_all

from tests.e2e.processes import AGENT, Site, until

PLACE = {"store": "centre", "spool": "agent", "broker": "broker"}
MORE = 40
"""So many messages are put while the disk is full."""


def last_seq(site: Site) -> int:
    return int(site.ask("status")["last_seq"])


def said(site: Site, part: str) -> bool:
    """The part that has no space says so where somebody looks."""
    if part == "store":
        health = site.get("/healthz")
        return not health["ok"] and "full" in health["store"]["detail"]
    return ("storage_failed" if part == "spool" else "No space left") in site.log("agent" if part == "spool" else part)


def main(folder: Path, part: str, home: Path) -> dict[str, Any]:
    (home / PLACE[part]).symlink_to(folder)
    with Site(home) as site:
        site.start_meters(3)
        if part == "broker":
            saves = "persistence true\nautosave_interval 1\nautosave_on_changes true"
            site.start_mosquitto(f"allow_anonymous true\n{saves}\npersistence_location {folder}/")
        else:
            site.start_broker()
        site.start_gateway()
        site.start_agent(site.agent_file(poll=0.2))
        until(lambda: site.stored() > 10, "messages to be stored")
        filler = take_all(folder)
        until(lambda: said(site, part), "the part to say that it has no space")
        seen = last_seq(site)
        until(lambda: last_seq(site) >= seen + MORE, "polling to go on")
        kept = site.ask("status")["spool"]["msgs"]
        filler.unlink()
        until(lambda: site.get("/healthz")["ok"] and site.ask("status")["spool"]["msgs"] < MORE, "all to be delivered")
        if part == "spool":
            until(lambda: "storage_recovered" in site.log("agent"), "the spool to be on the disk again")
        drained = site.ask("drain")
        (ledger,) = site.get(f"/api/v1/ledger?agent={AGENT}")
        return {
            "kept": kept,
            "waiting": drained["spool"]["msgs"],
            "missing": ledger["missing"],
            "is_whole": ledger["messages"] == drained["last_seq"],
            "lost": "were lost" in site.log("agent"),
            "crashed": "Traceback" in site.log("agent") + site.log("gateway"),
        }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="plantroom-full-") as home:
        print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], Path(home))))
