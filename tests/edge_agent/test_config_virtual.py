"""Virtual devices: references, kinds, cycles, and when a sum is computed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from device_profiles.errors import ConfigError
from device_profiles.schema import Virtual
from edge_agent.config.load import load_config
from edge_agent.model import Config

HEAD = """\
agent: {id: gw-01, site: hq, tz: UTC}
mqtt: {url: "mqtt://127.0.0.1"}
links: {t: "tcp://h"}
devices:
  - {id: in, link: t, unit: 1, profile: eastron-sdm630, poll: 10}
  - {id: b1, link: t, unit: 2, profile: eastron-sdm630, poll: 60}
  - {id: off, link: t, unit: 3, profile: eastron-sdm630, points: {power_active: false}}
"""
VIRTUAL = "- {id: v, protocol: virtual, class: electricity_meter, points: {power_active: %s}}\n"


def load(folder: Path, devices: str) -> Config:
    path = folder / "agent.yaml"
    path.write_text(HEAD + indent(dedent(devices), "  "))
    return load_config(path)


def test_incomer_minus_branches(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
        - id: rest
          name: Unmetered
          protocol: virtual
          class: electricity_meter
          codes: {energy: 01A00}
          points:
            power_active: {plus: [in/power_active], minus: [b1/power_active], deadband: 0.1}
            energy_active_import: {plus: [in/energy_active_import, b1/energy_active_import]}
            energy_active_net: {plus: [in/energy_active_import], minus: [b1/energy_active_import]}
        """,
    )
    rest = config.devices[-1]
    assert (rest.link, rest.protocol, rest.cls, rest.system) == ("", "virtual", "electricity_meter", "energy")
    power, energy, net = rest.points
    assert power.address == Virtual(plus=("in/power_active",), minus=("b1/power_active",))
    assert (power.unit, power.quantity, power.deadband, power.heartbeat) == ("kW", "power", 0.1, 300)
    assert (power.poll, power.align) == (60, None)  # as slow as the slower of the two
    assert (energy.align, energy.poll, energy.counter) == (900, None, True)  # at the marks that both have
    assert (net.align, net.counter) == (900, False)
    assert rest.profile.points == rest.points


def test_written_plans_hold_and_follow_through_chains(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
        - {id: c, protocol: virtual, class: electricity_meter, points: {power_active: {plus: [a/power_active]}}}
        - {id: a, protocol: virtual, class: electricity_meter, poll: 5, points: {power_active: {plus: [in/power_active]}}}
        - id: h
          protocol: virtual
          class: electricity_meter
          points: {energy_active_import: {plus: [in/energy_active_import], align: 1h}}
        """,
    )
    plans = {device.id: (device.points[0].poll, device.points[0].align) for device in config.devices[-3:]}
    assert plans == {"a": (5, None), "c": (5, None), "h": (None, 3600)}


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (
            VIRTUAL % "{plus: [inn/power_active]}",
            "agent.yaml:8 devices[3].points.power_active.plus[0]: device 'inn' unknown",
        ),
        (
            VIRTUAL % "{plus: [in/power_activ]}",
            "in publishes no point 'power_activ' unknown. did you mean 'power_active'?",
        ),
        (VIRTUAL % "{plus: [off/power_active]}", "off publishes no point 'power_active'"),
        (VIRTUAL % "{plus: [in]}", "'in' names no point. write device/point"),
        (VIRTUAL % "{plus: [in/voltage_l1]}", "in/voltage_l1 is voltage, v/power_active is power"),
        (VIRTUAL % "{plus: [in/power_active], minus: [in/power_active]}", "'in/power_active' is here twice"),
        (VIRTUAL % "{plus: []}", "a virtual point adds nothing up"),
        (VIRTUAL % "{plus: [v/power_active]}", "it depends on itself: v/power_active -> v/power_active"),
        (
            VIRTUAL % "{plus: [in/power_active], align: 900}",
            "need in/power_active at each of them, and it is read at no marks",
        ),
        (
            VIRTUAL.replace("power_active", "breaker_closed") % "{plus: [in/power_active]}",
            "'breaker_closed' is no number",
        ),
        (
            VIRTUAL.replace("meter,", "metre,") % "{plus: [in/power_active]}",
            "class 'electricity_metre' unknown. did you mean",
        ),
        (VIRTUAL.replace("id: v", "id: in") % "{plus: [b1/power_active]}", "device id 'in' is taken by devices[0]"),
        (VIRTUAL.replace("class", "link: t, class") % "{plus: [in/power_active]}", "unknown key 'link'"),
    ],
)
def test_refuses(tmp_path: Path, devices: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, devices)
    assert any(said in str(problem) for problem in caught.value.problems), str(caught.value)


def test_a_long_way_round_is_a_cycle_too(tmp_path: Path) -> None:
    def link(n: int, to: int) -> str:
        return (VIRTUAL % f"{{plus: [v{to}/power_active]}}").replace("id: v", f"id: v{n}")

    count = 1500  # longer than Python would recurse
    chain = "".join(link(n, n + 1) for n in range(count))
    end = (VIRTUAL % "{plus: [in/power_active]}").replace("id: v", f"id: v{count}")
    assert load(tmp_path, chain + end).devices[3].points[0].poll == 10
    with pytest.raises(ConfigError, match="it depends on itself"):
        load(tmp_path, chain + link(count, 0))
