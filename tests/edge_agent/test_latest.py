"""What people on the box see of a device: value, unit, label, how it is kept up to date, and how old it is."""

from drivers.base import LinkConfig
from drivers.fake_network import FakeNetwork
from edge_agent.cli.points import table_of
from edge_agent.latest import points_of
from edge_agent.polling.fresh import FreshValues
from tests.edge_agent.poll_world import device, point, world
from tests.edge_agent.test_fresh import Said


async def test_each_point_of_a_device() -> None:
    room = device(
        "room",
        [point("supply_air_temperature", type="f32"), point("x_mode", labels={2: "heat"}), point("x_new", cov=False)],
    )
    network = FakeNetwork()
    network.reports[1] = frozenset({"supply_air_temperature", "x_mode"})
    async with world([room], link=LinkConfig(id="bacnet-1", kind="fake"), network=network) as it:
        await it.clock.advance(30)
        said = Said(it.clock.wall_ms(), supply_air_temperature=20.5, x_mode=2)
        rows = points_of(room, FreshValues(said, lambda: [it.poller], it.clock.wall_ms), it.poller)
        assert [row["id"] for row in rows] == ["supply_air_temperature", "x_mode", "x_new"]
        assert [row["mode"] for row in rows] == ["cov", "cov", "polled"]
        assert [row["unit"] for row in rows] == ["Cel", None, None]
        assert (rows[1]["value"], rows[1]["text"], rows[1]["status"]) == (2, "heat", "Good")
        assert (rows[2]["value"], rows[2]["age_s"]) == (None, None)
        table = table_of("room", rows, frozenset({"x_mode"}))
        assert table.row_count == 3
    assert [row["mode"] for row in points_of(room, FreshValues(said, list, it.clock.wall_ms), None)] == [None] * 3
