"""XML and JSON of devices: the way to a value, and bombs that never go off."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.device_time import epoch_ms, posix_zone
from drivers.document import MAX_BYTES, DocumentError, count, parse, pick

STORAGE = parse(
    b'<?xml version="1.0"?><storage version="2.0" xmlns="http://x/y"><a:hddList xmlns:a="http://z" size="2"><hdd><id>1</id>'
    b"<status>ok</status></hdd><hdd><id>2</id><status>error</status></hdd></a:hddList>"
    b'<mode opt="quota,group">quota</mode><empty/></storage>'
)
ONE = parse(b"<list><hdd><id>1</id><online>true</online></hdd></list>")
STATUS = parse(b'{"AcsWorkStatus": {"doorStatus": [4, 2], "on": true, "none": null, "deep": [{"k": false, "v": 7}]}}')


@pytest.mark.parametrize(
    ("document", "way", "value"),
    [
        (STORAGE, "storage/hddList/hdd/1/status", "error"), (STORAGE, "storage/hddList/hdd[id=2]/status", "error"),
        (STORAGE, "storage/hddList/@size", "2"), (STORAGE, "storage/mode", "quota"),
        (STORAGE, "storage/mode/@opt", "quota,group"),
        (STORAGE, "storage/empty", ""), (ONE, "list/hdd/0/id", "1"), (ONE, "list/hdd/id", "1"),
        (ONE, "list/hdd[online=true]/id", "1"),
        (STATUS, "AcsWorkStatus/doorStatus/1", 2), (STATUS, "AcsWorkStatus/on", True), (STATUS, "AcsWorkStatus/none", None),
        (STATUS, "AcsWorkStatus/deep[k=false]/v", 7), (STATUS, "AcsWorkStatus/deep/v", 7),
    ],
)  # fmt: skip
def test_the_way_to_a_value(document: object, way: str, value: object) -> None:
    assert pick(document, way) == value  # type: ignore[arg-type]


NOWHERE = ("storage/hddList/hdd/2", "storage/hddList/hdd[id=3]", "storage/no", "storage/hddList/hdd/status", "x/y/z")


@pytest.mark.parametrize("way", NOWHERE)
def test_a_way_that_leads_nowhere(way: str) -> None:
    with pytest.raises(KeyError):
        pick(STORAGE, way)


def test_counting() -> None:
    assert count(STORAGE, "storage/hddList/hdd") == 2
    assert count(STORAGE, "storage/hddList/hdd[status=ok]") == 1
    assert count(ONE, "list/hdd") == count(ONE, "list/hdd[online=true]") == 1
    assert count(ONE, "list/none") == count(ONE, "no/way") == count(ONE, "list/hdd[online=x]") == 0


BOMBS = {
    "billion laughs": b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><l>&b;</l>',
    "quadratic blow-up": b'<!DOCTYPE l [<!ENTITY a "' + b"a" * 50_000 + b'">]><l>' + b"&a;" * 50_000 + b"</l>",
    "a file of ours": b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>',
    "a document type of theirs": b'<!DOCTYPE l SYSTEM "http://10.0.0.1/x.dtd"><l/>',
    "deep XML": b"<a>" * 50_000,
    "wide XML": b"<a>" + b"<b/>" * 100_000 + b"</a>",
    "deep JSON": b"[" * 500_000,
    "deep JSON objects": b'{"a":' * 100_000,
    "a long number": b"[" + b"9" * 500_000 + b"]",
    "no number": b'{"a": NaN}',
    "an endless number": b'{"a": 1e400}',
    "an endless text": b'"' + b"\\" * 500_000,
    "another encoding": b'<?xml version="1.0" encoding="utf-7"?><a/>',
    "no end": b"<a><b></a>",
    "nothing": b" \r\n",
    "neither": b"HTTP",
    "too long": b"<a>" + b" " * MAX_BYTES + b"</a>",
    "not UTF-8": b'{"a": "\xff\xfe"}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_not_go_off(name: str) -> None:
    began = time.process_time()
    with pytest.raises(DocumentError):
        parse(BOMBS[name])
    assert time.process_time() - began < 2


@given(st.binary(max_size=400))
def test_only_our_own_error(data: bytes) -> None:
    for body in (data, b"<a>" + data + b"</a>", b'{"a":' + data + b"}"):
        try:
            parse(body)
        except DocumentError:
            continue


LEAVES = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=9)
VALUES = st.recursive(LEAVES, lambda each: st.lists(each) | st.dictionaries(st.text(max_size=9), each), max_leaves=20)


@given(VALUES)
def test_json_comes_out_as_it_went_in(value: object) -> None:
    assert parse(json.dumps({"v": value}).encode()) == {"v": value}


def test_zones() -> None:
    behind = posix_zone("CST-8:00:00")
    assert behind is not None
    assert epoch_ms("2026-11-22T21:47:25", behind) == epoch_ms("2026-11-22T21:47:25+08:00") == 1_795_355_245_000
    assert epoch_ms("2026-11-22T13:47:25", posix_zone("GMT+0:00:00")) == 1_795_355_245_000
    assert epoch_ms("2026-11-22T21:47:25") is None
    assert posix_zone("CET-1:00:00DST01:00:00,M3.5.0/02:00:00,M10.5.0/03:00:00") is None
    assert posix_zone("CST-99:00:00") is posix_zone("") is None
