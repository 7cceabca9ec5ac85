"""JSON Schemas and the AsyncAPI 3.0 document of the contract, written from the structs.

`python -m gateway.contract.generate [--check]`. The producer's schemas are strict: no key that the struct does not
have and no word that it does not list. The consumer's are lenient: unknown keys and words pass, as later versions 1.x add some.
Nothing here is edited by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.contract import events, messages
from gateway.contract.topics import CONTRACT

FOLDER = Path(__file__).parent / "schemas"
_COMPONENTS = "#/$defs/{name}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One line of the table of CONTRACT.md section 2."""

    name: str
    address: str
    struct: type[msgspec.Struct] | None
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    text: str = ""


CHANNELS = (
    Channel(
        "status", "up/status", messages.Status, retain=True, text="online, offline, maintenance; the will says lost"
    ),
    Channel("caps", "up/caps", messages.Caps, retain=True, text="contract versions, drivers, operations"),
    Channel("site", "up/site", messages.Site, retain=True, text="time zone, name, building id, holiday calendar"),
    Channel(
        "meta",
        "up/dev/{device}/meta",
        messages.Meta,
        retain=True,
        text="the device's class and points; empty = removed",
    ),
    Channel("state", "up/dev/{device}/state", messages.State, retain=True, text="reachability and counters"),
    Channel("last", "up/dev/{device}/last", messages.Last, retain=True, text="last values: what a new subscriber sees"),
    Channel("data", "up/data/{device}", messages.Telemetry, text="telemetry, published within 60 s of t"),
    Channel("hist", "up/hist/{device}", messages.Telemetry, text="the same messages, late"),
    Channel("event", "up/event/{device}/{class}", messages.Event, text="CloudEvents 1.0"),
    Channel(
        "alarm", "up/alarm/{device}/{alarm}", messages.Alarm, retain=True, text="an active alarm; empty once cleared"
    ),
    Channel(
        "config_reported", "up/config/reported", messages.ConfigReported, retain=True, text="applied revision, errors"
    ),
    Channel(
        "command_result", "up/cmd/{id}", messages.CommandResult, expiry_s=3600, text="progress and result of a command"
    ),
    Channel(
        "discovery", "up/discovery/{scan}", None, expiry_s=86400, text="one message a device found, then a summary"
    ),
    Channel("diag", "up/diag/{id}", None, expiry_s=600, text="answers to diagnostics"),
    Channel("metrics", "up/metrics", None, qos=0, expiry_s=60, text="the agent's own figures"),
    Channel("config_desired", "down/config/desired", messages.ConfigDesired, retain=True, text="desired configuration"),
    Channel("command", "down/cmd/{id}", messages.Command, text="a command; expires with its exp, never retained"),
    Channel("ack", "down/ack", messages.Ack, expiry_s=300, text="durable-write acknowledgements"),
)
_PARAMETERS = {
    "root": "plantroom unless configured",
    "site": "site id",
    "agent": "agent id, unique over all sites",
    "device": "device id, unique within a site",
    "class": "event class: the part of the event's name before the dot",
    "alarm": "alarm id",
    "id": "command id",
    "scan": "scan id",
}


def documents() -> dict[str, dict[str, Any]]:
    """Every generated file by its name."""
    structs = {channel.struct for channel in CHANNELS if channel.struct is not None}
    found: dict[str, dict[str, Any]] = {}
    for struct in structs:
        schema = _schema(struct)
        name = _kebab(struct.__name__)
        found[f"{name}.producer.json"] = _titled(_closed(schema), f"{struct.__name__}, as a producer may write it")
        found[f"{name}.consumer.json"] = _titled(_open(schema), f"{struct.__name__}, as a consumer must accept it")
    for name, data in events.DATA.items():
        found[f"event.{name}.json"] = _titled(_closed(_schema(data)), f"data of the event {messages.event_type(name)}")
    found["asyncapi.json"] = _asyncapi()
    return found


def _schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components((struct,), ref_template=_COMPONENTS)
    top = components.pop(struct.__name__)
    assert schema == {"$ref": _COMPONENTS.format(name=struct.__name__)}
    return dict(top) | ({"$defs": components} if components else {})


def _closed(schema: Any) -> Any:
    """The same with no key and no word beyond those that are listed, at every level."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {("enum" if key == messages.KNOWN_VALUES else key): _closed(value) for key, value in schema.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed["additionalProperties"] = False
    return closed


def _open(schema: Any) -> Any:
    """The same with the listed words as examples, at every level."""
    if isinstance(schema, list):
        return [_open(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {("examples" if key == messages.KNOWN_VALUES else key): _open(value) for key, value in schema.items()}


def _titled(schema: dict[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def _asyncapi() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Plantroom MQTT contract",
            "version": CONTRACT,
            "description": "What an agent and the centre say to each other. Generated; the rules are in CONTRACT.md.",
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {channel.name: _operation(channel) for channel in CHANNELS},
        "components": {"messages": {channel.name: _message(channel) for channel in CHANNELS}},
    }


def _channel(channel: Channel) -> dict[str, Any]:
    address = f"{{root}}/v1/{{site}}/{{agent}}/{channel.address}"
    names = [name for name in _PARAMETERS if f"{{{name}}}" in address]
    return {
        "address": address,
        "description": channel.text,
        "parameters": {name: {"description": _PARAMETERS[name]} for name in names},
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    binding: dict[str, Any] = {"qos": channel.qos, "retain": channel.retain, "bindingVersion": "0.2.0"}
    if channel.expiry_s is not None:
        binding["messageExpiryInterval"] = channel.expiry_s
    return {
        # From the agent's side: it sends what goes up and receives what comes down.
        "action": "send" if channel.address.startswith("up/") else "receive",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "bindings": {"mqtt": binding},
    }


def _message(channel: Channel) -> dict[str, Any]:
    message: dict[str, Any] = {"name": channel.name, "contentType": "application/json"}
    if channel.struct is not None:
        message["payload"] = {"$ref": f"{_kebab(channel.struct.__name__)}.consumer.json"}
    return message


def _kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def rendered() -> dict[str, str]:
    """File name to exact content."""
    return {
        name: json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for name, document in sorted(documents().items())
    }


def stale(folder: Path = FOLDER) -> list[str]:
    """Names of files that are missing, differ or are too many."""
    wanted = rendered()
    there = {path.name: path.read_text() for path in folder.glob("*.json")} if folder.is_dir() else {}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(folder: Path = FOLDER) -> None:
    """Write all of them and remove what is no longer made."""
    folder.mkdir(exist_ok=True)
    wanted = rendered()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (folder / name).write_text(content)


def main(arguments: Iterable[str]) -> int:
    """0 done or fresh, 1 stale, 2 usage."""
    match list(arguments):
        case []:
            write()
        case ["--check"]:
            if found := stale():
                sys.stderr.write(f"{FOLDER.name}: {', '.join(found)} not as the structs say; run `make generate`\n")
                return 1
        case _:
            sys.stderr.write("usage: python -m gateway.contract.generate [--check]\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
