"""Objects of air-side controllers: an air-handling unit, a fan coil, a VAV box and a floor of them.

Source: unverified; names and object choice follow points lists that makers of unitary and programmable controllers publish.
"""

from __future__ import annotations

from firmware_sim.bacnet.models import BacnetModel, Row
from firmware_sim.bacnet.worlds_air import AirHandler, FanCoil, VavBox, VavFloor

_C, _PCT, _PA, _F, _CFM = "degrees-celsius", "percent", "pascals", "degrees-fahrenheit", "cubic-feet-per-minute"
_RH, _PPM, _H, _M3H = "percent-relative-humidity", "parts-per-million", "hours", "cubic-meters-per-hour"
_OFF_ON, _NORMAL_ALARM = ("Off", "On"), ("Normal", "Alarm")
_OCCUPANCY = ("Occupied", "Unoccupied", "Standby", "Bypass")


def ahu_rows(prefix: str) -> tuple[Row, ...]:
    p = prefix
    return (
        Row("AI", 1, f"{p}SA-T", "Supply air temperature", _C, "supply_c"),
        Row("AI", 2, f"{p}RA-T", "Return air temperature", _C, "return_c"),
        Row("AI", 3, f"{p}MA-T", "Mixed air temperature", _C, "mixed_c"),
        Row("AI", 4, f"{p}OA-T", "Outside air temperature", _C, "outside_c"),
        Row("AI", 5, f"{p}SA-H", "Supply air humidity", _RH, "supply_rh", increment=1.0),
        Row("AI", 6, f"{p}RA-H", "Return air humidity", _RH, "return_rh", increment=1.0),
        Row("AI", 7, f"{p}RA-CO2", "Return air carbon dioxide", _PPM, "return_co2", increment=10.0),
        Row("AI", 8, f"{p}SA-P", "Supply duct static pressure", _PA, "supply_pa", increment=5.0),
        Row("AI", 9, f"{p}FLT-DP", "Supply filter differential pressure", _PA, "filter_pa", increment=5.0),
        Row("AI", 10, f"{p}SA-FLOW", "Supply air flow", _M3H, "supply_m3h", increment=50.0),
        Row("AI", 11, f"{p}SF-SPD", "Supply fan speed feedback", _PCT, "supply_speed", increment=1.0),
        Row("AI", 12, f"{p}RF-SPD", "Return fan speed feedback", _PCT, "return_speed", increment=1.0),
        Row("AI", 13, f"{p}SF-KW", "Supply fan power", "kilowatts", "supply_kw"),
        Row("BI", 1, f"{p}SF-S", "Supply fan status", "", "supply_runs", _OFF_ON),
        Row("BI", 2, f"{p}RF-S", "Return fan status", "", "return_runs", _OFF_ON),
        Row("BI", 3, f"{p}SF-ALM", "Supply fan VFD fault", "", "supply_fault", _NORMAL_ALARM),
        Row("BI", 4, f"{p}LT-A", "Low temperature (freeze) alarm", "", "freeze", _NORMAL_ALARM),
        Row("BI", 5, f"{p}FLT-A", "Supply filter dirty", "", "filter_dirty", ("Clean", "Dirty")),
        Row("BI", 6, f"{p}SMK-A", "Supply duct smoke alarm", "", "smoke", _NORMAL_ALARM),
        Row("AO", 1, f"{p}HTG-VLV", "Heating valve command", _PCT, "heating_valve", low=0, high=100, increment=1.0),
        Row("AO", 2, f"{p}CLG-VLV", "Cooling valve command", _PCT, "cooling_valve", low=0, high=100, increment=1.0),
        Row("AO", 3, f"{p}OAD", "Outside air damper command", _PCT, "damper", low=0, high=100, increment=1.0),
        Row("AO", 4, f"{p}SF-VFD", "Supply fan speed command", _PCT, "supply_command", low=0, high=100, increment=1.0),
        Row("AO", 5, f"{p}RF-VFD", "Return fan speed command", _PCT, "return_command", low=0, high=100, increment=1.0),
        Row("BO", 1, f"{p}SF-C", "Supply fan start/stop", "", "supply_start", _OFF_ON),
        Row("BO", 2, f"{p}RF-C", "Return fan start/stop", "", "return_start", _OFF_ON),
        Row("AV", 1, f"{p}SAT-SP", "Supply air temperature set-point", _C, "supply_sp", (), "commandable", 18.0, 10, 35),
        Row("AV", 2, f"{p}SAP-SP", "Duct static pressure set-point", _PA, "pressure_sp", (), "commandable", 250.0, 50, 600),
        Row("AV", 3, f"{p}CO2-SP", "Return air CO2 set-point", _PPM, "co2_sp", (), "commandable", 900.0, 400, 2000),
        Row("AV", 4, f"{p}MINOA-SP", "Minimum outside air damper position", _PCT, "damper_min", (), "plain", 20.0, 0, 100),
        Row("AV", 5, f"{p}SAT-SP-EFF", "Effective supply air temperature set-point", _C, "supply_sp_effective"),
        Row("AV", 6, f"{p}SF-HRS", "Supply fan run hours", _H, "hours", increment=1.0),
        Row("AV", 7, f"{p}ECON-SP", "Economizer changeover temperature", _C, "economizer_sp", (), "plain", 20.0, 5, 30),
        Row("BV", 1, f"{p}SYS-EN", "System enable", "", "enable", ("Disable", "Enable"), "commandable", 1),
        Row("BV", 2, f"{p}ECON", "Economizer active", "", "economizer", _OFF_ON),
        Row("BV", 3, f"{p}ALM-RST", "Alarm reset", "", "reset", _OFF_ON, "commandable"),
        Row("MSV", 1, f"{p}OCC-MODE", "Occupancy mode", "", "occupancy", _OCCUPANCY, "commandable", 1),
        Row("MSV", 2, f"{p}UNIT-STATE", "Unit state", "", "state",
            ("Off", "Heating", "Free cooling", "Cooling", "Ventilation", "Freeze protection")),
        Row("CSV", 1, f"{p}LOC", "Where the unit stands", default="Roof, plant room 1"),
        Row("SCH", 1, f"{p}OCC-SCH", "Occupancy schedule", default=1, of="MSV:1"),
        Row("CAL", 1, f"{p}HOLIDAYS", "Holidays"),
        Row("TL", 1, f"{p}SA-T-TL", "Trend of the supply air temperature", of="AI:1"),
        Row("TL", 2, f"{p}OA-T-TL", "Trend of the outside air temperature", of="AI:4"),
    )  # fmt: skip


def fcu_rows(prefix: str) -> tuple[Row, ...]:
    p = prefix
    return (
        Row("AI", 1, f"{p}RoomTemp", "Room temperature", _C, "room_c"),
        Row("AI", 2, f"{p}SupplyTemp", "Discharge air temperature", _C, "supply_c"),
        Row("AI", 3, f"{p}WallOffset", "Set-point offset at the wall module", "delta-degrees-kelvin", "wall_offset"),
        Row("BI", 1, f"{p}FanStatus", "Fan status", "", "fan_runs", _OFF_ON),
        Row("BI", 2, f"{p}Window", "Window contact", "", "window", ("Closed", "Open")),
        Row("BI", 3, f"{p}Condensate", "Condensate tray full", "", "condensate", _NORMAL_ALARM),
        Row("BI", 4, f"{p}Motion", "Occupancy sensor", "", "motion", ("Vacant", "Occupied")),
        Row("AO", 1, f"{p}CoolValve", "Cooling valve", _PCT, "cooling_valve", low=0, high=100, increment=1.0),
        Row("AO", 2, f"{p}HeatValve", "Heating valve", _PCT, "heating_valve", low=0, high=100, increment=1.0),
        Row("MSO", 1, f"{p}FanSpeed", "Fan speed", "", "fan_stage", ("Off", "Low", "Medium", "High"), default=1),
        Row("AV", 1, f"{p}RoomTempSp", "Room temperature set-point", _C, "room_sp", (), "commandable", 22.0, 15, 30),
        Row("AV", 2, f"{p}EffectSp", "Effective room temperature set-point", _C, "room_sp_effective"),
        Row(
            "AV", 3, f"{p}SetbackSp", "Unoccupied set-back", "delta-degrees-kelvin", "setback", (), "plain", 3.0, 0, 10
        ),
        Row("BV", 1, f"{p}UnitEnable", "Unit enable", "", "enable", ("Disable", "Enable"), "commandable", 1),
        Row("MSV", 1, f"{p}OccMode", "Occupancy mode", "", "occupancy", _OCCUPANCY, "commandable", 1),
        Row("MSV", 2, f"{p}HvacMode", "Heating or cooling", "", "state", ("Off", "Heating", "Cooling", "Fan only")),
    )


def vav_rows(prefix: str) -> tuple[Row, ...]:
    return box_rows(prefix, 0)


def box_rows(prefix: str, base: int, key: str = "") -> tuple[Row, ...]:
    """A VAV box with its instances from `base` + 1 on; `key` before its quantities."""
    p, k, n = prefix, key, base
    return (
        Row("AI", n + 1, f"{p}ZN-T", "Zone temperature", _F, f"{k}zone_f", increment=0.2),
        Row("AI", n + 2, f"{p}DA-T", "Discharge air temperature", _F, f"{k}discharge_f", increment=0.5),
        Row("AI", n + 3, f"{p}SA-F", "Supply air flow", _CFM, f"{k}flow_cfm", increment=10.0),
        Row("AI", n + 4, f"{p}ZN-CO2", "Zone carbon dioxide", _PPM, f"{k}co2", increment=20.0),
        Row("BI", n + 1, f"{p}OCC-S", "Occupancy sensor", "", f"{k}motion", ("Vacant", "Occupied")),
        Row("AO", n + 1, f"{p}DPR-O", "Damper command", _PCT, f"{k}damper", low=0, high=100, increment=1.0),
        Row("AO", n + 2, f"{p}HTG-O", "Reheat valve command", _PCT, f"{k}reheat", low=0, high=100, increment=1.0),
        Row("AV", n + 1, f"{p}ZN-SP", "Zone temperature set-point", _F, f"{k}zone_sp", (), "commandable", 72.0, 60, 85),
        Row("AV", n + 2, f"{p}CLG-SP", "Effective cooling set-point", _F, f"{k}cooling_sp"),
        Row("AV", n + 3, f"{p}HTG-SP", "Effective heating set-point", _F, f"{k}heating_sp"),
        Row("AV", n + 4, f"{p}SAFLOW-SP", "Supply air flow set-point", _CFM, f"{k}flow_sp", increment=10.0),
        Row("AV", n + 5, f"{p}CLG-MAXFLOW", "Cooling maximum flow", _CFM, f"{k}flow_max", (), "plain", 800.0, 0, 3000),
        Row("AV", n + 6, f"{p}MINFLOW", "Occupied minimum flow", _CFM, f"{k}flow_min", (), "plain", 150.0, 0, 3000),
        Row("MSV", n + 1, f"{p}OCC-MODE", "Occupancy mode", "", f"{k}occupancy", _OCCUPANCY, "commandable", 1),
        Row("MSV", n + 2, f"{p}UNIT-STATE", "Box state", "", f"{k}state", ("Satisfied", "Cooling", "Heating", "Shut")),
    )


FLOOR_BOXES = 40


def floor_rows(prefix: str) -> tuple[Row, ...]:
    """Forty boxes on one supervisory controller; box n has the instances n00 + 1 and on, its names begin with VAV-3-nn."""
    boxes = range(1, FLOOR_BOXES + 1)
    return tuple(row for n in boxes for row in box_rows(f"{prefix}VAV-3-{n:02}.", 100 * n, f"b{n}_"))


AHU = BacnetModel(
    "bacnet-ahu", "Air-handling unit", "unverified", "SIM-AHU-45", "4.2.1",
    ahu_rows, lambda seed, offset: AirHandler(seed, offset), instance=1001, has_cov_property=True,
)  # fmt: skip
FCU = BacnetModel(
    "bacnet-fcu", "Fan coil unit", "unverified", "SIM-FCU-16", "1.9",
    fcu_rows, lambda seed, offset: FanCoil(seed, offset), instance=1501, max_apdu=480, segmentation=3,
    max_subscriptions=20,
)  # fmt: skip
VAV = BacnetModel(
    "bacnet-vav", "VAV box with reheat", "unverified", "SIM-VMA-16", "6.1.0.42",
    vav_rows, lambda seed, offset: VavBox(seed, offset), instance=4001, prefix="VAV-3-01.", max_apdu=480, segmentation=3,
    max_subscriptions=8, refresh_s=2.0, mstp=True,
)  # fmt: skip
VAV_FLOOR = BacnetModel(
    "bacnet-vav-floor", "Supervisory controller of 40 VAV boxes", "unverified", "SIM-NAE-55", "9.0.7.3",
    floor_rows, lambda seed, offset: VavFloor(seed, offset, FLOOR_BOXES), instance=505,
    prefix="NAE05.", max_subscriptions=1000, refresh_s=2.0,
)  # fmt: skip
