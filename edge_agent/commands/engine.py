"""The command path: hears commands, lets through what may pass, carries each out at most once, and answers.

A command is in the journal before anything is done for it; its id is remembered for a day, so that a repeat gets the stored
answer. What a crash cut off is never done again: it is settled by reading (`recovery`). Source: CONTRACT.md section 6.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import pwd
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from device_profiles.errors import CommandRefused, PlantroomError, StoreUnavailable
from edge_agent.clock import Clock
from edge_agent.commands import envelope, outbox
from edge_agent.commands.book import Record, Step
from edge_agent.commands.calls import Calls
from edge_agent.commands.desk import Desk, Plant
from edge_agent.commands.envelope import Me, Request
from edge_agent.commands.holds import Event, Holds, Retain
from edge_agent.commands.journal import Journal
from edge_agent.commands.operations import OF_AGENT, OF_DEVICES, arguments
from edge_agent.commands.outbox import Outbox
from edge_agent.commands.points import Job, Points, Rates
from edge_agent.commands.policy import Policy
from edge_agent.commands.recovery import Recovery
from gateway.contract.messages import Command
from gateway.mqtt import Incoming

MAX_OPEN = 64
"""Commands under way at a time; more are refused as `busy`."""
LOCAL_WAIT_S = 75.0
"""How long somebody at the box waits for a result; then he gets what there is, and may ask again by the id."""
_STOP_S = 3.0
_HOUSEKEEPING_S = 3600.0
_OPEN_AGAIN_S = 30.0
_log = structlog.get_logger("commands")


class Line(outbox.Line, Protocol):
    """The part of the uplink that is needed here."""

    def hear(self, rest: str, handler: Callable[[Incoming], None]) -> None: ...


class Engine:
    """One an agent. `folder` holds the journal and the audit log, which `thread` (None: one of their own) writes."""

    def __init__(
        self,
        *,
        folder: Path,
        me: Me,
        policy: Policy,
        line: Line,
        plant: Plant,
        clock: Clock,
        event: Event,
        retain: Retain,
        thread: Executor | None = None,
    ) -> None:
        self._me = me
        self._policy = policy
        self._line = line
        self._clock = clock
        self.journal = Journal(folder, me.name, wall_ms=clock.wall_ms, thread=thread)
        self._outbox = Outbox(self.journal, line, clock)
        self._desk = Desk(self.journal, self._outbox, plant, clock)
        self.holds = Holds(self._desk, event=event, retain=retain)
        self._rates = Rates(self._desk)
        self._recovery = Recovery(self._desk, self.holds, self._rates)
        points, calls = Points(self._desk, self.holds, self._rates), Calls(self._desk, self._rates)
        self._handlers: dict[str, Callable[[Job], Coroutine[Any, Any, Record]]] = {
            **dict.fromkeys(OF_DEVICES, calls.call),
            "point.write": points.write,
            "point.release": points.release,
            "point.read": points.read,
            **dict.fromkeys(OF_AGENT, self._of_agent),
        }
        self._ready = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closing = False
        self.count: dict[str, int] = dict.fromkeys(("refused", "repeated", "overflow", "crashed"), 0)
        line.hear("cmd/+", self._hear)

    async def run(self) -> None:
        """Until cancelled."""
        while not self._ready.is_set():
            try:
                kept = await self.journal.open()
            except StoreUnavailable as error:
                _log.error("no command is carried out", reason=str(error))
                await self._clock.sleep(_OPEN_AGAIN_S)
                continue
            await self._recovery.begin(kept)
            self._outbox.wake()
            self._ready.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._outbox.run(), name="answers to commands")
            group.create_task(self._recovery.run(), name="commands cut off")
            group.create_task(self._keep_house(), name="journal of commands")

    async def close(self) -> None:
        """Takes no more commands, ends those under way, gives back what is held, as far as 3 s each allow."""
        self._is_closing = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_STOP_S)
        if late := set(self._tasks):  # what they were about to know is in the journal
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=_STOP_S)
        await self.holds.close(_STOP_S)

    def figures(self) -> dict[str, Any]:
        """For metrics and people; JSON-ready."""
        number, head = self.journal.audit_head
        return {
            **self.count,
            **self._desk.count,
            **self._outbox.count,
            "open": len(self._tasks),
            "holds": len(self.holds),
            "audit": {"n": number, "head": head},
        }

    # From the centre.

    def _hear(self, message: Incoming) -> None:
        if len(self._tasks) >= MAX_OPEN or self._is_closing:
            self.count["overflow"] += 1
            error = CommandRefused(f"{len(self._tasks)} commands are under way", code="busy", next_step="try again")
            self._say_at_once(message, error)
            return
        self._start(self._take(message), "command")

    def _start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            # What it was in the middle of is in the journal, and settled after the next start like after a crash.
            self.count["crashed"] += 1
            _log.error("a command crashed", exc_info=bug)

    async def _take(self, message: Incoming) -> None:
        request: Request | None = None
        began = self._clock.monotonic()
        try:
            await self._ready.wait()
            now_ms = self._clock.wall_ms()
            request = envelope.read(message, self._me, now_ms)
            envelope.check(request, message, self._me, now_ms, self._clock.quality())
            if (known := await self.journal.find(request.command.id)) is not None:
                await self._repeat(known, request)
                return
            envelope.check_signature(request, self._policy)
            self._check_known(request.command)
            record = await self._admit(request)
        except CommandRefused as error:
            await self._refuse(message, request, error)
        except StoreUnavailable as error:
            self._say_at_once(message, CommandRefused(str(error), code="blocked"))
        else:
            if record is not None:
                await self._carry_out(record, request.command, self._until(request, began, now_ms))

    def _until(self, request: Request, began: float, now_ms: int) -> float:
        until = began + self._policy.timeout_s
        return until if request.exp_ms is None else min(until, began + (request.exp_ms - now_ms) / 1000)

    def _check_known(self, command: Command) -> None:
        if (command.t or 0) <= self.journal.blind_until_ms and self.journal.blind_until_ms:
            raise CommandRefused(
                "the journal of this agent was lost after it was sent: nobody knows whether it was carried out",
                code="precondition",
                where="command",
                next_step="send it anew under another id",
            )
        if command.op not in self._handlers:
            raise CommandRefused(
                f"this agent carries out no {command.op[:64]!r}",
                code="unsupported",
                where="command",
                next_step="see ops in its caps",
            )

    async def _admit(self, request: Request) -> Record | None:
        """The command with its first answer in the journal; None for one that another task was faster to enter."""
        command = request.command
        record = Record(
            id=command.id,
            digest=request.digest,
            until_ms=max(self._clock.wall_ms() + envelope.REMEMBERED_MS, request.exp_ms or 0),
            st="accepted",
            op=command.op,
            dev=command.dev,
            args=command.args,
            by=command.by,
            why=command.why,
            topic=request.topic,
            correlation=request.correlation,
        )
        record = self._desk.said(record, "accepted", n=0)
        await self.journal.audit({"what": "accepted", **envelope.facts(command)})
        known = await self.journal.admit(record, self._desk.answer(record))
        if known is not None:
            await self._repeat(known, request)
            return None
        self._outbox.wake()
        return record

    async def _repeat(self, known: Record, request: Request) -> None:
        """The same again gets the stored answer; something else under a known id is refused."""
        if known.digest != request.digest:
            raise CommandRefused(
                f"{known.id} is the id of another command", code="duplicate", where="command", next_step="use a new id"
            )
        self.count["repeated"] += 1
        again = msgspec.structs.replace(known, topic=request.topic, correlation=request.correlation)
        entry = {"what": "repeated", **envelope.facts(request.command), "st": known.st}
        await self.journal.take(Step(answer=self._desk.answer(again)), entry)
        self._outbox.wake()

    async def _refuse(self, message: Incoming, request: Request | None, error: CommandRefused) -> None:
        """Says no, and writes down why. Nothing is remembered of it: an id that was refused may still be used."""
        self.count["refused"] += 1
        said = envelope.facts(request.command) if request is not None else {"topic": message.topic[-100:]}
        _log.info("command refused", code=error.code, reason=error.what, **said)
        entry = {"what": "refused", **said, "code": error.code, "msg": error.what[:300]}
        answer = self._no(message, error)
        try:
            await self.journal.take(Step(answer=answer), entry)
            self._outbox.wake()
        except StoreUnavailable:
            self._say_at_once(message, error)

    def _no(self, message: Incoming, error: CommandRefused) -> Any:
        topic = envelope.answer_topic(message, self._me)
        if topic is None:
            return None
        refused = Record(
            id=message.topic.rpartition("/")[2], digest=b"", until_ms=0, st="", op="", topic=topic,
            correlation=message.correlation,
        )  # fmt: skip
        return self._desk.answer(
            self._desk.said(refused, "expired" if error.code == "expired" else "rejected", n=0, error=error)
        )

    def _say_at_once(self, message: Incoming, error: CommandRefused) -> None:
        """An answer that no journal keeps: there is none, or too much to do."""
        answer = self._no(message, error)
        if answer is not None:
            self._line.answer(
                answer.topic,
                answer.payload,
                expiry_s=outbox.EXPIRY_S,
                correlation=answer.correlation,
                on_ack=lambda _: None,
            )

    # Carrying out.

    async def _carry_out(self, record: Record, command: Command, until: float) -> Record:
        try:
            try:
                return await self._handlers[command.op](Job(record, command, until))
            except CommandRefused as error:
                refusal = error
            except TimeoutError:
                refusal = CommandRefused(
                    "it took too long; nothing was written", code="timeout", where=command.dev or ""
                )
            except StoreUnavailable:
                raise
            except PlantroomError as error:
                refusal = CommandRefused(error.what, code="device_down", where=error.where, next_step=error.next_step)
            st = "expired" if refusal.code == "expired" else "rejected"
            return await self._desk.finish(record, st, error=refusal)
        except StoreUnavailable as error:
            _log.error("the journal of commands fails", id=record.id, reason=str(error))
            lost = CommandRefused(str(error), code="blocked")
            return self._desk.said(record, "unknown", error=lost)

    async def _of_agent(self, job: Job) -> Record:
        arguments(OF_AGENT[job.command.op], job.command.args)
        if job.command.dry:
            return await self._desk.finish(job.record, "succeeded", res={"dry": True})
        done = await self._desk.finish(job.record, "succeeded")
        if job.command.op == "meta.republish":
            self._desk.plant.republish()
        else:
            self._desk.plant.restart()
        return done

    # From the box itself.

    async def local(self, request: Mapping[str, Any]) -> Any:
        """A command over the local socket, by whoever the kernel says is there; its last answer. Raises PlantroomError."""
        await self._ready.wait()
        if request.get("id") is not None:
            known = await self.journal.find(str(request["id"]))
            if known is None:
                raise CommandRefused(f"no command {str(request['id'])[:64]!r} is known", code="unsupported")
            return known.answer
        command = self._from(request)
        self._check_known(command)
        if len(self._tasks) >= MAX_OPEN or self._is_closing:
            raise CommandRefused(f"{len(self._tasks)} commands are under way", code="busy", next_step="try again")
        record = await self._admit(Request(command=command, digest=hashlib.sha256(command.id.encode()).digest()))
        assert record is not None, "the id was made a moment ago"
        until = self._clock.monotonic() + self._policy.timeout_s
        task = self._start(self._carry_out(record, command, until), f"command {command.id}")
        await asyncio.wait({task}, timeout=LOCAL_WAIT_S)
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result().answer
        return record.answer

    def operations(self, device_id: str) -> list[dict[str, Any]]:
        """What a device can be told to do, as its profile says; JSON-ready. Raises CommandRefused for no device of ours."""
        device = self._desk.plant.device(device_id)
        if device is None:
            raise CommandRefused(f"this agent has no device {device_id[:64]!r}", code="unsupported")
        return [each.model_dump(mode="json", exclude_none=True) for each in device.profile.operations]

    def _from(self, request: Mapping[str, Any]) -> Command:
        given = request.get("command")
        uid = int(request.get("peer", {}).get("uid", -1))
        fixed = {"v": 1, "id": _local_id(), "by": f"local:{_user(uid)}", "t": self._clock.wall_ms()}
        allowed = ("op", "dev", "args", "if", "why", "dry")
        try:
            if not isinstance(given, dict) or given.keys() - set(allowed):
                raise msgspec.ValidationError(f"command takes {', '.join(allowed)}")
            return msgspec.convert({**given, **fixed}, Command)
        except msgspec.ValidationError as error:
            raise CommandRefused(f"this is no command: {error}", code="precondition", where="local socket") from error

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(_HOUSEKEEPING_S)
            with suppress(StoreUnavailable):
                await self.journal.forget(self._clock.wall_ms())


def _local_id() -> str:
    return f"local-{base64.b32encode(os.urandom(10)).decode().lower()}"


def _user(uid: int) -> str:
    """The name of a user of this machine, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
