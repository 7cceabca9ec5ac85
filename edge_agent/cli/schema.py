"""`plantroom schema`: the JSON Schema of a file that people write, for their editor."""

from __future__ import annotations

import json
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Any

import typer


class File(StrEnum):
    """The files that people write."""

    agent = "agent"
    gateway = "gateway"
    profile = "profile"


MODELS = {
    File.agent: "edge_agent.config_schema:AgentFile",
    File.gateway: "gateway.config:GatewayFile",
    File.profile: "device_profiles.schema:Profile",
}
TITLES = {File.agent: "agent.yaml", File.gateway: "gateway.yaml", File.profile: "Device profile"}


def schema_of(file: File) -> dict[str, Any]:
    """JSON Schema 2020-12 of the file, generated from the model that also reads it."""
    module, _, name = MODELS[file].partition(":")
    schema: dict[str, Any] = getattr(import_module(module), name).model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": TITLES[file]}


def command(file: Annotated[File, typer.Argument(help="Which file: agent, gateway or profile.")]) -> None:
    """Print the JSON Schema of agent.yaml, gateway.yaml or a device profile.

    Save it and begin the file with `# yaml-language-server: $schema=agent.schema.json` to have an editor check it.
    """
    print(json.dumps(schema_of(file), indent=2, ensure_ascii=False))
