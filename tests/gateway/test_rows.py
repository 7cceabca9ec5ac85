"""What a message becomes: CONTRACT.md section 10."""

from __future__ import annotations

import zlib
from typing import Any

from gateway import check, rows
from gateway.stores.base import ClassRow, PointRow, QualityRow, Row
from tests.gateway.message_box import AGENT, DEV, NOW, SITE, event, telemetry

T = NOW - 1000


def rows_of(**more: Any) -> list[Row]:
    message, text = check.telemetry(telemetry(t=T, **more), NOW)
    return rows.telemetry_rows(SITE, DEV, message, text)


def class_row(t_ms: int = T, **fields: float | str) -> ClassRow:
    return ClassRow(SITE, DEV, "electricity_meter", t_ms, dict(fields))


def same(found: list[Row], *expected: Row) -> bool:
    """Equal but for the text, which only spares work."""
    bare = [
        ClassRow(row.site, row.dev, row.cls, row.t_ms, row.fields) if isinstance(row, ClassRow) else row
        for row in found
    ]
    assert bare == list(expected)
    return True


def test_good_samples_are_one_row() -> None:
    assert same(rows_of(s={"power_active": 81.25, "voltage_l1": 229}), class_row(power_active=81.25, voltage_l1=229))


def test_booleans_are_numbers_and_text_keeps_its_column() -> None:
    found = rows_of(s={"breaker_closed": True, "mode": 2, "model_text": "SDM630"})
    assert same(found, class_row(breaker_closed=1, mode=2, model_text="SDM630"))
    assert isinstance(found[0], ClassRow)
    assert type(found[0].fields["breaker_closed"]) is int


def test_a_bad_sample_is_a_quality_row_only() -> None:
    x = [{"p": "current_l2", "q": 2, "sc": "BadTimeout"}, {"p": "voltage_l2", "q": 2, "val": 3.0}]
    found = rows_of(s={"power_active": 1.0}, x=x)
    quality = [QualityRow(SITE, DEV, "current_l2", T, 2, "BadTimeout"), QualityRow(SITE, DEV, "voltage_l2", T, 2, "")]
    assert same(found, class_row(power_active=1.0), *quality)


def test_uncertain_and_good_again_are_both() -> None:
    x = [
        {"p": "voltage_l1", "q": 1, "sc": "UncertainEngineeringUnitsExceeded", "val": 400.0, "f": ["alarm", "late"]},
        {"p": "current_l2", "q": 0, "sc": "Good", "val": 5.0},
    ]
    uncertain = QualityRow(SITE, DEV, "voltage_l1", T, 1, "UncertainEngineeringUnitsExceeded", "alarm,late")
    again = QualityRow(SITE, DEV, "current_l2", T, 0, "Good")
    assert same(rows_of(s={}, x=x), class_row(voltage_l1=400.0, current_l2=5.0), uncertain, again)


def test_a_sample_with_its_own_time_is_a_row_of_its_own() -> None:
    found = rows_of(s={"power_active": 1.0}, x=[{"p": "energy_active_import", "dt": -800, "val": 81231.5, "ts": "dev"}])
    assert same(found, class_row(power_active=1.0), class_row(T - 800, energy_active_import=81231.5))


def test_a_quality_row_has_the_samples_time() -> None:
    found = rows_of(s={}, x=[{"p": "current_l2", "dt": -500, "q": 2, "sc": "BadTimeout"}])
    assert found == [QualityRow(SITE, DEV, "current_l2", T - 500, 2, "BadTimeout")]


def test_makers_own_points_and_harmonics_have_no_column() -> None:
    found = rows_of(s={"power_active": 1.0, "x_odd": True, "harmonic_voltage_l1_h3": 0.4, "x_name_text": "a"})
    own = [
        PointRow(SITE, DEV, "x_odd", T, 1),
        PointRow(SITE, DEV, "harmonic_voltage_l1_h3", T, 0.4),
        PointRow(SITE, DEV, "x_name_text", T, "a"),
    ]
    assert same(found, class_row(power_active=1.0), *own)


def test_nothing_gives_nothing() -> None:
    assert rows_of(s={}) == []


def test_an_event_keeps_its_fields_and_gets_a_time_of_its_own() -> None:
    data = {"card": "hmac:k1:9f", "n": 3, "held": True, "none": None, "ranges": [[1, 4]], "id": "theirs"}
    message, name, time = check.event(event(data=data), NOW)
    row = rows.event_row(SITE, AGENT, DEV, message, name, time)
    assert (row.type, row.agent, row.id) == ("access.denied", AGENT, f"{DEV}-1")
    assert row.data == {"card": "hmac:k1:9f", "n": 3, "held": True, "ranges": "[[1,4]]", "data_id": "theirs"}
    assert row.t_ns == 1795355245338 * 1_000_000 + zlib.crc32(row.id.encode()) % 1_000_000


def test_a_source_that_knows_seconds_only_spreads_over_the_second() -> None:
    message, name, time = check.event(event(time="2026-11-22T21:47:25+08:00"), NOW)
    row = rows.event_row(SITE, AGENT, DEV, message, name, time)
    assert row.t_ns == 1795355245 * 1_000_000_000 + zlib.crc32(row.id.encode()) % 1_000_000_000
