"""The physics behind air-side controllers: an air-handling unit, a fan coil and VAV boxes.

Temperatures follow valves, dampers, fans, people and the weather; loops act on the set-points in force. SI units, except where a
quantity's name ends in _f or _cfm.
"""

from __future__ import annotations

from firmware_sim.bacnet.world import Pi, World

OCCUPIED, UNOCCUPIED = 1, 2


class AirHandler(World):
    """Mixing box, heating and cooling coil, two variable-speed fans, the rooms behind it as one."""

    OFF, HEATING, FREE_COOLING, COOLING, VENTILATION, FREEZE = range(1, 7)
    RATED_M3H = 18_000.0

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._heat, self._cool, self._duct = Pi(4.0, 120.0), Pi(4.0, 120.0), Pi(0.06, 15.0, 60.0)
        self._frozen_s = 0.0
        self._clog = self.rng.uniform(0.2, 0.6)
        self._hours_0 = self.rng.uniform(4_000, 22_000)

    def step(self, t: float, dt: float) -> None:
        out, program = self.out, self.program
        outside, crowd = self.weather.celsius(t), self.crowd.value(t)
        occupied = self.take("occupancy", OCCUPIED) != UNOCCUPIED
        smoke = out.get("smoke", 0.0)
        wanted = self.take("enable", 1) and occupied and not smoke
        program["supply_start"] = program["return_start"] = 1.0 if wanted else 0.0
        share = self._fans(dt)
        mixed = self._mixing(dt, outside, share, bool(wanted))
        self._coils(dt, mixed, share)
        self._rooms(dt, outside, crowd, share)
        out["outside_c"] = outside
        out["return_rh"] = min(max(42 + 9 * crowd + 0.25 * (self.weather.humidity(t) - 60), 15), 95)
        out["supply_rh"] = min(max(out["return_rh"] + 2.2 * (out["return_c"] - out["supply_c"]), 10), 98)
        self._state(dt, bool(wanted))

    def _fans(self, dt: float) -> float:
        """Speeds and duct pressure; the share of rated air flow."""
        program, out = self.program, self.out
        runs = self.take("supply_start") > 0
        error = self.take("pressure_sp", 250.0) - out.get("supply_pa", 0.0)
        program["supply_command"] = max(self._duct.run(error, dt), 25.0) if runs else 0.0
        speed = self.ramp("supply_speed", self.take("supply_command") if runs else 0.0, 2.5, dt)
        returning = self.take("return_start") > 0
        program["return_command"] = 0.92 * program["supply_command"] if returning else 0.0
        back = self.ramp("return_speed", self.take("return_command") if returning else 0.0, 2.5, dt)
        share = speed / 100
        self.toward("supply_pa", 520 * share * share, 4.0, dt)
        out["supply_m3h"] = self.RATED_M3H * share
        out["filter_pa"] = (60 + 190 * self._clog) * share * share
        out["filter_dirty"] = float(out["filter_pa"] > 200)
        out["supply_runs"], out["return_runs"] = float(speed > 5), float(back > 5)
        out["supply_kw"] = 11.0 * share**3 + (0.08 if runs else 0.03)
        out.setdefault("supply_fault", 0.0)
        self.count("hours", dt / 3600 if speed > 5 else 0.0, self._hours_0)
        return share

    def _mixing(self, dt: float, outside: float, share: float, wanted: bool) -> float:
        """Mixed air temperature, and the damper the programme wants."""
        out = self.out
        room = out.get("return_c", 21.5)
        target = self.take("supply_sp", 18.0)
        free = wanted and outside < self.take("economizer_sp", 20.0) and outside < room - 1
        least = self.take("damper_min", 20.0)
        ask = least
        if free and out.get("mixed_c", room) > target:
            ask = min(100.0, max(least, 100 * (room - target) / max(room - outside, 0.5)))
        more = (out.get("return_co2", 450.0) - self.take("co2_sp", 900.0)) / 4  # 100 % at 400 ppm too many
        self.program["damper"] = min(100.0, max(ask, more, least)) if wanted else 0.0
        out["economizer"] = float(free and ask > least)
        fresh = self.ramp("_damper", self.take("damper"), 1.5, dt) / 100
        goal = outside * fresh + room * (1 - fresh) if share > 0.05 else room - 1.0
        return self.toward("mixed_c", goal, 20.0, dt)

    def _coils(self, dt: float, mixed: float, share: float) -> None:
        out, program = self.out, self.program
        target = out["supply_sp_effective"] = self.take("supply_sp", 18.0)
        error = target - out.get("supply_c", mixed)
        if share > 0.05:
            program["heating_valve"] = self._heat.run(error - 0.3, dt)
            program["cooling_valve"] = self._cool.run(-error - 0.3, dt)
        else:
            self._heat.integral = self._cool.integral = program["heating_valve"] = program["cooling_valve"] = 0.0
        if self._frozen_s > 0:
            program["heating_valve"] = 100.0
        heating = self.toward("_heat", self.take("heating_valve"), 25.0, dt) / 100
        cooling = self.toward("_cool", self.take("cooling_valve"), 25.0, dt) / 100
        air = max(share, 0.12)
        warmth = 26.0 * heating / max(air, 0.4) - 15.0 * cooling / max(air, 0.4)
        self.toward("supply_c", mixed + 0.6 * share + warmth, 12.0, dt)

    def _rooms(self, dt: float, outside: float, crowd: float, share: float) -> None:
        out = self.out
        room = out.get("return_c", 21.5)
        gain = 7.0 * crowd + 0.18 * (outside - room) + 6.5 * share * (out["supply_c"] - room) / 8
        out["return_c"] = min(max(room + gain * dt / 2700, 5.0), 45.0)
        fresh = share * out.get("_damper", 0.0) / 100
        rise = 1150 * crowd * dt / 1800 - (out.get("return_co2", 450.0) - 420) * (0.15 + 2.5 * fresh) * dt / 1800
        out["return_co2"] = max(410.0, out.get("return_co2", 450.0) + rise)

    def _state(self, dt: float, wanted: bool) -> None:
        out = self.out
        cold = out["mixed_c"] < 3 and out["supply_c"] < 5
        self._frozen_s = 600.0 if cold else max(0.0, self._frozen_s - dt)
        if self.take("reset") > 0 and not cold:
            self._frozen_s = 0.0
        out["freeze"] = float(self._frozen_s > 0)
        out.setdefault("smoke", 0.0)
        if out["freeze"]:
            out["state"] = self.FREEZE
        elif not out["supply_runs"]:
            out["state"] = self.OFF
        elif self.take("cooling_valve") > 2:
            out["state"] = self.COOLING
        elif self.take("heating_valve") > 2:
            out["state"] = self.HEATING
        else:
            out["state"] = self.FREE_COOLING if out["economizer"] else self.VENTILATION


class FanCoil(World):
    """A room with a fan coil: water coils, three fan stages, a window that people open now and then."""

    STEP_S = 2.0

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._heat, self._cool = Pi(12.0, 600.0), Pi(12.0, 600.0)
        self._window = self.rng.uniform(0, 86_400)
        self.out["wall_offset"] = round(self.rng.uniform(-1, 1), 1)

    def step(self, t: float, dt: float) -> None:
        out, program = self.out, self.program
        outside, crowd = self.weather.celsius(t), self.crowd.value(t)
        occupied = self.take("occupancy", OCCUPIED) != UNOCCUPIED
        out["window"] = float((t + self._window) % 14_400 < 600 and crowd > 0.2)
        out["motion"] = float(crowd > 0.15 and (t + self._window) % 420 < 360)
        setback = 0.0 if occupied else self.take("setback", 3.0)
        target = out["room_sp_effective"] = self.take("room_sp", 22.0) + out["wall_offset"]
        room = out.get("room_c", target)
        on = self.take("enable", 1) > 0 and not out["window"]
        program["heating_valve"] = self._heat.run(target - setback - 0.5 - room, dt) if on else 0.0
        program["cooling_valve"] = self._cool.run(room - target - setback - 0.5, dt) if on else 0.0
        demand = max(program["heating_valve"], program["cooling_valve"])
        least = 2 if occupied and on else 1
        program["fan_stage"] = float(max(least, 1 + (demand > 5) + (demand > 45) + (demand > 80)))
        air = (0.0, 0.4, 0.7, 1.0)[min(max(int(self.take("fan_stage")), 1), 4) - 1]
        heat, cool = self.take("heating_valve") / 100, self.take("cooling_valve") / 100
        self.toward("supply_c", room + (16 * heat - 11 * cool if air else 0.0), 30.0, dt)
        leak = (0.9 if out["window"] else 0.12) * (outside - room)
        gain = 3.0 * crowd + leak + 2.6 * air * (out["supply_c"] - room) / 3
        out["room_c"] = min(max(room + gain * dt / 2400, 2.0), 45.0)
        out["fan_runs"] = float(air > 0)
        out["condensate"] = out.get("condensate", 0.0)
        out["state"] = 1 if not air else 3 if cool > 0.02 else 2 if heat > 0.02 else 4


class VavBox(World):
    """A zone with a damper that gives it cold primary air, and a reheat coil. Degrees Fahrenheit and cubic feet a minute."""

    STEP_S = 5.0
    SATISFIED, COOLING, HEATING, SHUT = range(1, 5)

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._cool, self._heat = Pi(14.0, 900.0), Pi(14.0, 900.0)
        self._size = self.rng.uniform(0.8, 1.25)
        self._sun = self.rng.uniform(0.5, 1.5)
        self._blink = self.rng.uniform(0, 900)

    def step(self, t: float, dt: float) -> None:
        out, program = self.out, self.program
        outside_f, crowd = 32 + 1.8 * self.weather.celsius(t), self.crowd.value(t)
        occupied = self.take("occupancy", OCCUPIED) != UNOCCUPIED
        spread = 1.0 if occupied else 6.0
        target = self.take("zone_sp", 72.0)
        out["cooling_sp"], out["heating_sp"] = target + spread, target - spread
        zone = out.get("zone_f", target)
        cool = self._cool.run(zone - out["cooling_sp"], dt)
        heat = self._heat.run(out["heating_sp"] - zone, dt)
        least, most = self._least_cfm(t, occupied=occupied), self.take("flow_max", 800.0)
        out["flow_sp"] = least + (most - least) * cool / 100 if most > least else least
        program["damper"] = min(100.0, 100 * out["flow_sp"] / (1000.0 * self._size))
        program["reheat"] = heat
        flow = self.toward("flow_cfm", 1000.0 * self._size * self.take("damper") / 100, 20.0, dt)
        air = flow / 1000
        self.toward("discharge_f", 57.0 + min(45.0, 0.55 * self.take("reheat") / max(air, 0.3) ** 0.5), 40.0, dt)
        gain = 9.0 * crowd * self._sun + 0.10 * (outside_f - zone) + 1.1 * air * (out["discharge_f"] - zone)
        out["zone_f"] = min(max(zone + gain * dt / 3000, 40.0), 110.0)
        co2 = out.get("co2", 450.0)
        out["co2"] = max(410.0, co2 + (900 * crowd - (co2 - 420) * (0.2 + 2 * air)) * dt / 1800)
        out["motion"] = float(crowd > 0.1 and (t + self._blink) % 900 < 800)
        if cool > 2:
            out["state"] = self.COOLING
        else:
            out["state"] = self.HEATING if heat > 2 else self.SATISFIED if flow > 20 else self.SHUT

    def _least_cfm(self, t: float, *, occupied: bool) -> float:
        """Air that the zone gets whatever its temperature."""
        return self.take("flow_min", 150.0) if occupied else 0.0


class VavFloor(World):
    """Many boxes on one controller, each with its own zone; box n has its quantities under `bn_`."""

    STEP_S = VavBox.STEP_S
    LONGEST_S = 300.0

    def __init__(self, seed: int, utc_offset_s: float, boxes: int) -> None:
        super().__init__(seed, utc_offset_s)
        self._boxes = {f"b{n}_": VavBox(seed * 1000 + n, utc_offset_s) for n in range(1, boxes + 1)}

    def step(self, t: float, dt: float) -> None:
        for key, box in self._boxes.items():
            size = len(key)
            box.inputs = {name[size:]: value for name, value in self.inputs.items() if name.startswith(key)}
            box.step(t, dt)
            self.out.update((key + name, value) for name, value in box.out.items())
            self.program.update((key + name, value) for name, value in box.program.items())
