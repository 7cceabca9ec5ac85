"""ZKTeco terminals that dial in: handshake, records, heartbeats, and the commands that they fetch.

A terminal is answered `OK` for records once they are on the disk of the box, so that it keeps what we do not have. The protocol
has no authentication worth the name: a terminal is who its serial number says, from an address on the allow-list, and shows a
secret where the firmware can (its communication key when it starts, or a secret in the path of the server's address).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from device_profiles.address import Told
from device_profiles.control import Operation
from device_profiles.errors import DeviceRefused, DeviceTimeout
from device_profiles.events import source_of
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.secrets import secret_text
from drivers.base import Address, Batch, Layout, LinkConfig, ListenLink, Trace, WireCount
from drivers.handover import Handover
from drivers.http_listener import Answer, HttpListener, Visit
from drivers.http_secrets import same
from drivers.listening import Listened, Occurrence

from . import protocol
from .commands import line_of
from .events import occurrence_of
from .protocol import Record
from .terminal import MOST_COMMANDS, Terminal

STORE_S = 20.0
"""How long a terminal waits for the disk before it is told to come again."""
COMMAND_S = 30.0
"""How long a command waits for the terminal's word: it comes for commands every few seconds."""
_DELAY_S = 5
_MOST_UPLOAD = 4 << 20
_JUST_NOW_S = 60.0
_PORTION = 2000
"""Records that are stored before others have their turn."""
_OK = Answer(b"OK")


class ZktecoSession:
    """See drivers.base and drivers.listening: reads, is parallel, identifies, operates, listens."""

    def __init__(self, link: LinkConfig, trace: Trace | None, wall: Callable[[], float] = time.time) -> None:
        self.link = link
        self.listener = HttpListener(link, trace)
        self._own = link.listen or ListenLink()
        self._wall = wall
        self._way = Handover()
        self._terminals: dict[str, Terminal] = {}
        base = r"(?:/(?P<secret>[^/]{8,128}))?/iclock"
        for path, handler in (
            ("cdata", self._cdata), ("registry", self._registry), ("push", self._push), ("getrequest", self._getrequest),
            ("devicecmd", self._devicecmd), ("ping", self._ping), ("rtdata", self._rtdata), ("querydata", self._cdata),
        ):  # fmt: skip
            self.listener.add("*", rf"{base}/{path}(?:\.aspx)?/?", handler, limit=_MOST_UPLOAD, private=True)

    @property
    def counts(self) -> WireCount:
        """What went over the port since it was opened."""
        return self.listener.counts

    @property
    def dropped(self) -> int:
        """Always 0: terminals keep what is not taken."""
        return self._way.dropped

    @property
    def parallel(self) -> int:
        return 64

    def lane(self, device: Address) -> str:
        return str(device.unit)

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """What the terminal told last. Raises DeviceTimeout when it was not heard within the link's `silent`, LinkLost."""
        self.listener.check()
        terminal = await self._heard(device)
        wanted: tuple[Told, ...] = batch.plan
        return [terminal.value(one.told, one.door) for one in wanted]

    async def identify(self, device: Address) -> Mapping[str, str]:
        """What it said when it registered. Raises DeviceTimeout."""
        options = (await self._heard(device)).options
        names = {"model": "DeviceName", "firmware": "FWVersion", "mac": "MAC"}
        found = {name: options[key] for name, key in names.items() if key in options}
        return {"vendor": "ZKTeco", "serial": str(device.unit), **found}

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """Queues the command, once, and waits for the terminal's return code.

        Raises ConfigError for a call that is none; DeviceRefused for a return code other than 0, and for a queue that is full;
        DeviceTimeout when the terminal did not fetch it (it is withdrawn then) or has not answered (it is not known then).
        """
        terminal = await self._heard(device)
        now = datetime.fromtimestamp(self._wall(), UTC).astimezone(ZoneInfo(device.tz or "UTC"))
        line = line_of(operation, inputs, is_security=terminal.is_security, now=now, where=device.device)
        if len(terminal.commands) >= MOST_COMMANDS:
            raise DeviceRefused(
                f"{MOST_COMMANDS} commands wait for it already", code=0, status="BadTooManyOperations",
                where=device.device, next_step="wait until it has fetched them",
            )  # fmt: skip
        command = terminal.command(line)
        try:
            async with asyncio.timeout(COMMAND_S):
                code = await command.done
        except TimeoutError as error:
            told = (
                "fetched it and has not said what came of it"
                if command.is_fetched
                else "did not fetch it: it is withdrawn"
            )
            raise DeviceTimeout(f"the terminal {told}, {COMMAND_S:g} s", where=device.device) from error
        finally:
            if command in terminal.commands:
                terminal.commands.remove(command)
        if code != 0 and not (code > 0 and line.startswith("DATA QUERY")):  # which some answer with how many it found
            raise DeviceRefused(
                f"the terminal answered {code} to {line.partition(' ')[0]}", code=code, status="BadNotSupported",
                where=device.device, next_step="-1: it reads this otherwise; -1002, -1004: firmware or settings do not have it",
            )  # fmt: skip
        return {"return": code}

    async def listen(self, device: Listened) -> None:
        """Its records are taken from now on; until then it is told to keep them."""
        self._expect(device.address).listened = device

    async def forget(self, device: Address) -> None:
        """It is unknown from now on."""
        self._terminals.pop(str(device.unit), None)
        self.listener.admission.forget(device)

    def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen."""
        return self._way.turns()

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """The terminals that brought them are answered."""
        self._way.stored()

    async def close(self) -> None:
        await self._way.close()
        await self.listener.close()

    def _expect(self, device: Address) -> Terminal:
        self.listener.admission.expect(device)
        known = self._terminals.get(str(device.unit))
        if known is None:
            known = self._terminals[str(device.unit)] = Terminal(device)
        known.address = device
        return known

    async def _heard(self, device: Address) -> Terminal:
        """The terminal, once it has dialled in. Raises DeviceTimeout."""
        terminal = self._expect(device)
        if terminal.heard_at is None:
            try:
                async with asyncio.timeout(self.link.timeout_s):
                    await terminal.contact.wait()
            except TimeoutError:
                pass
        silent_s = None if terminal.heard_at is None else time.monotonic() - terminal.heard_at
        if silent_s is None or silent_s > self._own.silent_s:
            told = "has not dialled in" if silent_s is None else f"was last heard {silent_s:.0f} s ago"
            raise DeviceTimeout(
                f"terminal {device.unit} {told}",
                where=f"{device.device} ({self.link.where})",
                next_step="set our address as its cloud server (ADMS), and let it through the allow-list",
            )
        return terminal

    def _visitor(self, visit: Visit) -> Terminal | None:
        """The terminal that this request is from; None for one that is unknown or has shown no secret."""
        serial = visit.query.get("SN", visit.query.get("sn", ""))[:32]
        terminal = self._terminals.get(serial)
        if terminal is None:
            facts = {
                name: visit.query[name][:64] for name in ("DeviceType", "pushver", "language") if name in visit.query
            }
            self.listener.admission.stranger(serial or "(no SN)", visit.host, facts)
            return None
        if not self.listener.admission.is_at(terminal.address, visit.host):
            self.listener.admission.refuse("foreign_address", visit.host)
            return None
        if terminal.address.secret is not None and not self._shows(visit, terminal):
            return None
        if visit.query.get("DeviceType") == "acc":
            terminal.is_security = True
        terminal.heard_at, terminal.host = time.monotonic(), visit.host
        terminal.contact.set()
        return terminal

    def _shows(self, visit: Visit, terminal: Terminal) -> bool:
        """The secret, here or in an earlier request from the same address: firmware tells it only when it starts."""
        assert terminal.address.secret is not None
        secret = secret_text(terminal.address.secret)
        query = {name.lower(): value for name, value in visit.query.items()}
        told = visit.parts.get("secret") or query.get("pushcommkey") or query.get("token") or ""
        if told and same(told, secret):
            terminal.trusted_host = visit.host
            return True
        if told:
            if (
                terminal.trusted_host == visit.host
            ):  # whoever else says a wrong one takes no trust away from the terminal
                terminal.trusted_host = ""
            self.listener.admission.guessed(visit.host)
        elif terminal.trusted_host != visit.host:
            self.listener.admission.refuse("no_secret", visit.host)
        return not told and terminal.trusted_host == visit.host

    async def _cdata(self, visit: Visit) -> Answer:
        """Handshake (GET), and uploads (POST)."""
        terminal = self._visitor(visit)
        if terminal is None:
            return Answer(b"unknown", 403)
        table = visit.query.get("table", "")
        if visit.method == "GET" and not table:
            return Answer(self._handshake(terminal).encode())
        lines = protocol.lines_of(visit.body)
        if table == "ATTLOG":  # where some write the other protocol's lines
            return await self._store(
                terminal, table, visit, lines, lambda line: protocol.attlog_of(line) or protocol.rtlog_of(line)
            )
        if table == "OPERLOG":
            return await self._store(terminal, table, visit, lines, protocol.oplog_of)
        name = visit.query.get("tablename", "")[:32]
        counted = Answer(f"{name}={visit.query.get('count', str(len(lines)))[:8]}".encode())
        if table == "rtlog" or name == "transaction":
            found = await self._store(terminal, "rtlog", visit, lines, protocol.rtlog_of)
            return counted if name and found.status == 200 else found
        if table == "rtstate":
            self._state(terminal, lines)
        elif table == "options":
            terminal.learn(protocol.options_of(visit.body))
        elif "tabledata" in (
            table,
            visit.query.get("type"),
        ):  # users and templates: said to be taken, and not looked at
            return counted
        return _OK

    async def _store(
        self, terminal: Terminal, table: str, visit: Visit, lines: Sequence[str], read: Callable[[str], Record | None]
    ) -> Answer:
        """Tells its records, a portion at a time, and answers once all are stored. Lines that are none are counted, and taken:
        they would come for ever.
        """
        for at in range(0, len(lines), _PORTION):
            if terminal.listened is None:
                return Answer(b"later", 503)
            told: list[Occurrence] = []
            for line in lines[at : at + _PORTION]:
                record = read(line)
                found = None if record is None else self._told(terminal, terminal.listened, record)
                if found is not None:
                    told.append(found)
                elif record is None and (
                    table != "OPERLOG" or line.startswith("OPLOG")
                ):  # people stand in between there
                    self.listener.admission.refuse("bad_line", visit.host)
            if not await self._way.deliver(told, STORE_S):
                self.listener.admission.refuse("not_stored", visit.host)
                return Answer(b"later", 503)
            await asyncio.sleep(0)
        if terminal.listened is None:
            return Answer(b"later", 503)
        if stamp := visit.query.get("Stamp", visit.query.get("OpStamp", ""))[:32]:
            terminal.stamps[table] = stamp
        return Answer(f"OK: {len(lines)}".encode()) if table != "rtlog" else _OK

    def _told(self, terminal: Terminal, listened: Listened, record: Record) -> Occurrence | None:
        t_s = record.at.replace(tzinfo=ZoneInfo(listened.tz)).timestamp()
        late_s = self._wall() + (terminal.skew_s or 0.0) - t_s
        found = occurrence_of(record, listened, int(t_s * 1000), from_memory=abs(late_s) > _JUST_NOW_S)
        if found is None and source_of(listened.events, dict(record.words)) is None:
            self.counts.errors["unknown_event"] = self.counts.errors.get("unknown_event", 0) + 1
        return found

    def _state(self, terminal: Terminal, lines: Sequence[str]) -> None:
        for line in lines[-1:]:
            terminal.states = protocol.keyed(line, "\t")
            at = protocol.rtlog_of(f"{line}\tevent=0")
            if at is not None:
                zone = ZoneInfo(terminal.address.tz or "UTC")
                terminal.skew_s = at.at.replace(tzinfo=zone).timestamp() - self._wall()

    def _handshake(self, terminal: Terminal) -> str:
        """The options that we want. Without a stamp of ours the terminal goes on where it was; option `resend` asks for all."""
        start = "0" if terminal.address.options.get("resend") == "all" else "9999"
        if terminal.is_security:
            return self._settings(terminal)
        zone = protocol.zone_field(ZoneInfo(terminal.address.tz or "UTC"), datetime.fromtimestamp(self._wall(), UTC))
        attlog = terminal.stamps.get("ATTLOG", start)
        lines = [
            f"GET OPTION FROM: {terminal.address.unit}", f"Stamp={attlog}", f"ATTLOGStamp={attlog}",
            f"OPERLOGStamp={terminal.stamps.get('OPERLOG', start)}", "ATTPHOTOStamp=None", "ErrorDelay=30",
            f"Delay={_DELAY_S}", "TransTimes=00:00;14:05", "TransInterval=1", "TransFlag=TransData AttLog\tOpLog",
            f"TimeZone={zone}", "Realtime=1", "Encrypt=0", "ServerVer=2.4.1",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _settings(self, terminal: Terminal) -> str:
        lines = [
            "registry=ok", f"RegistryCode={_code(terminal)}", "ServerVersion=3.1.1", "ServerName=plantroom",
            "PushProtVer=3.1.1", "ErrorDelay=30", f"RequestDelay={_DELAY_S}", "TransTimes=00:00;14:05", "TransInterval=1",
            "TransTables=Transaction", "Realtime=1", f"SessionID={_code(terminal)}", "TimeoutSec=30",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    async def _registry(self, visit: Visit) -> Answer:
        terminal = self._visitor(visit)
        if terminal is None:
            return Answer(b"unknown", 403)
        terminal.is_security = True
        terminal.learn(protocol.options_of(visit.body))
        return Answer(f"RegistryCode={_code(terminal)}\n".encode())

    async def _push(self, visit: Visit) -> Answer:
        terminal = self._visitor(visit)
        return Answer(b"unknown", 403) if terminal is None else Answer(self._settings(terminal).encode())

    async def _ping(self, visit: Visit) -> Answer:
        return Answer(b"unknown", 403) if self._visitor(visit) is None else _OK

    async def _rtdata(self, visit: Visit) -> Answer:
        """`type=time`: our time, packed, in UTC, with the terminal's zone."""
        terminal = self._visitor(visit)
        if terminal is None:
            return Answer(b"unknown", 403)
        now = datetime.fromtimestamp(self._wall(), UTC)
        zone = now.astimezone(ZoneInfo(terminal.address.tz or "UTC")).strftime("%z")
        return Answer(f"DateTime={protocol.encoded_time(now)},ServerTZ={zone}".encode())

    async def _getrequest(self, visit: Visit) -> Answer:
        terminal = self._visitor(visit)
        if terminal is None:
            return Answer(b"unknown", 403)
        if info := visit.query.get("INFO"):
            terminal.learn(protocol.info_of(info))
        commands = terminal.fetch()
        text = "".join(f"C:{command.number}:{command.text}\n" for command in commands)
        return Answer(text.encode()) if commands else _OK

    async def _devicecmd(self, visit: Visit) -> Answer:
        terminal = self._visitor(visit)
        if terminal is None:
            return Answer(b"unknown", 403)
        for number, code in protocol.results_of(visit.body):
            if not terminal.result(number, code):
                self.listener.admission.refuse("unknown_command", visit.host)
        return _OK


def _code(terminal: Terminal) -> str:
    """The same for a terminal at every start of ours, so that it need not register again."""
    return hashlib.blake2b(f"plantroom {terminal.address.unit}".encode(), digest_size=8).hexdigest()


@asynccontextmanager
async def open_session(link: LinkConfig, trace: Trace | None) -> AsyncIterator[ZktecoSession]:
    """Listens, and ends at the end. Raises LinkRefused, ConfigError."""
    session = ZktecoSession(link, trace)
    await session.listener.open()
    try:
        yield session
    finally:
        await session.close()
