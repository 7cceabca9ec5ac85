"""A site with parts that nobody here wrote: Mosquitto with the shipped TLS, certificates and ACL, and InfluxDB 1.6.7.

The configurations are those of deploy/, with addresses, paths and devices of the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import DEPLOY
from tests.e2e.processes import Site, plantroom, until
from tests.gateway.real_stores import influxd, needs_influxd, query

pytestmark = [pytest.mark.real, needs_influxd]
METERS = 3


def shipped(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return document


def with_files_of(tls: Path, mqtt: Mapping[str, Any], port: int) -> dict[str, Any]:
    """The shipped `mqtt` section for a broker of the test."""
    files = {key: str(tls / Path(mqtt[key]).name) for key in ("ca", "cert", "key")}
    return {**mqtt, **files, "url": f"mqtts://localhost:{port}"}


async def influxql(url: str, text: str) -> list[list[Any]]:
    answer = json.loads(await query(url, text, "plantroom"))
    (result,) = answer["results"]
    return [row for series in result.get("series", ()) for row in series["values"]]


async def test_from_register_to_influxql(broker: Any, tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx") as url:
        with Site(tmp_path) as site:
            status = await asyncio.to_thread(run_site, site, broker, url)
            await compare(site, url, status)


def run_site(site: Site, broker: Any, url: str) -> Mapping[str, Any]:
    """Polls for a while, drains, and returns the agent's last status."""
    site.start_meters(METERS)
    central = shipped("gateway.yaml")
    site.start_gateway(
        mqtt=with_files_of(broker.tls, central["mqtt"], broker.centre),
        store={"kind": "influx", "version": "v1", "url": url, "database": "plantroom"},
        agents=central["agents"],
    )
    local, document = shipped("agent.yaml"), site.agent_file()
    document["mqtt"] = with_files_of(broker.tls, local["mqtt"], broker.agents)
    document["agent"] |= {key: local["agent"][key] for key in ("id", "site", "tz", "building", "calendar")}
    site.write_agent(document)
    checked = plantroom("check", site.agent_yaml)
    assert checked.returncode == 0, checked.stdout
    site.start_agent()
    until(lambda: site.ask("status")["acquisitions"] >= 5 * METERS, "readings")
    drained: Mapping[str, Any] = until(lambda: (s := site.ask("drain"))["spool"]["msgs"] == 0 and s, "all to be stored")
    return drained


async def compare(site: Site, url: str, status: Mapping[str, Any]) -> None:
    rows = await influxql(url, "SELECT * FROM electricity_meter")
    latest = site.ask("latest")
    assert len(rows) == status["acquisitions"]
    for device, said in latest.items():
        newest = f"WHERE dev = '{device}' AND site = 'hq' ORDER BY time DESC LIMIT 1"
        ((_, *values),) = await influxql(url, f"SELECT {', '.join(said['s'])} FROM electricity_meter {newest}")
        assert values == pytest.approx(list(said["s"].values()), rel=1e-12)
    ledger = await influxql(url, f"SELECT a, b FROM ledger WHERE agent = 'gw-01' AND epoch = '{status['epoch']}'")
    covered = sorted(number for _, a, b in ledger for number in range(int(a), int(b) + 1))
    assert covered == list(range(1, status["last_seq"] + 1))
    (entry,) = site.get("/api/v1/ledger?agent=gw-01")
    assert (entry["first"], entry["last"], entry["missing"]) == (1, status["last_seq"], [])
    shown = {(sample["device"], sample["point"]): sample["value"] for sample in site.get("/api/v1/latest?site=hq")}
    assert shown == {(device, point): value for device, said in latest.items() for point, value in said["s"].items()}
    units = {sample["unit"] for sample in site.get("/api/v1/latest?site=hq")}
    assert units == {"V", "A"}
