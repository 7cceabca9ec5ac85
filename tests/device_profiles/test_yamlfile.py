"""Files are read with the line of everything in reach, and what tricks or hides is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError
from device_profiles.yamlfile import parse_yaml, path_text, read_yaml


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    return str(caught.value)


def test_reads_scalars_by_the_core_schema() -> None:
    data = parse_yaml(
        "a: 1\nb: -0x10\nb2: 0x10\nc: 1.5\nd: 1e3\ne: off\nf: 12:30\ng: 0012\nh: 2027-01-01\n"
        "i: true\nj: ~\nk:\nl: '7'\nm: .nan\nn: 1e400\no: 1_000\n0: zero\n",
        "f.yaml",
    ).data
    assert data == {
        "a": 1, "b": "-0x10", "b2": 16, "c": 1.5, "d": 1000.0, "e": "off", "f": "12:30", "g": "0012", "h": "2027-01-01",
        "i": True, "j": None, "k": None, "l": "7", "m": ".nan", "n": "1e400", "o": "1_000", 0: "zero",
    }  # fmt: skip


def test_every_value_has_a_line() -> None:
    document = parse_yaml("a:\n  - x: 1\n    y: 2\n  -\n    x: 3\nb: [1,\n 2]\n", "f.yaml")
    assert document.mark(("a", 0, "y")).line == 3
    assert document.mark(["a", 1, "x"]).line == 5
    assert str(document.mark(("b", 1))) == "f.yaml:7"
    assert document.where(("a", 1, "missing")) == "f.yaml:5 a[1].missing"
    assert document.where() == "f.yaml:1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' is written twice"),
        ("a: &x 1\n", "f.yaml:1: an anchor"),
        ("a: 1\nb: *x\n", "f.yaml:2: an alias"),
        ("a: !!python/object/apply:os.system ['true']\n", "f.yaml:1: the tag"),
        ("a: !!binary aGk=\n", "the tag"),
        ("a:\n\tb: 1\n", "f.yaml:2: a tab indents this line"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: a second document"),
        ('a: "\\e[31mred"\n', "control character '\\x1b'"),
        ("a: x\u202ey\n", "control character '\\u202e'"),
        ("? [1, 2]\n: 3\n", "a key is no plain text"),
        ("? {a: 1}\n: {b: 2}\nc: 1\n", "a key is no plain text"),
        ("[" * 500 + "]" * 500, "nested deeper than 32"),
        ("a: [1, 2\nb: 3\n", "f.yaml:"),
        ("a: 'x\n", "f.yaml:"),
        ("a\x00b: 1\n", "f.yaml:1"),
        ("- 1\n", "f.yaml:1: this is a list, not a mapping"),
    ],
)
def test_refuses(text: str, said: str) -> None:
    assert said in refusal(text)


def test_all_findings_come_at_once_and_the_syntax_error_with_them() -> None:
    told = refusal("a: 1\na: 2\nb: &x 1\nc: [\n").splitlines()
    assert [line.split(":")[1] for line in told[:2]] == ["2", "3"]
    assert len(told) == 3


def test_an_anchor_bomb_is_refused_in_no_time() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "an anchor" in refusal(bomb)


def test_an_endless_list_of_findings_is_cut(tmp_path: Path) -> None:
    assert len(refusal("a: 1\n" * 5000).splitlines()) <= 100


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)
    bad = tmp_path / "latin.yaml"
    bad.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin.yaml:2: byte 0xe9 is not UTF-8"):
        read_yaml(bad)
    bad.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(bad).data == {"a": 1}


def test_path_text_escapes() -> None:
    assert path_text(("devices", 3, "unit")) == "devices[3].unit"
    assert path_text(("a", "\x1b[31m")) == "a.'\\x1b[31m'"


letters = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")))
keys = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | letters,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


class Dumper(yaml.SafeDumper):
    """Quotes text that begins like a number: to PyYAML (YAML 1.1) `-.0` and `1e5` are words, in 1.2 they are numbers."""


Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if text[:1] in tuple("+-.0123456789") else None
    ),
)


@given(plain)
@example("-.0")
@example("1e5")
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    assert parse_yaml(yaml.dump({"k": value}, Dumper=Dumper), "f.yaml").data == {"k": value}


def test_numbers_are_those_of_yaml_1_2() -> None:
    assert parse_yaml("a: -.5\nb: 1e5\nc: 0x1F\nd: '-.5'\n", "f.yaml").data == {
        "a": -0.5,
        "b": 1e5,
        "c": 31,
        "d": "-.5",
    }


@given(st.text(max_size=200))
def test_any_text_gives_data_or_a_config_error(text: str) -> None:
    try:
        parse_yaml(text, "f.yaml")
    except ConfigError:
        return
