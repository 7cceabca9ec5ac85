"""F10, the MQTT side: what arrives more than once is the same bytes under the same number, and is forgotten once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gateway.broker import EmbeddedBroker
from gateway.contract import messages
from tests.edge_agent.uplink_box import QUICK, centre, settings, site, until


async def test_ingest_that_forgets_to_acknowledge(tmp_path: Path) -> None:
    """A crash between the store's write and the acknowledgement: the message comes again, byte for byte."""
    async with EmbeddedBroker() as broker:
        mqtt = settings(broker.port)
        async with centre(mqtt, drop_every=3) as hq, site(tmp_path, mqtt) as one:
            await until(lambda: one.uplink.figures()["connected"])
            numbers = one.put(60)
            await until(lambda: one.spool.fill().msgs == 0, "all to be acknowledged in the end")
            assert set(hq.got) == numbers
            assert max(hq.got.values()) > 1
            assert all(len(bodies) == 1 for bodies in hq.bodies.values())


async def test_receipts_that_come_twice_late_or_for_others(tmp_path: Path) -> None:
    """Neither a repeated nor a foreign receipt releases anything that ingest does not have."""
    async with EmbeddedBroker() as broker:
        mqtt = settings(broker.port)
        async with centre(mqtt, is_silent=True) as hq, site(tmp_path, mqtt, limits=replace(QUICK, resend_s=60)) as one:
            await until(lambda: one.uplink.figures()["connected"])
            one.put(10)
            await until(lambda: len(hq.got) == 10)
            ours = messages.encode(messages.Ack(epoch=one.spool.epoch, ok=[(1, 5)]))
            foreign = messages.encode(messages.Ack(epoch="AAAAAAAAAA", ok=[(1, 10)]))
            beyond = messages.encode(messages.Ack(epoch=one.spool.epoch, ok=[(11, 1_000_000)]))
            for receipt in (foreign, ours, ours, beyond):
                hq.session.publish(one.topics.down("ack"), receipt)
            await until(lambda: one.spool.fill().msgs == 5)
            numbers = one.put(5)
            await until(lambda: numbers <= set(hq.got))
            assert one.uplink.figures()["inflight_msgs"] == 10
            assert one.uplink.figures()["acknowledged"] == 5
            await one.spool.flush()
            assert one.spool.fill().msgs == 10
