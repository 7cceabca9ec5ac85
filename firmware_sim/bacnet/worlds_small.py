"""The physics behind smaller controllers: boiler, cooling tower, pump set, lighting panel, lifts, and plain waves."""

from __future__ import annotations

from firmware_sim.bacnet.world import Pi, World, daylight
from firmware_sim.curves import Wave


class Boiler(World):
    """A modulating boiler that feeds a heating circuit."""

    STEP_S = 2.0
    STANDBY, PURGE, IGNITION, RUNNING, AFTER, LOCKOUT = range(1, 7)

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._fire = Pi(4.0, 180.0, 40.0)
        self._since_s = 0.0
        self.out |= {
            "state": 1.0,
            "fault": 0.0,
            "hours": self.rng.uniform(2_000, 20_000),
            "starts": 1234.0 + seed % 5000,
        }

    def step(self, t: float, dt: float) -> None:
        out, program = self.out, self.program
        outside = self.weather.celsius(t)
        program["start"] = float(outside < 19)
        supply = out.get("supply_c", 45.0)
        self._state(self.take("start") > 0, supply, dt)
        firing = out["state"] == self.RUNNING
        ask = self._fire.run(self.take("sp", 70.0) - supply, dt) if firing else 0.0
        rate = self.ramp("rate", max(ask, 20.0) if firing else 0.0, 2.0, dt)
        need = min(max((21 - outside) / 30, 0.05), 1.0) * (0.6 + 0.4 * self.crowd.value(t))
        back = self.toward("return_c", supply - 22 * need, 90.0, dt)
        out["supply_c"] = min(
            max(supply + (0.42 * rate / 100 * 60 - 20 * need * max(supply - 20, 0) / 50) * dt / 60, 10.0), 95.0
        )
        self.toward("flue_c", back + 8 + 25 * rate / 100 if rate else supply - 5, 60.0, dt)
        out["bar"] = 1.6 + 0.012 * (out["supply_c"] - 40)
        out["flame"] = out["runs"] = float(rate > 5)
        self.count("hours", dt / 3600 if rate > 5 else 0.0, 0.0)

    def _state(self, wanted: bool, supply: float, dt: float) -> None:
        out = self.out
        self._since_s += dt
        state, sp = int(out["state"]), self.take("sp", 70.0)
        after = state
        if state == self.STANDBY and wanted and supply < sp - 4:
            after = self.PURGE
        elif state == self.PURGE and self._since_s >= 30:
            after = self.IGNITION
        elif state == self.IGNITION and self._since_s >= 6:
            after = self.RUNNING
            self.count("starts", 1.0, 0.0)
        elif state == self.RUNNING and (not wanted or supply > sp + 6):
            after = self.AFTER
        elif state == self.AFTER and self._since_s >= 30:
            after = self.STANDBY
        if after != state:
            out["state"], self._since_s = float(after), 0.0


class CoolingTower(World):
    """A tower whose fan holds the leaving temperature against a load that follows the day."""

    STEP_S = 2.0

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._fan = Pi(6.0, 240.0)
        self.out |= {"vibration": 0.0, "basin": 75.0, "hours": self.rng.uniform(2_000, 20_000), "_makeup": 0.0}

    def step(self, t: float, dt: float) -> None:
        out, program = self.out, self.program
        wet, crowd = self.weather.wet_bulb(t), self.crowd.value(t)
        out["wet_bulb_c"] = wet
        leaving = out.get("leaving_c", 24.0)
        entering = self.toward("entering_c", leaving + 1 + 5 * crowd, 60.0, dt)
        ask = self._fan.run(leaving - self.take("sp", 24.0), dt)
        program["start"] = float(ask > 1)
        program["speed"] = max(ask, 20.0) if ask > 1 else 0.0
        program["bypass"] = min(100.0, max(0.0, (self.take("sp", 24.0) - 4 - leaving) * 25))
        program["heater"] = float(self.weather.celsius(t) < 2)
        speed = self.ramp("feedback", self.take("speed") if self.take("start") > 0 else 0.0, 3.0, dt)
        share = (0.15 + 0.62 * speed / 100) * (1 - self.take("bypass") / 100)
        self.toward("leaving_c", entering - max(entering - wet, 0) * share, 90.0, dt)
        out["basin_c"] = out["leaving_c"] - 0.3
        out["runs"] = float(speed > 5)
        program["makeup"] = float(out["basin"] < 70 or (out["basin"] < 80 and self.take("makeup") > 0))
        drop = 0.004 * speed / 100 * dt
        out["basin"] = min(100.0, max(0.0, out["basin"] - drop + (0.05 * dt if self.take("makeup") > 0 else 0.0)))
        out["basin_low"] = float(out["basin"] < 40)
        self.count("hours", dt / 3600 if speed > 5 else 0.0, 0.0)


class PumpSet(World):
    """Two pumps, one on duty, that hold a differential pressure; the standby takes over where the duty pump does not turn."""

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, utc_offset_s)
        self._pressure = Pi(0.6, 20.0, 50.0)
        for n in (1, 2):
            self.out |= {f"p{n}_hours": self.rng.uniform(1_000, 30_000), f"p{n}_fault": 0.0}

    def step(self, t: float, dt: float) -> None:
        out, program = self.out, self.program
        speed = self._pressure.run(self.take("dp_sp", 80.0) - out.get("dp_kpa", 0.0), dt)
        duty = 2 if self.take("lead", 1) == 2 else 1
        if out[f"p{duty}_fault"]:
            duty = 3 - duty
        total = 0.0
        for n in (1, 2):
            program[f"p{n}_start"] = float(n == duty and self.take("enable", 1) > 0)
            started = self.take(f"p{n}_start") > 0 and not out[f"p{n}_fault"]
            program[f"p{n}_speed"] = max(speed, 20.0) if started else 0.0
            turning = self.ramp(f"p{n}_feedback", self.take(f"p{n}_speed") if started else 0.0, 5.0, dt)
            out[f"p{n}_runs"] = float(turning > 5)
            out[f"p{n}_kw"] = 7.5 * (turning / 100) ** 3 + 0.02
            self.count(f"p{n}_hours", dt / 3600 if turning > 5 else 0.0, 0.0)
            total += turning / 100
        valves = 0.35 + 0.6 * self.crowd.value(t)
        out["flow_m3h"] = 62.0 * total * valves
        self.toward("dp_kpa", 190 * total * total * (1.25 - 0.6 * valves), 4.0, dt)


class LightingPanel(World):
    """Circuits that follow scene, sweep and dimming, and a daylight sensor."""

    STEP_S = 2.0

    def __init__(self, seed: int, utc_offset_s: float, circuits: int) -> None:
        super().__init__(seed, utc_offset_s)
        self._rated = [self.rng.uniform(0.6, 2.4) for _ in range(circuits)]
        self._cloud = Wave.wandering(self.rng, 0.12, periods=(240, 900, 3000))
        self.out |= {f"c{n}_hours": self.rng.uniform(500, 9_000) for n in range(1, circuits + 1)}

    def step(self, t: float, dt: float) -> None:
        out = self.out
        day = daylight(t, self.utc_offset_s)
        out["lux"] = max(0.0, 9000 * day * (0.7 + self._cloud.value(t)))
        out["door"] = 0.0
        scene, swept = int(self.take("scene", 2)), self.take("sweep") > 0
        for n, rated in enumerate(self._rated, 1):
            lit = not swept and self._is_wanted(n, scene, t)
            self.program[f"c{n}_switch"] = float(lit)
            on = self.take(f"c{n}_switch") > 0
            out[f"c{n}_on"] = float(on)
            out[f"c{n}_kw"] = rated * (0.1 + 0.9 * self.take(f"c{n}_level", 100.0) / 100) if on else 0.0
            self.count(f"c{n}_hours", dt / 3600 if on else 0.0, 0.0)

    def _is_wanted(self, n: int, scene: int, t: float) -> bool:
        """Whether the programme lights a circuit."""
        working = scene == 2 and (self.out["lux"] < 4500 or n % 2 == 0)
        return working or scene == 3 or (scene == 4 and n == 1)


class LiftBank(World):
    """Lifts that travel between floors, more often when there are people; doors open where they stop."""

    STEP_S = 0.5
    LONGEST_S = 300.0
    FLOORS, STOREY_M, METRES_S = 12, 3.8, 1.75
    CLOSED, OPENING, OPEN, CLOSING = range(1, 5)
    NONE, UP, DOWN = range(1, 4)
    NORMAL, PARKED = 1, 2

    def __init__(self, seed: int, utc_offset_s: float, lifts: int) -> None:
        super().__init__(seed, utc_offset_s)
        self._keys = [f"l{n}_" for n in range(1, lifts + 1)]
        self._goal = dict.fromkeys(self._keys, 0)
        self._wait_s = {key: self.rng.uniform(0, 60) for key in self._keys}
        for key in self._keys:
            self.out |= {
                f"{key}metres": 0.0, f"{key}door": 1.0, f"{key}trips": float(self.rng.randint(10_000, 900_000)),
                f"{key}hours": self.rng.uniform(4_000, 60_000), f"{key}load": 0.0, f"{key}alarm": 0.0, f"{key}fault": 0.0,
                f"{key}in_service": 1.0,
            }  # fmt: skip

    def step(self, t: float, dt: float) -> None:
        crowd = self.crowd.value(t)
        for key in self._keys:
            self._move(key, crowd, dt)

    def _move(self, key: str, crowd: float, dt: float) -> None:
        out = self.out
        away = self._goal[key] * self.STOREY_M - out[f"{key}metres"]
        moving = abs(away) > 0.01 and out[f"{key}door"] == self.CLOSED
        if moving:
            step = min(abs(away), self.METRES_S * dt)
            out[f"{key}metres"] += step if away > 0 else -step
            self.count(f"{key}hours", dt / 3600, 0.0)
            if abs(away) <= step:
                self._wait_s[key] = 9.0
        else:
            self._stand(key, crowd, dt)
        out[f"{key}speed"] = self.METRES_S if moving else 0.0
        out[f"{key}moving"] = float(moving)
        out[f"{key}floor"] = float(round(out[f"{key}metres"] / self.STOREY_M))
        out[f"{key}direction"] = float(self.NONE if not moving else self.UP if away > 0 else self.DOWN)
        parked = self.take(f"{key}park") > 0
        out[f"{key}mode"] = float(self.PARKED if parked else self.NORMAL)

    def _stand(self, key: str, crowd: float, dt: float) -> None:
        """Doors while it stands (opening and closing take two seconds), then perhaps a new call."""
        out = self.out
        self._wait_s[key] -= dt
        left = self._wait_s[key]
        door = self.CLOSED if left <= 0 else self.CLOSING if left < 2 else self.OPEN if left < 7 else self.OPENING
        out[f"{key}door"] = float(door)
        if left > 0:
            return
        if self.take(f"{key}park") > 0:
            goal = 0
        elif self.rng.random() < (0.01 + 0.12 * crowd) * dt:
            goal = 0 if self.rng.random() < 0.4 else self.rng.randrange(self.FLOORS)
        else:
            out[f"{key}load"] = 0.0
            return
        if goal != self._goal[key]:
            self._goal[key] = goal
            out[f"{key}load"] = float(self.rng.randrange(0, 80, 5))
            self.count(f"{key}trips", 1.0, 0.0)


class Waves(World):
    """Independent waves around 20; what a bench reads."""

    def __init__(self, seed: int, count: int) -> None:
        super().__init__(seed, 0.0)
        self._waves = [Wave.wandering(self.rng, 8.0, periods=(60, 700)) for _ in range(count)]

    def step(self, t: float, dt: float) -> None:
        """Waves remember nothing."""

    def advance(self, t: float) -> None:
        for n, wave in enumerate(self._waves, 1):
            self.out[f"w{n}"] = 20 + wave.value(t)
