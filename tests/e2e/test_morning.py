"""The demo's morning as processes: what happens in the building arrives in the store, once each, and no card in clear."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_agent.cli.demo_campus import Campus
from edge_agent.local_api import ask
from firmware_sim.morning import STAFF, on_board
from tests.e2e.processes import WAIT_S, Listener, plantroom, until

METERS = {
    "canteen-1": "energy_active_import", "water-1": "volume", "heat-2": "heat_energy", "heat-1": "heat_energy",
    "water-2": "volume", "projector-1": "power_state", "reader-1": "online", "doors-floor-2": "door_open_1",
    "barrier-1": "gate_state", "recorder-1": "channels_online", "terminal-canteen": "online",
    "lights-floor-2": "lighting_on_1", "ahu-floor-2": "supply_fan_power", "vav-floor-2": "supply_air_flow",
    "offices-2": "power_active",
}  # fmt: skip
EXPECTED = {
    "reader-1": "card.read", "reader-2": "card.read", "reader-lobby": "card.read", "turnstile-1": "gate.pass",
    "doors-floor-2": "access.granted", "terminal-canteen": "access.granted", "terminal-north": "access.granted",
    "plates-1": "vehicle.entered", "recorder-1": "camera.motion", "barrier-1": "gate.opened",
}  # fmt: skip


@pytest.fixture(scope="module")
def campus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    with Campus(tmp_path_factory.mktemp("am"), plant_room=False) as running:
        yield running


@pytest.fixture(scope="module")
def published(campus: Campus) -> Iterator[Listener]:
    """Everything that goes over the broker."""
    config = yaml.safe_load((campus.folder / "agent.yaml").read_text())
    with Listener(int(config["mqtt"]["url"].rpartition(":")[2]), "#") as listener:
        yield listener


def get(campus: Campus, path: str) -> Any:
    with urllib.request.urlopen(campus.page.rstrip("/") + path, timeout=WAIT_S) as answer:
        return json.load(answer)


def events(campus: Campus) -> list[dict[str, Any]]:
    return list(get(campus, "/api/v1/events?limit=1000"))


def test_meters_readers_doors_and_displays_are_read(campus: Campus) -> None:
    def found() -> dict[str, set[str]]:
        seen: dict[str, set[str]] = {}
        for sample in get(campus, "/api/v1/latest"):
            seen.setdefault(sample["device"], set()).add(sample["point"])
        return seen

    def missing() -> set[tuple[str, str]]:
        seen = found()
        return {(device, point) for device, point in METERS.items() if point not in seen.get(device, ())}

    until(lambda: not missing(), f"a reading of {sorted(METERS)}")


@pytest.mark.timeout(180)
def test_what_happens_arrives_once_and_no_card_in_clear(campus: Campus) -> None:
    def told() -> set[tuple[str, str]]:
        return {(event["device"], event["type"]) for event in events(campus)}

    until(lambda: EXPECTED.items() <= told() or None, "an event of each kind", timeout_s=120)
    there = events(campus)
    ids = [event["id"] for event in there]
    assert len(ids) == len(set(ids))
    cards: dict[str, set[str]] = {}
    for event in there:
        if card := event["data"].get("card"):
            assert card.startswith("hmac:")
            cards.setdefault(card, set()).add(event["device"])
    assert any({"reader-lobby", "doors-floor-2"} <= readers for readers in cards.values()), "one card, one pseudonym"
    assert len(cards) <= len(STAFF)
    devices = {row["id"]: row for row in ask(campus.socket, "status")["devices"]}
    assert {name for name, row in devices.items() if row["state"] not in ("ok", "degraded")} == set()


@pytest.mark.timeout(240)
def test_lights_plant_and_meter_follow_the_people(campus: Campus) -> None:
    def seen() -> dict[str, float]:
        latest = {(row["device"], row["point"]): row["value"] for row in get(campus, "/api/v1/latest")}
        lit = [latest.get(("lights-floor-2", f"lighting_on_{n}")) for n in range(1, 9)]
        return {
            "lit": sum(bool(each) for each in lit),
            "level": latest.get(("lights-floor-2", "lighting_level_command_1")) or 0,
            "fan": latest.get(("ahu-floor-2", "supply_fan_power")) or 0,
            "air": latest.get(("vav-floor-2", "supply_air_flow")) or 0,
            "occupied": latest.get(("vav-floor-2", "zone_occupied")) or 0,
            "power": latest.get(("offices-2", "power_active")) or 0,
        }

    until(lambda: seen()["lit"], "the first light", timeout_s=60)
    before = seen()
    now: dict[str, float] = {}

    def follows() -> bool:
        now.update(seen())
        return bool(now["occupied"]) and all(now[name] > before[name] for name in before if name != "occupied")

    until(follows, f"more light, air and power than {before}", timeout_s=150)
    assert 0 < now["level"] <= 100


def test_no_card_stands_anywhere_on_the_disk(campus: Campus) -> None:
    numbers = [str(number).encode() for card in STAFF for number in (card, on_board(card))]
    plates = [f"DEMO{card % 10_000:04d}".encode() for card in STAFF]
    for path in (path for path in campus.folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not [number for number in (*numbers, *plates) if number in content], path


def writings(card: int) -> list[bytes]:
    """A card as somebody may write it: as a number here and on door boards, facility code and number, in hexadecimal, as bits."""
    facility, number = card >> 16, card & 0xFFFF
    octets = card.to_bytes(3)
    return [
        *(str(one).encode() for one in (card, on_board(card), int.from_bytes(octets, "little"))),
        *(f"{facility}{mark}{number}".encode() for mark in (",", ":", "-", "/", " ", ", ")),
        *(one.encode() for one in (octets.hex(), octets.hex().upper(), octets.hex(" "), octets[::-1].hex())),
        f"{card:024b}".encode(),
    ]


IN_CLEAR = re.compile(
    rb"(?<![0-9A-Za-z])(?:0x|0+)?(?:%s)(?![0-9A-Za-z])"
    % b"|".join(re.escape(one) for card in STAFF for one in writings(card)),
    re.IGNORECASE,
)


def in_clear(data: bytes) -> list[bytes]:
    return sorted({found[0] for found in IN_CLEAR.finditer(data)})


def test_what_is_searched_for_is_found_where_it_is() -> None:
    card = STAFF[3]
    for text in (
        f'{{"card":"{card}"}}',
        f"card={on_board(card)},",
        f"0x{card:06X}",
        f"00{card}",
        f"{card >> 16}:{card & 0xFFFF} ",
    ):
        assert in_clear(text.encode()), text
    assert not in_clear(b"1795355245000 hmac:k1:0123456789abcdef")


@pytest.mark.timeout(180)
def test_no_card_is_in_clear_anywhere_in_the_house(campus: Campus, published: Listener) -> None:
    """What the agent, the broker's users and the centre keep, say, log and show. Only the simulated people know their cards."""

    def told() -> set[tuple[str, str]]:
        return {(event["device"], event["type"]) for event in events(campus)}

    until(lambda: EXPECTED.items() <= told() or None, "an event of each kind", timeout_s=120)
    before = len(published.heard)
    until(lambda: sum(b"hmac:" in payload for _, _, payload, _ in published.heard) > 5, "cards on the broker")
    places: dict[str, bytes] = {
        f"{topic}, message {at}": payload
        for at, (_, topic, payload, _) in enumerate(published.heard[: before + 10_000])
    }
    own = {campus.folder / "logs" / "morning.log"}
    files = [path for path in campus.folder.rglob("*") if path.is_file() and path not in own]
    places |= {str(path.relative_to(campus.folder)): path.read_bytes() for path in files if "secrets" not in path.parts}
    devices = [device["id"] for device in ask(campus.socket, "status")["devices"]]
    for question in ("status", "latest", "events", "metrics"):
        places[f"local API, {question}"] = json.dumps(ask(campus.socket, question)).encode()
    places["local API, all events"] = json.dumps(ask(campus.socket, "events", after=0)).encode()
    for device in devices:
        places[f"local API, {device}"] = json.dumps(ask(campus.socket, "latest", device=device)).encode()
    for path in ("/", "/api/v1/latest", "/api/v1/events?limit=1000", "/metrics", "/api/v1/devices", "/healthz"):
        with urllib.request.urlopen(campus.page.rstrip("/") + path, timeout=WAIT_S) as answer:
            places[f"HTTP {path}"] = answer.read()
    for command in (["status"], ["status", "--json"]):
        places[f"plantroom {command}"] = plantroom(*command, "--socket", campus.socket).stdout.encode()
    assert {Path(place).name for place in places} >= {"agent.log", "gateway.log"}
    assert any(b"hmac:" in data for place, data in places.items() if place.startswith("agent"))
    assert {place: found for place, data in places.items() if (found := in_clear(data))} == {}
