"""Objects of chilled-water controllers: a plant of two chillers, and one chiller with a controller of its own.

Source: unverified; the chiller follows the points that makers of water-cooled chillers publish, the plant what a programmable
controller offers.
"""

from __future__ import annotations

from firmware_sim.bacnet.models import BacnetModel, Row
from firmware_sim.bacnet.worlds_plant import ChillerPlant, SingleChiller

_C, _PCT, _KPA, _KW, _H = "degrees-celsius", "percent", "kilopascals", "kilowatts", "hours"
_OFF_ON, _NORMAL_ALARM, _AUTO = ("Off", "On"), ("Normal", "Alarm"), ("Hand", "Auto")
_CHILLER_STATES = ("Off", "Starting", "Running", "Unloading", "Fault")


def _of_chiller(p: str, n: int, k: str, title: str) -> tuple[Row, ...]:
    """One of the plant's chillers; its instances are `n` + 1 and on."""
    return (
        Row("AI", n + 1, f"{p}CHWS-T", f"{title} leaving chilled water temperature", _C, f"{k}leaving_c"),
        Row("AI", n + 2, f"{p}CHWR-T", f"{title} entering chilled water temperature", _C, f"{k}entering_c"),
        Row("AI", n + 3, f"{p}CWS-T", f"{title} entering condenser water temperature", _C, f"{k}condenser_in_c"),
        Row("AI", n + 4, f"{p}CWR-T", f"{title} leaving condenser water temperature", _C, f"{k}condenser_out_c"),
        Row(
            "AI",
            n + 5,
            f"{p}EVAP-P",
            f"{title} evaporator refrigerant pressure",
            _KPA,
            f"{k}evaporator_kpa",
            increment=5.0,
        ),
        Row(
            "AI",
            n + 6,
            f"{p}COND-P",
            f"{title} condenser refrigerant pressure",
            _KPA,
            f"{k}condenser_kpa",
            increment=5.0,
        ),
        Row("AI", n + 7, f"{p}LOAD", f"{title} running load", _PCT, f"{k}load", increment=1.0),
        Row("AI", n + 8, f"{p}AMPS", f"{title} compressor current", "amperes", f"{k}amps", increment=1.0),
        Row("AI", n + 9, f"{p}KW", f"{title} power", _KW, f"{k}kw", increment=1.0),
        Row("BI", n + 1, f"{p}CH-S", f"{title} run status", "", f"{k}runs", _OFF_ON),
        Row("BI", n + 2, f"{p}CH-ALM", f"{title} fault", "", f"{k}fault", _NORMAL_ALARM),
        Row("BI", n + 3, f"{p}CHW-FLOW", f"{title} chilled water flow switch", "", f"{k}flow", ("No flow", "Flow")),
        Row("BI", n + 4, f"{p}CH-HOA", f"{title} hand/auto switch", "", f"{k}auto", _AUTO),
        Row("BO", n + 1, f"{p}CH-C", f"{title} start/stop", "", f"{k}start", _OFF_ON),
        Row(
            "AV",
            n + 1,
            f"{p}CHWS-SP",
            f"{title} leaving chilled water set-point",
            _C,
            f"{k}sp",
            (),
            "commandable",
            7.0,
            4,
            15,
        ),
        Row("AV", n + 2, f"{p}CH-LIM", f"{title} demand limit", _PCT, f"{k}limit", (), "commandable", 100.0, 30, 100),
        Row("AV", n + 3, f"{p}CH-HRS", f"{title} run hours", _H, f"{k}hours", increment=1.0),
        Row("ACC", n + 1, f"{p}CH-STARTS", f"{title} starts", "no-units", f"{k}starts"),
        Row("MSI", n + 1, f"{p}CH-STATE", f"{title} operating state", "", f"{k}state", _CHILLER_STATES),
    )


def _of_pump(p: str, n: int, k: str, title: str) -> tuple[Row, ...]:
    return (
        Row("BI", n + 1, f"{p}S", f"{title} status", "", f"{k}runs", _OFF_ON),
        Row("BI", n + 2, f"{p}ALM", f"{title} fault", "", f"{k}fault", _NORMAL_ALARM),
        Row("BO", n + 1, f"{p}C", f"{title} start/stop", "", f"{k}start", _OFF_ON),
        Row("AO", n + 1, f"{p}VFD", f"{title} speed command", _PCT, f"{k}speed", low=0, high=100, increment=1.0),
        Row("AV", n + 1, f"{p}HRS", f"{title} run hours", _H, f"{k}hours", increment=1.0),
    )


def plant_rows(prefix: str) -> tuple[Row, ...]:
    """Header points have the instances 1 and on, chillers 100 and 200, chilled water pumps 300 and 400, condenser 500 and 600."""
    p = prefix
    return (
        Row("AI", 1, f"{p}CHWS-T", "Chilled water supply header temperature", _C, "supply_c"),
        Row("AI", 2, f"{p}CHWR-T", "Chilled water return header temperature", _C, "return_c"),
        Row("AI", 3, f"{p}CWS-T", "Condenser water supply header temperature", _C, "condenser_supply_c"),
        Row("AI", 4, f"{p}CWR-T", "Condenser water return header temperature", _C, "condenser_return_c"),
        Row("AI", 5, f"{p}CHW-DP", "Chilled water differential pressure", _KPA, "dp_kpa", increment=2.0),
        Row("AI", 6, f"{p}CHW-FLOW", "Chilled water flow", "liters-per-second", "flow_ls", increment=0.5),
        Row("AI", 7, f"{p}PLANT-LOAD", "Cooling load of the plant", _KW, "load_kw", increment=5.0),
        Row("AI", 8, f"{p}PLANT-KW", "Electric power of the plant", _KW, "plant_kw", increment=2.0),
        Row("AI", 9, f"{p}OA-T", "Outside air temperature", _C, "outside_c"),
        Row("AI", 10, f"{p}OA-WB", "Outside air wet-bulb temperature", _C, "wet_bulb_c"),
        Row("AI", 11, f"{p}CT1.FAN-SPD", "Cooling tower fan speed feedback", _PCT, "tower_feedback", increment=1.0),
        Row("AI", 12, f"{p}CT1.BASIN-LVL", "Cooling tower basin level", _PCT, "basin", increment=1.0),
        Row("BI", 1, f"{p}CT1.FAN-S", "Cooling tower fan status", "", "tower_runs", _OFF_ON),
        Row("BI", 2, f"{p}LEAK-A", "Refrigerant leak alarm", "", "leak", _NORMAL_ALARM),
        Row("AO", 1, f"{p}CT1.FAN-VFD", "Cooling tower fan speed command", _PCT, "tower_speed", low=0, high=100, increment=1.0),
        Row("AO", 2, f"{p}CHW-BYP", "Chilled water bypass valve command", _PCT, "bypass", low=0, high=100, increment=1.0),
        Row("BO", 1, f"{p}CT1.FAN-C", "Cooling tower fan start/stop", "", "tower_start", _OFF_ON),
        Row("AV", 1, f"{p}CHWS-SP", "Chilled water supply set-point", _C, "supply_sp", (), "commandable", 7.0, 4, 15),
        Row("AV", 2, f"{p}CWS-SP", "Condenser supply set-point", _C, "condenser_sp", (), "commandable", 24.0, 16, 32),
        Row("AV", 3, f"{p}CHW-DP-SP", "Differential pressure set-point", _KPA, "dp_sp", (), "commandable", 120.0, 20, 300),
        Row("AV", 4, f"{p}STAGE-UP", "Stage up above this load", _PCT, "stage_up", (), "plain", 85.0, 50, 100),
        Row("AV", 5, f"{p}STAGE-DN", "Stage down below this load", _PCT, "stage_down", (), "plain", 35.0, 10, 60),
        Row("BV", 1, f"{p}PLANT-EN", "Plant enable", "", "enable", ("Disable", "Enable"), "commandable", 1),
        Row("MSV", 1, f"{p}STAGE", "Chillers called", "", "stage", ("None", "One", "Two")),
        Row("MSV", 2, f"{p}LEAD", "Lead chiller", "", "lead", ("CH-1", "CH-2"), "commandable", 1),
        *_of_chiller(f"{p}CH1.", 100, "ch1_", "Chiller 1"),
        *_of_chiller(f"{p}CH2.", 200, "ch2_", "Chiller 2"),
        *_of_pump(f"{p}CHWP1.", 300, "chwp1_", "Chilled water pump 1"),
        *_of_pump(f"{p}CHWP2.", 400, "chwp2_", "Chilled water pump 2"),
        *_of_pump(f"{p}CWP1.", 500, "cwp1_", "Condenser water pump 1"),
        *_of_pump(f"{p}CWP2.", 600, "cwp2_", "Condenser water pump 2"),
        Row("TL", 1, f"{p}CHWS-T-TL", "Trend of the supply header temperature", of="AI:1"),
        Row("TL", 2, f"{p}PLANT-LOAD-TL", "Trend of the cooling load", of="AI:7"),
    )  # fmt: skip


def chiller_rows(prefix: str) -> tuple[Row, ...]:
    p = prefix
    return (
        *_of_chiller(p, 0, "ch1_", "Chiller"),
        Row("BV", 1, f"{p}REMOTE-EN", "Remote enable", "", "enable", ("Disable", "Enable"), "commandable", 1),
        Row("MSV", 1, f"{p}ALM-CODE", "Present alarm", "", "alarm",
            ("None", "Low evaporator pressure", "High condenser pressure", "Loss of flow", "Motor overload")),
    )  # fmt: skip


PLANT = BacnetModel(
    "bacnet-chiller-plant", "Chiller plant", "unverified", "SIM-CPO-90", "3.14.2",
    plant_rows, lambda seed, offset: ChillerPlant(seed, offset), instance=2001, has_cov_property=True,
)  # fmt: skip
CHILLER = BacnetModel(
    "bacnet-chiller", "Water-cooled chiller", "unverified", "SIM-CVHE-500", "11.00",
    chiller_rows, lambda seed, offset: SingleChiller(seed, offset), instance=2101, max_apdu=1024, segmentation=3,
    max_subscriptions=40,
)  # fmt: skip
