"""Operations that a profile describes (`device.call`, `gate.open` ...): inputs, rate and interlocks checked, carried out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from device_profiles.control import Operation
from device_profiles.errors import CommandRefused, ConfigError, DeviceError, DeviceRefused, LinkError
from device_profiles.reading import Raw
from drivers.base import CanOperate, Session
from edge_agent.commands import limits
from edge_agent.commands.act import Target
from edge_agent.commands.book import Record
from edge_agent.commands.desk import Desk
from edge_agent.commands.interlocks import Held, check_interlocks
from edge_agent.commands.operations import DeviceCall, arguments
from edge_agent.commands.points import Job, Rates
from edge_agent.model import Device

State = Literal["succeeded", "failed", "unknown", "expired"]


class Calls:
    """The operations of devices."""

    def __init__(self, desk: Desk, rates: Rates) -> None:
        self._desk = desk
        self._rates = rates

    async def call(self, job: Job) -> Record:
        """Does it once. What is not known afterwards stays `unknown`: there is nothing to read back, and no second try."""
        desk = self._desk
        device = desk.device(job.command.dev)
        known = [each for each in device.profile.operations if each.op == job.command.op]
        if not known:
            raise CommandRefused(
                f"its profile describes no {job.command.op}",
                code="unsupported",
                where=device.id,
                next_step="see its profile",
            )
        wanted = arguments(DeviceCall, job.command.args)
        operation = _chosen(device, known, wanted.call)
        target = desk.target(device, operation.id)
        inputs = limits.arguments(operation.inputs, wanted.inputs, where=target.where)
        with desk.turn(target.where):
            self._rates.check(target.where, operation.per_hour, 0.0)
            held = await desk.before(job.until, check_interlocks(target, operation.interlocks))
            facts: dict[str, Any] = {"call": operation.id, "inputs": shown_inputs(inputs)}
            if job.command.dry:
                return await desk.finish(job.record, "succeeded", res={"dry": True, **facts, **locks(held)})
            record = desk.said(job.record, "running", plan=facts)
            entry = {"what": "call", "id": record.id, "dev": device.id, "by": record.by, **facts}
            await desk.step(record, deed=self._rates.count(target.where), entry=entry)
            ended = await carry_out(target, operation, inputs, until=job.until)
            return await desk.finish(record, ended.st, res=ended.res, error=ended.error)


@dataclass(frozen=True, slots=True)
class Ended:
    """How an operation ended: a state of CONTRACT.md section 6, and what the device answered or why it was not done."""

    st: State
    res: dict[str, Any] | None = None
    error: CommandRefused | None = None


async def carry_out(target: Target, operation: Operation, inputs: Mapping[str, Raw], *, until: float) -> Ended:
    """Sends it once, if it is before `until` (monotonic). What was out and is not answered is `unknown`, and never sent again."""
    is_out = False

    async def work(session: Session) -> Mapping[str, Raw]:
        nonlocal is_out
        if not isinstance(session, CanOperate):
            raise CommandRefused("its driver carries out no operations", code="unsupported", where=target.where)
        if target.clock.monotonic() >= until:
            raise CommandRefused("its time was over before it went out", code="expired", where=target.where)
        is_out = True
        return await session.operate(target.address, operation, inputs, target.layout)

    try:
        return Ended("succeeded", res=dict(await target.ask(work)))
    except CommandRefused as error:
        return Ended("expired" if error.code == "expired" else "failed", error=error)
    except DeviceRefused as error:
        refused = CommandRefused(f"the device refused: {error.what}", code="blocked", where=target.where)
        return Ended("failed", error=refused)
    except ConfigError as error:
        refused = CommandRefused(error.what, code="unsupported", where=target.where, next_step=error.next_step)
        return Ended("failed", error=refused)
    except (DeviceError, LinkError) as error:
        st: State = "unknown" if is_out else "failed"
        code = "timeout" if is_out else "device_down"
        lost = CommandRefused(error.what, code=code, where=target.where, next_step="look before you send it again")
        return Ended(st, error=lost)


def _chosen(device: Device, known: Sequence[Operation], name: str | None) -> Operation:
    found = [each for each in known if name in (None, each.id)]
    if len(found) == 1:
        return found[0]
    raise CommandRefused(
        f"{len(found)} operations of its profile fit",
        code="out_of_range",
        where=device.id,
        next_step=f"name one with call: {', '.join(each.id for each in known)}",
    )


def locks(held: Sequence[Held]) -> dict[str, Any]:
    """Interlocks as they were found, for an answer."""
    found = [
        {"p": each.interlock.point, "val": each.value, "age_s": round(each.age_s, 1), "ok": each.holds} for each in held
    ]
    return {"interlocks": found} if found else {}


def shown_inputs(inputs: Mapping[str, Raw]) -> dict[str, Any]:
    """Inputs for journal and audit: a text may be a secret, so only that it was given is said."""
    return {name: "..." if isinstance(value, str) else value for name, value in inputs.items()}
