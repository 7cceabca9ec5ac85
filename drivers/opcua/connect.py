"""From a link's configuration to an activated session: endpoint, policy, certificates, identity. Never less secure than asked.

The endpoint must offer exactly the policy and mode that the configuration names; its certificate is checked against the trust
list before a key is used with it, and the session's answer must show the same certificate. A password leaves this machine
encrypted or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto import security_policies

from device_profiles.errors import ConfigError, LinkRefused, LinkTimeout, PlantroomError
from drivers.base import LinkConfig, OpcUaLink, Trace, WireCount

from . import pki
from .channel import Channel, client_of
from .status import LIBRARY_ERRORS, refusal

POLICIES = {
    "none": security_policies.SecurityPolicyNone,
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_MODES = {"sign": ua.MessageSecurityMode.Sign, "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt}
_TOKENS = {
    "anonymous": ua.UserTokenType.Anonymous,
    "user": ua.UserTokenType.UserName,
    "certificate": ua.UserTokenType.Certificate,
}
_CLEAR = (None, "", security_policies.SecurityPolicyNone.URI)


@asynccontextmanager
async def opened(link: LinkConfig, trace: Trace | None) -> AsyncIterator[Channel]:
    """The endpoint's session for as long as it is wanted. Raises LinkError."""
    counts = WireCount()
    connection = _Connection(link, counts, trace)
    try:
        client = await connection.connect()
    except ConfigError as error:  # a file that may be there, or right, at the next attempt
        connection.abort()
        raise LinkRefused(error.what, where=error.where or link.id, next_step=error.next_step) from error
    except BaseException:
        connection.abort()
        raise
    channel = Channel(link, client, counts)
    try:
        yield channel
    finally:
        await channel.close()


class _Connection:
    """One attempt to connect."""

    def __init__(self, link: LinkConfig, counts: WireCount, trace: Trace | None) -> None:
        assert link.opcua is not None
        self._link, self._own, self._counts, self._trace = link, link.opcua, counts, trace
        self._where = link.where
        self._client = client_of(link, counts, trace)
        self._certificate: Path | None = None

    def abort(self) -> None:
        with contextlib.suppress(*LIBRARY_ERRORS):
            self._client.disconnect_socket()

    async def connect(self) -> Client:
        """The client, with an activated session."""
        link, own, client = self._link, self._own, self._client
        password = await asyncio.to_thread(_password, link) if own.identity == "user" else None
        offered = await self._offered()
        endpoint = self._chosen(offered)
        needs_trust = own.policy != "none" or own.identity == "user"
        server = None
        if needs_trust:
            server = await asyncio.to_thread(
                pki.check_server, link, endpoint.ServerCertificate, endpoint.Server.ApplicationUri
            )
        if own.policy != "none" or own.identity == "certificate":
            mine = await asyncio.to_thread(pki.own_of, link)
            self._certificate = mine.path
            if own.policy != "none":
                policy = POLICIES[own.policy](server, mine.certificate, mine.key, _MODES[own.mode])
                client.security_policy = policy
                client.uaclient.set_security(policy)
            if own.identity == "certificate":
                client.user_certificate, client.user_private_key = mine.certificate, mine.key
        async with self._step("connect"):
            await client.connect_socket()
        async with self._step("open a secure channel"):
            await client.send_hello()
            await client.open_secure_channel()
        async with self._step("create a session"):
            await client.create_session()
        self._check_token(needs_trust, endpoint.ServerCertificate)
        async with self._step("activate the session"):
            await client.activate_session(
                username=own.user or None, password=password, certificate=client.user_certificate
            )
        return client

    async def _offered(self) -> Sequence[ua.EndpointDescription]:
        """The server's endpoints, asked over a channel without security, as OPC 10000-4, 5.5.4 has it."""
        async with self._step("connect"):
            scout = client_of(self._link, self._counts, self._trace)
            await scout.connect_socket()
        try:
            async with self._step("list its endpoints"):
                await scout.send_hello()
                await scout.open_secure_channel()
                endpoints: list[ua.EndpointDescription] = await scout.get_endpoints()
                await scout.close_secure_channel()
        finally:
            scout.disconnect_socket()
        return endpoints

    def _chosen(self, offered: Sequence[ua.EndpointDescription]) -> ua.EndpointDescription:
        """The endpoint of exactly our policy and mode."""
        own = self._own
        mode = ua.MessageSecurityMode.None_ if own.policy == "none" else _MODES[own.mode]
        uri = POLICIES[own.policy].URI
        fitting = [one for one in offered if one.SecurityPolicyUri == uri and one.SecurityMode == mode]
        if not fitting:
            wanted = own.policy if own.policy == "none" else f"{own.policy} {own.mode}"
            offers = sorted({_described(one) for one in offered}) or ["nothing"]
            step = "switch it on at the server, or configure what it offers"
            raise LinkRefused(
                f"the server does not offer {wanted}; it offers {', '.join(offers)}", where=self._where, next_step=step
            )
        token = _TOKENS[own.identity]
        for endpoint in fitting:
            if any(policy.TokenType == token for policy in endpoint.UserIdentityTokens or ()):
                return endpoint
        kinds = {policy.TokenType for one in fitting for policy in one.UserIdentityTokens or ()}
        names = ", ".join(name for name, kind in _TOKENS.items() if kind in kinds) or "none"
        raise LinkRefused(
            f"the server takes no {own.identity} identity here; it takes {names}",
            where=self._where,
            next_step="configure an identity that it takes",
        )

    def _check_token(self, needs_trust: bool, certificate: bytes | None) -> None:
        """What `create_session` showed must be what was trusted, and a password must be encrypted."""
        client, own = self._client, self._own
        shown = client.security_policy.peer_certificate
        if needs_trust and (not certificate or shown != pki.first_of(certificate)):
            step = "do not use this server before it is known why"
            raise LinkRefused(
                "the session shows another certificate than the endpoint", where=self._where, next_step=step
            )
        if own.identity == "user" and (own.policy == "none" or own.mode != "sign_and_encrypt"):
            policy = client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri
            if policy in _CLEAR:
                step = "use a policy with mode sign_and_encrypt"
                raise LinkRefused("the password would go over the network in clear", where=self._where, next_step=step)

    @asynccontextmanager
    async def _step(self, what: str) -> AsyncIterator[None]:
        """Bounds one step in time; what fails in it says which step it was."""
        link = self._link
        limit_s = link.connect_timeout_s if what == "connect" else link.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                yield
        except PlantroomError:
            raise
        except TimeoutError as error:
            step = "check the address, the network and the server"
            raise LinkTimeout(f"could not {what} within {limit_s:g} s", where=self._where, next_step=step) from error
        except LIBRARY_ERRORS as error:
            certificate = str(self._certificate or "") if self._own.policy != "none" else ""
            raise refusal(error, self._where, what, certificate) from error


def _described(endpoint: ua.EndpointDescription) -> str:
    policy = str(endpoint.SecurityPolicyUri or "none").rpartition("#")[2].replace("_", "")[:40]
    mode = {ua.MessageSecurityMode.Sign: " sign", ua.MessageSecurityMode.SignAndEncrypt: " sign_and_encrypt"}
    return policy.replace("None", "none") + mode.get(endpoint.SecurityMode, "")


def _password(link: LinkConfig) -> str:
    """The first line of the password file. Raises ConfigError."""
    assert link.opcua is not None
    path = Path(link.opcua.password_file)
    try:
        text = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no UTF-8 text"
        step = "write the password into it, readable for this user only"
        raise ConfigError(f"cannot read password_file {path}: {why}", where=link.id, next_step=step) from error
    if not text or not text[0]:
        raise ConfigError(f"password_file {path} is empty", where=link.id, next_step="write the password into it")
    return text[0]


def own_link(link: LinkConfig) -> OpcUaLink:
    """What only an OPC UA link has. Raises ConfigError for another kind of link."""
    if link.kind != "opcua" or link.opcua is None:
        raise ConfigError(
            f"a {link.kind!r} link carries no OPC UA", where=link.id, next_step="use opc.tcp://host:4840/path"
        )
    if link.opcua.policy not in POLICIES:
        raise ConfigError(
            f"unknown policy {link.opcua.policy!r}", where=link.id, next_step=f"use one of {', '.join(POLICIES)}"
        )
    return link.opcua
