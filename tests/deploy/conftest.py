"""The shipped broker configuration, certificates and ACL, with nothing changed but ports and paths."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

DEPLOY = Path(__file__).parents[2] / "deploy"
MAKE_CERTS = DEPLOY / "make-certs.sh"
MAKE_ACL = DEPLOY / "make_acl.py"
WAIT_S = 10.0

CLIENTS = ("gw-01", "gw-02", "gw-07", "stranger", "ingest", "platform", "reader")
AGENTS = ("hq/gw-01", "hq/gw-02", "north/gw-07")


def run_make_certs(folder: Path, *arguments: str, days: int | None = None) -> None:
    environment = {**os.environ, **({"PLANTROOM_CERT_DAYS": str(days)} if days else {})}
    done = subprocess.run(
        [str(MAKE_CERTS), str(folder), *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the shipped script has filled."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    run_make_certs(folder, "ca")
    run_make_certs(folder, "server", "localhost", "127.0.0.1")
    for name in CLIENTS:
        run_make_certs(folder, "client", name)
    return folder


class Broker:
    """A running Mosquitto: ports of the agents' listener and of the centre's."""

    def __init__(self, agents: int, centre: int, tls: Path, log: Path) -> None:
        self.agents = agents
        self.centre = centre
        self.tls = tls
        self.log = log


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


@pytest.fixture(scope="session")
def broker(tls: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Debian's Mosquitto with deploy/mosquitto/mosquitto.conf."""
    binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(binary).exists():
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    folder = tmp_path_factory.mktemp("mosquitto")
    made = subprocess.run([sys.executable, str(MAKE_ACL), *AGENTS], capture_output=True, text=True, check=True)
    (folder / "acl").write_text(made.stdout)
    (folder / "acl").chmod(0o600)
    agents, centre = _free_ports(2)
    text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    for shipped, here in (
        ("listener 8883", f"listener {agents} 127.0.0.1"),
        ("listener 8884", f"listener {centre} 127.0.0.1"),
        ("/etc/mosquitto/certs/", f"{tls}/"),
        ("/etc/mosquitto/plantroom.acl", f"{folder}/acl"),
        ("/var/lib/mosquitto/", f"{folder}/"),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    if os.geteuid() == 0:
        text += "user root\n"  # otherwise it becomes user mosquitto, who may not see the test's folder
    conf = folder / "mosquitto.conf"
    conf.write_text(text)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([binary, "-c", str(conf)], stdout=output, stderr=subprocess.STDOUT)
    try:
        _await_port(centre, process, log)
        yield Broker(agents, centre, tls, log)
    finally:
        process.terminate()
        process.wait(WAIT_S)


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    waiting = threading.Event()
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            waiting.wait(0.025)
        else:
            return
    raise AssertionError(f"mosquitto did not listen: {log.read_text()}")


class Peer:
    """One MQTT 5 client that says what the broker answered. Every wait has an end."""

    def __init__(
        self, port: int, tls: Path, identity: str | None, *, client_id: str = "", ca: Path | None = None
    ) -> None:
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._connack: queue.Queue[int] = queue.Queue()
        self._acks: queue.Queue[tuple[int, int]] = queue.Queue()
        self._subacks: queue.Queue[list[int]] = queue.Queue()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or identity or "nobody", protocol=mqtt.MQTTv5
        )
        context = ssl.create_default_context(cafile=str(ca or tls / "ca.pem"))
        if identity is not None:
            context.load_cert_chain(tls / f"{identity}.pem", tls / f"{identity}.key")
        self.client.tls_set_context(context)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self._connack.put(reason.value)
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self._ended(reason.value)
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self._acks.put((mid, reason.value))
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._subacks.put([r.value for r in reasons])
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self._port = port

    def _ended(self, reason: int) -> None:
        """Ends every wait: an answer of -1 means that the connection is gone."""
        self._connack.put(-1)
        self._acks.put((-1, reason))

    def connect(self) -> int:
        """Connects; the CONNACK's reason, or -1 when the broker hung up. Raises OSError when TLS or the connection fails."""
        properties = Properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = 1000
        self.client.connect("127.0.0.1", self._port, clean_start=True, properties=properties)
        self.client.loop_start()
        return self._connack.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: bytes = b"{}", **keys: Any) -> int:
        """The reason of the PUBACK. Fails when the connection ends."""
        mid = self.client.publish(topic, payload, qos=1, **keys).mid
        while True:
            acked, reason = self._acks.get(timeout=WAIT_S)
            assert acked != -1, f"disconnected with reason {reason:#x} while publishing to {topic}"
            if acked == mid:
                return reason

    def subscribe(self, *filters: str) -> list[int]:
        self.client.subscribe([(text, mqtt.SubscribeOptions(qos=1)) for text in filters])
        return self._subacks.get(timeout=WAIT_S)

    def received(self) -> mqtt.MQTTMessage:
        return self.messages.get(timeout=WAIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def peer(broker: Broker) -> Iterator[Callable[..., Peer]]:
    """Connects as somebody: agents to their listener, all others to the centre's."""
    peers: list[Peer] = []

    def connect(identity: str, *, client_id: str = "") -> Peer:
        port = broker.agents if identity.startswith(("gw-", "stranger")) else broker.centre
        found = Peer(port, broker.tls, identity, client_id=client_id)
        assert found.connect() == 0
        peers.append(found)
        return found

    yield connect
    for found in peers:
        found.close()


@pytest.fixture
def make_peer() -> type[Peer]:
    return Peer


@pytest.fixture(scope="session")
def make_certs() -> Callable[..., None]:
    return run_make_certs
