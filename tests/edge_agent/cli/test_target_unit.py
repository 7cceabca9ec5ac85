"""--unit: the number of a meter is never another meter's, and what is missing is asked for in the words of its protocol."""

from __future__ import annotations

import pytest
import typer

from drivers.base import parse_link
from edge_agent.cli.target_unit import unit_of

LINE = parse_link("serial:/dev/ttyUSB0?baud=2400&parity=E")


@pytest.mark.parametrize(
    ("protocol", "text", "unit"),
    [
        ("modbus", None, 1),
        ("modbus", "255", 255),
        ("dlt645-2007", "12345678", "000012345678"),
        ("dlt645-2007", "000012345678", "000012345678"),
        ("dlt645-2007", "AAAAAAAAAAAA", "AAAAAAAAAAAA"),
        ("dlt645-1997", "1", "000000000001"),
        ("cjt188", "111100012345", "00111100012345"),
        ("mbus", "3", 3),
        ("mbus", "254", 254),
        ("mbus", "12345678", "12345678"),
        ("mbus", "123456784d2d0104", "123456784D2D0104"),
        ("osdp", "0", 0),
        ("zkteco-push", "CJ9H000001", "CJ9H000001"),
        ("strings", None, 1),
    ],
)
def test_as_people_type_it(protocol: str, text: str | None, unit: int | str) -> None:
    assert unit_of(text, protocol, LINE) == unit


@pytest.mark.parametrize(
    ("protocol", "text", "words"),
    [
        ("modbus", "0", "use 1 to 247"),
        ("modbus", "meter", "use 1 to 247"),
        ("dlt645-2007", None, "--unit is missing; give the 12 digits"),
        ("dlt645-2007", "0000000000011", "'0000000000011' is no meter number"),  # 13 digits are not meter 11
        ("dlt645-2007", "999999999999", "broadcast"),
        ("cjt188", None, "plantroom scan cjt188"),
        ("cjt188", "000111100012345", "no CJ/T 188 address"),
        ("mbus", "1234567", "no primary address"),
        ("mbus", None, "plantroom scan mbus"),
        ("osdp", None, "--unit is missing; give the reader's address, 0 to 126"),
        ("osdp", "127", "all readers"),
        ("uhppote", None, "9 digits"),
        ("bacnet", None, "plantroom scan bacnet"),
        ("zkteco-push", None, "serial number"),
    ],
)
def test_what_is_no_unit(protocol: str, text: str | None, words: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        unit_of(text, protocol, LINE)
    assert words in str(caught.value)
