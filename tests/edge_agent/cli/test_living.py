"""What read and watch show: a title that says who, units that say something, and in a pipe each change as it comes."""

from __future__ import annotations

import pytest

from edge_agent.cli.living import Living
from edge_agent.cli.tables import unit_text
from edge_agent.cli.target import Asked, target_of


@pytest.mark.parametrize(
    ("link", "profile", "unit", "title"),
    [
        ("http://192.0.2.1", "generic-onvif-camera", None, "http://192.0.2.1:80 as generic-onvif-camera@1"),
        ("tcp://192.0.2.1:4352", "generic-pjlink-2", None, "192.0.2.1:4352 as generic-pjlink-2@1"),
        ("tcp://192.0.2.1", "eastron-sdm630", "7", "192.0.2.1:502 unit 7 as eastron-sdm630@"),
        ("bacnet://192.0.2.1/24", "generic-bacnet-vav", "7", "192.0.2.1/24:47808 device 7 as generic-bacnet-vav@"),
    ],
)
def test_a_title_names_the_unit_where_a_link_has_several(link: str, profile: str, unit: str | None, title: str) -> None:
    assert target_of(Asked(link=link, profile=profile, unit=unit)).title.startswith(title)


def test_a_number_of_nothing_has_no_unit() -> None:
    assert [unit_text(unit) for unit in (None, "1", "kW", "Cel", "furlong")] == ["", "", "kW", "°C", "furlong"]


def test_in_a_pipe_the_table_comes_once_and_then_what_changed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    with Living() as living:
        living.draw("voltage 229", "3 ms, 0 changed", ())
        living.draw("voltage 229", "3 ms, 0 changed", ())
        assert capsys.readouterr().out == "voltage 229\n"
        living.say("card.read")
        living.draw("voltage 230", "3 ms, 1 changed", ["voltage 230 V"])
        card, changed = capsys.readouterr().out.splitlines()
        assert card == "card.read"
        assert changed.endswith("  voltage 230 V")
    assert capsys.readouterr().out == ""
