"""The BACnet profiles against the object lists of the simulated controllers, and what a BACnet profile is refused for."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.bacnet import ABBREVIATIONS
from device_profiles.errors import ProfileError
from device_profiles.library import Library
from device_profiles.schema import Bacnet
from device_profiles.vocabulary import vocabulary
from firmware_sim.bacnet.models import Row, load_model
from tests.shipped import LIBRARY

MODELS = {
    "generic-bacnet-ahu": ("bacnet-ahu", ""),
    "generic-bacnet-fcu": ("bacnet-fcu", ""),
    "generic-bacnet-vav": ("bacnet-vav", ""),
    "generic-bacnet-vav-prefixed": ("bacnet-vav-floor", "VAV-3-07."),
    "generic-bacnet-chiller": ("bacnet-chiller", ""),
    "generic-bacnet-chiller-prefixed": ("bacnet-chiller-plant", "CH2."),
    "generic-bacnet-chiller-plant": ("bacnet-chiller-plant", ""),
    "generic-bacnet-pump-prefixed": ("bacnet-chiller-plant", "CWP1."),
    "generic-bacnet-pump-set": ("bacnet-pump-set", ""),
    "generic-bacnet-boiler": ("bacnet-boiler", ""),
    "generic-bacnet-cooling-tower": ("bacnet-cooling-tower", ""),
    "generic-bacnet-lighting-panel": ("bacnet-lighting-panel", ""),
    "generic-bacnet-lift-prefixed": ("bacnet-lift-bank", "LIFT3."),
}
BACNET = [profile for profile in LIBRARY.all() if profile.protocol == "bacnet"]


def rows_of(slug: str) -> dict[str, Row]:
    """A simulated controller's objects by type and instance, and by name."""
    found: dict[str, Row] = {}
    for row in load_model(slug).rows(""):
        kind = ABBREVIATIONS.get(row.kind.lower(), row.kind.lower())
        found |= {f"{kind}:{row.instance}": row, f'"{row.name}"': row}
    return found


@pytest.mark.parametrize("profile_id", MODELS)
def test_every_address_is_on_the_simulated_controller(profile_id: str) -> None:
    slug, prefix = MODELS[profile_id]
    rows = rows_of(slug)
    for point in LIBRARY.get(profile_id).points:
        assert isinstance(point.address, Bacnet)
        reference = point.address.prefixed(prefix).reference
        assert reference in rows, f"{point.id}: {reference}"
        row = rows[reference]
        assert not point.is_writable or row.writes or row.kind in ("AO", "BO", "MSO"), f"{point.id} cannot be written"
        if point.labels and row.texts:
            assert len(point.labels) == len(row.texts), point.id
        known = vocabulary().point(point.id)
        if known is not None and known.type == "num":
            assert row.kind in ("AI", "AO", "AV", "ACC"), point.id


def test_every_class_of_building_automation_has_a_bacnet_profile() -> None:
    owed = {"ahu", "fcu", "vav", "chiller", "boiler", "cooling_tower", "pump", "lighting_circuit", "elevator"}
    assert owed <= {profile.class_ for profile in BACNET}


@pytest.mark.parametrize("profile", BACNET, ids=lambda profile: profile.profile)
def test_writes_are_held_for_a_time_and_never_above_slot_8(profile: object) -> None:
    for point in LIBRARY.get(profile.profile).points:  # type: ignore[attr-defined]
        if point.is_writable:
            assert point.write is not None
            assert point.write.priority is not None
            assert 8 <= point.write.priority <= 16
            assert point.write.hold_max is not None or point.write.priority == 16, point.id


HEAD = "profile: t\nversion: 1\nclass: ahu\nsystem: ba\nproducts: [x]\nprotocol: bacnet\nsource: {title: t}\npoints:\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{id: enable, object: BV:1, access: rw}", "enable can be written without a priority. add write"),
        ("{id: running, object: BI:1, access: rw, write: {priority: 9}}", "binary-input:1 is an input and measures"),
        ("{id: enable, object: BV:1, access: rw, write: {priority: 7}}", "7 is out of range"),
        ("{id: running}", "running has no BACnet address. add object"),
    ],
)
def test_what_a_bacnet_profile_is_refused_for(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "t.yaml").write_text(f"{HEAD}  - {line}\n", encoding="utf-8")
    with pytest.raises(ProfileError) as caught:
        Library([tmp_path]).get("t")
    assert said in str(caught.value)
