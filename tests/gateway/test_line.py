"""Line protocol: what is written is what was meant, whatever the names and texts are."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import check, rows
from gateway.stores import line
from gateway.stores.base import ClassRow, EventRow, LedgerRow, PointRow, QualityRow, Row
from gateway.stores.line import Unencodable
from tests.gateway.fake_influx import parse_line
from tests.gateway.message_box import NOW, telemetry

T = 1795355245338


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            ClassRow("hq", "meter-01", "electricity_meter", T, {"power_active": 81.25, "breaker_closed": 1}),
            f"electricity_meter,dev=meter-01,site=hq power_active=81.25,breaker_closed=1 {T}",
        ),
        (
            ClassRow("hq", "m", "ahu", T, {"a": 1.5, "model_text": 'say "hi" \\ ok'}),
            f'ahu,dev=m,site=hq a=1.5,model_text="say \\"hi\\" \\\\ ok" {T}',
        ),
        (
            QualityRow("hq", "m", "current_l2", T, 2, "BadTimeout"),
            f'quality,dev=m,pt=current_l2,site=hq q=2i,sc="BadTimeout" {T}',
        ),
        (QualityRow("hq", "m", "p", T, 0, "", "alarm"), f'quality,dev=m,pt=p,site=hq q=0i,sc="",f="alarm" {T}'),
        (PointRow("hq", "m", "x_a", T, 1e-7), f"point,dev=m,pt=x_a,site=hq value=1e-7 {T}"),
        (PointRow("hq", "m", "x_a_text", T, "a"), f'point,dev=m,pt=x_a_text,site=hq text="a" {T}'),
        (
            EventRow(
                "hq", "door-3", "access.denied", T * 10**6 + 7, "01JD", {"dir": "in", "held": True, "n": 3}, "gw-01"
            ),
            f'event,dev=door-3,site=hq,type=access.denied id="01JD",agent="gw-01",dir="in",held=true,n=3 {T}000007',
        ),
        (
            LedgerRow("gw-01", "7Q2XK9M4TB", 10400, 10423, T),
            f"ledger,agent=gw-01,epoch=7Q2XK9M4TB a=10400i,b=10423i {T}",
        ),
        (LedgerRow("gw-01", "E", 1, 2, T, "ingest-2"), f"ledger,agent=gw-01,epoch=E,worker=ingest-2 a=1i,b=2i {T}"),
    ],
)
def test_rows_of_the_contract(row: Row, expected: str) -> None:
    found, in_ns = line.encode(row)
    assert found.decode() == expected
    assert in_ns is isinstance(row, EventRow)


@pytest.mark.parametrize(
    "row",
    [
        ClassRow("hq", "a\nb", "m", T, {"a": 1.0}),
        ClassRow("", "a", "m", T, {"a": 1.0}),
        ClassRow("hq", "a\\", "m", T, {"a": 1.0}),
        ClassRow("hq", "a", "m\rx", T, {"a": 1.0}),
        ClassRow("hq", "a", "m", T, {}),
        ClassRow("hq", "a", "m", T, {"a": float("nan")}),
        ClassRow("hq", "a", "m", T, {"a": 1.0, "b": float("inf")}),
        ClassRow("hq", "a", "m", T, {"a_text": "x\ny"}),
        ClassRow("hq", "a", "m", T, {"a_text": "\ud800"}),
        ClassRow("hq", "a", "m", T, {"a_text": "x" * 65_536}),
        ClassRow("hq", "a", "m", T, {"_a": 1.0}),
        ClassRow("hq", "a", "m", T, {"time": 1.0}),
        ClassRow("hq", "a", "m", T, {"a\x00": 1.0}),
        ClassRow("hq", "d" * 70_000, "m", T, {"a": 1.0}),
    ],
)
def test_what_has_no_line(row: Row) -> None:
    with pytest.raises(Unencodable):
        line.encode(row)


names = st.text(min_size=1, max_size=12)
numbers = st.floats(allow_nan=True) | st.integers(-(2**63), 2**63 - 1)


@example("0", "0", "0", {'"': 0.0, 'x"y': "q"}, 0)
@given(names, names, names, st.dictionaries(names, numbers | st.text(max_size=20), max_size=5), st.integers(0, 2**62))
def test_a_line_says_what_the_row_says_or_there_is_none(
    site: str, dev: str, cls: str, fields: dict[str, float | str], t_ms: int
) -> None:
    try:
        found, _ = line.encode(ClassRow(site, dev, cls, t_ms, fields))
    except Unencodable:
        return
    assert b"\n" not in found
    point = parse_line(found.decode())
    assert (point.measurement, point.tags, point.time) == (cls, {"dev": dev, "site": site}, t_ms)
    assert point.fields == {name: value if isinstance(value, str) else float(value) for name, value in fields.items()}


def test_a_measurement_that_would_be_a_comment_has_no_line() -> None:
    with pytest.raises(Unencodable, match="comment"):
        line.encode(ClassRow("hq", "a", "#m", T, {"a": 1.0}))


ids = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(check.is_plain)
spaces = st.sampled_from(["", " ", "\n", "\t"])


@given(
    st.dictionaries(
        ids, st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1), min_size=1
    ),
    spaces,
)
def test_what_a_message_says_is_what_its_line_says(s: dict[str, float], blank: str) -> None:
    """The short way from JSON to line protocol, for whatever numbers and blanks."""
    payload = telemetry(s=s).replace(b'"s":{', f'"s":{{{blank}'.encode()).replace(b",", f",{blank}".encode(), 7)
    payload = payload.replace(f'{{"v":1,{blank}'.encode(), b'{"v":1,')
    message, text = check.telemetry(payload, NOW)
    (row,) = rows.telemetry_rows("hq", "m", message, text)
    point = parse_line(line.encode(row)[0].decode())
    assert point.fields == {name: float(value) for name, value in s.items()}


def test_ids_written_with_escapes_are_themselves() -> None:
    payload = telemetry(s={"power_active": 1.5}).replace(b'"power_active"', b'"power\\u005factive"')
    message, text = check.telemetry(payload, NOW)
    (row,) = rows.telemetry_rows("hq", "m", message, text)
    assert b" power_active=1.5 " in line.encode(row)[0]
