"""Which values stand behind the data identifiers of DL/T 645-1997.

The first digit of an identifier is the kind, the second what is counted and for which month (0 now, 4 the last, 8 the one
before), the third the direction, the fourth the tariff or phase; F there is a block.
Source: DL/T 645-1997, annex A (9xxx energy, Axxx demand, Bxxx variables and times of demands, Cxxx parameters).
"""

from __future__ import annotations

from .item import Item

_REACTIVE = "kV.A.h{reactive}"
_MONTHS = ((0x000, ""), (0x400, "_last_month"), (0x800, "_month_before"))
_COUNTED = {
    0x010: ("active_import", "kW.h"),
    0x020: ("active_export", "kW.h"),
    0x110: ("reactive_import", _REACTIVE),
    0x120: ("reactive_export", _REACTIVE),
    0x130: ("reactive_quadrant_1", _REACTIVE),
    0x140: ("reactive_quadrant_4", _REACTIVE),
    0x150: ("reactive_quadrant_2", _REACTIVE),
    0x160: ("reactive_quadrant_3", _REACTIVE),
}
_TARIFFS = 14

_TOTALS: dict[int, tuple[str, str, str, str | None]] = {
    kind + month + what: (prefix + name + suffix, ending, shape, unit.replace(".h", "") if kind == 0xA000 else unit)
    for kind, prefix, suffix, shape in (
        (0x9000, "energy_", "", "XXXXXX.XX"),
        (0xA000, "power_", "_demand_max", "XX.XXXX"),
    )
    for month, ending in _MONTHS
    for what, (name, unit) in _COUNTED.items()
} | {
    0xB000 + month + what: (f"power_{name}_demand_max_time_text", ending, "MMDDhhmm", None)
    for month, ending in _MONTHS
    for what, (name, _) in _COUNTED.items()
}
"""Identifiers of totals (0 in the last digit): id, what is added for the month, format, unit. Tariffs follow from 1 on."""

_SINGLES: dict[int, tuple[str, str, str | None]] = {
    0xB210: ("programming_time_text", "MMDDhhmm", None),
    0xB211: ("demand_clear_time_text", "MMDDhhmm", None),
    0xB212: ("programming_count", "XXXX", None),
    0xB213: ("demand_clear_count", "XXXX", None),
    0xB214: ("clock_battery_time", "XXXXXX", "min"),
    0xB310: ("phase_failure_count", "XXXX", None),
    0xB320: ("phase_failure_minutes", "XXXXXX", "min"),
    0xB330: ("phase_failure_begin_text", "MMDDhhmm", None),
    0xB340: ("phase_failure_end_text", "MMDDhhmm", None),
    **{0xB310 + n: (f"phase_failure_count_l{n}", "XXXX", None) for n in (1, 2, 3)},
    **{0xB320 + n: (f"phase_failure_minutes_l{n}", "XXXXXX", "min") for n in (1, 2, 3)},
    **{0xB330 + n: (f"phase_failure_begin_text_l{n}", "MMDDhhmm", None) for n in (1, 2, 3)},
    **{0xB340 + n: (f"phase_failure_end_text_l{n}", "MMDDhhmm", None) for n in (1, 2, 3)},
    **{0xB610 + n: (f"voltage_l{n}", "XXX", "V") for n in (1, 2, 3)},
    **{0xB620 + n: (f"current_l{n}", "XX.XX", "A") for n in (1, 2, 3)},
    0xB630: ("power_active", "XX.XXXX", "kW"),
    **{0xB630 + n: (f"power_active_l{n}", "XX.XXXX", "kW") for n in (1, 2, 3)},
    0xB634: ("power_import_limit", "XX.XX", "kW"),
    0xB635: ("power_export_limit", "XX.XX", "kW"),
    0xB640: ("power_reactive", "XX.XX", "kV.A{reactive}"),
    **{0xB640 + n: (f"power_reactive_l{n}", "XX.XX", "kV.A{reactive}") for n in (1, 2, 3)},
    0xB650: ("power_factor", "X.XXX", "1"),
    **{0xB650 + n: (f"power_factor_l{n}", "X.XXX", "1") for n in (1, 2, 3)},
    0xC010: ("date_text", "YYMMDDWW", None),
    0xC011: ("time_text", "hhmmss", None),
    0xC020: ("status_byte", "flags", None),
    0xC021: ("mains_status_byte", "flags", None),
    0xC022: ("weekend_days", "flags", None),
    0xC030: ("active_constant", "XXXXXX", None),
    0xC031: ("reactive_constant", "XXXXXX", None),
    0xC032: ("serial_text", "NNNNNNNNNNNN", None),
    0xC033: ("user_text", "NNNNNNNNNNNN", None),
    0xC034: ("device_text", "NNNNNNNNNNNN", None),
    0xC111: ("demand_period", "XX", "min"),
    0xC112: ("demand_step", "XX", "min"),
    0xC117: ("settlement_day_text", "DDhh", None),
}


def items_1997(di: int) -> tuple[Item, ...]:
    """The items behind a DL/T 645-1997 identifier; () for one not in the table. F in the last digit is a block."""
    if di & 0x0F == 0x0F:
        return tuple(item for low in range(15) for item in items_1997((di & 0xFFF0) + low))
    if di in _SINGLES:
        return (Item(*_SINGLES[di]),)
    tariff = di & 0x0F
    if di & 0xFFF0 not in _TOTALS or tariff > _TARIFFS:
        return ()
    name, month, shape, unit = _TOTALS[di & 0xFFF0]
    return (Item(name + (f"_t{tariff}" if tariff else "") + month, shape, unit),)
