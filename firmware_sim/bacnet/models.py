"""What a make of BACnet controller offers, as data: its object list and who it says it is.

The tables are in models_air.py, models_plant.py and models_small.py; this file owns their shape and the list of models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from firmware_sim.bacnet.world import World

Writes = Literal["", "commandable", "plain"]


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a controller. Outputs are always commandable; the others as `writes` says.

    `quantity` names the value in the controller's world (world.py); the world's own programme commands it where the object is
    commandable. A row without quantity keeps its `default` until somebody writes.
    """

    kind: str
    """Short form of the object type, as in names.KINDS: AI, AO, AV, BI, BO, BV, MSI, MSO, MSV, ACC, CSV, SCH, CAL, TL, LIFT."""
    instance: int
    name: str
    description: str
    units: str = ""
    """Engineering unit by its name in the standard, for analogue kinds."""
    quantity: str = ""
    texts: tuple[str, ...] = ()
    """State texts of a multistate from state 1; inactive and active text of a binary."""
    writes: Writes = ""
    default: float | str = 0.0
    """Relinquish default, or the value of an object that nothing moves."""
    low: float | None = None
    high: float | None = None
    """Limits of a write: outside is value-out-of-range."""
    increment: float = 0.1
    """COV increment of analogue kinds, in the object's unit."""
    of: str = ""
    """The other object this one is about, like AI:1: what a trend log records, what a schedule writes."""


@dataclass(frozen=True, slots=True)
class BacnetModel:
    """A make of controller. `source` says where its object list is from."""

    slug: str
    title: str
    source: str
    model_name: str
    firmware: str
    rows: Callable[[str], tuple[Row, ...]]
    """Its objects, each name with the given prefix before it."""
    world: Callable[[int, float], World]
    """(seed, seconds of local time ahead of UTC) -> the world behind the objects."""
    vendor_id: int = 999
    vendor: str = "Plantroom Simulators"
    instance: int = 1
    """Device instance where the fleet names none."""
    prefix: str = ""
    max_apdu: int = 1476
    segmentation: int = 0
    """BACnetSegmentation: 0 both, 1 transmit, 2 receive, 3 none."""
    max_subscriptions: int = 256
    has_multiple: bool = True
    """Knows ReadPropertyMultiple."""
    has_cov: bool = True
    has_cov_property: bool = False
    refresh_s: float = 1.0
    """How often values are taken over from the world, in seconds of the simulated clock."""
    mstp: bool = False
    """Sits on an MS/TP line behind a router: slow, one request at a time."""


_HERE = "firmware_sim.bacnet"

BACNET_MODELS: dict[str, tuple[str, str]] = {
    "bacnet-ahu": (
        f"{_HERE}.models_air:AHU",
        "BACnet air-handling unit: heating, cooling, mixing, two fans, schedule, trends",
    ),
    "bacnet-fcu": (f"{_HERE}.models_air:FCU", "BACnet fan coil unit of a room, three fan speeds"),
    "bacnet-vav": (f"{_HERE}.models_air:VAV", "BACnet VAV box with reheat on MS/TP, degrees Fahrenheit and cfm"),
    "bacnet-vav-floor": (
        f"{_HERE}.models_air:VAV_FLOOR",
        "BACnet supervisory controller with the objects of 40 VAV boxes",
    ),
    "bacnet-chiller-plant": (f"{_HERE}.models_plant:PLANT", "BACnet plant of two chillers, tower, four pumps, staging"),
    "bacnet-chiller": (f"{_HERE}.models_plant:CHILLER", "BACnet water-cooled chiller with its own controller"),
    "bacnet-boiler": (f"{_HERE}.models_small:BOILER", "BACnet condensing boiler"),
    "bacnet-cooling-tower": (f"{_HERE}.models_small:TOWER", "BACnet cooling tower with one variable-speed fan"),
    "bacnet-pump-set": (
        f"{_HERE}.models_small:PUMPS",
        "BACnet pump set: two pumps, duty and standby, pressure control",
    ),
    "bacnet-lighting-panel": (f"{_HERE}.models_small:LIGHTING", "BACnet lighting panel of eight circuits"),
    "bacnet-lift-bank": (f"{_HERE}.models_small:LIFTS", "BACnet gateway of three lifts: points and Lift objects"),
    "bacnet-points": (f"{_HERE}.models_small:POINTS", "BACnet device of forty analogue inputs, for benches"),
}
"""slug -> (import string, what it is)."""


def load_model(slug: str) -> BacnetModel:
    """Raises KeyError for a slug that is not in BACNET_MODELS."""
    module, _, name = BACNET_MODELS[slug][0].partition(":")
    model = getattr(import_module(module), name)
    assert isinstance(model, BacnetModel)
    return model


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one device of a make from the next."""

    instance: int
    name: str
    serial: str
    location: str = ""
