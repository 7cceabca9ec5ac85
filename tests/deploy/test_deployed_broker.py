"""Debian's Mosquitto under the shipped configuration: each role can do what the contract gives it, and nothing else."""

from __future__ import annotations

import queue
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.real

NOT_AUTHORISED = 0x87
OWN = "plantroom/v1/hq/gw-01"
Connect = Callable[..., Any]


def nothing_came(peer: Any, sync_topic: str) -> bool:
    """True when no message is there, after one that is allowed has made the whole way round."""
    message = peer.received()
    assert message.topic == sync_topic, message.topic
    try:
        return peer.messages.get_nowait() is None
    except queue.Empty:
        return True


def test_an_agent_publishes_under_its_own_name_only(peer: Connect) -> None:
    agent = peer("gw-01")
    for topic in (f"{OWN}/up/data/meter-01", f"{OWN}/up/event/d/system", f"{OWN}/up/status"):
        assert agent.publish(topic) in (0, 0x10), topic
    for topic in (
        "plantroom/v1/hq/gw-02/up/data/meter-01",
        "plantroom/v1/north/gw-01/up/data/meter-01",
        "plantroom/v1/north/gw-07/up/status",
        f"{OWN}/down/ack",
        f"{OWN}/down/cmd/1",
        "plantroom/v1/hq/gw-01x/up/data/d",
        "plantroom/v2/hq/gw-01/up/data/d",
        "$SYS/broker/x",
    ):
        assert agent.publish(topic) >= 0x80, topic


def test_an_agent_hears_what_is_sent_to_it_and_its_own_status_only(peer: Connect) -> None:
    agent, other, ingest, platform = peer("gw-01"), peer("gw-02"), peer("ingest"), peer("platform")
    agent.subscribe("#", f"{OWN}/up/status")
    other.publish("plantroom/v1/hq/gw-02/up/status", b"theirs")
    ingest.publish("plantroom/v1/hq/gw-02/down/ack", b"theirs")
    agent.publish(f"{OWN}/up/data/d", b"own data")
    agent.publish(f"{OWN}/up/status", b"own status")
    ingest.publish(f"{OWN}/down/ack", b"ack")
    platform.publish(f"{OWN}/down/cmd/1", b"cmd")
    platform.publish(f"{OWN}/down/config/desired", b"last")
    got: set[bytes] = set()
    while b"last" not in got:
        got.add(agent.received().payload)
    assert got == {b"own status", b"ack", b"cmd", b"last"}


def test_ingest_takes_data_in_shares_and_writes_acks_only(peer: Connect) -> None:
    workers = [peer("ingest", client_id="ingest-1"), peer("ingest", client_id="ingest-2")]
    for worker in workers:
        reasons = worker.subscribe(
            "$share/ingest/plantroom/v1/+/+/up/data/#",
            "$share/ingest/plantroom/v1/+/+/up/hist/#",
            "$share/ingest/plantroom/v1/+/+/up/event/#",
        )
        assert max(reasons) < 0x80
    agent = peer("gw-07")
    sent = {str(n).encode() for n in range(20)}
    for payload in sent:
        assert agent.publish("plantroom/v1/north/gw-07/up/data/meter", payload) == 0
    shares = [{worker.messages.get(timeout=10).payload for _ in range(10)} for worker in workers]
    assert shares[0] | shares[1] == sent
    assert not shares[0] & shares[1]
    ingest = workers[0]
    assert ingest.publish("plantroom/v1/north/gw-07/down/ack") < 0x80
    for topic in ("up/data/meter", "down/cmd/1", "down/config/desired"):
        assert ingest.publish(f"plantroom/v1/north/gw-07/{topic}") == NOT_AUTHORISED


def test_the_platform_commands_and_a_reader_only_reads(peer: Connect) -> None:
    platform, reader, agent = peer("platform"), peer("reader"), peer("gw-01")
    assert platform.publish(f"{OWN}/down/cmd/1") < 0x80
    assert platform.publish(f"{OWN}/down/config/desired") < 0x80
    for topic in (f"{OWN}/down/ack", f"{OWN}/up/status"):
        assert platform.publish(topic) == NOT_AUTHORISED
    for topic in (f"{OWN}/down/ack", f"{OWN}/down/cmd/1", f"{OWN}/up/data/d", "plantroom/v1/hq/reader/up/status", "x"):
        assert reader.publish(topic) == NOT_AUTHORISED
    reader.subscribe("#")
    platform.publish(f"{OWN}/down/cmd/2")
    agent.publish(f"{OWN}/up/data/reader-sync")
    assert nothing_came(reader, f"{OWN}/up/data/reader-sync")


def test_a_certificate_without_rules_may_nothing(peer: Connect) -> None:
    stranger = peer("stranger")
    assert stranger.publish("plantroom/v1/hq/stranger/up/status") == NOT_AUTHORISED


def test_an_agent_cannot_take_anothers_session(peer: Connect) -> None:
    first = peer("gw-01")
    peer("gw-02", client_id="gw-01")
    assert first.publish(f"{OWN}/up/data/still-here") < 0x80


def test_messages_of_the_contract_pass_and_far_larger_ones_do_not(broker: Any, peer: Connect) -> None:
    agent, reader = peer("gw-01"), peer("reader")
    reader.subscribe(f"{OWN}/up/data/large")
    assert agent.publish(f"{OWN}/up/data/large", b"x" * 65_536) == 0
    assert len(reader.received().payload) == 65_536
    with pytest.raises(AssertionError, match="disconnected"):
        agent.publish(f"{OWN}/up/data/large", b"x" * 2_000_000)
    assert "gw-01 disconnected due to oversize packet" in broker.log.read_text()
    assert peer("gw-02").publish("plantroom/v1/hq/gw-02/up/status") < 0x80


def refused(
    port: int, tls: Path, identity: str | None, make_peer: Callable[..., Any], *, ca: Path | None = None
) -> bool:
    """True when the handshake, or what comes right after it (TLS 1.3 tells a client late), ends the connection."""
    found = make_peer(port, tls, identity, ca=ca)
    try:
        return bool(found.connect() != 0)
    except OSError:
        return True
    finally:
        found.close()


def issue(folder: Path, name: str, *, authority: Path, start: datetime, end: datetime) -> None:
    """A certificate of an authority whose dates the shipped script would not give."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key = load_pem_private_key((authority / "ca.key").read_bytes(), None)
    ca = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_no_certificate_no_connection(broker: Any, make_peer: Callable[..., Any]) -> None:
    for port in (broker.agents, broker.centre):
        assert refused(port, broker.tls, None, make_peer)


def test_an_expired_certificate_is_refused(broker: Any, tmp_path: Path, make_peer: Callable[..., Any]) -> None:
    now = datetime.now(UTC)
    issue(tmp_path, "gw-01", authority=broker.tls, start=now - timedelta(days=9), end=now - timedelta(days=1))
    assert refused(broker.agents, tmp_path, "gw-01", make_peer, ca=broker.tls / "ca.pem")
    issue(tmp_path, "gw-01", authority=broker.tls, start=now - timedelta(days=9), end=now + timedelta(days=1))
    assert not refused(broker.agents, tmp_path, "gw-01", make_peer, ca=broker.tls / "ca.pem")


def test_a_foreign_authority_is_refused_on_both_sides(
    broker: Any, tmp_path: Path, make_certs: Callable[..., None], make_peer: Callable[..., Any]
) -> None:
    make_certs(tmp_path, "ca")
    make_certs(tmp_path, "client", "gw-01")
    assert refused(broker.agents, tmp_path, "gw-01", make_peer, ca=broker.tls / "ca.pem")
    stranger = make_peer(broker.agents, broker.tls, "gw-01", ca=tmp_path / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.connect()


def test_a_server_certificate_is_no_client_certificate(broker: Any, make_peer: Callable[..., Any]) -> None:
    assert refused(broker.agents, broker.tls, "server", make_peer)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(broker: Any) -> None:
    context = ssl.create_default_context(cafile=str(broker.tls / "ca.pem"))
    context.load_cert_chain(broker.tls / "gw-01.pem", broker.tls / "gw-01.key")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", broker.agents), timeout=10) as raw,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(raw, server_hostname="localhost")
