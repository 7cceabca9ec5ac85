"""Short forms of BACnet and OPC UA links, and what is wrong with bad ones."""

from __future__ import annotations

import pytest

from device_profiles.errors import ConfigError
from drivers.link import BacnetLink, OpcUaLink, parse_link


def test_a_bacnet_link() -> None:
    link = parse_link(
        "bacnet://192.168.1.10/24:47809?bbmd=10.0.0.4:47808&ttl=600&peers=10.0.0.7,10.0.0.8:47809&instance=77"
    )
    assert (link.kind, link.host, link.port) == ("bacnet", "192.168.1.10/24", 47809)
    assert link.bacnet == BacnetLink(
        bbmd="10.0.0.4:47808", ttl_s=600, peers=("10.0.0.7", "10.0.0.8:47809"), instance=77
    )
    assert parse_link("bacnet://127.0.0.1").port == 47808
    assert parse_link("bacnet://*:47810").host == "0.0.0.0"


def test_an_opcua_link() -> None:
    link = parse_link("opc.tcp://plant.example:4841/UA/Server?x=1")
    assert link.opcua == OpcUaLink(path="/UA/Server?x=1")
    assert link.place == "opc.tcp://plant.example:4841/UA/Server?x=1"
    assert parse_link("opc.tcp://h").port == 4840


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bacnet://", "no address of ours"),
        ("bacnet://host.example", "no address of ours"),
        ("bacnet://10.0.0.1:0", "no address of ours"),
        ("bacnet://10.0.0.1:65536", "no address of ours"),
        ("bacnet://10.0.0.1?bbdm=10.0.0.4", "unknown option bbdm='10.0.0.4'"),
        ("bacnet://10.0.0.1?ttl=long", "unknown option ttl='long'"),
        ("bacnet://10.0.0.1?timeout_s=x", "timeout_s='x' is no number"),
        ("opc.tcp://", "a host"),
        ("opc.tcp://h:0", "a host, or a port"),
        ("opc.tcp://h:65536", "this is no endpoint"),
        ("opc.tcp://u:secret@h", "a password has no place in an address"),
    ],
)
def test_a_wrong_one_says_what_and_how(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_link(text)
    assert said in caught.value.what
    assert caught.value.next_step
    assert "secret" not in caught.value.what
