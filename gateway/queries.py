"""What each path of the HTTP API answers, asked of `Services`. `routes` has the table of all paths. No HTTP in here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import structlog

from device_profiles.vocabulary import vocabulary
from gateway import answers
from gateway.contract.messages import PointMeta
from gateway.gaps import gaps_of
from gateway.inventory import AgentInfo, DeviceInfo
from gateway.openapi import BadRequest
from gateway.services import Services
from gateway.stores.base import Bucket, LedgerRow, Step

_MOST_BUCKETS = 20_000
_MOST_SAMPLES = 100_000
_MOST_DAYS = 366 * 6
_STALE_SLOTS = 3

Query = Mapping[str, Any]
_log = structlog.get_logger("api")


class Absent(Exception):
    """What was asked for is not known: answered with 404."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _agent(services: Services, info: AgentInfo) -> answers.Agent:
    status = info.status
    config = services.inventory.current.reported(info.site, info.id)
    spool = status.spool if status else None
    return answers.Agent(
        site=info.site,
        id=info.id,
        state=status.state if status else "unknown",
        registered=info.registered,
        last_seen=info.last_seen_ms,
        since=info.status_ms,
        version=status.sw if status else None,
        spool_msgs=spool.msgs if spool else None,
        spool_oldest=spool.oldest if spool else None,
        refused=info.refused,
        config=answers.Configuration(
            applied=config.applied, seen=config.seen, state=config.st, t=config.t, errors=config.errors
        )
        if config
        else None,
    )


def _state_of(services: Services, device: DeviceInfo) -> str:
    agent = services.inventory.agent(device.site, device.agent)
    if device.state is not None and device.state.state == "disabled":
        return "disabled"
    if agent is not None and agent.status is not None and agent.status.state in ("lost", "offline"):
        return "lost"
    return device.state.state if device.state else "unknown"


async def agents(services: Services, query: Query) -> list[answers.Agent]:
    return [
        _agent(services, info) for info in services.inventory.agents(query["site"]) if query["agent"] in (None, info.id)
    ]


async def register(services: Services, query: Query) -> answers.Agent:
    """Registering twice is no error: the answer says what is known of the agent."""
    site, agent = query["site"], query["agent"]
    await services.inventory.register(site, agent)
    _log.info("agent registered", site=site, agent=agent)
    return next(_agent(services, info) for info in services.inventory.agents(site) if info.id == agent)


async def sites(services: Services, query: Query) -> list[answers.SiteAnswer]:
    listed = []
    for site_id, site in sorted(services.inventory.sites().items()):
        states: dict[str, int] = {}
        for device in services.inventory.devices(site_id):
            if device.meta is not None:
                state = _state_of(services, device)
                states[state] = states.get(state, 0) + 1
        listed.append(
            answers.SiteAnswer(
                id=site_id,
                name=site.name if site else site_id,
                tz=services.inventory.zone(site_id),
                building=site.building if site else None,
                agents=[_agent(services, agent) for agent in services.inventory.agents(site_id)],
                devices=states,
            )
        )
    return listed


def _device(services: Services, device: DeviceInfo) -> answers.Device:
    meta, state = device.meta, device.state
    return answers.Device(
        site=device.site,
        id=device.id,
        agent=device.agent,
        name=meta.name if meta else device.id,
        cls=meta.cls if meta else "",
        system=meta.system if meta else "",
        space=meta.space if meta else None,
        parent=meta.parent if meta else None,
        profile=meta.profile if meta else "",
        proto=meta.proto if meta else "",
        addr=meta.addr if meta else "",
        codes=meta.codes if meta else {},
        points=len(device.points),
        state=_state_of(services, device),
        sc=state.sc if state else None,
        since=state.since if state else None,
        last_ok=state.last_ok if state else None,
        last_seen=device.last_seen_ms,
        rtt_ms=state.rtt_ms if state else None,
        ok=state.ok if state else 0,
        err=state.err if state else 0,
        note=state.note if state else None,
        alarms=len(services.inventory.current.alarms(device.site, device.id)),
    )


def _chosen(services: Services, query: Query) -> list[DeviceInfo]:
    devices = services.inventory.devices(query["site"])
    if query["device"] is not None:
        devices = [device for device in devices if device.id == query["device"]]
    return sorted(
        (device for device in devices if device.meta is not None), key=lambda device: (device.site, device.id)
    )


def _the_device(services: Services, query: Query) -> DeviceInfo:
    device = services.inventory.device(query["site"], query["device"])
    if device is None:
        raise Absent(f"no device {query['device']!r} in site {query['site']!r}; see /api/v1/devices")
    return device


async def devices(services: Services, query: Query) -> list[answers.Device]:
    return [_device(services, device) for device in _chosen(services, query)]


async def points(services: Services, query: Query) -> list[answers.PointAnswer]:
    return [
        answers.PointAnswer(site=device.site, device=device.id, id=point, meta=meta)
        for device in _chosen(services, query)
        for point, meta in device.points.items()
    ]


async def latest(services: Services, query: Query) -> list[answers.LatestAnswer]:
    found = await services.store.latest(query["site"], query["device"])
    now = wall_ms()
    listed = []
    for latest in found:
        device = services.inventory.device(latest.site, latest.dev)
        meta = device.points.get(latest.pt) if device else None
        number = latest.value if isinstance(latest.value, int | float) else None
        slot_s = ((meta.align_s or meta.hb_s) if meta else None) or 0
        gone = device is None or _state_of(services, device) in ("down", "disabled", "lost")
        old = bool(slot_s) and now - latest.t_ms > slot_s * 1000 * _STALE_SLOTS
        listed.append(
            answers.LatestAnswer(
                site=latest.site,
                device=latest.dev,
                point=latest.pt,
                t=latest.t_ms,
                value=latest.value,
                unit=meta.unit if meta else None,
                label=_label(meta, latest.pt, number),
                q=latest.q,
                sc=latest.sc,
                stale=gone or old,
            )
        )
    return listed


def _label(meta: PointMeta | None, point: str, number: float | None) -> str | None:
    """The word for an ordinal, and yes or no for a boolean: by its type, or by the vocabulary for a bit of a register."""
    if meta is None or number is None:
        return None
    if meta.labels:
        return meta.labels.get(str(int(number)))
    known = vocabulary().point(point)
    is_boolean = meta.type == "bool" or (known is not None and known.type == "bool" and number in (0, 1))
    return ("yes" if number else "no") if is_boolean else None


def _range(query: Query) -> tuple[int, int]:
    t0, t1 = query["from"], query["to"]
    if t0 >= t1:
        raise BadRequest("`from` is not before `to`", where="range", next_step="swap them")
    if t1 - t0 > _MOST_DAYS * 86_400_000:
        raise BadRequest(
            f"the range is longer than {_MOST_DAYS} days", where="range", next_step="ask for less at a time"
        )
    return t0, t1


def _picked(bucket: Bucket, aggregate: str) -> answers.Value:
    if aggregate == "count":
        return bucket.n
    value: answers.Value = getattr(bucket, aggregate)
    return value


async def history(services: Services, query: Query) -> answers.History:
    t0, t1 = _range(query)
    device = _the_device(services, query)
    names: tuple[str, ...] = query["points"]
    unknown = [name for name in names if name not in device.points]
    if unknown:
        raise Absent(
            f"device {device.id!r} has no point {unknown[0]!r}; see /api/v1/points?site={device.site}&device={device.id}"
        )
    zone = services.inventory.zone(device.site)
    width, aggregate = query["step"], query["aggregate"]
    series: dict[str, list[tuple[int, answers.Value]]]
    if width is None:
        found = await services.store.samples(
            device.site, device.id, names, t0, t1, limit=query["limit"] or _MOST_SAMPLES
        )
        series = {name: list(samples) for name, samples in found.items()}
    else:
        step = Step(width[0], width[1], zone)
        seconds = width[0] * {"second": 1, "day": 86_400, "month": 28 * 86_400}[width[1]]
        if (t1 - t0) / 1000 / seconds > _MOST_BUCKETS:
            raise BadRequest(
                f"more than {_MOST_BUCKETS} buckets", where="step", next_step="take a wider step or a shorter range"
            )
        buckets = await services.store.buckets(device.site, device.id, names, t0, t1, step)
        series = {
            name: [(bucket.t_ms, _picked(bucket, aggregate)) for bucket in found] for name, found in buckets.items()
        }
    states = await services.inventory.state_changes(device.site, device.id, t0, t1)
    quality = await services.store.quality(device.site, device.id, t0, t1)
    points = {}
    for name in names:
        meta = device.points[name]
        slot_s = meta.align_s or meta.hb_s
        if width is not None and width[1] == "second":
            slot_s = max(slot_s or 0, width[0])
        times = [t for t, value in series[name] if value is not None]
        rows = [row for row in quality if row.pt == name]
        gaps = (
            gaps_of(times, rows, states, slot_s=slot_s, t0_ms=t0, t1_ms=min(t1, wall_ms()))
            if width is None or width[1] == "second"
            else []
        )
        points[name] = answers.Series(unit=meta.unit, samples=series[name], gaps=gaps)
    text = None if width is None else f"{width[0]}{ {'second': 's', 'day': 'd', 'month': 'month'}[width[1]] }"
    return answers.History(
        site=device.site,
        device=device.id,
        from_=t0,
        to=t1,
        step=text,
        aggregate=aggregate if width else None,
        tz=zone,
        points=points,
    )


async def events(services: Services, query: Query) -> list[answers.EventAnswer]:
    t0, t1 = _range(query)
    rows = await services.store.events(
        t0, t1, site=query["site"], device=query["device"], types=query["types"] or (), limit=query["limit"]
    )
    return [
        answers.EventAnswer(site=row.site, device=row.dev, type=row.type, t=row.t_ms, id=row.id, data=row.data)
        for row in rows
    ]


async def alarms(services: Services, query: Query) -> list[answers.AlarmAnswer]:
    return [
        answers.AlarmAnswer(
            site=device.site,
            device=device.id,
            id=alarm.id,
            sev=alarm.sev,
            state=alarm.st,
            since=alarm.since,
            n=alarm.n,
            val=alarm.val,
            lim=alarm.lim,
        )
        for device in _chosen(services, query)
        for alarm in services.inventory.current.alarms(device.site, device.id)
    ]


async def last(services: Services, query: Query) -> list[answers.LastAnswer]:
    said = [(device, services.inventory.current.last(device.site, device.id)) for device in _chosen(services, query)]
    return [
        answers.LastAnswer(site=device.site, device=device.id, t=last.t, values=last.s, flags=last.x)
        for device, last in said
        if last is not None
    ]


async def completeness(services: Services, query: Query) -> list[answers.CompletenessAnswer]:
    t0, t1 = _range(query)
    if t1 - t0 > 92 * 86_400_000:
        raise BadRequest("the range is longer than 92 days", where="range", next_step="ask for less at a time")
    listed = []
    for device in _chosen(services, query):
        found = await services.completeness.device(device.site, device.id, t0, t1)
        if found is None:
            continue
        listed.append(
            answers.CompletenessAnswer(
                site=device.site,
                device=device.id,
                from_=t0,
                to=t1,
                slots=found.slots,
                filled=found.filled,
                explained=found.explained,
                missing=found.missing,
                share=(found.filled + found.explained) / found.slots if found.slots else None,
                points=[
                    answers.Slots(
                        point=point.pt,
                        slot_s=point.slot_s,
                        slots=point.slots,
                        filled=point.filled,
                        explained=point.explained,
                        missing=point.missing,
                        missing_ranges=list(point.missing_slots),
                    )
                    for point in found.points
                ],
            )
        )
    return listed


async def ledger(services: Services, query: Query) -> list[answers.LedgerAnswer]:
    ids = [query["agent"]] if query["agent"] else sorted({agent.id for agent in services.inventory.agents(None)})
    listed = []
    for agent in ids:
        epochs: dict[str, list[LedgerRow]] = {}
        for row in await services.store.ledger(agent, t0_ms=query["from"]):
            epochs.setdefault(row.epoch, []).append(row)
        listed += [_epoch(agent, epoch, rows) for epoch, rows in epochs.items()]
    return listed


def _epoch(agent: str, epoch: str, rows: list[LedgerRow]) -> answers.LedgerAnswer:
    missing: list[tuple[int, int]] = []
    stored = last = 0
    for row in sorted(rows, key=lambda row: row.a):
        if row.a > last + 1:
            missing.append((last + 1, row.a - 1))
        stored += max(0, row.b - max(row.a - 1, last))
        last = max(last, row.b)
    return answers.LedgerAnswer(
        agent=agent,
        epoch=epoch,
        first=min(row.a for row in rows),
        last=last,
        messages=stored,
        missing=missing,
        since=min(row.t_ms for row in rows),
        until=max(row.t_ms for row in rows),
    )
