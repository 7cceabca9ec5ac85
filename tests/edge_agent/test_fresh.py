"""What a point shows now, and how old that is."""

from edge_agent.polling.fresh import Fresh, FreshValues
from tests.edge_agent.poll_world import device, point, world


class Said:
    """A publisher that said some things at one time."""

    def __init__(self, t_ms: int, **values: float) -> None:
        self.t_ms, self.values = t_ms, values

    def latest_of(self, device_id: str, point: str) -> tuple[float, int, str] | None:
        return (self.values[point], self.t_ms, "Good") if point in self.values else None


async def test_age_counts_from_when_a_value_was_heard_not_from_when_it_was_published() -> None:
    async with world([device("m", [point("x_a", deadband=5)])]) as it:
        began_ms = it.clock.wall_ms()
        await it.clock.advance(100)
        fresh = FreshValues(Said(began_ms, x_a=1.0), lambda: [it.poller], it.clock.wall_ms)
        value = fresh("m", "x_a")
        assert value is not None
        assert (value.value, value.status) == (1.0, "Good")
        assert value.age_s <= 10
        it.kill(1)
        await it.clock.advance(100)
        assert fresh("m", "x_a").age_s > 100  # type: ignore[union-attr]


async def test_a_point_nobody_polls_is_as_old_as_its_message() -> None:
    fresh = FreshValues(Said(1_000, x_a=1.0), list, lambda: 4_000)
    assert fresh("sum", "x_a") == Fresh(1.0, 3.0, "Good")
    assert fresh("sum", "x_b") is None
