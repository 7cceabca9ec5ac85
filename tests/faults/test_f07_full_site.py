"""F7 end to end: the disk of the spool, of the store or of the broker is full for a while, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_f07_full_disk import on_small_disk

from tests.gateway.mqtt_box import MOSQUITTO

pytestmark = pytest.mark.real


@pytest.mark.parametrize("part", ["store", "spool", "broker"])
def test_a_site_of_which_one_disk_is_full(tmp_path: Path, part: str) -> None:
    """The part says so, polling goes on, and everything arrives once there is space again."""
    if part == "broker" and MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    result = on_small_disk(part, tmp_path, "site_on_full_disk.py")
    assert (result["waiting"], result["crashed"]) == (0, False)
    if part == "spool" and result["lost"]:  # what was under way when the disk became full may go, and is told then
        return
    assert (result["lost"], result["missing"], result["is_whole"]) == (False, [], True)
    if part == "store":
        assert result["kept"] > 0, "what is not stored stays in the spool"
