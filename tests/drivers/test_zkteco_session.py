"""ZKTeco terminals that dial in: records are stored before they are answered, told once, and commands bring their result back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout
from device_profiles.schema import Profile
from device_profiles.secrets import Secret
from drivers.base import Address, Limits, LinkConfig, ListenLink
from drivers.http_listener import Visit
from drivers.listening import CanListen, Listened, Occurrence
from drivers.zkteco import protocol
from drivers.zkteco import session as zkteco_session
from drivers.zkteco.driver import ZktecoDriver
from drivers.zkteco.session import ZktecoSession
from firmware_sim.zkteco import Refused, ZktecoSim
from tests.shipped import LIBRARY

SERIAL = "CJ9H000001"


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class World:
    """A session and a terminal that dials into it."""

    def __init__(self, session: ZktecoSession, sim: ZktecoSim, profile: Profile, address: Address) -> None:
        self.session, self.sim, self.profile, self.address = session, sim, profile, address
        self.told: list[Occurrence] = []

    async def store(self) -> None:
        """The agent: stores every turn."""
        async for turn in self.session.occurrences():
            self.told += turn
            self.session.stored(turn)

    async def listen(self) -> None:
        await self.session.listen(Listened(self.address, self.profile.events, self.profile.credential))

    async def read(self) -> dict[str, object]:
        (batch,) = ZktecoDriver().plan(self.profile.points, Limits(), None, self.session.link)
        return dict(zip(batch.points, await self.session.read(self.address, batch), strict=True))

    def operation(self, name: str) -> Operation:
        return next(operation for operation in self.profile.operations if operation.id == name)


@asynccontextmanager
async def world(
    *, security: bool = False, secret: Secret | None = None, at: str = "", stores: bool = True
) -> AsyncIterator[World]:
    profile = LIBRARY.get("zkteco-security-push" if security else "zkteco-attendance-push")
    own = ListenLink(allow=("127.0.0.1",), silent_s=60)
    link = LinkConfig(id="push", kind="http-listen", host="127.0.0.1", port=0, timeout_s=0.05, listen=own)
    async with ZktecoDriver().open(link) as session:
        sim = ZktecoSim(SERIAL, session.listener.own, utc_now, security=security)
        here = World(session, sim, profile, Address(SERIAL, "door-1", at=at, secret=secret))
        storing = asyncio.create_task(here.store()) if stores else None
        try:
            yield here
        finally:
            if storing is not None:
                storing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await storing


async def answered(sim: ZktecoSim, what: str) -> int:
    try:
        await sim.ask("GET", what)
    except Refused as error:
        return error.status
    return 200


@pytest.mark.asyncio
async def test_attendance_is_taken_and_answered_by_count() -> None:
    async with world() as here:
        assert isinstance(here.session, CanListen)
        await here.listen()
        await here.sim.start()
        assert here.sim.settings["GET OPTION FROM: CJ9H000001"] == ""
        assert {key: here.sim.settings[key] for key in ("Realtime", "Encrypt", "TimeZone", "ATTLOGStamp")} == {
            "Realtime": "1", "Encrypt": "0", "TimeZone": "0", "ATTLOGStamp": "9999",
        }  # fmt: skip
        here.sim.punch("1001")
        here.sim.punch("1002", state=1)
        here.sim.alarm(55)
        await here.sim.turn()
        assert here.sim.kept == []
        first, second, third = here.told
        assert (first.name, first.data, first.clear["card"].text) == ("access.granted", {"dir": "in"}, "pin:1001")
        assert (second.name, second.data) == ("access.granted", {"dir": "out"})
        assert (third.name, third.data, third.clear) == (
            "alarm.raised",
            {"id": "tamper", "sev": "high", "moment": True},
            {},
        )
        assert "1001" not in first.key + repr(first)
        assert await here.read() == {"online": True, "x_users": 2, "events_stored": 11}
        assert (await here.session.identify(here.address))["model"] == "SpeedFace-V5L"


@pytest.mark.asyncio
async def test_what_is_not_stored_stays_with_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zkteco_session, "STORE_S", 0.1)
    async with world(stores=False) as here:
        here.sim.punch("1001")
        with pytest.raises(Refused):
            await here.sim.upload()
        await here.listen()
        with pytest.raises(Refused):
            await here.sim.upload()
        assert len(here.sim.kept) == 1
        assert here.session.counts.errors["not_stored"] == 1
        storing = asyncio.create_task(here.store())
        await here.sim.upload()
        storing.cancel()
        assert here.sim.kept == []
        assert len({(each.key, each.clear["card"].text) for each in here.told}) == 1


@pytest.mark.asyncio
async def test_an_answer_that_is_lost_brings_the_same_record_again() -> None:
    async with world(security=True) as here:
        await here.listen()
        await here.sim.start()
        here.sim.punch("7", card="6154410", door=2)
        here.sim.lose_answers = 1
        with pytest.raises(Refused):
            await here.sim.upload()
        await here.sim.upload()
        first, again = here.told
        assert first == again
        assert (first.name, first.data, first.clear["card"].text) == (
            "access.granted",
            {"dir": "in", "door": 2},
            "6154410",
        )
        assert "6154410" not in first.key


@pytest.mark.asyncio
async def test_offline_for_hours_and_then_a_thousand_records() -> None:
    """In order, none lost, none twice; old ones are from its memory."""
    async with world(security=True) as here:
        await here.listen()
        late = utc_now() - timedelta(hours=6)
        for second in range(1000):
            here.sim.now = lambda second=second: late + timedelta(seconds=second)  # type: ignore[misc]
            here.sim.punch(str(second + 1))
        await here.sim.start()
        await here.sim.turn()
        assert [each.clear["card"].text for each in here.told] == [f"pin:{n}" for n in range(1, 1001)]
        assert len({each.key for each in here.told}) == 1000
        assert all(each.from_memory for each in here.told)


@pytest.mark.asyncio
async def test_a_controller_registers_and_tells_its_doors() -> None:
    async with world(security=True) as here:
        await here.listen()
        here.sim.doors_open = {2}
        here.sim.unlocked = {1}
        await here.sim.start()
        assert len(here.sim.settings["RegistryCode"]) == 16
        assert here.sim.settings["Realtime"] == "1"
        await here.sim.turn()
        values = await here.read()
        assert abs(float(str(values.pop("clock_skew")))) < 3
        assert values == {
            "online": True, "door_open_1": False, "door_open_2": True, "x_unlocked_1": True, "x_unlocked_2": False,
        }  # fmt: skip


@pytest.mark.asyncio
async def test_commands_are_fetched_once_and_bring_their_result() -> None:
    async with world(security=True) as here:
        await here.listen()
        await here.sim.start()
        running = asyncio.create_task(here.session.operate(here.address, here.operation("open_2"), {}, None))
        await asyncio.sleep(0)
        await here.sim.turn()
        assert await running == {"return": 0}
        assert here.sim.done == ["CONTROL DEVICE 01020105"]
        await here.sim.turn()
        assert here.told[-1].name == "gate.opened"
        wrong = Operation.model_validate({"id": "x", "call": {"do": "open_door", "door": 7}})
        running = asyncio.create_task(here.session.operate(here.address, wrong, {}, None))
        await asyncio.sleep(0)
        await here.sim.turn()
        with pytest.raises(DeviceRefused, match="answered -1"):
            await running
        with pytest.raises(ConfigError, match="nothing that a terminal does"):
            await here.session.operate(
                here.address, Operation.model_validate({"id": "x", "call": {"do": "shell"}}), {}, None
            )


@pytest.mark.asyncio
async def test_a_code_that_the_profile_does_not_know_is_counted_and_taken() -> None:
    async with world(security=True) as here:
        await here.listen()
        await here.sim.start()
        here.sim.punch("7", event=77)
        await here.sim.turn()
        assert here.sim.kept == here.told == []
        assert here.session.counts.errors["unknown_event"] == 1


@pytest.mark.asyncio
async def test_records_of_a_time_are_sent_again_as_the_same() -> None:
    async with world() as here:
        await here.listen()
        await here.sim.start()
        for pin in ("1001", "1002"):
            here.sim.punch(pin)
        await here.sim.turn()
        first = list(here.told)
        running = asyncio.create_task(
            here.session.operate(here.address, here.operation("send_again"), {"hours": 2}, None)
        )
        await asyncio.sleep(0)
        await here.sim.turn()
        await here.sim.turn()
        assert await running == {"return": 0}
        assert here.sim.done[0].startswith("DATA QUERY ATTLOG StartTime=20")
        assert [(each.key, each.t_ms) for each in here.told[2:]] == [(each.key, each.t_ms) for each in first]


@pytest.mark.parametrize(("name", "field"), [
    ("UTC", 0), ("Asia/Shanghai", 8), ("Asia/Kolkata", 330), ("Asia/Kathmandu", 345), ("America/St_Johns", -210),
    ("Pacific/Auckland", 780), ("America/New_York", -5),
])  # fmt: skip
def test_the_zone_is_told_as_terminals_read_it(name: str, field: int) -> None:
    assert protocol.zone_field(ZoneInfo(name), datetime(2026, 11, 23, tzinfo=UTC)) == field


@pytest.mark.asyncio
async def test_a_command_that_is_not_fetched_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zkteco_session, "COMMAND_S", 0.05)
    async with world() as here:
        await here.listen()
        await here.sim.start()
        with pytest.raises(DeviceTimeout, match="withdrawn"):
            await here.session.operate(here.address, here.operation("open"), {}, None)
        await here.sim.turn()
        assert here.sim.done == []


@pytest.mark.asyncio
async def test_a_terminal_that_never_came_is_down_and_a_stranger_is_told() -> None:
    async with world() as here:
        with pytest.raises(DeviceTimeout, match="has not dialled in"):
            await here.read()
        stranger = ZktecoSim("X999", here.sim.url, utc_now)
        stranger.punch("1")
        with pytest.raises(Refused):
            await stranger.upload()
        assert here.session.listener.admission.strangers["X999"].count == 1
        assert stranger.kept


@pytest.mark.asyncio
async def test_a_secret_is_asked_for_where_one_is_configured(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hunter2hunter2\n")
    async with world(secret=Secret(file=str(file))) as here:
        await here.listen()
        assert await answered(here.sim, f"cdata?SN={SERIAL}&options=all") == 403
        assert await answered(here.sim, f"getrequest?SN={SERIAL}&token=wrong") == 403
        assert await answered(here.sim, f"cdata?SN={SERIAL}&options=all&pushcommkey=hunter2hunter2") == 200
        assert await answered(here.sim, f"getrequest?SN={SERIAL}") == 200
        assert await answered(here.sim, f"getrequest?SN={SERIAL}&token=wrong") == 403
        assert await answered(here.sim, f"getrequest?SN={SERIAL}") == 403
        here.sim.path = "/hunter2hunter2"
        assert await answered(here.sim, f"getrequest?SN={SERIAL}") == 200
        assert here.session.counts.errors["wrong_secret"] == 2
    async with world(at="10.0.0.9") as here:
        await here.listen()
        assert await answered(here.sim, f"getrequest?SN={SERIAL}") == 403


@pytest.mark.asyncio
async def test_a_wrong_secret_from_elsewhere_takes_no_trust_away(tmp_path: Path) -> None:
    """The terminal shows its own only when it starts: it would be shut out until somebody restarts it."""
    file = tmp_path / "key"
    file.write_text("hunter2hunter2\n")
    async with world(secret=Secret(file=str(file))) as here:
        await here.listen()
        assert await answered(here.sim, f"cdata?SN={SERIAL}&options=all&pushcommkey=hunter2hunter2") == 200
        terminal = here.session._terminals[SERIAL]
        other = Visit("127.0.0.9", "GET", "/iclock/ping", {"SN": SERIAL, "token": "wrong"}, {}, b"", {})
        assert not here.session._shows(other, terminal)
        assert await answered(here.sim, f"getrequest?SN={SERIAL}") == 200


@pytest.mark.asyncio
async def test_a_whole_memory_at_once_is_stored_in_portions() -> None:
    async with world(stores=False) as here:
        await here.listen()
        sizes: list[int] = []

        async def store() -> None:
            async for turn in here.session.occurrences():
                sizes.append(len(turn))
                here.session.stored(turn)

        storing = asyncio.create_task(store())
        here.sim.batch = 10_000
        for number in range(4_500):
            here.sim.kept.append(("ATTLOG", f"{number + 1}\t2026-11-22 08:00:00\t0\t15"))
        await here.sim.upload()
        storing.cancel()
        assert here.sim.kept == []
        assert sum(sizes) == 4_500
        assert max(sizes) <= 2_000


@pytest.mark.asyncio
async def test_lines_that_are_none_are_counted_and_taken() -> None:
    async with world() as here:
        await here.listen()
        here.sim.kept = [
            ("ATTLOG", "garbage"),
            ("ATTLOG", "1\t2026-99-99 00:00:00\t0"),
            ("ATTLOG", "5\t2026-11-22 08:00:00"),
        ]
        await here.sim.upload()
        assert here.sim.kept == []
        assert len(here.told) == 1
        assert here.session.counts.errors["bad_line"] == 2


@pytest.mark.asyncio
async def test_a_terminal_that_says_ever_more_of_itself_fills_no_memory() -> None:
    async with world() as here:
        await here.listen()
        for part in range(20):
            told = ",".join(f"Name{part}_{number}={'x' * 1000}" for number in range(500))
            await here.sim.ask("POST", f"cdata?SN={SERIAL}&table=options", told)
        await here.sim.ask("POST", f"cdata?SN={SERIAL}&table=options", "Name0_0=new")
        options = here.session._terminals[SERIAL].options
        assert len(options) == protocol.MOST_OPTIONS
        assert sum(map(len, options.values())) <= 256 * protocol.MOST_OPTIONS
        assert options["Name0_0"] == "new"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_body_is_read_without_an_error(body: bytes) -> None:
    for line in protocol.lines_of(body):
        protocol.attlog_of(line)
        protocol.oplog_of("OPLOG " + line)
        protocol.rtlog_of(line)
    protocol.options_of(body)
    assert all(isinstance(number, int) for number, _ in protocol.results_of(body))


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))
def test_the_packed_time_is_what_it_was(at: datetime) -> None:
    assert protocol.decoded_time(protocol.encoded_time(at)) == at.replace(microsecond=0)


def test_packed_times_options_and_results() -> None:
    assert protocol.decoded_time(1 << 40) is None
    assert protocol.options_of(b"~DeviceName=inBio260,MAC=00:17,CommKey=x\r\nLockCount=2") == {
        "DeviceName": "inBio260", "MAC": "00:17", "LockCount": "2",
    }  # fmt: skip
    assert list(protocol.results_of(b"ID=1&Return=0&CMD=INFO\nID=2&Return=-1002&CMD=DATA\n")) == [(1, 0), (2, -1002)]
    assert list(protocol.results_of(b"ID=32\nReturn=0\nCMD=Shell\nContent=x")) == [(32, 0)]


def test_a_recorded_rtlog_line_is_read() -> None:
    line = "time=2017-01-10 11:49:32\tpin=1001\tcardno=0\teventaddr=1\tevent=0\tinoutstatus=0\tverifytype=15\tindex=42"
    record = protocol.rtlog_of(line)
    assert record is not None
    assert (record.who, record.card, record.index) == ("1001", "", "42")
    assert record.words == {"table": "rtlog", "event": 0, "door": 1, "inout": 0, "verify": 15}


@pytest.mark.parametrize(
    ("table", "line", "name", "data"),
    [
        ("OPERLOG", "OPLOG 3\t0\t2026-11-23 08:00:00\t54\t0\t0\t0", "access.forced", {}),
        ("OPERLOG", "OPLOG 3\t0\t2026-11-23 08:00:00\t0\t54\t0\t0", "access.forced", {}),
        ("OPERLOG", "OPLOG 33\t0\t2026-11-23 08:00:00\t0\t0\t0\t0", "call.raised", {"station": "door-1"}),
        ("ATTLOG", "7\t2026-11-23 08:00:00\t1\t1\t0\t0\t0\t210218199105072345\t1", "access.denied", {"reason": "not_recognised"}),
        ("OPERLOG", "OPLOG 5\t0\t2026-11-23 08:00:00\t12\t34\t0\t0", None, {}),
        ("OPERLOG", "OPLOG 3\t0\t2026-11-23 08:00:00\t65535\t0\t0\t0", None, {}),
    ],
)  # fmt: skip
async def test_lines_of_the_makers_appendices(table: str, line: str, name: str | None, data: dict[str, object]) -> None:
    async with world() as here:
        await here.listen()
        visit = Visit("127.0.0.1", "POST", "/iclock/cdata", {"SN": SERIAL, "table": table}, {}, line.encode(), {})
        assert (await here.session._cdata(visit)).body == b"OK: 1"
        assert [(each.name, each.data) for each in here.told] == ([(name, data)] if name else [])
        assert here.session.counts.errors == {}


async def test_names_in_gb2312_stop_no_record() -> None:
    async with world() as here:
        await here.listen()
        body = "USER PIN=1\tName=张三\tPri=0\nOPLOG 3\t0\t2026-11-23 08:00:00\t55\t0\t0\t0\n".encode("gb2312")
        visit = Visit("127.0.0.1", "POST", "/iclock/cdata", {"SN": SERIAL, "table": "OPERLOG"}, {}, body, {})
        assert (await here.session._cdata(visit)).body == b"OK: 2"
        assert [each.data["id"] for each in here.told] == ["tamper"]


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ({"table": "tabledata", "tablename": "transaction", "count": "1"}, b"transaction=1"),
        ({"type": "tabledata", "cmdid": "1", "tablename": "transaction", "count": "1"}, b"transaction=1"),
        ({"type": "tabledata", "cmdid": "1", "tablename": "user", "count": "1"}, b"user=1"),
        ({"type": "count", "cmdid": "1", "tablename": "user"}, b"OK"),
        ({"table": "rtlog"}, b"OK"),
        ({"table": "ATTLOG"}, b"OK: 1"),
    ],
)
async def test_uploads_are_answered_as_the_document_has_it(query: dict[str, str], answer: bytes) -> None:
    line = (
        "time=2026-11-23 08:00:00\tpin=1\tcardno=1233447\teventaddr=1\tevent=0\tinoutstatus=0\tverifytype=4\tindex=353"
    )
    async with world(security=True) as here:
        await here.listen()
        visit = Visit("127.0.0.1", "POST", "/iclock/querydata", {"SN": SERIAL} | query, {}, line.encode(), {})
        assert (await here.session._cdata(visit)).body == answer
        assert len(here.told) == (query.get("tablename") != "user")
        assert here.session.counts.errors == {}
