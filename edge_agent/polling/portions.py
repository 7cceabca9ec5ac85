"""What a driver reads from a device's memory, a portion at a time: each is a turn of its own on the device's lane."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from edge_agent.polling.polled import Polled

Ask = Callable[["Polled", Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Runs a step on the lane of a device, when its turn comes, and gives its result."""

_Portion = TypeVar("_Portion")


async def in_turns(ask: Ask, polled: Polled, portions: AsyncIterator[_Portion]) -> AsyncGenerator[_Portion, None]:
    """The portions one by one; close it (`aclosing`) where it is not read to the end."""
    try:
        while (portion := await ask(polled, lambda: anext(portions, None))) is not None:
            yield portion
    finally:
        # One that a worker is in ends with that worker: whoever cancels us cancels it, too.
        if isinstance(portions, AsyncGeneratorType) and not portions.ag_running:
            await portions.aclose()
