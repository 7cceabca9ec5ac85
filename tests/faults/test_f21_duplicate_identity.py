"""F21: a cloned card. Two agents of one identity take turns slowly, and both say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge_agent.uplink_box import Site, centre, settings, until
from tests.gateway.mqtt_box import mosquitto, needs_mosquitto


@pytest.mark.real
@needs_mosquitto
async def test_two_boxes_of_one_identity(tmp_path: Path) -> None:
    """Mosquitto 2.0.11 closes the older connection without a reason; the status of the other one gives it away."""
    async with mosquitto(tmp_path / "broker") as broker:
        mqtt = settings(broker.port, takeover_wait_s=1.5)
        async with centre(settings(broker.port)) as hq:
            boxes = []
            for name in ("original", "clone"):
                (tmp_path / name).mkdir()
                boxes.append(Site(tmp_path / name, mqtt))
            numbers: set[tuple[str, int]] = set()
            for box in boxes:
                numbers |= box.put(20)
                box.start()
            await until(lambda: all("duplicate_identity" in box.uplink.alarms for box in boxes), "both to say so")
            alarm = boxes[0].uplink.alarms["duplicate_identity"]
            assert "'gw-01'" in alarm
            assert "its own agent id" in alarm
            before = [box.uplink.figures()["connects"] for box in boxes]
            await until(lambda: sum(box.uplink.figures()["connects"] for box in boxes) >= sum(before) + 2)
            await until(lambda: numbers <= set(hq.got), "neither to lose anything")
            print(f"F21: connects {[box.uplink.figures()['connects'] for box in boxes]}")
            for box in boxes:
                await box.kill()
                await box.spool.close()


@pytest.mark.real
@needs_mosquitto
async def test_restart_of_one_box_is_no_clone(tmp_path: Path) -> None:
    """The retained `online` of an earlier life of ours, even one restored from an old snapshot, raises no alarm."""
    async with mosquitto(tmp_path / "broker") as broker:
        mqtt = settings(broker.port)
        epochs: list[str] = []
        for _ in range(3):
            box = Site(tmp_path, mqtt)
            epochs.append(box.spool.epoch)
            box.start()
            await until(lambda: bool(box.uplink.figures()["connected"]))  # noqa: B023
            async with centre(settings(broker.port)) as hq:
                stale = b'{"v":1,"state":"online","epoch":"%s","sid":1}' % epochs[0].encode()
                hq.session.publish(box.topics.up("status"), stale, retain=True)
                await until(lambda: hq.session.outstanding == 0)
                connection = box.uplink._session._connection
                assert connection is not None
                connection.wire.abort()
                await until(lambda: box.uplink.figures()["connects"] == 2)  # noqa: B023
                box.put(1)
                await until(lambda: bool(hq.got))
            assert "duplicate_identity" not in box.uplink.alarms
            await box.kill()
            await box.spool.close()
