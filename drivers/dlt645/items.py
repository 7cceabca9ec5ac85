"""Which values stand behind the data identifiers of DL/T 645-2007: energies, demands, variables, event counts, frozen records.

A block identifier (FF in one byte) holds the items of that byte one after the other, as many as the meter has.
Source: DL/T 645-2007, annex A: tables A.1 (energy), A.2 (demand), A.3 (variables), A.4 (events), A.6 (frozen data).
"""

from __future__ import annotations

from collections.abc import Iterator

from .item import Item
from .parameters import SINGLES

BLOCK = 0xFF

_ENERGY = "XXXXXX.XX"
_REACTIVE = "kV.A.h{reactive}"
_QUANTITIES: tuple[tuple[str, str, bool], ...] = (
    ("active_import", "kW.h", False),
    ("active_export", "kW.h", False),
    ("reactive_combined_1", _REACTIVE, True),
    ("reactive_combined_2", _REACTIVE, True),
    ("reactive_quadrant_1", _REACTIVE, False),
    ("reactive_quadrant_2", _REACTIVE, False),
    ("reactive_quadrant_3", _REACTIVE, False),
    ("reactive_quadrant_4", _REACTIVE, False),
    ("apparent_import", "kV.A.h", False),
    ("apparent_export", "kV.A.h", False),
)
"""What is counted from DI2 = 01 on: id, unit, whether it can be negative."""
_PARTS = (
    "linked",
    "fundamental_import",
    "fundamental_export",
    "harmonic_import",
    "harmonic_export",
    "copper_loss",
    "iron_loss",
)
"""Active energies from DI2 = 80 on."""
_PHASES = ((0x00, ""), (0x14, "_l1"), (0x28, "_l2"), (0x3C, "_l3"))
"""What is added to DI2 for a phase."""

_ENERGIES: dict[int, tuple[str, str, bool]] = {
    0x00: ("energy_active", "kW.h", True),
    **{
        1 + at + step: (f"energy_{name}{phase}", unit, signed)
        for step, phase in _PHASES
        for at, (name, unit, signed) in enumerate(_QUANTITIES)
    },
    **{
        0x80 + at + step: (f"energy_active_{name}{phase}", "kW.h", True)
        for step, phase in _PHASES
        for at, name in enumerate(_PARTS)
    },
}
"""DI2 of energies (DI3 = 00): id, unit, whether it can be negative."""

_DEMAND_IDS = {
    "active_import": "power_demand_import_max",
    "active_export": "power_demand_export_max",
    "reactive_combined_1": "power_reactive_demand_1_max",
    "reactive_combined_2": "power_reactive_demand_2_max",
}
_DEMANDS: dict[int, tuple[str, str, bool]] = {
    1 + at + step: (_DEMAND_IDS.get(name, f"power_{name}_demand_max") + phase, unit.replace(".h", ""), signed)
    for step, phase in _PHASES
    for at, (name, unit, signed) in enumerate(_QUANTITIES)
}
"""DI2 of maximum demands (DI3 = 01), each followed by its time."""

_VARIABLES: dict[int, tuple[tuple[str, ...], str, str | None, bool]] = {
    0x01: (("voltage_l1", "voltage_l2", "voltage_l3"), "XXX.X", "V", False),
    0x02: (("current_l1", "current_l2", "current_l3"), "XXX.XXX", "A", True),
    0x03: (("power_active", "power_active_l1", "power_active_l2", "power_active_l3"), "XX.XXXX", "kW", True),
    0x04: (
        ("power_reactive", "power_reactive_l1", "power_reactive_l2", "power_reactive_l3"),
        "XX.XXXX",
        "kV.A{reactive}",
        True,
    ),
    0x05: (("power_apparent", "power_apparent_l1", "power_apparent_l2", "power_apparent_l3"), "XX.XXXX", "kV.A", True),
    0x06: (("power_factor", "power_factor_l1", "power_factor_l2", "power_factor_l3"), "X.XXX", "1", True),
    0x07: (("phase_angle_l1", "phase_angle_l2", "phase_angle_l3"), "XXX.X", "deg", False),
    0x08: (("voltage_thd_l1", "voltage_thd_l2", "voltage_thd_l3"), "XX.XX", "%", False),
    0x09: (("current_thd_l1", "current_thd_l2", "current_thd_l3"), "XX.XX", "%", False),
}
"""DI2 of variables (DI3 = 02): the items of DI1 in order. Totals stand at DI1 = 00 where there are four, phases from 01."""

_HARMONICS = {0x0A: "voltage", 0x0B: "current"}
_PHASE_EVENTS = {
    0x01: "voltage_loss", 0x02: "under_voltage", 0x03: "over_voltage", 0x04: "phase_failure", 0x0B: "current_loss",
    0x0C: "over_current", 0x0D: "current_failure", 0x0E: "power_reversal", 0x0F: "overload",
}  # fmt: skip
_EVENTS = {
    0x05: "voltage_loss_all", 0x06: "auxiliary_failure", 0x07: "voltage_sequence", 0x08: "current_sequence",
    0x09: "voltage_unbalance", 0x0A: "current_unbalance",
}  # fmt: skip
_LOGS = (
    "programming", "meter_clear", "demand_clear", "event_clear", "clock_set", "day_table_set", "zone_table_set", "weekend_set",
    "holiday_set", "active_mode_set", "reactive_mode_1_set", "reactive_mode_2_set", "settlement_set", "cover_opened",
    "terminals_opened",
)  # fmt: skip
"""DI1 of 0330: what was done to the meter."""


def items_2007(di: int) -> tuple[Item, ...]:
    """The items behind a DL/T 645-2007 identifier (DI3 in the high byte), in their order; () for one not in the table.

    Of a block all items that the standard has are given; a meter sends as many as it has.
    """
    if di in SINGLES:
        return (SINGLES[di],)
    di3, di2, di1, di0 = di.to_bytes(4, "big")
    if di3 == 0x00 and di2 in _ENERGIES:
        return tuple(item for day in _days(di0) for tariff in _tariffs(di1) for item in _energy(di2, tariff + day))
    if di3 == 0x01 and di2 in _DEMANDS:
        return tuple(item for day in _days(di0) for tariff in _tariffs(di1) for item in _demand(di2, tariff + day))
    if di3 == 0x02 and di2 in _VARIABLES and di0 == 0:
        return _variables(di2, di1)
    if di3 == 0x02 and di2 in _HARMONICS:
        return _harmonics(di2, di1, di0)
    if di3 == 0x03 and di0 == 0:
        return _event_counts(di2, di1)
    if di == 0x040005FF:
        return tuple(Item(f"status_word_{number}", "word") for number in range(1, 8))
    if di3 == 0x05 and di0:
        return _frozen(di1, f"_frozen_{di0}")
    return ()


def load_items() -> dict[int, tuple[Item, ...]]:
    """The values of a load record, by class. Source: annex B."""
    return {
        1: (*_variables(0x01, BLOCK), *_variables(0x02, BLOCK), SINGLES[0x02800002]),
        2: (*_variables(0x03, BLOCK), *_variables(0x04, BLOCK)),
        3: _variables(0x06, BLOCK),
        4: tuple(item for di2 in range(0x01, 0x05) for item in _energy(di2, "")),
        5: tuple(item for di2 in range(0x05, 0x09) for item in _energy(di2, "")),
        6: (SINGLES[0x02800004], SINGLES[0x02800005]),
    }


def _energy(di2: int, suffix: str) -> tuple[Item, ...]:
    name, unit, signed = _ENERGIES[di2]
    return (Item(name + suffix, _ENERGY, unit, signed=signed),)


def _demand(di2: int, suffix: str) -> tuple[Item, ...]:
    name, unit, signed = _DEMANDS[di2]
    return Item(name + suffix, "XX.XXXX", unit, signed=signed), Item(f"{name}_time_text{suffix}", "YYMMDDhhmm")


def _harmonics(di2: int, phase: int, order: int) -> tuple[Item, ...]:
    if not 1 <= phase <= 3 or not (1 <= order <= 21 or order == BLOCK):
        return ()
    orders = range(1, 22) if order == BLOCK else (order,)
    return tuple(Item(f"{_HARMONICS[di2]}_harmonic_{number}_l{phase}", "XX.XX", "%") for number in orders)


def _event_counts(di2: int, di1: int) -> tuple[Item, ...]:
    """How often, and for how long, something happened in all (DI0 = 00)."""
    if di2 in _PHASE_EVENTS and di1 == 0:
        name = _PHASE_EVENTS[di2]
        return tuple(
            item
            for phase in (1, 2, 3)
            for item in (Item(f"{name}_count_l{phase}", "XXXXXX"), Item(f"{name}_minutes_l{phase}", "XXXXXX", "min"))
        )
    if di2 in _EVENTS and di1 == 0:
        return Item(f"{_EVENTS[di2]}_count", "XXXXXX"), Item(f"{_EVENTS[di2]}_minutes", "XXXXXX", "min")
    if di2 == 0x11 and di1 == 0:
        return (Item("power_failure_count", "XXXXXX"),)
    if di2 == 0x30 and di1 < len(_LOGS):
        return (Item(f"{_LOGS[di1]}_count", "XXXXXX"),)
    return ()


def _frozen(di1: int, suffix: str) -> tuple[Item, ...]:
    """A frozen record: its time, energies or demands with their tariffs, or powers. Table A.6."""
    if di1 == 0x00:
        return (Item("freeze_time_text" + suffix, "YYMMDDhhmm"),)
    if di1 in range(0x01, 0x09):
        return tuple(item for tariff in _tariffs(BLOCK) for item in _energy(di1, tariff + suffix))
    if di1 in (0x09, 0x0A):
        return tuple(item for tariff in _tariffs(BLOCK) for item in _demand(di1 - 8, tariff + suffix))
    if di1 == 0x10:
        return tuple(
            Item(item.id + suffix, item.format, item.unit, signed=item.signed)
            for di2 in (0x03, 0x04)
            for item in _variables(di2, BLOCK)
        )
    return ()


def _variables(di2: int, di1: int) -> tuple[Item, ...]:
    names, shape, unit, signed = _VARIABLES[di2]
    first = 0 if len(names) == 4 else 1
    chosen = names if di1 == BLOCK else names[di1 - first : di1 - first + 1] if di1 >= first else ()
    return tuple(Item(name, shape, unit, signed=signed) for name in chosen)


def _tariffs(di1: int) -> Iterator[str]:
    if di1 == BLOCK:
        yield from ("" if number == 0 else f"_t{number}" for number in range(64))
    else:
        yield f"_t{di1}" if di1 else ""


def _days(di0: int) -> Iterator[str]:
    """Now, and the ends of the last twelve settlement periods."""
    if di0 == BLOCK:
        yield from ("" if number == 0 else f"_settlement_{number}" for number in range(13))
    else:
        yield f"_settlement_{di0}" if di0 else ""
