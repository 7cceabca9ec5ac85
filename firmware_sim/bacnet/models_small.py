"""Objects of smaller controllers: boiler, cooling tower, pump set, lighting panel, lift bank, and plain inputs for benches.

Source: unverified; names and object choice follow points lists that makers publish; the Lift object is clause 12.59 of
ANSI/ASHRAE 135-2020.
"""

from __future__ import annotations

from firmware_sim.bacnet.models import BacnetModel, Row
from firmware_sim.bacnet.worlds_small import Boiler, CoolingTower, LiftBank, LightingPanel, PumpSet, Waves

_C, _PCT, _KPA, _H = "degrees-celsius", "percent", "kilopascals", "hours"
_OFF_ON, _NORMAL_ALARM = ("Off", "On"), ("Normal", "Alarm")


def boiler_rows(prefix: str) -> tuple[Row, ...]:
    p = prefix
    return (
        Row("AI", 1, f"{p}HWS-T", "Hot water supply temperature", _C, "supply_c"),
        Row("AI", 2, f"{p}HWR-T", "Hot water return temperature", _C, "return_c"),
        Row("AI", 3, f"{p}FLUE-T", "Flue gas temperature", _C, "flue_c", increment=1.0),
        Row("AI", 4, f"{p}FIRE-RATE", "Firing rate", _PCT, "rate", increment=1.0),
        Row("AI", 5, f"{p}HW-P", "Water pressure", "bars", "bar"),
        Row("BI", 1, f"{p}BLR-S", "Burner status", "", "runs", _OFF_ON),
        Row("BI", 2, f"{p}BLR-ALM", "Lockout", "", "fault", _NORMAL_ALARM),
        Row("BI", 3, f"{p}FLAME", "Flame detected", "", "flame", _OFF_ON),
        Row("BO", 1, f"{p}BLR-EN", "Boiler enable", "", "start", _OFF_ON),
        Row("AV", 1, f"{p}HWS-SP", "Hot water supply set-point", _C, "sp", (), "commandable", 70.0, 30, 85),
        Row("AV", 2, f"{p}BLR-HRS", "Burner run hours", _H, "hours", increment=1.0),
        Row("ACC", 1, f"{p}BLR-STARTS", "Burner starts", "no-units", "starts"),
        Row("MSV", 1, f"{p}BLR-STATE", "Boiler state", "", "state",
            ("Standby", "Pre-purge", "Ignition", "Running", "Post-purge", "Lockout")),
    )  # fmt: skip


def tower_rows(prefix: str) -> tuple[Row, ...]:
    p = prefix
    return (
        Row("AI", 1, f"{p}CWS-T", "Leaving (condenser supply) water temperature", _C, "leaving_c"),
        Row("AI", 2, f"{p}CWR-T", "Entering (condenser return) water temperature", _C, "entering_c"),
        Row("AI", 3, f"{p}OA-WB", "Outside air wet-bulb temperature", _C, "wet_bulb_c"),
        Row("AI", 4, f"{p}FAN-SPD", "Fan speed feedback", _PCT, "feedback", increment=1.0),
        Row("AI", 5, f"{p}BASIN-T", "Basin temperature", _C, "basin_c"),
        Row("AI", 6, f"{p}BASIN-LVL", "Basin level", _PCT, "basin", increment=1.0),
        Row("BI", 1, f"{p}FAN-S", "Fan status", "", "runs", _OFF_ON),
        Row("BI", 2, f"{p}VIB-A", "Fan vibration switch", "", "vibration", _NORMAL_ALARM),
        Row("BI", 3, f"{p}BASIN-LO", "Basin low level", "", "basin_low", _NORMAL_ALARM),
        Row("AO", 1, f"{p}FAN-VFD", "Fan speed command", _PCT, "speed", low=0, high=100, increment=1.0),
        Row("AO", 2, f"{p}BYP-VLV", "Bypass valve command", _PCT, "bypass", low=0, high=100, increment=1.0),
        Row("BO", 1, f"{p}FAN-C", "Fan start/stop", "", "start", _OFF_ON),
        Row("BO", 2, f"{p}BASIN-HTR", "Basin heater", "", "heater", _OFF_ON),
        Row("BO", 3, f"{p}MAKEUP", "Make-up water valve", "", "makeup", ("Closed", "Open")),
        Row("AV", 1, f"{p}CWS-SP", "Leaving water temperature set-point", _C, "sp", (), "commandable", 24.0, 16, 32),
        Row("AV", 2, f"{p}FAN-HRS", "Fan run hours", _H, "hours", increment=1.0),
    )


def pump_rows(prefix: str) -> tuple[Row, ...]:
    p = prefix
    return (
        Row("AI", 1, f"{p}DP", "System differential pressure", _KPA, "dp_kpa", increment=1.0),
        Row("AI", 2, f"{p}FLOW", "System flow", "cubic-meters-per-hour", "flow_m3h", increment=0.5),
        *(row for n in (1, 2) for row in (
            Row("AI", 10 * n + 1, f"{p}P{n}-SPD", f"Pump {n} speed feedback", _PCT, f"p{n}_feedback", increment=1.0),
            Row("AI", 10 * n + 2, f"{p}P{n}-KW", f"Pump {n} power", "kilowatts", f"p{n}_kw"),
            Row("BI", 10 * n + 1, f"{p}P{n}-S", f"Pump {n} status", "", f"p{n}_runs", _OFF_ON),
            Row("BI", 10 * n + 2, f"{p}P{n}-ALM", f"Pump {n} fault", "", f"p{n}_fault", _NORMAL_ALARM),
            Row("BO", 10 * n + 1, f"{p}P{n}-C", f"Pump {n} start/stop", "", f"p{n}_start", _OFF_ON),
            Row("AO", 10 * n + 1, f"{p}P{n}-VFD", f"Pump {n} speed command", _PCT, f"p{n}_speed", low=0, high=100, increment=1.0),
            Row("AV", 10 * n + 1, f"{p}P{n}-HRS", f"Pump {n} run hours", _H, f"p{n}_hours", increment=1.0),
        )),
        Row("AV", 1, f"{p}DP-SP", "Differential pressure set-point", _KPA, "dp_sp", (), "commandable", 80.0, 10, 200),
        Row("BV", 1, f"{p}SYS-EN", "Pump set enable", "", "enable", ("Disable", "Enable"), "commandable", 1),
        Row("MSV", 1, f"{p}LEAD", "Lead pump", "", "lead", ("Pump 1", "Pump 2"), "commandable", 1),
    )  # fmt: skip


CIRCUITS = 8


def lighting_rows(prefix: str) -> tuple[Row, ...]:
    p = prefix
    return (
        Row("AI", 1, f"{p}LUX", "Daylight sensor", "luxes", "lux", increment=20.0),
        Row("BI", 1, f"{p}DOOR", "Panel door contact", "", "door", ("Closed", "Open")),
        Row("BV", 1, f"{p}ALL-OFF", "Sweep all circuits off", "", "sweep", _OFF_ON, "commandable"),
        Row("MSV", 1, f"{p}SCENE", "Scene", "", "scene", ("Off", "Working", "Cleaning", "Night"), "commandable", 2),
        *(row for n in range(1, CIRCUITS + 1) for row in (
            Row("BO", n, f"{p}CKT-{n}-C", f"Circuit {n} switch", "", f"c{n}_switch", _OFF_ON),
            Row("AO", n, f"{p}CKT-{n}-DIM", f"Circuit {n} dimming level", _PCT, f"c{n}_level", default=100.0, low=0, high=100,
                increment=1.0),
            Row("BI", n + 10, f"{p}CKT-{n}-S", f"Circuit {n} status", "", f"c{n}_on", _OFF_ON),
            Row("AI", n + 10, f"{p}CKT-{n}-KW", f"Circuit {n} power", "kilowatts", f"c{n}_kw", increment=0.05),
            Row("AV", n + 10, f"{p}CKT-{n}-HRS", f"Circuit {n} burning hours", _H, f"c{n}_hours", increment=1.0),
        )),
    )  # fmt: skip


LIFT_COUNT = 3


def lift_rows(prefix: str) -> tuple[Row, ...]:
    """Lift n has the instances n01 and on, and the Lift object n."""
    return tuple(row for n in range(1, LIFT_COUNT + 1) for row in _of_lift(f"{prefix}LIFT{n}.", 100 * n, f"l{n}_", n))


def _of_lift(p: str, n: int, k: str, number: int) -> tuple[Row, ...]:
    return (
        Row("AI", n + 1, f"{p}FLOOR", f"Lift {number} floor", "no-units", f"{k}floor", increment=1.0),
        Row("AI", n + 2, f"{p}POSITION", f"Lift {number} car position", "meters", f"{k}metres", increment=1.0),
        Row("AI", n + 3, f"{p}LOAD", f"Lift {number} car load", _PCT, f"{k}load", increment=5.0),
        Row("AI", n + 4, f"{p}SPEED", f"Lift {number} car speed", "meters-per-second", f"{k}speed", increment=0.2),
        Row("MSI", n + 1, f"{p}DIRECTION", f"Lift {number} direction", "", f"{k}direction", ("None", "Up", "Down")),
        Row("MSI", n + 2, f"{p}DOOR", f"Lift {number} door", "", f"{k}door", ("Closed", "Opening", "Open", "Closing", "Blocked")),
        Row("MSI", n + 3, f"{p}MODE", f"Lift {number} mode", "", f"{k}mode",
            ("Normal", "Parked", "Inspection", "Fire service", "Out of service")),
        Row("BI", n + 1, f"{p}IN-SERVICE", f"Lift {number} in service", "", f"{k}in_service", ("No", "Yes")),
        Row("BI", n + 2, f"{p}MOVING", f"Lift {number} moving", "", f"{k}moving", ("Standing", "Moving")),
        Row("BI", n + 3, f"{p}ALARM", f"Lift {number} passenger alarm", "", f"{k}alarm", _NORMAL_ALARM),
        Row("BI", n + 4, f"{p}FAULT", f"Lift {number} fault", "", f"{k}fault", _NORMAL_ALARM),
        Row("ACC", n + 1, f"{p}TRIPS", f"Lift {number} trips", "no-units", f"{k}trips"),
        Row("AV", n + 1, f"{p}HOURS", f"Lift {number} run hours", _H, f"{k}hours", increment=1.0),
        Row("BV", n + 1, f"{p}PARK", f"Lift {number} park at ground floor", "", f"{k}park", _OFF_ON, "commandable"),
        Row("LIFT", number, f"{p}CAR", f"Lift {number}", quantity=k),
    )  # fmt: skip


BENCH_POINTS = 40


def bench_rows(prefix: str) -> tuple[Row, ...]:
    return tuple(
        Row("AI", n, f"{prefix}AI-{n:02}", f"Input {n}", "degrees-celsius", f"w{n}") for n in range(1, BENCH_POINTS + 1)
    )


BOILER = BacnetModel(
    "bacnet-boiler", "Condensing boiler", "unverified", "SIM-BLR-300", "2.3",
    boiler_rows, lambda seed, offset: Boiler(seed, offset), instance=2201, max_apdu=480, segmentation=3,
    has_cov=False,
)  # fmt: skip
TOWER = BacnetModel(
    "bacnet-cooling-tower", "Cooling tower", "unverified", "SIM-CT-20", "1.0.8",
    tower_rows, lambda seed, offset: CoolingTower(seed, offset), instance=2301,
)  # fmt: skip
PUMPS = BacnetModel(
    "bacnet-pump-set", "Pump set", "unverified", "SIM-PMP-2", "5.5",
    pump_rows, lambda seed, offset: PumpSet(seed, offset), instance=2401, max_apdu=480, segmentation=3,
)  # fmt: skip
LIGHTING = BacnetModel(
    "bacnet-lighting-panel", "Lighting panel", "unverified", "SIM-LCP-8", "2.0.1",
    lighting_rows, lambda seed, offset: LightingPanel(seed, offset, CIRCUITS), instance=2501,
)  # fmt: skip
LIFTS = BacnetModel(
    "bacnet-lift-bank", "Lift bank", "unverified", "SIM-LGW-3", "1.4.0",
    lift_rows, lambda seed, offset: LiftBank(seed, offset, LIFT_COUNT), instance=3001,
)  # fmt: skip
POINTS = BacnetModel(
    "bacnet-points", "Forty inputs", "made for benches", "SIM-40", "1.0",
    bench_rows, lambda seed, offset: Waves(seed, BENCH_POINTS), instance=5001, refresh_s=10.0,
)  # fmt: skip
