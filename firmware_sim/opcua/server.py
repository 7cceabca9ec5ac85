"""The plant room as an OPC UA server on asyncua: every security policy, three kinds of identity, a method, and faults to order.

Node ids are strings made of the browse path (`ChillerPlant.Chiller1.Power`) in one namespace, as many makers do it; the
namespace's index is not the same in every server, its URI is.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.methods import uamethod
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from firmware_sim.opcua.world import VARIABLES, PlantRoom, Variable

NAMESPACE = "urn:plantroom:sim:plant"
OTHER_NAMESPACE = "urn:plantroom:sim:first"
APPLICATION_URI = "urn:plantroom:sim:server"
USERS = {"operator": "plant-room-7"}
"""The demo's one user; nothing that is worth keeping secret."""
POLICIES = {
    f"{policy} {mode}".strip(): getattr(ua.SecurityPolicyType, name)
    for policy, mode, name in (
        ("none", "", "NoSecurity"),
        *(
            (policy, mode, f"{policy}_{suffix}")
            for policy in ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
            for mode, suffix in (("sign", "Sign"), ("sign_and_encrypt", "SignAndEncrypt"))
        ),
    )
}


class _Users:
    """Who may come in: anonymous ones, the users by password, and whoever shows a certificate that `trusts` takes."""

    def __init__(self, trusts: Callable[[bytes], bool]) -> None:
        self._trusts = trusts

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        if username is not None:
            return User(role=UserRole.User, name=username) if USERS.get(username) == password else None
        if certificate is not None and not self._trusts(bytes(certificate)):
            return None
        return User(role=UserRole.User)


class PlantServer:
    """`async with PlantServer() as server:` listens on loopback; `url` says where."""

    def __init__(
        self,
        *,
        port: int = 0,
        path: str = "/plant",
        seed: int = 1,
        pki: Path | None = None,
        refresh_s: float | None = 1.0,
        first_namespaces: int = 1,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.port, self.path = port, path
        self.world = PlantRoom(seed)
        self.trusted_clients: set[bytes] | None = None
        """Certificates (DER) of clients that are let in; None lets all in."""
        self.calls: list[tuple[Any, ...]] = []
        self._pki, self._refresh_s, self._first_namespaces, self._now = pki, refresh_s, first_namespaces, now
        self._nodes: dict[str, ua.NodeId] = {}
        self._kinds: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._server: Any = None
        self.certificate = b""

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}{self.path}"

    @property
    def internal(self) -> Any:
        """asyncua's server, for faults that need it."""
        return self._server

    async def __aenter__(self) -> PlantServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        server = self._server = Server(user_manager=_Users(self._lets_in))  # type: ignore[arg-type, unused-ignore]
        await server.init()
        server.set_server_name("Plant room")
        await server.set_application_uri(APPLICATION_URI)
        await server.set_build_info(
            product_uri="urn:plantroom:sim", manufacturer_name="Plantroom", product_name="Simulated plant room",
            software_version="1.4.2", build_number="7", build_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        )  # fmt: skip
        server.set_endpoint(self.url)
        server.set_security_policy(list(POLICIES.values()))
        server.set_identity_tokens([ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken])
        self.certificate, key = await asyncio.to_thread(_certificate, self._pki)
        await server.load_certificate(self.certificate, "der")
        await server.load_private_key(key, format="pem")
        server.set_certificate_validator(self._check_client)
        for n in range(self._first_namespaces):
            await server.register_namespace(f"{OTHER_NAMESPACE}:{n}" if n else OTHER_NAMESPACE)
        await self._build(await server.register_namespace(NAMESPACE))
        await server.start()
        self.port = server.bserver.port
        await self.refresh()
        if self._refresh_s is not None:
            self._task = asyncio.create_task(self._run(self._refresh_s), name="opcua plant room")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._server.stop()

    # The address space.

    async def _build(self, index: int) -> None:
        objects = self._server.nodes.objects
        folders: dict[str, Any] = {"": objects}
        for variable in VARIABLES:
            at, _, name = variable.path.rpartition("/")
            await self._variable(await self._folder(folders, at, index), variable, name, index)
        inputs = [_argument("Code", ua.ObjectIds.UInt32), _argument("Hold", ua.ObjectIds.Double)]
        outputs = [_argument("Accepted", ua.ObjectIds.Boolean), _argument("Remaining", ua.ObjectIds.Double)]
        for n in (1, 2):
            reset = ua.NodeId(f"ChillerPlant.Chiller{n}.Reset", index)
            await folders[f"ChillerPlant/Chiller{n}"].add_method(reset, f"{index}:Reset", self._reset, inputs, outputs)

    async def _folder(self, folders: dict[str, Any], path: str, index: int) -> Any:
        if path not in folders:
            above, _, name = path.rpartition("/")
            parent = await self._folder(folders, above, index)
            folders[path] = await parent.add_object(ua.NodeId(path.replace("/", "."), index), f"{index}:{name}")
        return folders[path]

    async def _variable(self, parent: Any, variable: Variable, name: str, index: int) -> None:
        kind = ua.VariantType[variable.type]
        empty: Any = {"String": "", "Boolean": False}.get(variable.type, 0)
        node_id = ua.NodeId(variable.path.replace("/", "."), index)
        node = await parent.add_variable(node_id, f"{index}:{name}", ua.Variant(empty, kind))
        self._nodes[variable.path], self._kinds[variable.path] = node_id, kind
        if variable.writable:
            await node.set_writable()
        if variable.unit is not None:
            code, sign = variable.unit
            number = int.from_bytes(code.encode("ascii"), "big")
            unit = ua.EUInformation("http://www.opcfoundation.org/UA/units/un/cefact", number, ua.LocalizedText(sign))
            await node.add_property(0, "EngineeringUnits", unit)
        if variable.labels:
            await node.add_property(0, "EnumStrings", [ua.LocalizedText(text) for text in variable.labels])

    @uamethod  # type: ignore[untyped-decorator, unused-ignore]
    def _reset(self, parent: Any, code: int, hold: float) -> Any:
        self.calls.append(("Reset", code, hold))
        if code != 4711:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        self.world.faulty.clear()
        return True, hold / 2

    async def add_many(self, count: int, folder: str = "Many") -> None:
        """A folder with so many variables of type Double, named Value0 and on."""
        index = await self._server.get_namespace_index(NAMESPACE)
        node = await self._server.nodes.objects.add_object(ua.NodeId(folder, index), f"{index}:{folder}")
        for n in range(count):
            await node.add_variable(ua.NodeId(f"{folder}.Value{n}", index), f"{index}:Value{n}", float(n))
            self._nodes[f"{folder}/Value{n}"] = ua.NodeId(f"{folder}.Value{n}", index)

    async def add_registers(self, count: int, is_refused: Callable[[int], bool]) -> None:
        """Variables `Registers.0` and on that hold their own number, or are unknown while `is_refused` says so."""
        index = await self._server.get_namespace_index(NAMESPACE)
        for n in range(count):
            node_id = ua.NodeId(f"Registers.{n}", index)
            if f"Registers/{n}" not in self._nodes:
                await self._server.nodes.objects.add_variable(
                    node_id, f"{index}:{n}", ua.Variant(n, ua.VariantType.Int32)
                )
                self._nodes[f"Registers/{n}"] = node_id
            self._server.set_attribute_value_callback(node_id, _register(n, is_refused))

    # Life.

    async def _run(self, refresh_s: float) -> None:
        while True:
            await asyncio.sleep(refresh_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Takes up what clients wrote, then puts out every value that changed."""
        now = self._now()
        for variable in VARIABLES:
            if variable.writable and variable.path in self._nodes and variable.key in self._last:
                stands = self._server.read_attribute_value(self._nodes[variable.path]).Value.Value
                if stands != self._last[variable.key]:
                    self.world.write(variable.key, stands, now)
        values = self.world.snapshot(now)
        for variable in VARIABLES:
            value = values[variable.key]
            if variable.path in self._nodes and self._last.get(variable.key) != value:
                await self.put(variable.path, ua.Variant(value, ua.VariantType[variable.type]))
                self._last[variable.key] = self._server.read_attribute_value(self._nodes[variable.path]).Value.Value

    async def put(self, path: str, value: Any, status: int = 0, source_time: datetime.datetime | None = None) -> None:
        """Gives a variable a value, with a status code and a source time."""
        variant = (
            value if isinstance(value, ua.Variant) else ua.Variant(value, self._kinds.get(path, ua.VariantType.Double))
        )
        stamp = source_time or datetime.datetime.now(datetime.UTC)
        await self._server.write_attribute_value(
            self._nodes[path], ua.DataValue(variant, ua.StatusCode(status), SourceTimestamp=stamp)
        )

    def value(self, path: str) -> Any:
        """What a variable holds now."""
        return self._server.read_attribute_value(self._nodes[path]).Value.Value

    # Faults.

    async def remove(self, path: str) -> None:
        """The node vanishes."""
        await self._server.delete_nodes([self._server.get_node(self._nodes.pop(path))])

    def offer(self, *names: str) -> None:
        """Offers these policies only (keys of POLICIES), to whoever asks from now on; none offers all again."""
        internal = self._server.iserver
        if not hasattr(self, "_all"):
            self._all = list(internal.endpoints)
        wanted = {_URIS[name] for name in names or POLICIES}
        internal.endpoints[:] = [one for one in self._all if (one.SecurityPolicyUri, one.SecurityMode) in wanted]

    def forget_sessions(self) -> None:
        """Every session becomes unknown, while its connection stays open."""
        for client in self._server.bserver.clients:
            client.processor._process_message = _unknown_session

    def drop_connections(self) -> None:
        """Resets every connection."""
        for client in list(self._server.bserver.clients):
            client.transport.abort()

    def deafen(self, deaf: bool = True) -> None:
        """Reads nothing and says nothing on the connections that are open, which stay open."""
        for client in self._server.bserver.clients:
            if deaf:
                client.transport.pause_reading()
                client.transport.write = _nowhere
            else:
                client.transport.__dict__.pop("write", None)
                client.transport.resume_reading()

    async def restart(self) -> None:
        """The program ends and starts again: connections, sessions and subscriptions are gone, the port is the same."""
        server = self._server
        await server.iserver.subscription_service.delete_subscriptions(
            list(server.iserver.subscription_service.subscriptions)
        )
        self.drop_connections()
        await server.bserver.stop()
        server.bserver.port = self.port
        await server.bserver.start()

    def _lets_in(self, certificate: bytes) -> bool:
        return self.trusted_clients is None or certificate in self.trusted_clients

    async def _check_client(self, certificate: x509.Certificate, _: Any) -> None:
        if not self._lets_in(certificate.public_bytes(Encoding.DER)):
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)


def _endpoint_keys() -> Mapping[str, tuple[str, Any]]:
    from asyncua.crypto.security_policies import SECURITY_POLICY_TYPE_MAP

    return {
        name: (SECURITY_POLICY_TYPE_MAP[kind][0].URI, SECURITY_POLICY_TYPE_MAP[kind][1])
        for name, kind in POLICIES.items()
    }


_URIS = _endpoint_keys()


def _register(number: int, is_refused: Callable[[int], bool]) -> Callable[..., ua.DataValue]:
    def value(*_: Any) -> ua.DataValue:
        if is_refused(number):
            return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown))
        return ua.DataValue(ua.Variant(number, ua.VariantType.Int32))

    return value


async def _unknown_session(*_: Any) -> None:
    raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)


def _nowhere(data: bytes) -> None:
    """What a hung program writes."""


def _argument(name: str, kind: int) -> ua.Argument:
    argument = ua.Argument()
    argument.Name, argument.DataType, argument.ValueRank = name, ua.NodeId(kind), -1
    return argument


def _certificate(folder: Path | None) -> tuple[bytes, bytes]:
    """A certificate (DER) and key (PEM) for 127.0.0.1, kept in `folder` when there is one."""
    if folder is not None and (folder / "server.der").exists():
        return (folder / "server.der").read_bytes(), (folder / "server.key.pem").read_bytes()
    certificate, key = make_certificate(APPLICATION_URI)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server.der").write_bytes(certificate)
        (folder / "server.key.pem").write_bytes(key)
    return certificate, key


def make_certificate(
    application_uri: str, *, host: str = "localhost", days: int = 365, ago_days: int = 1, bits: int = 2048
) -> tuple[bytes, bytes]:
    """A self-signed application instance certificate (DER) and its key (PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plant room")])
    begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=ago_days)
    names = [x509.UniformResourceIdentifier(application_uri), x509.DNSName(host)]
    usage = dict.fromkeys(("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
                key_cert_sign=True, **usage,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.DER), secret
