"""The table of the HTTP API's paths: what each takes, and which function of `queries` answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gateway import answers, openapi, queries
from gateway.openapi import Route
from gateway.queries import Query
from gateway.services import Services

Answer = Callable[[Services, Query], Awaitable[Any]]

_AGGREGATES = ("mean", "min", "max", "first", "last", "count", "increase")
_FORMAT = openapi.choice("format", "How to answer", "json", "json", "csv")
_AGGREGATE = openapi.choice("aggregate", "What a bucket says", "mean", *_AGGREGATES)
_LAST_SAMPLES = openapi.Param(
    "limit", "At most so many samples a point, the newest", openapi.LIMIT.parse, openapi.LIMIT.schema
)

ROUTES: tuple[tuple[Route, Answer], ...] = (
    (Route("/api/v1/sites", "Sites with their agents and device states", (), list[answers.SiteAnswer]), queries.sites),
    (
        Route(
            "/api/v1/agents",
            "Agents that were heard or are registered",
            (openapi.SITE, openapi.AGENT),
            list[answers.Agent],
        ),
        queries.agents,
    ),
    (
        Route(
            "/api/v1/agents",
            "Register an agent: its messages are stored and acknowledged from now on",
            (openapi.THE_SITE, openapi.THE_AGENT),
            answers.Agent,
            method="POST",
        ),
        queries.register,
    ),
    (Route("/api/v1/devices", "Devices", (openapi.SITE, openapi.DEVICE), list[answers.Device]), queries.devices),
    (
        Route(
            "/api/v1/points", "Points with unit and meaning", (openapi.SITE, openapi.DEVICE), list[answers.PointAnswer]
        ),
        queries.points,
    ),
    (
        Route(
            "/api/v1/latest",
            "The newest value of each point",
            (openapi.SITE, openapi.DEVICE, _FORMAT),
            list[answers.LatestAnswer],
            csv=True,
        ),
        queries.latest,
    ),
    (
        Route(
            "/api/v1/history",
            "Samples or buckets of a device's points, and their gaps",
            (
                openapi.THE_SITE,
                openapi.THE_DEVICE,
                openapi.POINTS,
                openapi.FROM,
                openapi.TO,
                openapi.STEP,
                _AGGREGATE,
                _LAST_SAMPLES,
                _FORMAT,
            ),
            answers.History,
            csv=True,
            can_be_absent=True,
        ),
        queries.history,
    ),
    (
        Route(
            "/api/v1/events",
            "Events, newest first",
            (openapi.SITE, openapi.DEVICE, openapi.TYPES, openapi.FROM, openapi.TO, openapi.LIMIT, _FORMAT),
            list[answers.EventAnswer],
            csv=True,
        ),
        queries.events,
    ),
    (
        Route(
            "/api/v1/alarms", "Alarms that are active now", (openapi.SITE, openapi.DEVICE), list[answers.AlarmAnswer]
        ),
        queries.alarms,
    ),
    (
        Route(
            "/api/v1/last",
            "What each device said last, as its agent retains it",
            (openapi.SITE, openapi.DEVICE),
            list[answers.LastAnswer],
        ),
        queries.last,
    ),
    (
        Route(
            "/api/v1/ledger",
            "Which messages of each agent's epochs are stored, and which numbers are missing",
            (openapi.AGENT, openapi.FROM),
            list[answers.LedgerAnswer],
        ),
        queries.ledger,
    ),
    (
        Route(
            "/api/v1/completeness",
            "Which readings of a range are there, explained, or missing",
            (openapi.SITE, openapi.DEVICE, openapi.FROM, openapi.TO),
            list[answers.CompletenessAnswer],
        ),
        queries.completeness,
    ),
)
