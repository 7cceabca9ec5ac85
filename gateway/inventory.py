"""What each site announced, and who is known: agents, devices with every revision of their meta, states, sites, owners.

Answers come from memory; changes are written to one SQLite file by `flush`, which ingest calls before it acknowledges. The file
holds nothing that the retained topics would not bring back, but for revisions, state changes, registrations and owners.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from device_profiles.errors import ConfigError
from gateway import rollup
from gateway.contract.consumer import read_meta, read_state, read_status
from gateway.contract.messages import Meta, PointMeta, Site, State, Status
from gateway.contract.topics import Parsed, is_id
from gateway.current import Current
from gateway.stores.sqlite_layout import as_store_error

_SCHEMA = """
CREATE TABLE IF NOT EXISTS agent(site TEXT, agent TEXT, status BLOB, status_t INTEGER, caps BLOB, last_seen INTEGER,
  PRIMARY KEY(site, agent));
CREATE TABLE IF NOT EXISTS registration(site TEXT, agent TEXT, t INTEGER, PRIMARY KEY(site, agent));
CREATE TABLE IF NOT EXISTS site(site TEXT PRIMARY KEY, doc BLOB, t INTEGER);
CREATE TABLE IF NOT EXISTS device(site TEXT, dev TEXT, agent TEXT, meta BLOB, state BLOB, first_seen INTEGER, last_seen INTEGER,
  PRIMARY KEY(site, dev));
CREATE TABLE IF NOT EXISTS revision(site TEXT, dev TEXT, rev TEXT, t INTEGER, meta BLOB, PRIMARY KEY(site, dev, rev));
CREATE TABLE IF NOT EXISTS state_change(site TEXT, dev TEXT, t INTEGER, state TEXT, sc TEXT, note TEXT,
  PRIMARY KEY(site, dev, t));
"""

_site = msgspec.json.Decoder(Site)
_encode = msgspec.json.encode


@dataclass(slots=True)
class AgentInfo:
    """An agent. `status` None: it was heard or registered, but never announced itself."""

    site: str
    id: str
    status: Status | None = None
    status_ms: int | None = None
    caps: dict[str, Any] | None = None
    last_seen_ms: int | None = None
    registered: bool = False
    refused: int = 0
    """Messages since the start that were not acknowledged, because the agent is not registered."""

    @property
    def online(self) -> bool:
        return self.status is not None and self.status.state in ("online", "maintenance")


@dataclass(slots=True)
class DeviceInfo:
    """A device and the agent that owns its id in this site."""

    site: str
    id: str
    agent: str
    meta: Meta | None = None
    state: State | None = None
    first_seen_ms: int | None = None
    last_seen_ms: int | None = None

    @property
    def points(self) -> dict[str, PointMeta]:
        return {} if self.meta is None else self.meta.points


@dataclass(frozen=True, slots=True)
class StateChange:
    """The device is in `state` from `t_ms` on."""

    t_ms: int
    state: str
    sc: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a device's meta and when it was first heard."""

    rev: str
    t_ms: int
    meta: Meta


@dataclass(slots=True)
class _Pending:
    """Statements not yet in the file, in order."""

    statements: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)

    def add(self, sql: str, *values: object) -> None:
        self.statements.append((sql, values))


class Inventory:
    """Open it, feed it with `take` and `saw`, `flush` it, ask it. All of it in the event loop's thread."""

    def __init__(
        self,
        path: Path,
        *,
        registered: Iterable[tuple[str, str]] | None = (),
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`registered` None: every agent is welcome (the demo)."""
        self._path = path
        self._listed = None if registered is None else frozenset(registered)
        self._by_api: set[tuple[str, str]] = set()
        self._wall_ms = wall_ms
        self._sites: dict[str, Site] = {}
        self._agents: dict[tuple[str, str], AgentInfo] = {}
        self._devices: dict[tuple[str, str], DeviceInfo] = {}
        self._seen: set[tuple[str, str]] = set()
        self.current = Current()
        self._pending = _Pending()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inventory")
        self._db: sqlite3.Connection | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(_SCHEMA)
        self._db = db
        self._by_api = {(site, agent) for site, agent in db.execute("SELECT site, agent FROM registration")}
        self._sites = {site: _site.decode(doc) for site, doc in db.execute("SELECT site, doc FROM site")}
        for site, agent, status, status_t, caps, last_seen in db.execute("SELECT * FROM agent"):
            self._agents[site, agent] = AgentInfo(
                site,
                agent,
                status=None if status is None else read_status(status),
                status_ms=status_t,
                caps=None if caps is None else msgspec.json.decode(caps),
                last_seen_ms=last_seen,
            )
        for site, dev, agent, meta, state, first, last in db.execute("SELECT * FROM device"):
            self._devices[site, dev] = DeviceInfo(
                site,
                dev,
                agent,
                meta=None if meta is None else read_meta(meta),
                state=None if state is None else read_state(state),
                first_seen_ms=first,
                last_seen_ms=last,
            )

    async def close(self) -> None:
        await self.flush()
        if self._db is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
            self._db = None
        self._thread.shutdown(wait=True)

    async def flush(self) -> None:
        """Everything taken so far is in the file. Raises StoreUnavailable; nothing is forgotten, the next flush tries again."""
        for key in self._seen:
            device = self._devices[key]
            self._pending.add(
                "INSERT INTO device(site, dev, agent, first_seen, last_seen) VALUES (?,?,?,?,?) ON CONFLICT(site, dev) "
                "DO UPDATE SET last_seen=excluded.last_seen, first_seen=excluded.first_seen, agent=excluded.agent",
                device.site,
                device.id,
                device.agent,
                device.first_seen_ms,
                device.last_seen_ms,
            )
        self._seen.clear()
        if self._pending.statements:
            statements, self._pending.statements = self._pending.statements, []
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._write, statements)
            except sqlite3.Error as error:
                self._pending.statements[:0] = statements
                raise as_store_error(error, self._path) from error

    def _write(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        assert self._db is not None
        with self._db:
            self._db.execute("BEGIN")
            for sql, values in statements:
                self._db.execute(sql, values)

    # --- what ingest tells --------------------------------------------------------------------------------------------

    def take(self, topic: Parsed, payload: bytes) -> str | None:
        """Takes a retained document in. Returns why it was refused, None when it was taken or is none of ours.

        Raises nothing: a document that does not parse is a reason.
        """
        try:
            match topic.rest:
                case ("status",):
                    return self._take_status(topic, payload)
                case ("caps",):
                    return self._take_caps(topic, payload)
                case ("site",):
                    return self._take_site(topic, payload)
                case ("dev", dev, "meta") if is_id(dev):
                    return self._take_meta(topic, dev, payload)
                case ("dev", dev, "state") if is_id(dev):
                    return self._take_state(topic, dev, payload)
                case ("dev", dev, "last") if is_id(dev):
                    return self._foreign(topic, dev) or self.current.take_last(topic.site, dev, payload)
                case ("alarm", dev, alarm) if is_id(dev):
                    return self._foreign(topic, dev) or self.current.take_alarm(topic.site, dev, alarm, payload)
                case ("config", "reported"):
                    return self.current.take_reported(topic.site, topic.agent, payload)
        except msgspec.ValidationError:
            return "schema"
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return "json"
        return None

    def _foreign(self, topic: Parsed, dev: str) -> str | None:
        """The reason to refuse a document of a device that is another agent's."""
        device = self._devices.get((topic.site, dev))
        return None if device is None or self.may_take(device, topic.agent) else "dev_conflict"

    def _agent(self, site: str, agent: str) -> AgentInfo:
        info = self._agents.get((site, agent))
        if info is None:
            info = self._agents[site, agent] = AgentInfo(site, agent)
            self._pending.add("INSERT OR IGNORE INTO agent(site, agent) VALUES (?,?)", site, agent)
        return info

    def _take_status(self, topic: Parsed, payload: bytes) -> str | None:
        if not payload:
            return None
        status = read_status(payload)
        agent = self._agent(topic.site, topic.agent)
        old = agent.status
        if status.state == "lost" and old is not None and old.epoch == status.epoch and status.sid < old.sid:
            return None  # the will of a session that a later one has already replaced
        agent.status, agent.status_ms = status, status.t if status.t is not None else self._wall_ms()
        self._pending.add(
            "UPDATE agent SET status=?, status_t=?, last_seen=? WHERE site=? AND agent=?",
            payload,
            agent.status_ms,
            agent.last_seen_ms,
            topic.site,
            topic.agent,
        )
        return None

    def _take_caps(self, topic: Parsed, payload: bytes) -> str | None:
        if payload:
            caps = msgspec.json.decode(payload)
            if not isinstance(caps, dict):
                return "schema"
            self._agent(topic.site, topic.agent).caps = caps
            self._pending.add("UPDATE agent SET caps=? WHERE site=? AND agent=?", payload, topic.site, topic.agent)
        return None

    def _take_site(self, topic: Parsed, payload: bytes) -> str | None:
        if payload:
            site = _site.decode(payload)
            try:
                rollup.zone(site.tz)
            except ConfigError:
                return "tz"
            self._agent(topic.site, topic.agent)
            self._sites[topic.site] = site
            self._pending.add("INSERT OR REPLACE INTO site VALUES (?,?,?)", topic.site, payload, self._wall_ms())
        return None

    def _take_meta(self, topic: Parsed, dev: str, payload: bytes) -> str | None:
        key = (topic.site, dev)
        device = self._devices.get(key)
        if not payload:
            if device is not None and device.agent == topic.agent:
                del self._devices[key]
                self.current.forget(*key)
                self._seen.discard(key)
                self._pending.add("DELETE FROM device WHERE site=? AND dev=?", *key)
            return None
        meta = read_meta(payload)
        if device is None:
            device = self._add_device(topic.site, dev, topic.agent)
        elif device.agent != topic.agent:
            if device.meta is not None and not self.may_take(device, topic.agent):
                return "dev_conflict"
            device.agent = topic.agent
        if device.meta is None or device.meta.rev != meta.rev:
            self._pending.add(
                "INSERT OR IGNORE INTO revision VALUES (?,?,?,?,?)", *key, meta.rev, self._wall_ms(), payload
            )
        device.meta = meta
        self._seen.add(key)
        self._pending.add("UPDATE device SET agent=?, meta=? WHERE site=? AND dev=?", topic.agent, payload, *key)
        return None

    def _take_state(self, topic: Parsed, dev: str, payload: bytes) -> str | None:
        key = (topic.site, dev)
        device = self._devices.get(key)
        if not payload:
            return None
        state = read_state(payload)
        if device is None:
            device = self._add_device(topic.site, dev, topic.agent)
        elif not self.may_take(device, topic.agent):
            return "dev_conflict"
        if device.state is None or (device.state.state, device.state.since) != (state.state, state.since):
            self._pending.add(
                "INSERT OR REPLACE INTO state_change VALUES (?,?,?,?,?,?)",
                *key,
                state.since,
                state.state,
                state.sc,
                state.note,
            )
        device.state = state
        self._pending.add("UPDATE device SET state=? WHERE site=? AND dev=?", payload, *key)
        return None

    def _add_device(self, site: str, dev: str, agent: str) -> DeviceInfo:
        self._agent(site, agent)
        device = self._devices[site, dev] = DeviceInfo(site, dev, agent, first_seen_ms=self._wall_ms())
        self._pending.add(
            "INSERT OR IGNORE INTO device(site, dev, agent, first_seen) VALUES (?,?,?,?)",
            site,
            dev,
            agent,
            device.first_seen_ms,
        )
        return device

    def saw(self, site: str, agent: str, dev: str, t_ms: int) -> bool:
        """A message of the device came. False when its id belongs to another agent of the site (`dev_conflict`)."""
        device = self._devices.get((site, dev))
        if device is None:
            device = self._add_device(site, dev, agent)
        elif device.agent != agent:
            if not self.may_take(device, agent):
                return False
            device.agent = agent
        if device.last_seen_ms is None or t_ms > device.last_seen_ms:
            device.last_seen_ms = t_ms
        self._seen.add((site, dev))
        return True

    def may_take(self, device: DeviceInfo, agent: str) -> bool:
        """True for the owner of the device's id, and for everybody once the owner is registered no more (a box was replaced)."""
        return device.agent == agent or not self.is_registered(device.site, device.agent)

    def saw_agent(self, site: str, agent: str) -> None:
        """A message of the agent came now."""
        self._agent(site, agent).last_seen_ms = self._wall_ms()

    def count_refused(self, site: str, agent: str) -> None:
        """A message came from an agent that is not registered."""
        self._agent(site, agent).refused += 1

    # --- who may ------------------------------------------------------------------------------------------------------

    def is_registered(self, site: str, agent: str) -> bool:
        return self._listed is None or (site, agent) in self._listed or (site, agent) in self._by_api

    async def register(self, site: str, agent: str) -> None:
        """From now on messages of this agent are acknowledged."""
        self._agent(site, agent)
        self._by_api.add((site, agent))
        self._pending.add("INSERT OR IGNORE INTO registration VALUES (?,?,?)", site, agent, self._wall_ms())
        await self.flush()

    # --- what the API asks --------------------------------------------------------------------------------------------

    def sites(self) -> dict[str, Site | None]:
        """Every site that was heard of; None until it announced itself."""
        known: dict[str, Site | None] = {site: None for site, _ in sorted(self._agents)}
        return known | self._sites

    def zone(self, site: str) -> str:
        """The site's time zone; UTC until it announced itself."""
        known = self._sites.get(site)
        return "UTC" if known is None else known.tz

    def agents(self, site: str | None = None) -> list[AgentInfo]:
        found = [self._agents[key] for key in sorted(self._agents) if site is None or key[0] == site]
        for agent in found:
            agent.registered = self.is_registered(agent.site, agent.id)
        return found

    def agent(self, site: str, agent: str) -> AgentInfo | None:
        return self._agents.get((site, agent))

    def devices(self, site: str | None = None) -> list[DeviceInfo]:
        return [self._devices[key] for key in sorted(self._devices) if site is None or key[0] == site]

    def device(self, site: str, dev: str) -> DeviceInfo | None:
        return self._devices.get((site, dev))

    async def revisions(self, site: str, dev: str) -> list[Revision]:
        """Every revision of the device's meta, oldest first."""
        rows = await self._ask("SELECT rev, t, meta FROM revision WHERE site=? AND dev=? ORDER BY t", site, dev)
        return [Revision(rev, t, read_meta(meta)) for rev, t, meta in rows]

    async def state_changes(self, site: str, dev: str, t0_ms: int, t1_ms: int) -> list[StateChange]:
        """Changes in the range and the one before it, oldest first."""
        rows = await self._ask(
            "SELECT t, state, sc, note FROM state_change WHERE site=? AND dev=? AND t<? AND t>=coalesce((SELECT max(t) FROM "
            "state_change WHERE site=? AND dev=? AND t<=?), 0) ORDER BY t",
            *(site, dev, t1_ms, site, dev, t0_ms),
        )
        return [StateChange(*row) for row in rows]

    async def _ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        await self.flush()

        def ask() -> list[tuple[Any, ...]]:
            assert self._db is not None
            return self._db.execute(sql, values).fetchall()

        return await asyncio.get_running_loop().run_in_executor(self._thread, ask)
