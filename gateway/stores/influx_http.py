"""How the three versions of InfluxDB are spoken to, and what their answers mean. One request a call; no retry, no bisection.

The writers differ in address, parameters and authentication only. Sources: InfluxDB 1.8 "API reference" (/write, /query), 2.7 API
(/api/v2/write), 3 Core API (/api/v3/write_lp, /api/v3/query_sql).
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Literal

from device_profiles.errors import StoreUnavailable
from gateway.stores.base import StoreMisconfigured

if TYPE_CHECKING:
    import aiohttp

SAME_BODY = 5
"""So many equal answers of an unusual 5xx in a row are a configuration error (1.x says 500 for a missing retention policy)."""
_MOST_BODY = 16 * 1024 * 1024
_AGAIN = frozenset({408, 429, 502, 503, 504})
_PERSON = {
    401: "correct the token, or username and password, of the store",
    403: "give the account the right to write there",
    404: "create it, or correct its name in the store's configuration",
}


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Where InfluxDB is. `database` is the bucket of version 2. Secrets never show in a repr."""

    version: Literal["v1", "v2", "v3"]
    url: str
    database: str
    retention_policy: str | None = None
    org: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    gzip: bool = False
    timeout_s: float = 10.0

    @property
    def write_url(self) -> str:
        return self.url + {"v1": "/write", "v2": "/api/v2/write", "v3": "/api/v3/write_lp"}[self.version]

    def write_parameters(self, *, in_ns: bool) -> dict[str, str]:
        """The precision is always said."""
        if self.version == "v1":
            found = {"db": self.database, "precision": "n" if in_ns else "ms"}
            return found | ({"rp": self.retention_policy} if self.retention_policy else {})
        if self.version == "v2":
            return {"org": self.org or "", "bucket": self.database, "precision": "ns" if in_ns else "ms"}
        return {"db": self.database, "precision": "nanosecond" if in_ns else "millisecond"}


class Verdict(Enum):
    """What an answer to a write means, where it is not an exception."""

    STORED = auto()
    TOO_LARGE = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    verdict: Verdict
    text: str = ""


class InfluxHttp:
    """One HTTP client of one store."""

    def __init__(self, settings: InfluxSettings) -> None:
        self.settings = settings
        self._client: aiohttp.ClientSession | None = None
        self._last_body = ""
        self._same = 0
        self.requests = 0
        self.bytes_sent = 0

    def open(self) -> None:
        import aiohttp

        settings = self.settings
        headers = {}
        if settings.token is not None:
            headers["Authorization"] = f"{'Bearer' if settings.version == 'v3' else 'Token'} {settings.token}"
        elif settings.username is not None:
            secret = f"{settings.username}:{settings.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        self._client = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
            connector=aiohttp.TCPConnector(limit=8),
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def put(self, body: bytes, *, in_ns: bool) -> Answer:
        """One write. Raises StoreUnavailable or StoreMisconfigured for everything that is not about these lines."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self.settings.gzip:
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        self.requests += 1
        self.bytes_sent += len(body)
        status, text, retry_after = await self._ask(
            "POST",
            self.settings.write_url,
            params=self.settings.write_parameters(in_ns=in_ns),
            data=body,
            headers=headers,
        )
        if status in (200, 204):
            self._same = 0
            return Answer(Verdict.STORED)
        if status == 413:
            return Answer(Verdict.TOO_LARGE, text)
        if status in (400, 422):
            return Answer(Verdict.REFUSED, text)
        raise self._trouble(status, text, retry_after)

    def _trouble(self, status: int, text: str, retry_after: float | None) -> StoreUnavailable:
        where = self.settings.write_url
        what = f"the store answers {status}: {_first_line(text)}"
        if status in _PERSON:
            return StoreMisconfigured(what, where=where, next_step=_PERSON[status])
        if status in _AGAIN:
            return StoreUnavailable(what, where=where, next_step="wait", retry_after_s=retry_after)
        if status >= 500:
            self._same = self._same + 1 if text == self._last_body else 1
            self._last_body = text
            if self._same < SAME_BODY:
                return StoreUnavailable(what, where=where, next_step="wait", retry_after_s=retry_after)
            return StoreMisconfigured(
                f"{what} ({self._same} times)",
                where=where,
                next_step="look into the store's log; is there a retention policy of that name?",
            )
        return StoreMisconfigured(what, where=where, next_step="check the store's url and version")

    async def get(self, path: str, params: dict[str, str] | None = None) -> str:
        """The text of a question's answer. Raises StoreUnavailable."""
        return await self._question("GET", path, params=params)

    async def post(self, path: str, document: dict[str, Any]) -> str:
        """The same with a JSON document as the question."""
        return await self._question("POST", path, json=document)

    async def _question(self, method: str, path: str, **arguments: Any) -> str:
        status, text, retry_after = await self._ask(method, self.settings.url + path, **arguments)
        if status not in (200, 204):
            raise StoreUnavailable(
                f"the store answers {status}: {_first_line(text)}",
                where=self.settings.url + path,
                next_step=_PERSON.get(status, "look into the store's log"),
                retry_after_s=retry_after,
            )
        return text

    async def _ask(self, method: str, url: str, **arguments: Any) -> tuple[int, str, float | None]:
        import aiohttp

        assert self._client is not None, "open the store first"
        try:
            async with self._client.request(method, url, allow_redirects=False, **arguments) as answer:
                body = await answer.content.read(_MOST_BODY)
                while len(body) < _MOST_BODY and (more := await answer.content.read(_MOST_BODY - len(body))):
                    body += more
                return answer.status, body.decode("utf-8", "replace"), _retry_after(answer.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise StoreUnavailable(
                f"no answer within {self.settings.timeout_s:g} s" if isinstance(error, TimeoutError) else said,
                where=url,
                next_step="check that the store runs and can be reached",
            ) from error


def _retry_after(text: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or an HTTP date."""
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line[:300] or "nothing"


def reason_of(text: str) -> str:
    """One short word for what a store said about a line."""
    lower = text.lower()
    for word, reason in (
        ("conflict", "type"),
        ("type", "type"),
        ("retention", "retention"),
        ("outside", "retention"),
        ("max-values-per-tag", "series"),
        ("max-series", "series"),
        ("parse", "malformed"),
        ("too large", "size"),
    ):
        if word in lower:
            return reason
    return "refused"
