"""What happens in the plant room: two chillers behind one header, and the station that takes heat from the district network.

A function of time and seed, plus what was written to it. Chilled water follows its set-point within minutes, power follows the
load of the day, counters are integrals of their power; heat is drawn when it is cold outside.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import cos, exp, tau

from firmware_sim.curves import DAY_S, EPOCH_S, Power, Wave
from firmware_sim.worlds import people

Value = float | int | bool | str

CEL, KPA, KW, KWH, MWH, M3H, PERCENT, HOUR = (
    ("CEL", "°C"),
    ("KPA", "kPa"),
    ("KWT", "kW"),
    ("KWH", "kWh"),
    ("MWH", "MWh"),
    ("MQH", "m³/h"),
    ("P1", "%"),
    ("HUR", "h"),
)
"""(UNECE code, text) of an engineering unit."""
MODES = ("Off", "Standby", "Cooling", "Fault")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the server: its browse path below Objects, built-in type and meaning."""

    path: str
    type: str
    key: str
    unit: tuple[str, str] | None = None
    labels: tuple[str, ...] = ()
    writable: bool = False


def _chiller(n: int) -> tuple[Variable, ...]:
    at, key = f"ChillerPlant/Chiller{n}", f"c{n}"
    return (
        Variable(f"{at}/SupplyTemperature", "Float", f"{key}_supply_c", CEL),
        Variable(f"{at}/ReturnTemperature", "Float", f"{key}_return_c", CEL),
        Variable(f"{at}/CondenserTemperature", "Float", f"{key}_condenser_c", CEL),
        Variable(f"{at}/Flow", "Double", f"{key}_flow_m3h", M3H),
        Variable(f"{at}/Power", "Double", f"{key}_kw", KW),
        Variable(f"{at}/Energy", "Double", f"{key}_kwh", KWH),
        Variable(f"{at}/Load", "Int16", f"{key}_load", PERCENT),
        Variable(f"{at}/RunHours", "UInt32", f"{key}_hours", HOUR),
        Variable(f"{at}/Starts", "UInt32", f"{key}_starts"),
        Variable(f"{at}/Running", "Boolean", f"{key}_running"),
        Variable(f"{at}/Fault", "Boolean", f"{key}_fault"),
        Variable(f"{at}/Mode", "UInt32", f"{key}_mode", labels=MODES),
        Variable(f"{at}/SupplySetpoint", "Float", f"{key}_setpoint_c", CEL, writable=True),
        Variable(f"{at}/Enable", "Boolean", f"{key}_enable", writable=True),
    )


VARIABLES: tuple[Variable, ...] = (
    *_chiller(1),
    *_chiller(2),
    Variable("ChillerPlant/Header/SupplyTemperature", "Float", "header_supply_c", CEL),
    Variable("ChillerPlant/Header/ReturnTemperature", "Float", "header_return_c", CEL),
    Variable("ChillerPlant/Header/Flow", "Double", "header_flow_m3h", M3H),
    Variable("ChillerPlant/Header/DifferentialPressure", "Double", "header_dp_kpa", KPA),
    Variable("ChillerPlant/CoolingPower", "Double", "cooling_kw", KW),
    Variable("ChillerPlant/OutdoorTemperature", "Float", "outdoor_c", CEL),
    Variable("ChillerPlant/Comment", "String", "comment", writable=True),
    Variable("EnergyStation/Primary/SupplyTemperature", "Float", "primary_supply_c", CEL),
    Variable("EnergyStation/Primary/ReturnTemperature", "Float", "primary_return_c", CEL),
    Variable("EnergyStation/Primary/Flow", "Double", "primary_flow_m3h", M3H),
    Variable("EnergyStation/Primary/Pressure", "Double", "primary_kpa", KPA),
    Variable("EnergyStation/Primary/ValvePosition", "Float", "valve_percent", PERCENT),
    Variable("EnergyStation/Secondary/SupplyTemperature", "Float", "secondary_supply_c", CEL),
    Variable("EnergyStation/Secondary/ReturnTemperature", "Float", "secondary_return_c", CEL),
    Variable("EnergyStation/Secondary/SupplySetpoint", "Float", "secondary_setpoint_c", CEL, writable=True),
    Variable("EnergyStation/Secondary/PumpRunning", "Boolean", "pump_running"),
    Variable("EnergyStation/HeatPower", "Double", "heat_kw", KW),
    Variable("EnergyStation/HeatEnergy", "Double", "heat_mwh", MWH),
)


class PlantRoom:
    """The values of every variable at a moment, by key; `write` takes what a client wrote."""

    _SETTLE_S = 180.0
    _RATED_KW = 210.0

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        need = people(seed, 0.0, opens_h=6.0, closes_h=20.0)
        self._powers = [Power(8.0, self._RATED_KW * share, need, Wave(())) for share in (0.62, 0.35)]
        self._wander = [Wave.wandering(rng, 0.25) for _ in range(6)]
        self._weather = Wave.wandering(rng, 3.0, periods=(5400, 16000, 90_000))
        self._kwh_0 = [rng.uniform(90_000, 400_000) for _ in range(2)]
        self._starts_0 = [rng.randrange(300, 2000) for _ in range(2)]
        self._mwh_0 = rng.uniform(1_000, 5_000)
        self._heat = Power(20.0, 240.0, need, Wave(()))
        self._written: dict[str, tuple[Value, float, float]] = {}
        """Key -> value, when, and the chilled water's temperature at that moment."""
        self.faulty: set[int] = set()

    def write(self, key: str, value: Value, t: float) -> None:
        """A client wrote a writable variable."""
        before = self.snapshot(t).get(key.replace("_setpoint_c", "_supply_c"), 0.0)
        self._written[key] = (value, t, float(before) if isinstance(before, float) else 0.0)

    def snapshot(self, t: float) -> dict[str, Value]:
        outdoor = 18.0 - 7.0 * cos(tau * ((t - 3 * 3600) % DAY_S) / DAY_S) + self._weather.value(t)
        values: dict[str, Value] = {"outdoor_c": outdoor, "comment": str(self._said("comment", ""))}
        cooling = flow = supply = 0.0
        for n in (1, 2):
            self._chiller(n, t, outdoor, values)
            cooling += 3.6 * float(values[f"c{n}_kw"])
            flow += float(values[f"c{n}_flow_m3h"])
            supply += float(values[f"c{n}_supply_c"]) * float(values[f"c{n}_flow_m3h"])
        mixed = supply / flow if flow else outdoor
        values |= {
            "header_supply_c": mixed,
            "header_return_c": mixed + (cooling / (1.163 * flow) if flow else 0.0),
            "header_flow_m3h": flow,
            "header_dp_kpa": 12.0 + 0.0042 * flow * flow,
            "cooling_kw": cooling,
        }
        self._station(t, outdoor, values)
        return values

    def _chiller(self, n: int, t: float, outdoor: float, values: dict[str, Value]) -> None:
        key, power = f"c{n}", self._powers[n - 1]
        is_enabled, is_faulty = bool(self._said(f"{key}_enable", True)), n in self.faulty
        runs = is_enabled and not is_faulty
        kw = power.kw(t) if runs else 0.4
        setpoint = float(self._said(f"{key}_setpoint_c", 6.5))
        supply = (
            self._settled(f"{key}_setpoint_c", setpoint, t) + self._wander[n].value(t) if runs else min(outdoor, 16.0)
        )
        flow = 84.0 if runs else 0.0
        values |= {
            f"{key}_supply_c": supply,
            f"{key}_return_c": supply + (3.6 * kw / (1.163 * flow) if flow else 0.3),
            f"{key}_condenser_c": outdoor + (5.0 + 0.05 * kw if runs else 0.0),
            f"{key}_flow_m3h": flow,
            f"{key}_kw": kw,
            f"{key}_kwh": self._kwh_0[n - 1] + power.kwh(t),
            f"{key}_load": round(min(100.0, 100.0 * kw / self._RATED_KW)),
            f"{key}_hours": int((t - EPOCH_S) / 3600 * 0.6),
            f"{key}_starts": self._starts_0[n - 1] + int((t - EPOCH_S) / DAY_S),
            f"{key}_running": runs,
            f"{key}_fault": is_faulty,
            f"{key}_mode": 3 if is_faulty else 2 if runs else 0,
            f"{key}_setpoint_c": setpoint,
            f"{key}_enable": is_enabled,
        }

    def _station(self, t: float, outdoor: float, values: dict[str, Value]) -> None:
        cold = min(1.0, max(0.05, (20.0 - outdoor) / 30.0))
        setpoint = float(self._said("secondary_setpoint_c", 55.0))
        heat = self._heat.kw(t) * cold
        supply = self._settled("secondary_setpoint_c", setpoint, t) + self._wander[3].value(t)
        flow = heat / (1.163 * 42.0)
        values |= {
            "primary_supply_c": 92.0 + self._wander[4].value(t),
            "primary_return_c": 50.0 + self._wander[5].value(t),
            "primary_flow_m3h": flow,
            "primary_kpa": 640.0 + 4.0 * self._wander[0].value(t),
            "valve_percent": min(100.0, 5.0 + 90.0 * heat / 260.0),
            "secondary_supply_c": supply,
            "secondary_return_c": supply - 18.0 * cold,
            "secondary_setpoint_c": setpoint,
            "pump_running": True,
            "heat_kw": heat,
            "heat_mwh": self._mwh_0 + self._heat.kwh(t) * 0.4 / 1000,
        }

    def _said(self, key: str, otherwise: Value) -> Value:
        return self._written[key][0] if key in self._written else otherwise

    def _settled(self, key: str, target: float, t: float) -> float:
        """Where the water is on its way to a new set-point."""
        if key not in self._written:
            return target
        _, since, start = self._written[key]
        return target + (start - target) * exp(-max(0.0, t - since) / self._SETTLE_S)
