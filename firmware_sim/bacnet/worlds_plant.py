"""The physics behind chilled-water controllers: chillers, their pumps, one tower, the headers, and the stages."""

from __future__ import annotations

from firmware_sim.bacnet.world import Pi, World

WATER_KW = 4.19
"""kW for 1 l/s and 1 K of water."""


class ChillerPlant(World):
    """Two chillers of 600 kW with a pump each on either side and one tower; the building is the load."""

    STEP_S = 2.0
    RATED_KW = 600.0
    PUMP_LS = 26.0
    OFF, STARTING, RUNNING, UNLOADING, FAULT = range(1, 6)
    CHILLERS = (1, 2)
    STAGE_WAIT_S = 300.0

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._tower, self._pressure = Pi(6.0, 240.0), Pi(0.4, 40.0, 60.0)
        self._called, self._held_s = 1, self.STAGE_WAIT_S
        for n in self.CHILLERS:
            self.out |= {
                f"ch{n}_hours": self.rng.uniform(3_000, 30_000),
                f"ch{n}_starts": float(self.rng.randint(300, 3000)),
            }
            for pump in (f"chwp{n}_", f"cwp{n}_"):
                self.out |= {f"{pump}hours": self.rng.uniform(3_000, 40_000), f"{pump}fault": 0.0}

    def step(self, t: float, dt: float) -> None:
        out = self.out
        out["outside_c"], out["wet_bulb_c"] = self.weather.celsius(t), self.weather.wet_bulb(t)
        warmth = min(max((out["outside_c"] - 8) / 24, 0.05), 1.0)
        load = 1000.0 * warmth * (0.25 + 0.75 * self.crowd.value(t))
        self._stage(dt)
        flow = self._pumps(dt)
        self._chillers(dt, flow)
        self._headers(dt, load, flow)
        self._condenser(dt)
        runs = [out[f"{name}runs"] for name in ("chwp1_", "chwp2_", "cwp1_", "cwp2_")]
        out["plant_kw"] = (
            sum(out[f"ch{n}_kw"] for n in self.CHILLERS) + 9.0 * sum(runs) + 15 * (out["tower_feedback"] / 100) ** 3
        )
        out.setdefault("leak", 0.0)
        out["basin"] = 72.0 + 6 * (out["tower_feedback"] / 100)

    def _stage(self, dt: float) -> None:
        """How many chillers are called, by the load of those that run, and not more often than every five minutes."""
        out = self.out
        self._held_s += dt
        enabled = self.take("enable", 1) > 0
        running = [n for n in self.CHILLERS if out.get(f"ch{n}_runs")]
        load = max((out[f"ch{n}_load"] for n in running), default=0.0)
        if not enabled:
            self._called = 0
        elif self._called == 0:
            self._called, self._held_s = 1, 0.0
        elif self._held_s >= self.STAGE_WAIT_S and self._called == 1 and load > self.take("stage_up", 85.0):
            self._called, self._held_s = 2, 0.0
        elif self._held_s >= self.STAGE_WAIT_S and self._called == 2 and load < self.take("stage_down", 35.0):
            self._called, self._held_s = 1, 0.0
        out["stage"] = 1.0 + self._called
        lead = 2 if self.take("lead", 1) == 2 else 1
        order = (lead, 3 - lead)
        for rank, n in enumerate(order):
            called = rank < self._called
            self.program[f"ch{n}_start"] = float(called)
            for pump in (f"chwp{n}_start", f"cwp{n}_start"):
                self.program[pump] = float(called or bool(out.get(f"ch{n}_runs")))

    def _pumps(self, dt: float) -> float:
        """Flow of the chilled water header in l/s."""
        out, program = self.out, self.program
        speed = self._pressure.run(self.take("dp_sp", 120.0) - out.get("dp_kpa", 0.0), dt)
        flow = 0.0
        for n in self.CHILLERS:
            for name, goal in ((f"chwp{n}_", max(speed, 40.0)), (f"cwp{n}_", 90.0)):
                started = self.take(f"{name}start") > 0
                program[f"{name}speed"] = goal if started else 0.0
                turning = self.ramp(f"_{name}", self.take(f"{name}speed") if started else 0.0, 4.0, dt)
                out[f"{name}runs"] = float(turning > 10)
                self.count(f"{name}hours", dt / 3600 if turning > 10 else 0.0, 0.0)
            out[f"ch{n}_flow"] = out[f"chwp{n}_runs"]
            flow += self.PUMP_LS * out[f"_chwp{n}_"] / 100
        pumps = out["chwp1_runs"] + out["chwp2_runs"]
        self.toward("dp_kpa", 230 * (flow / self.PUMP_LS / max(pumps, 1)) ** 2, 5.0, dt)
        program["bypass"] = min(100.0, max(0.0, (12.0 - flow) * 8)) if pumps else 0.0
        return self.toward("flow_ls", flow, 8.0, dt)

    def _chillers(self, dt: float, flow: float) -> None:
        out = self.out
        entering = out.get("return_c", 12.0)
        running = sum(out.get(f"ch{n}_runs", 0.0) for n in self.CHILLERS)
        for n in self.CHILLERS:
            k = f"ch{n}_"
            out.setdefault(f"{k}fault", 0.0)
            out[f"{k}auto"] = 1.0
            free = out[f"{k}flow"] and out[f"cwp{n}_runs"] and not out[f"{k}fault"]
            starts = self.take(f"{k}start") > 0 and bool(free)
            if starts and not out.get(f"{k}runs"):
                self.count(f"{k}starts", 1.0, 0.0)
            out[f"{k}runs"] = float(starts)
            part = flow / max(running, 1.0) if starts else 0.0
            target = max(self.take(f"{k}sp", 7.0), self.take("supply_sp", 7.0))
            ask = 100 * part * WATER_KW * max(entering - target, 0.0) / self.RATED_KW if starts else 0.0
            load = self.ramp(f"{k}load", min(ask, self.take(f"{k}limit", 100.0)), 0.6, dt)
            drop = load / 100 * self.RATED_KW / (part * WATER_KW) if part > 0.5 else 0.0
            out[f"{k}entering_c"] = entering
            self.toward(f"{k}leaving_c", entering - drop, 15.0, dt)
            self._refrigerant(n, load, starts, dt)

    def _refrigerant(self, n: int, load: float, starts: bool, dt: float) -> None:
        """Condenser side and compressor, R-134a pressures over the atmosphere."""
        out, k = self.out, f"ch{n}_"
        condenser = out.get("condenser_supply_c", 24.0)
        lift = max(condenser - out[f"{k}leaving_c"], 2.0)
        kw = (load / 100 * self.RATED_KW) * (0.085 + 0.0052 * lift) + (9.0 if starts else 0.0)
        self.toward(f"{k}kw", kw if starts else 0.4, 5.0, dt)
        out[f"{k}amps"] = out[f"{k}kw"] * 1000 / (1.732 * 400 * 0.9)
        self.toward(f"{k}condenser_in_c", condenser, 20.0, dt)
        self.toward(f"{k}condenser_out_c", condenser + 5.4 * load / 100, 20.0, dt)
        self.toward(f"{k}evaporator_kpa", 250 + 14 * (out[f"{k}leaving_c"] - 7) if starts else 480.0, 30.0, dt)
        self.toward(f"{k}condenser_kpa", 480 + 24 * (out[f"{k}condenser_out_c"] - 20) if starts else 480.0, 30.0, dt)
        self.count(f"{k}hours", dt / 3600 if starts else 0.0, 0.0)
        if out[f"{k}fault"]:
            out[f"{k}state"] = self.FAULT
        elif starts:
            out[f"{k}state"] = self.RUNNING if load > 8 else self.STARTING
        else:
            out[f"{k}state"] = self.UNLOADING if load > 1 else self.OFF

    def _headers(self, dt: float, load: float, flow: float) -> None:
        out = self.out
        running = [n for n in self.CHILLERS if out[f"ch{n}_runs"]]
        mixed = sum(out[f"ch{n}_leaving_c"] for n in running) / len(running) if running else out.get("return_c", 12.0)
        supply = self.toward("supply_c", mixed, 30.0, dt)
        taken = load * min(1.0, max(0.0, (20.0 - supply) / 10))  # coils give less the warmer the water
        rise = taken / (flow * WATER_KW) if flow > 2 else 0.0
        idle = 18.0 if flow <= 2 else 40.0
        self.toward("return_c", min(supply + rise, idle), 60.0 if flow > 2 else 3600.0, dt, start=12.0)
        out["load_kw"] = flow * WATER_KW * (out["return_c"] - supply) if running else 0.0

    def _condenser(self, dt: float) -> None:
        """The tower brings condenser water towards the wet bulb."""
        out, program = self.out, self.program
        heat = sum(out[f"ch{n}_load"] / 100 * self.RATED_KW * 1.18 for n in self.CHILLERS)
        pumps = out["cwp1_runs"] + out["cwp2_runs"]
        supply = out.get("condenser_supply_c", 24.0)
        back = self.toward("condenser_return_c", supply + (heat / (pumps * 34 * WATER_KW) if pumps else 0.0), 30.0, dt)
        ask = self._tower.run(supply - self.take("condenser_sp", 24.0), dt)
        program["tower_start"] = float(pumps > 0 and ask > 1)
        program["tower_speed"] = max(ask, 20.0) if program["tower_start"] else 0.0
        goal = self.take("tower_speed") if self.take("tower_start") > 0 else 0.0
        speed = self.ramp("tower_feedback", goal, 3.0, dt)
        out["tower_runs"] = float(speed > 5)
        approach = max(back - out["wet_bulb_c"], 0.0)
        cooled = back - approach * (0.15 + 0.62 * speed / 100)
        self.toward(
            "condenser_supply_c", cooled if pumps else out["outside_c"], 120.0 if pumps else 7200.0, dt, start=24.0
        )


class SingleChiller(World):
    """One chiller with its pumps and a load, seen from its own controller only."""

    STEP_S = ChillerPlant.STEP_S

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._plant = ChillerPlant(seed, utc_offset_s)

    def step(self, t: float, dt: float) -> None:
        plant = self._plant
        plant.inputs = {name: value for name, value in self.inputs.items() if name != "enable"}
        plant.inputs["enable"] = self.take("enable", 1)
        plant.inputs |= {"stage_up": 200.0, "ch2_start": 0.0}  # there is no second one to call
        plant.step(t, dt)
        self.out = {name: value for name, value in plant.out.items() if name.startswith("ch1_")}
        self.out["alarm"] = 1.0
        self.program["ch1_start"] = plant.program["ch1_start"]
