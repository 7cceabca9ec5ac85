"""Structured logs of every process: levels by what the operator must do, at most one line a second a key.

INFO a state changed, WARNING it recovered by itself, ERROR data lost or a person is needed, DEBUG a cycle. A bad peer cannot
flood the journal: lines of one key (event, and the device, link or topic they speak of) that come faster than one a second are
counted, and the next line that passes says how many were `suppressed`. Secrets never get here: facts are logged, not objects.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any

if "structlog" not in sys.modules and "rich" not in sys.modules:
    # structlog's developer renderer imports rich where it finds it: 7 MB and a quarter of a second that a service has no use for.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog

    del sys.modules["rich"]
else:
    import structlog

_KEYS = ("device", "link", "topic", "peer", "where")
_MOST_KEYS = 4096


class OnePerSecond:
    """A structlog processor that drops repeated lines of one key and says afterwards how many it dropped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[tuple[Any, ...], tuple[float, int]] = {}

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        key = (method, event.get("event"), *(event.get(name) for name in _KEYS))
        now = self._clock()
        last, suppressed = self._last.get(key, (-1e9, 0))
        if now - last < 1.0:
            self._last[key] = (last, suppressed + 1)
            raise structlog.DropEvent
        if len(self._last) >= _MOST_KEYS:
            self._last.clear()
        self._last[key] = (now, 0)
        if suppressed:
            event["suppressed"] = suppressed
        return event


def printable(text: str) -> str:
    """Text from outside without control characters, so that no device name moves a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _clean(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = printable(value)
    return event


def configure(level: str = "info", *, as_json: bool | None = None) -> Any:
    """Sets up logging to standard error: readable lines on a terminal, JSON lines elsewhere (the journal). Gives a logger."""
    if as_json is None:
        as_json = not sys.stderr.isatty()
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            OnePerSecond(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _clean,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger()
