"""F33: replayed, expired, misdirected, bit-flipped, retained and unsigned commands: never executed, answered, audited."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.commands.policy import Key, Policy
from edge_agent.commands.signature import signed_bytes
from tests.edge_agent.command_world import World, code_of
from tests.edge_agent.poll_world import point

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
SIGNED = Policy("required", {"k1": Key(KEY.public_key().public_bytes_raw(), ("point.write",))})
DAY_MS = 24 * 3_600_000


def signed(document: dict[str, Any], key: Ed25519PrivateKey = KEY, **more: Any) -> dict[str, Any]:
    document = {"to": "hq/gw-01", "kid": "k1", **document, **more}
    return {**document, "sig": base64.b64encode(key.sign(signed_bytes(document))).decode()}


async def refused(
    world: World, document: Any, code: str, st: str = "rejected", *, is_answered: bool = True, **keys: Any
) -> None:
    """It is refused within a second: with this code, an audit entry, and nothing that reached the device."""
    world.send(document, **keys)
    await world.clock.advance(1)
    if is_answered:
        answer = world.line.said[-1][1]
        assert (answer["st"], code_of(answer), answer["n"]) == (st, code, 0)
    assert world.audit("refused")[-1]["code"] == code
    assert world.engine.figures()["refused"] == len(world.audit("refused"))
    assert not world.written


Case = Callable[[World], tuple[Any, dict[str, Any], str, str]]
BAD: dict[str, Case] = {
    "retained": lambda w: (w.command(), {"retain": True}, "precondition", "rejected"),
    "expired in the payload": lambda w: (w.command(exp=w.clock.wall_ms()), {}, "expired", "expired"),
    "expired at the broker": lambda w: (w.command(), {"expiry_s": 0}, "expired", "expired"),
    "without an end": lambda w: (w.command(exp=None), {"expiry_s": None}, "expired", "expired"),
    "good for too long": lambda w: (w.command(exp=w.clock.wall_ms() + 8 * DAY_MS), {"expiry_s": None}, "expired", "expired"),
    "older than its id is remembered": lambda w: (w.command(t=w.clock.wall_ms() - DAY_MS - 1), {}, "expired", "expired"),
    "another agent's": lambda w: (w.command(to="hq/gw-02"), {}, "unauthorised", "rejected"),
    "under another id": lambda w: (w.command(), {"topic": "c2"}, "precondition", "rejected"),
    "no JSON": lambda w: (b"\xff\x00", {}, "precondition", "rejected"),
    "a key twice": lambda w: (b'{"v":1,"id":"c1","id":"c1","op":"point.write"}', {}, "precondition", "rejected"),
    "another version": lambda w: (w.command(v=2), {}, "precondition", "rejected"),
    "too large": lambda w: (w.command(why="x" * 20_000), {}, "precondition", "rejected"),
    "deeply nested": lambda w: (b"[" * 16_000, {}, "precondition", "rejected"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
async def test_refused_by_its_envelope(tmp_path: Path, kind: str) -> None:
    async with World(tmp_path) as world:
        document, keys, code, st = BAD[kind](world)
        await refused(world, document, code, st, **keys)


async def test_an_id_that_is_none_has_no_answer(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await refused(world, world.command("x" * 65), "precondition", is_answered=False)
        await refused(world, world.command("a/b"), "precondition", is_answered=False, topic="#")
        assert not world.line.said


async def test_an_answer_goes_nowhere_but_below_our_own_topic(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for number, topic in enumerate(
            ("plantroom/v1/hq/gw-02/up/cmd/x", "$SYS/x", "plantroom/v1/hq/gw-01/up/cmd/a/b")
        ):
            await world.tell(world.command(f"r{number}", op="point.read", args={"p": "setpoint"}), response_topic=topic)
        assert {topic for topic, *_ in world.line.said} == {f"plantroom/v1/hq/gw-01/up/cmd/r{n}" for n in range(3)}


async def test_the_same_id_with_other_content(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.write(21)
        world.driver.writes.clear()
        await refused(world, world.command(args={"p": "setpoint", "val": 22}), "duplicate")


async def test_reordered_commands_do_not_undo_each_other(tmp_path: Path) -> None:
    """Two for the same point on the way at once: the precondition of the later one says what it was meant for."""
    async with World(tmp_path) as world:
        late = world.command("late", args={"p": "setpoint", "val": 25}, **{"if": {"val": 21}})
        assert code_of(await world.tell(late)) == "precondition"
        assert (await world.write(21, "early"))["st"] == "succeeded"


async def test_an_unset_clock_takes_nothing_that_changes(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.clock.set(quality="unsync")
        await refused(world, world.command(), "precondition")
        read = await world.tell(world.command("c2", op="point.read", args={"p": "setpoint"}))
        assert read["st"] == "succeeded"
        world.clock.set(quality="rtc")
        assert (await world.write(21, "c3"))["st"] == "succeeded"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: d,
        lambda d: signed(d, OTHER),
        lambda d: signed(d, kid="k2"),
        lambda d: {**signed(d), "args": {"p": "setpoint", "val": 29}},
        lambda d: {**signed(d), "exp": d["exp"] + 1},
        lambda d: signed(d, op="point.release", args={"p": "setpoint"}),
        lambda d: signed(d, to=None),
        lambda d: {**signed(d), "sig": "A" * 86},
    ],
    ids=["unsigned", "another key", "unknown key", "other value", "other end", "its operation", "for anybody", "no signature"],
)  # fmt: skip
async def test_signatures(tmp_path: Path, wrong: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    async with World(tmp_path, policy=SIGNED) as world:
        await refused(world, wrong(world.command()), "unauthorised")
        answer = await world.tell(signed(world.command()))
        assert answer["st"] == "succeeded", "an id that was refused is not used up"
        assert world.audit("accepted")[0]["kid"] == "k1"


async def test_a_flipped_bit_anywhere(tmp_path: Path) -> None:
    async with World(tmp_path, policy=SIGNED) as world:
        payload = json.dumps(signed(world.command())).encode()
        for at in range(0, len(payload) * 8, 29):
            flipped = bytearray(payload)
            flipped[at // 8] ^= 1 << at % 8
            world.send(bytes(flipped))
            await world.clock.advance(0.02)
        assert not world.written
        assert all(answer["st"] in ("rejected", "expired") for _, answer, _ in world.line.said)


async def test_a_replay_after_the_id_is_forgotten_is_too_old(tmp_path: Path) -> None:
    async with World(tmp_path, points=(point("setpoint", access="rw", poll=3600),)) as world:
        document = world.command()
        await world.tell(document)
        await world.clock.advance(25 * 3600)
        world.driver.writes.clear()
        await refused(world, document, "expired", "expired")


async def test_a_lost_journal_takes_nothing_from_before(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        document = world.command(exp=world.clock.wall_ms() + 600_000)
        await world.tell(document, expiry_s=600)
        clock, driver, fake = world.clock, world.driver, world.fake
    (tmp_path / "commands.db").write_bytes(b"no database" * 1000)
    driver.writes.clear()
    async with World(tmp_path, clock=clock, driver=driver, fake=fake) as world:
        assert list(tmp_path.glob("commands.db.damaged-*"))
        await refused(world, document, "precondition", expiry_s=600)
        assert (await world.write(22, "c9"))["st"] == "succeeded"
