"""What is to be done on an open link between reads: commands, then people's one-off reads, and what can wait for idle time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from device_profiles.errors import PlantroomError
from drivers.base import Address, Session

_Result = TypeVar("_Result")
Job = Callable[[Session, Address], Awaitable[_Result]]
"""Something to do on the open link: a command, or a person's one-off read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One job; `answer` is done with its result or its error, or by an asker who does not wait any longer."""

    job: Job[Any]
    address: Address
    answer: asyncio.Future[Any]

    async def serve(self, session: Session) -> PlantroomError | None:
        """Does the job; its error is its asker's, and given too. A bug leaves as it is."""
        try:
            result = await self.job(session, self.address)
        except PlantroomError as error:
            if not self.answer.done():
                self.answer.set_exception(error)
            return error
        if not self.answer.done():
            self.answer.set_result(result)
        return None


class AskQueue:
    """Bounded by its askers: each waits for its answer."""

    def __init__(self) -> None:
        self.commands: deque[Asked] = deque()
        self.diagnostics: deque[Asked] = deque()
        self.idle: deque[Asked] = deque()
        """What waits until nothing else is due."""

    def add(
        self, job: Job[_Result], address: Address, *, is_command: bool = False, is_idle: bool = False
    ) -> asyncio.Future[_Result]:
        """Puts a job at the end of its queue."""
        answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        queue = self.commands if is_command else self.idle if is_idle else self.diagnostics
        queue.append(Asked(job, address, answer))
        return answer

    def pop(self, fits: Callable[[Address], bool], *, only_commands: bool = False) -> Asked | None:
        """The oldest job that somebody still waits for and that `fits`, commands first."""
        queues = (self.commands,) if only_commands else (self.commands, self.diagnostics)
        return self._pop(queues, fits)

    def pop_idle(self, fits: Callable[[Address], bool]) -> Asked | None:
        """The oldest job of those for which there is time now."""
        return self._pop((self.idle,), fits)

    @staticmethod
    def _pop(queues: Iterable[deque[Asked]], fits: Callable[[Address], bool]) -> Asked | None:
        for queue in queues:
            for asked in tuple(queue):
                if asked.answer.done():
                    queue.remove(asked)
                elif fits(asked.address):
                    queue.remove(asked)
                    return asked
        return None

    def fail(self, error: Callable[[], PlantroomError]) -> None:
        """All that wait get an error of their own."""
        for asked in (*self.commands, *self.diagnostics, *self.idle):
            if not asked.answer.done():
                asked.answer.set_exception(error())
        self.commands.clear()
        self.diagnostics.clear()
        self.idle.clear()
