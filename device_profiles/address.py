"""Where a point is on its device: one address model a protocol.

Addresses are the driver's business only. In a file the keys of a Modbus address may stand beside the point's own: `reg: 0x34`
(with `table`), or `model: 103` with `at: 14`; so may `object:` of a BACnet address, `node:` or `path:` of an OPC UA one,
`di:`, `format:`, `signed:`, `block:`, `item:` of a DL/T 645 one, and `get:`, `pick:` ... of an HTTP one.
`{prefix}` in a name, node or path is replaced by the device's own `prefix`: one controller often holds many devices.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Discriminator, Field, Tag, field_validator, model_validator

from .address_doors import Told as Told
from .address_doors import Uhppote as Uhppote
from .address_http import Http as Http
from .address_meters import METERS_SHORT
from .address_meters import Cjt188 as Cjt188
from .address_meters import Dlt645 as Dlt645
from .address_meters import Mbus as Mbus
from .address_onvif import Onvif as Onvif
from .address_osdp import SHORT as OSDP_SHORT
from .address_osdp import Osdp as Osdp
from .address_pjlink import Pjlink as Pjlink
from .address_strings import SHORT as STRINGS_SHORT
from .address_strings import StringsField as StringsField
from .bacnet import MAX_INSTANCE, parse_object
from .strict import Strict as Strict

Table = Literal["holding", "input", "coil", "discrete"]

SHORT_KEYS = (
    "table", "reg", "model", "at", "object", "node", "path", "di", "format", "signed", "block", "item", "record",
    "get", "post", "body", "pick", "words", "counted", "clock", "shown",
    *METERS_SHORT, *STRINGS_SHORT, *OSDP_SHORT,
    "board", "told", "door", "pjlink", "onvif",
)  # fmt: skip
"""Keys of an address that may stand beside the point's own."""

SHORT_SCHEMA: dict[str, Any] = {
    "reg": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "Register from 0, as on the wire."},
    "table": {"enum": ["holding", "input", "coil", "discrete"]},
    "model": {
        "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}],
        "description": "SunSpec model.",
    },
    "at": {"type": "integer", "minimum": 0, "description": "Register inside the SunSpec model, counted from its ID."},
    "object": {"type": "string", "description": "BACnet object, as analog-input:3 or AI:3."},
    "node": {"type": "string", "description": "OPC UA node id, as nsu=urn:plant;s=Chiller1.SupplyTemperature."},
    "path": {"type": "string", "description": "OPC UA browse path from the Objects folder, as Plant/Chiller1/Supply."},
    "di": {
        "type": "integer",
        "minimum": 0,
        "maximum": 0xFFFFFFFF,
        "description": "DL/T 645 identifier, DI3 or DI1 first.",
    },
    "format": {"type": "string", "description": "DL/T 645 format, as XXXXXX.XX."},
    "signed": {"type": "boolean", "description": "DL/T 645: the top bit is the sign."},
    "block": {
        "type": "integer",
        "minimum": 0,
        "maximum": 0xFFFFFFFF,
        "description": "DL/T 645 block that holds the value.",
    },
    "item": {"type": "integer", "minimum": 0, "maximum": 99, "description": "Place in the block, from 0."},
    "record": {
        "type": "object",
        "description": "DL/T 645: where the meter keeps the value's past, as time, value, count.",
    },
    "get": {"type": "string", "description": "HTTP resource, as /ISAPI/System/deviceInfo."},
    "post": {"type": "string", "description": "HTTP resource that is asked by POST, with body."},
    "body": {"description": "What is posted: text, or a mapping as JSON."},
    "pick": {"type": "string", "description": "The way into the HTTP answer, as AcsWorkStatus/doorStatus/0."},
    "words": {"type": "object", "description": "HTTP: the device's words as numbers, as {ok: 1, idle: 2}."},
    "counted": {"type": "boolean", "description": "HTTP: how many elements pick finds."},
    "clock": {"type": "boolean", "description": "HTTP: pick finds date and time; the value is seconds ahead of ours."},
    "board": {"type": "string", "description": "UHPPOTE: what of the board, as door_open."},
    "told": {"type": "string", "description": "ZKTeco: what the terminal told, as online or UserCount."},
    "door": {"type": "integer", "minimum": 1, "maximum": 8, "description": "UHPPOTE and ZKTeco: a door of the board."},
    "pjlink": {"type": "string", "description": "Fact of a PJLink display: power, input, lamp_hours:1, error:fan ..."},
    "onvif": {"type": "string", "description": "Fact of an ONVIF device: online, clock, stream:1, snapshot ..."},
    "shown": {"type": "string", "description": "HTTP: a text made of it, with {host} and {value}."},
    **METERS_SHORT,
    **STRINGS_SHORT,
    **OSDP_SHORT,
}

PREFIX = "{prefix}"


class Modbus(Strict):
    """A Modbus address. Registers are numbered from 0 as on the wire; `model` and `offset` instead of `reg` for SunSpec
    (offset counts from the model's ID register, as the SunSpec model documents do)."""

    table: Table = "holding"
    reg: int | None = Field(default=None, ge=0, le=65535)
    model: int | tuple[int, ...] | None = None
    """A SunSpec model, or several that keep the point at the same offset (101, 102, 103)."""
    offset: int | None = Field(default=None, ge=0, le=65535, validation_alias=AliasChoices("at", "offset"))

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.model is None) != (self.offset is None):
            raise ValueError("a SunSpec address needs both model and at")
        if self.model is not None and self.reg is not None:
            raise ValueError("an address has either reg, or model and at")
        return self

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        if self.model is not None:
            return f"model {self.model} +{self.offset}"
        return None if self.reg is None else f"{self.table}:0x{self.reg:04x}"

    def shifted(self, step: int) -> Self:
        """The address of the same point `step` registers further on."""
        key = "offset" if self.model is not None else "reg"
        start = getattr(self, key)
        return self if start is None else self.model_copy(update={key: start + step})


class Bacnet(Strict):
    """A property of a BACnet object, which is named by type and instance, or by its Object_Name (`*` stands for any text).

    `property` is the name of the standard (`present-value`) or a maker's number; `index` an element of an array.
    """

    object: str | None = None
    name: str | None = Field(default=None, min_length=1, max_length=255)
    prop: str = Field(default="present-value", alias="property", pattern=r"^([a-z][a-z0-9-]{1,60}|[0-9]{1,7})$")
    index: int | None = Field(default=None, ge=0, le=65535)
    log: str | None = None
    """The trend log that keeps this point's past, as `trend-log:4`; None lets the device say."""

    @field_validator("object", "log")
    @classmethod
    def _canonical(cls, text: str | None) -> str | None:
        return None if text is None else "{}:{}".format(*parse_object(text))

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.object is None) == (self.name is None):
            raise ValueError("a BACnet address has either object, or name")
        return self

    @property
    def kind(self) -> str | None:
        """The object's type; None where only its name is known."""
        return None if self.object is None else self.object.partition(":")[0]

    @property
    def instance(self) -> int | None:
        """The object's instance; None where only its name is known."""
        return None if self.object is None else int(self.object.partition(":")[2])

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        text = self.object or f'"{self.name}"'
        if self.prop != "present-value":
            text += f" {self.prop}"
        return text if self.index is None else f"{text}[{self.index}]"

    def shifted(self, step: int) -> Self:
        """The address of the same point in the next of several equal devices: `step` instances further on."""
        if self.object is None:
            return self
        return self.model_copy(update={"object": f"{self.kind}:{min(int(self.instance or 0) + step, MAX_INSTANCE)}"})

    def prefixed(self, prefix: str) -> Self:
        """The address on the device of this prefix."""
        return self if self.name is None else self.model_copy(update={"name": self.name.replace(PREFIX, prefix)})


class OpcUa(Strict):
    """An OPC UA variable: by node id (`nsu=urn:plant;s=..` or `ns=2;i=..`), or by browse path from the Objects folder.

    `namespace` is the URI that node (without its own `ns=` or `nsu=`) and path elements are in: indexes change with a server's
    configuration, URIs do not. A path element may be written `2:Name` all the same.
    """

    node: str | None = Field(default=None, min_length=3, max_length=1024)
    path: str | None = Field(default=None, min_length=1, max_length=1024)
    namespace: str | None = Field(default=None, max_length=1024)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.node is None) == (self.path is None):
            raise ValueError("an OPC UA address has either node, or path")
        return self

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return self.node or self.path

    def shifted(self, step: int) -> Self:
        """OPC UA devices are told apart by their prefix, not by number."""
        return self

    def prefixed(self, prefix: str) -> Self:
        """The address on the device of this prefix."""
        given = {"node": self.node, "path": self.path}
        return self.model_copy(update={key: text and text.replace(PREFIX, prefix) for key, text in given.items()})


class Virtual(Strict):
    """A sum over other devices' points: `plus` minus `minus`, each `device/point`."""

    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()

    @property
    def reference(self) -> str | None:
        """A computed point stands nowhere."""
        return None

    def shifted(self, step: int) -> Self:
        """A computed point is nowhere to be moved from."""
        return self


_KINDS: dict[str, tuple[type[Strict], frozenset[str]]] = {
    "Modbus": (Modbus, frozenset({"table", "reg", "model"})),
    "Bacnet": (Bacnet, frozenset({"object", "name", "property"})),
    "OpcUa": (OpcUa, frozenset({"node", "path", "namespace"})),
    "Dlt645": (Dlt645, frozenset({"di"})),
    "Cjt188": (Cjt188, frozenset({"cjt188"})),
    "Mbus": (Mbus, frozenset({"mbus"})),
    "Http": (Http, frozenset({"get", "post"})),
    "Uhppote": (Uhppote, frozenset({"board"})),
    "Told": (Told, frozenset({"told"})),
    "StringsField": (StringsField, frozenset({"frame", "tally"})),
    "Osdp": (Osdp, frozenset({"osdp"})),
    "Pjlink": (Pjlink, frozenset({"pjlink"})),
    "Onvif": (Onvif, frozenset({"onvif"})),
    "Virtual": (Virtual, frozenset({"plus", "minus"})),
}


def _address_kind(value: Any) -> str:
    """Tells the protocols' addresses apart by their keys; what is none of them stays a mapping for its own driver to read."""
    for kind, (model, keys) in _KINDS.items():
        if isinstance(value, model) or (isinstance(value, dict) and value.keys() & keys):
            return kind
    return "Other"


AnyAddress = Annotated[
    Annotated[Modbus, Tag("Modbus")]
    | Annotated[Bacnet, Tag("Bacnet")]
    | Annotated[OpcUa, Tag("OpcUa")]
    | Annotated[Dlt645, Tag("Dlt645")]
    | Annotated[Cjt188, Tag("Cjt188")]
    | Annotated[Mbus, Tag("Mbus")]
    | Annotated[Http, Tag("Http")]
    | Annotated[Uhppote, Tag("Uhppote")]
    | Annotated[Told, Tag("Told")]
    | Annotated[StringsField, Tag("StringsField")]
    | Annotated[Osdp, Tag("Osdp")]
    | Annotated[Pjlink, Tag("Pjlink")]
    | Annotated[Onvif, Tag("Onvif")]
    | Annotated[Virtual, Tag("Virtual")]
    | Annotated[dict[str, Any], Tag("Other")],
    Discriminator(_address_kind),
]


def with_address(data: Any) -> Any:
    """The short keys of a point (`reg`, `object`, `node`, ...) put into its address."""
    if not isinstance(data, dict) or not any(key in data for key in SHORT_KEYS):
        return data
    rest = {key: value for key, value in data.items() if key not in SHORT_KEYS}
    short = {key: data[key] for key in SHORT_KEYS if key in data}
    given = rest.get("address") or {}
    if not isinstance(given, dict) or short.keys() & given.keys():
        return data  # both forms at once: the unknown key is then the error
    return {**rest, "address": {**short, **given}}
