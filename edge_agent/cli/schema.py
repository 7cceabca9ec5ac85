"""`plantroom schema`: the JSON Schema of a file that people write, for their editor."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from enum import StrEnum
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer


class File(StrEnum):
    """The files that people write."""

    agent = "agent"
    gateway = "gateway"
    profile = "profile"


MODELS = {
    File.agent: "edge_agent.config.schema:AgentFile",
    File.gateway: "gateway.config_schema:GatewayFile",
    File.profile: "device_profiles.schema:Profile",
}
TITLES = {File.agent: "agent.yaml", File.gateway: "gateway.yaml", File.profile: "Device profile"}


def schema_of(file: File) -> dict[str, Any]:
    """JSON Schema 2020-12 of the file, generated from the model that also reads it, with the fields' docstrings."""
    module, _, name = MODELS[file].partition(":")
    model = getattr(import_module(module), name)
    schema: dict[str, Any] = model.model_json_schema(by_alias=True)
    for found in _models_of(model):
        described = schema if found is model else schema.get("$defs", {}).get(found.__name__, {})
        for key, text in _docstrings(found).items():
            described.get("properties", {}).get(key, {}).setdefault("description", text)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": TITLES[file]}


def _models_of(model: Any) -> set[Any]:
    """The model and those that its fields hold."""
    from device_profiles.findings import models_in

    found = {model}
    waiting = [model]
    while waiting:
        for field in waiting.pop().model_fields.values():
            new = set(models_in(field.annotation)) - found
            found |= new
            waiting += new
    return found


def _docstrings(model: Any) -> dict[str, str]:
    """Field key to the text below the field. Read here, from the source, so that the agent never pays for it."""
    from pydantic import BaseModel

    result: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, BaseModel) or owner is BaseModel:
            continue
        definition = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(definition, ast.ClassDef)
        for statement, after in pairwise(definition.body):
            name = statement.target.id if _is_field(statement) else ""  # type: ignore[attr-defined]
            if name in model.model_fields and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                result[model.model_fields[name].alias or name] = inspect.cleandoc(str(after.value.value))
    return result


def _is_field(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)


def command(file: Annotated[File, typer.Argument(help="Which file: agent, gateway or profile.")]) -> None:
    """Print the JSON Schema of agent.yaml, gateway.yaml or a device profile.

    Save it and begin the file with `# yaml-language-server: $schema=agent.schema.json` to have an editor check it.
    """
    print(json.dumps(schema_of(file), indent=2, ensure_ascii=False))
